//! A deployment as the checks see it: everything in it that must fit together, read from its files.
//!
//! Files come in as texts, so that a mutation is an edit: take one thing out, read again, check again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use super::bicep::{Declaration, Expr, File, Kind, Part};

/// Files by their path from the project's folder.
pub(super) type Sources = BTreeMap<String, String>;

/// Everything that a deployment is made from.
pub(super) fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Sources::new();
    for folder in ["infra", "function-definitions", "src"] {
        collect(root, &root.join(folder), &mut found);
    }
    for file in [
        "host.json",
        "azure.yaml",
        "local.settings.json.example",
        "Cargo.toml",
        "README.md",
        "docs/OPERATIONS.md",
    ] {
        found.insert(file.to_owned(), fs::read_to_string(root.join(file)).unwrap());
    }
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Sources) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text);
        }
    }
}

/// A role given to somebody.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) file: String,
    pub(super) symbol: String,
    /// Name of the role in Bicep, and its id.
    pub(super) role: String,
    pub(super) id: String,
    /// Symbol of what it is given on.
    pub(super) scope: String,
}

/// A binding of a function.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) function: String,
    pub(super) value: Value,
}

/// A log query: of an alert, or of the workbook.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) name: String,
    pub(super) text: String,
}

/// The deployment.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) bicep: Vec<File>,
    /// App settings, with the value as it is written.
    pub(super) settings: BTreeMap<String, Expr>,
    pub(super) queues: BTreeSet<String>,
    pub(super) tables: BTreeSet<String>,
    pub(super) roles: Vec<Role>,
    pub(super) functions: BTreeSet<String>,
    pub(super) bindings: Vec<Binding>,
    pub(super) queries: Vec<Query>,
    pub(super) alerts: BTreeSet<String>,
    pub(super) host: Value,
    pub(super) local: Value,
    pub(super) sources: Sources,
}

impl Deployment {
    /// Reads a deployment; what is missing is simply not in it.
    pub(super) fn read(sources: &Sources) -> Self {
        let bicep: Vec<_> = sources
            .iter()
            .filter(|(path, _)| path.ends_with(".bicep"))
            .map(|(path, text)| File::parse(path, text))
            .collect();
        let json = |path: &str| sources.get(path).and_then(|text| serde_json::from_str(text).ok());
        let (alerts, alert_queries) = alerts(&bicep);
        let mut queries = alert_queries;
        queries.extend(workbook(&json("infra/workbook.json").unwrap_or_default()));
        let bindings = bindings(sources);
        Self {
            settings: settings(&bicep),
            queues: names(&bicep, "infra/modules/storage-data.bicep", "queueNames"),
            tables: names(&bicep, "infra/modules/storage-data.bicep", "tableNames"),
            roles: bicep.iter().flat_map(roles).collect(),
            functions: bindings.iter().map(|binding| binding.function.clone()).collect(),
            bindings,
            queries,
            alerts,
            host: json("host.json").unwrap_or_default(),
            local: json("local.settings.json.example").unwrap_or_default(),
            sources: sources.clone(),
            bicep,
        }
    }

    /// A Bicep file.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.bicep.iter().find(|file| file.path == path)
    }

    /// Every resource that the templates make, with its file.
    pub(super) fn resources(&self) -> impl Iterator<Item = (&File, &Declaration)> {
        self.bicep.iter().flat_map(|file| file.of_kind(Kind::Resource).map(move |one| (file, one)))
    }

    /// `%NAME%` replaced by the value that Bicep gives the setting.
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        for (index, part) in text.split('%').enumerate() {
            if index % 2 == 0 {
                out.push_str(part);
                continue;
            }
            let value = self.settings.get(part).ok_or_else(|| part.to_owned())?;
            out.push_str(&evaluate(&self.bicep, APP, value).ok_or_else(|| part.to_owned())?);
        }
        Ok(out)
    }
}

/// The file with the app settings.
pub(super) const APP: &str = "infra/modules/functionapp.bicep";

fn settings(bicep: &[File]) -> BTreeMap<String, Expr> {
    let app = bicep.iter().find(|file| file.path == APP);
    let declared = app.into_iter().flat_map(|file| file.of_kind(Kind::Resource));
    let config = declared.filter(|one| one.of.starts_with("Microsoft.Web/sites/config@"));
    config
        .filter_map(|one| one.value.as_ref()?.at(&["properties"]))
        .flat_map(|properties| properties.properties().iter().cloned())
        .collect()
}

/// The names in a list, with what `main.bicep` hands in put in their place.
fn names(bicep: &[File], path: &str, list: &str) -> BTreeSet<String> {
    let file = bicep.iter().find(|file| file.path == path);
    let list = file.and_then(|file| file.value(list)).map(Expr::elements).unwrap_or_default();
    list.iter().filter_map(|name| evaluate(bicep, path, name)).collect()
}

/// The value of an expression where it is a text, or made of texts.
fn evaluate(bicep: &[File], path: &str, value: &Expr) -> Option<String> {
    match value {
        Expr::Text(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(text.clone()),
                Part::Expr(inner) => evaluate(bicep, path, inner),
            })
            .collect(),
        Expr::Name(name) => {
            let file = bicep.iter().find(|file| file.path == path)?;
            let variable = file.of_kind(Kind::Variable).find(|one| one.name == *name);
            if let Some(value) = variable.and_then(|one| one.value.as_ref()) {
                return evaluate(bicep, path, value);
            }
            let main = bicep.iter().find(|file| file.path == "infra/main.bicep")?;
            let module = path.strip_prefix("infra/")?;
            let module = main.of_kind(Kind::Module).find(|one| one.of == module)?;
            evaluate(bicep, &main.path, module.value.as_ref()?.at(&["params", name])?)
        }
        _ => None,
    }
}

fn roles(file: &File) -> Vec<Role> {
    let table = file.value("roles");
    let id_of = |role: &str| {
        let direct = file.value(role).and_then(Expr::text);
        let listed = table.and_then(|table| table.at(&[role])).and_then(Expr::text);
        direct.or(listed).unwrap_or_default().to_owned()
    };
    let assignments = file
        .of_kind(Kind::Resource)
        .filter(|one| one.of.starts_with("Microsoft.Authorization/roleAssignments@"));
    assignments
        .filter_map(|one| {
            let body = match one.value.as_ref()? {
                Expr::For(_, _, body) => body,
                body => body,
            };
            let definition = body.at(&["properties", "roleDefinitionId"])?.written()?;
            let role = definition.rsplit(['.', ' ', '(']).next()?.trim_end_matches(')').to_owned();
            Some(Role {
                file: file.path.clone(),
                symbol: one.name.clone(),
                id: id_of(&role),
                role,
                scope: body.at(&["scope"])?.written()?.to_owned(),
            })
        })
        .collect()
}

fn bindings(sources: &Sources) -> Vec<Binding> {
    let definitions = sources.iter().filter_map(|(path, text)| {
        let function = path.strip_prefix("function-definitions/")?.strip_suffix("/function.json")?;
        Some((function, serde_json::from_str::<Value>(text).ok()?))
    });
    definitions
        .flat_map(|(function, definition)| {
            let bindings = definition["bindings"].as_array().cloned().unwrap_or_default();
            bindings.into_iter().map(|value| Binding { function: function.to_owned(), value })
        })
        .collect()
}

fn alerts(bicep: &[File]) -> (BTreeSet<String>, Vec<Query>) {
    let file = bicep.iter().find(|file| file.path == "infra/modules/alerts.bicep");
    let rules = file.and_then(|file| file.value("rules")).map(Expr::elements).unwrap_or_default();
    let text = |rule: &Expr, name: &str| rule.at(&[name]).and_then(Expr::text).unwrap_or_default().to_owned();
    let queries: Vec<_> =
        rules.iter().map(|rule| Query { name: text(rule, "name"), text: text(rule, "query") }).collect();
    (queries.iter().map(|query| query.name.clone()).collect(), queries)
}

fn workbook(workbook: &Value) -> Vec<Query> {
    let items = workbook["items"].as_array().cloned().unwrap_or_default();
    let queries = items.iter().filter_map(|item| {
        let text = item["content"]["query"].as_str()?.to_owned();
        Some(Query { name: format!("workbook: {}", item["name"].as_str()?), text })
    });
    queries.collect()
}
