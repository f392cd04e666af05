//! Roles: each call to a data plane is covered, by a role on the list, and nothing is given that nothing needs.

use std::collections::BTreeSet;

use super::{super::model::Deployment, functions::kind};

/// Every role that a deployment may give, with its id.
const ROLES: [(&str, &str); 8] = [
    ("storageBlobDataOwner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"),
    ("storageBlobDataContributor", "ba92f5b4-2d11-453d-a403-e96b0029c9fe"),
    ("storageTableDataContributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"),
    ("storageQueueDataContributor", "974c5e8b-45b9-4653-ba55-5f855dd0fb88"),
    ("storageQueueDataMessageSender", "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a"),
    ("eventGridDataSender", "d5a91429-5739-47e2-a06b-3470a27159e7"),
    ("monitoringMetricsPublisher", "3913510d-42f4-4e42-8a64-420c390055eb"),
    ("keyVaultSecretsUser", "4633458b-17de-408a-b874-0445c86b69e6"),
];

/// A role, what it is given on, and why.
type Call = (&'static str, &'static str, &'static str);

/// Crates that call a data plane, and the roles that their calls need: `(role, scope, why)`.
const CALLS: [(&str, &[Call]); 2] = [
    (
        "azure_data_tables",
        &[
            (
                "storageTableDataContributor",
                "dataAccount",
                "registry, dead letters, making and using tenants' tables",
            ),
            ("storageTableDataContributor", "account", "the table of a siloed tenant"),
        ],
    ),
    (
        "azure_storage_queues",
        &[
            ("storageQueueDataContributor", "ingest", "putting messages back, reading its depth"),
            ("storageQueueDataContributor", "ingestPoison", "reading its depth and its oldest message"),
            ("storageQueueDataContributor", "publish", "handing commits over, reading its depth"),
            ("storageQueueDataContributor", "publishPoison", "reading its depth and its oldest message"),
        ],
    ),
];

/// Crates of Azure that call nothing by themselves.
const SILENT: [&str; 2] = ["azure_core", "azure_storage"];

/// What each role is for: `(role, scope, why)`. A scope is a symbol of the file that gives the role.
fn needs(deployment: &Deployment) -> Vec<(String, String, String)> {
    let mut needs = vec![
        need("storageBlobDataOwner", "hostAccount", "the host: deployment package, timer locks, keys"),
        need("storageTableDataContributor", "hostAccount", "the host: diagnostic events"),
        need("monitoringMetricsPublisher", "insights", "the host: logs, since keys are off there"),
        need("storageBlobDataContributor", "checkpoints", "the handler: signed checkpoints"),
        need("keyVaultSecretsUser", "keyVault", "the host: references to secrets in settings"),
        need("storageQueueDataMessageSender", "ingest", "senders: messages"),
    ];
    for binding in &deployment.bindings {
        let function = &binding.function;
        if kind(&binding.value) == "eventGrid" {
            needs.push(need("eventGridDataSender", "topic", &format!("{function} publishes")));
        }
        if kind(&binding.value) == "queueTrigger" {
            let name = binding.value["queueName"].as_str().unwrap_or_default();
            let queue = match (name.contains("INGEST"), name.ends_with("-poison")) {
                (true, false) => "ingest",
                (true, true) => "ingestPoison",
                (false, false) => "publish",
                (false, true) => "publishPoison",
            };
            needs.push(need(
                "storageQueueDataContributor",
                queue,
                &format!("the host: the trigger of {function}"),
            ));
        }
    }
    for (_, calls) in CALLS {
        needs
            .extend(calls.iter().map(|(role, scope, why)| need(role, scope, &format!("the handler: {why}"))));
    }
    needs
}

fn need(role: &str, scope: &str, why: &str) -> (String, String, String) {
    (role.to_owned(), scope.to_owned(), why.to_owned())
}

pub(super) fn roles(deployment: &Deployment) -> Vec<String> {
    let mut findings = Vec::new();
    for given in &deployment.roles {
        let known = ROLES.iter().find(|(name, _)| *name == given.role);
        match known {
            None => {
                findings.push(format!("{}: the role {} is not on the list of roles", given.file, given.role))
            }
            Some((_, id)) if *id != given.id => {
                findings.push(format!("{}: the id of the role {} is not {id}", given.file, given.role));
            }
            Some(_) => {}
        }
    }
    let needs = needs(deployment);
    let mut told = BTreeSet::new();
    for (role, scope, why) in &needs {
        let given = deployment.roles.iter().any(|one| one.role == *role && one.scope == *scope);
        if !given && told.insert((role, scope)) {
            findings.push(format!("nobody is given {role} on {scope} ({why})"));
        }
    }
    for given in &deployment.roles {
        if !needs.iter().any(|(role, scope, _)| *role == given.role && *scope == given.scope) {
            findings.push(format!(
                "{}: nothing needs {} ({} on {})",
                given.file, given.symbol, given.role, given.scope
            ));
        }
    }
    let manifest = deployment.sources.get("Cargo.toml").map(String::as_str).unwrap_or_default();
    for name in manifest
        .lines()
        .filter_map(|line| line.split([' ', '=']).next())
        .filter(|name| name.starts_with("azure_"))
    {
        if !SILENT.contains(&name) && !CALLS.iter().any(|(known, _)| *known == name) {
            findings.push(format!("the crate {name} calls Azure, and no check says which roles that needs"));
        }
    }
    findings
}
