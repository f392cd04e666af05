//! Take any one thing out of the deployment, and a check names it.

use super::{
    bicep::{File, Kind},
    checks,
    model::{APP, Deployment, Sources, sources},
};

/// One thing taken out: the files without it, and what a finding must say.
struct Mutation {
    what: String,
    sources: Sources,
    named: Vec<String>,
}

fn without(sources: &Sources, path: &str, range: std::ops::Range<usize>) -> Sources {
    let mut mutated = sources.clone();
    let text = mutated.get_mut(path).expect("the file is there");
    text.replace_range(range, "");
    mutated
}

/// Takes a piece of text out of a file, where it stands exactly once.
fn cut(sources: &Sources, path: &str, piece: &str) -> Sources {
    let text = &sources[path];
    let at = text.find(piece).unwrap_or_else(|| panic!("{path} holds no {piece}"));
    assert_eq!(text.matches(piece).count(), 1, "{path}: {piece}");
    without(sources, path, at..at + piece.len())
}

fn every_role(sources: &Sources, whole: &Deployment) -> Vec<Mutation> {
    let of = |role: &super::model::Role| {
        let file = whole.file(&role.file).expect("the file of the role");
        let declared = file.of_kind(Kind::Resource).find(|one| one.name == role.symbol).expect("the role");
        Mutation {
            what: format!("the role {}", role.symbol),
            sources: without(sources, &role.file, declared.range.clone()),
            named: vec![role.role.clone(), format!("on {}", role.scope)],
        }
    };
    whole.roles.iter().map(of).collect()
}

fn every_setting(sources: &Sources, whole: &Deployment) -> Vec<Mutation> {
    let of = |name: &String| {
        let line = sources[APP].lines().find(|line| line.trim_start().starts_with(&format!("{name}:")));
        let line = line.unwrap_or_else(|| panic!("a line sets {name}"));
        Mutation {
            what: format!("the setting {name}"),
            sources: cut(sources, APP, &format!("{line}\n")),
            named: vec![name.clone()],
        }
    };
    whole.settings.keys().map(of).collect()
}

fn every_queue(sources: &Sources) -> Vec<Mutation> {
    const PATH: &str = "infra/modules/storage-data.bicep";
    let queues = [
        ("  ingestQueue\n", "annals-ingest"),
        ("  '${ingestQueue}-poison'\n", "annals-ingest-poison"),
        ("  publishQueue\n", "annals-publish"),
        ("  '${publishQueue}-poison'\n", "annals-publish-poison"),
    ];
    queues
        .into_iter()
        .map(|(line, name)| Mutation {
            what: format!("the queue {name}"),
            sources: cut(sources, PATH, line),
            named: vec![format!("the queue {name} ")],
        })
        .collect()
}

fn every_function(sources: &Sources, whole: &Deployment) -> Vec<Mutation> {
    let of = |name: &String| {
        let mut mutated = sources.clone();
        mutated.remove(&format!("function-definitions/{name}/function.json"));
        Mutation {
            what: format!("the function {name}"),
            sources: mutated,
            named: vec![format!("function-definitions/{name}")],
        }
    };
    whole.functions.iter().map(of).collect()
}

fn every_table(sources: &Sources, whole: &Deployment) -> Vec<Mutation> {
    const PATH: &str = "infra/modules/storage-data.bicep";
    let of = |name: &String| {
        let line = sources[PATH].lines().find(|line| line.trim().trim_matches('\'') == name);
        let line = line.unwrap_or_else(|| panic!("a line names the table {name}"));
        Mutation {
            what: format!("the table {name}"),
            sources: cut(sources, PATH, &format!("{line}\n")),
            named: vec![format!("the table {name}")],
        }
    };
    whole.tables.iter().map(of).collect()
}

fn every_alert(sources: &Sources, whole: &Deployment) -> Vec<Mutation> {
    const PATH: &str = "infra/modules/alerts.bicep";
    let of = |name: &String| {
        let text = &sources[PATH];
        let at = text.find(&format!("    name: '{name}'\n")).expect("the rule is there");
        let (start, end) = (text[..at].rfind("  {\n").unwrap(), at + text[at..].find("\n  }\n").unwrap() + 5);
        Mutation {
            what: format!("the alert {name}"),
            sources: without(sources, PATH, start..end),
            named: vec![format!("the alert {name}")],
        }
    };
    whole.alerts.iter().map(of).collect()
}

#[test]
fn without_any_one_role_setting_queue_or_function_a_check_fails_and_names_it() {
    let sources = sources();
    let whole = Deployment::read(&sources);
    let mut mutations = every_role(&sources, &whole);
    mutations.extend(every_setting(&sources, &whole));
    mutations.extend(every_queue(&sources));
    mutations.extend(every_function(&sources, &whole));
    mutations.extend(every_table(&sources, &whole));
    mutations.extend(every_alert(&sources, &whole));
    let lists = [&whole.queues, &whole.functions, &whole.tables, &whole.alerts].map(|list| list.len());
    let all = whole.roles.len() + whole.settings.len() + lists.iter().sum::<usize>();
    assert!(lists.iter().all(|count| *count > 0) && mutations.len() == all, "{lists:?}");
    let unseen: Vec<_> = mutations
        .iter()
        .filter(|mutation| {
            let findings = checks::all(&Deployment::read(&mutation.sources));
            !findings.iter().any(|finding| mutation.named.iter().all(|name| finding.contains(name)))
        })
        .map(|mutation| mutation.what.as_str())
        .collect();
    assert!(unseen.is_empty(), "no check names it when these are gone: {unseen:?}");
}

#[test]
fn what_must_not_be_there_is_named_too() {
    let cases = [
        (
            APP,
            "    ANNALS_LOG: logFilter\n",
            "    ANNALS_LOG: logFilter\n    AZURE_CLIENT_ID: 'x'\n",
            "AZURE_CLIENT_ID",
        ),
        (
            APP,
            "    ANNALS_LOG: logFilter\n",
            "    ANNALS_LOG: logFilter\n    ANNALS_OLD: 'x'\n",
            "ANNALS_OLD",
        ),
        ("infra/modules/roles.bicep", "d5a91429-5739", "d5a91429-0000", "eventGridDataSender"),
        (
            "infra/modules/storage-data.bicep",
            "allowSharedKeyAccess: false",
            "allowSharedKeyAccess: true",
            "allowSharedKeyAccess",
        ),
        (
            "infra/modules/eventgrid.bicep",
            "disableLocalAuth: true",
            "disableLocalAuth: false",
            "disableLocalAuth",
        ),
        ("infra/main.bicep", "    topicName: topic.outputs.name\n", "", "topicName"),
        (
            "infra/main.bicep",
            "monitoring.outputs.insightsName",
            "monitoring.outputs.insights",
            "has no output insights",
        ),
        (
            "infra/modules/identity.bicep",
            "output id string = identity.id",
            "output id string = identiti.id",
            "identiti",
        ),
        (
            "infra/modules/identity.bicep",
            "  location: location\n",
            "  location: location name: name\n  ]",
            "cannot be parsed",
        ),
        ("host.json", "\"messageEncoding\": \"none\"", "\"messageEncoding\": \"base64\"", "messageEncoding"),
        ("host.json", "Trace;", "", "sample traces"),
        ("function-definitions/http/function.json", "\"get\", ", "", "method get"),
        (
            "function-definitions/ingest/function.json",
            "AnnalsStorage",
            "Elsewhere",
            "Elsewhere__queueServiceUri",
        ),
        (
            "local.settings.json.example",
            "AnnalsEventGrid__topicEndpointUri",
            "Other",
            "AnnalsEventGrid__topicEndpointUri",
        ),
        (APP, "'azd-service-name': 'annals'", "'azd-service-name': 'other'", "azd-service-name"),
        ("README.md", "\"annalS_TOPIC\"", "\"annalS_TOPICS\"", "output annals_topics"),
        (
            "infra/main.bicep",
            "output ANNALS_URL string",
            "output ANNALS_ADDRESS string",
            "output annals_address",
        ),
        ("README.md", "alertEmail=", "alertMail=", "parameter alertMail"),
        ("README.md", "environmentName=prod", "", "parameter environmentName"),
        ("azure.yaml", "dist: dist/app", "dist: dist", "dist: dist/app"),
        (
            "Cargo.toml",
            "azure_core = ",
            "azure_storage_blobs = \"0.21\"\nazure_core = ",
            "azure_storage_blobs",
        ),
    ];
    let sources = sources();
    for (path, from, to, named) in cases {
        let mut mutated = sources.clone();
        let text = mutated.get_mut(path).expect("the file is there");
        assert!(text.contains(from), "{path} holds no {from}");
        *text = text.replacen(from, to, 1);
        let findings = checks::all(&Deployment::read(&mutated));
        assert!(
            findings.iter().any(|finding| finding.contains(named)),
            "{path}: {to:?} is not named: {findings:?}"
        );
    }
}

#[test]
fn the_parser_sees_names_that_nothing_declares() {
    let file =
        File::parse("x.bicep", "param a string\nvar b = a\nvar c = [for (d, e) in b: '${d}${e}${f}']\n");
    assert_eq!(file.faults, ["x.bicep:3 uses `f`, which nothing declares"]);
}
