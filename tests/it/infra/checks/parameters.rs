//! Parameters and outputs of modules.

use super::super::{
    bicep::{Declaration, Expr, File, Kind},
    model::Deployment,
};

/// Modules get the parameters that they have, all of them; files of parameters name those of main.
pub(super) fn parameters(deployment: &Deployment) -> Vec<String> {
    let mut findings = Vec::new();
    for file in &deployment.bicep {
        for module in file.of_kind(Kind::Module) {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = format!("{folder}/{}", module.of);
            let Some(target) = deployment.file(&path) else {
                findings.push(format!("{}: there is no module {path}", file.path));
                continue;
            };
            let body = match &module.value {
                Some(Expr::For(_, _, body)) => Some(&**body),
                body => body.as_ref(),
            };
            let given = body.and_then(|body| body.at(&["params"])).map(Expr::properties).unwrap_or_default();
            for (name, _) in given {
                if !target.of_kind(Kind::Parameter).any(|one| one.name == *name) {
                    findings.push(format!("{}: the module {path} has no parameter {name}", file.path));
                }
            }
            for one in target.of_kind(Kind::Parameter).filter(|one| one.value.is_none()) {
                if !given.iter().any(|(name, _)| *name == one.name) {
                    findings
                        .push(format!("{}: the module {path} needs the parameter {}", file.path, one.name));
                }
            }
            findings.extend(outputs(deployment, file, module));
        }
    }
    for (parameters, template) in [
        ("infra/main.parameters.json", "infra/main.bicep"),
        ("infra/tenants.parameters.json", "infra/tenants.bicep"),
    ] {
        let text = deployment.sources.get(parameters).map(String::as_str).unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let Some(file) = deployment.file(template) else { continue };
        for name in json["parameters"].as_object().into_iter().flat_map(|given| given.keys()) {
            if !file.of_kind(Kind::Parameter).any(|one| one.name == *name) {
                findings.push(format!("{parameters}: {template} has no parameter {name}"));
            }
        }
    }
    findings
}

/// What a file takes from a module, the module gives.
fn outputs(deployment: &Deployment, file: &File, module: &Declaration) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let Some(target) = deployment.file(&format!("{folder}/{}", module.of)) else { return Vec::new() };
    let access = format!("{}.outputs.", module.name);
    let taken = file.text.split(&access).skip(1);
    let names = taken.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default());
    names
        .filter(|name| !target.of_kind(Kind::Output).any(|one| one.name == *name))
        .map(|name| format!("{}: the module {} has no output {name}", file.path, module.of))
        .collect()
}
