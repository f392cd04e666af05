//! README, "Deploy": the commands give parameters that there are, and the outputs it shows are those of
//! the template.

use std::collections::BTreeSet;

use super::super::{
    bicep::{Declaration, Kind},
    model::Deployment,
};

pub(super) fn deploy(deployment: &Deployment) -> Vec<String> {
    let text = deployment.sources.get("README.md").map(String::as_str).unwrap_or_default();
    let section = text.split("\n## Deploy\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let (Some(section), Some(main)) = (section, deployment.file("infra/main.bicep")) else {
        return vec!["README.md has no section Deploy".to_owned()];
    };
    let lower = |names: BTreeSet<&str>| names.iter().map(|name| name.to_lowercase()).collect::<BTreeSet<_>>();
    // The deployment service changes the case of names in its answer.
    let shown = section
        .lines()
        .filter(|line| line.contains("\": { \"type\": "))
        .filter_map(|line| line.split('"').nth(1));
    let shown = lower(shown.collect());
    let made = lower(main.of_kind(Kind::Output).map(|one| one.name.as_str()).collect());
    let mut findings = Vec::new();
    findings.extend(
        shown
            .difference(&made)
            .map(|name| format!("README.md shows the output {name}, which infra/main.bicep does not make")),
    );
    findings.extend(
        made.difference(&shown)
            .map(|name| format!("README.md does not show the output {name} of infra/main.bicep")),
    );
    let command =
        section.split("--parameters").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    let given = command.split_whitespace().filter_map(|word| word.split_once('=')).map(|(name, _)| name);
    let given: BTreeSet<_> =
        given.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphabetic())).collect();
    let parameters: Vec<&Declaration> = main.of_kind(Kind::Parameter).collect();
    let known = |name: &str| parameters.iter().any(|one| one.name == name);
    findings.extend(
        given
            .iter()
            .filter(|name| !known(name))
            .map(|name| format!("README.md gives the parameter {name}, which infra/main.bicep has not")),
    );
    let needed = parameters.iter().filter(|one| one.value.is_none() && !given.contains(one.name.as_str()));
    findings.extend(
        needed.map(|one| format!("README.md does not give the parameter {} of infra/main.bicep", one.name)),
    );
    findings
}
