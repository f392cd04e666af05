//! Settings: what the code and the host read is set, and what is set is read.

use std::collections::{BTreeMap, BTreeSet};

use annals::config::SETTINGS;

use super::super::model::{APP, Deployment};

/// Settings that nobody puts into Bicep: the platform or the host sets them, or they belong to a
/// developer's machine, or to an account with a key, which a deployment has not.
const NOT_DEPLOYED: [&str; 14] = [
    "FUNCTIONS_CUSTOMHANDLER_PORT",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "AnnalsStorage",
    "ANNALS_DATA_DIR",
    "ANNALS_DEV_QUEUES",
    "ANNALS_DEV",
    "WEBSITE_AUTH_ENABLED",
    "WEBSITE_INSTANCE_ID",
    "WEBSITE_SITE_NAME",
    "WEBSITE_HOSTNAME",
    "WEBSITE_OWNER_NAME",
    // One for each silo that is named instead of addressed; ours are addressed (tenants.bicep).
    "AnnalsSilos__{name}",
    "AnnalsSilos__{name}__tableServiceUri",
];

/// What the host itself reads, with the reason.
const HOST: [(&str, &str); 8] = [
    ("AzureWebJobsStorage__blobServiceUri", "timer locks and keys"),
    ("AzureWebJobsStorage__queueServiceUri", "the host's own account"),
    ("AzureWebJobsStorage__tableServiceUri", "diagnostic events"),
    ("AzureWebJobsStorage__credential", "no key of the host's account"),
    ("AzureWebJobsStorage__clientId", "which identity the host uses"),
    ("APPLICATIONINSIGHTS_CONNECTION_STRING", "where logs go"),
    ("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "logs without a key"),
    ("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "the largest body that the host buffers"),
];

/// Variables that are no settings of the handler: between `annals dev` and its own child, and what the
/// command line proves itself with.
const NO_SETTINGS: [&str; 3] = ["ANNALS_DEV_PARENT", "ANNALS_API_KEY", "ANNALS_TOKEN"];
/// What Flex Consumption refuses.
const FORBIDDEN: [&str; 12] = [
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "FUNCTIONS_EXTENSION_VERSION",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "WEBSITE_TIME_ZONE",
    "TZ",
    // Read by the host as a default identity for every connection.
    "AZURE_CLIENT_ID",
];

/// Settings that must be there, each with who reads it.
fn required(deployment: &Deployment) -> BTreeMap<String, String> {
    let own = SETTINGS.iter().filter(|(name, _)| !NOT_DEPLOYED.contains(name));
    let mut required: BTreeMap<String, String> =
        own.map(|(name, meaning)| ((*name).to_owned(), format!("the handler reads it: {meaning}"))).collect();
    required.extend(HOST.iter().map(|(name, why)| ((*name).to_owned(), format!("the host reads it: {why}"))));
    for binding in &deployment.bindings {
        let Some(connection) = binding.value["connection"].as_str() else { continue };
        let address = match binding.value["type"].as_str() {
            Some("queueTrigger" | "queue") => "queueServiceUri",
            _ => "topicEndpointUri",
        };
        for part in [address, "credential", "clientId"] {
            let why = format!("the connection of the function {}", binding.function);
            required.entry(format!("{connection}__{part}")).or_insert(why);
        }
    }
    required
}

pub(super) fn settings(deployment: &Deployment) -> Vec<String> {
    let required = required(deployment);
    let missing = required.iter().filter(|(name, _)| !deployment.settings.contains_key(*name));
    let mut findings: Vec<_> =
        missing.map(|(name, why)| format!("the setting {name} is missing in {APP} ({why})")).collect();
    let unread = deployment.settings.keys().filter(|name| !required.contains_key(*name));
    findings.extend(unread.map(|name| format!("nobody reads the setting {name} of {APP}")));
    for name in FORBIDDEN {
        if deployment.settings.contains_key(name) {
            findings.push(format!("Flex Consumption forbids the setting {name}"));
        }
    }
    findings.extend(unlisted(deployment));
    findings
}

/// Names of settings in the code that the list of all settings does not hold.
fn unlisted(deployment: &Deployment) -> Vec<String> {
    let listed: BTreeSet<_> = SETTINGS.iter().map(|(name, _)| *name).collect();
    // A simulation takes its seed from the environment; it is no part of the handler.
    let own = |path: &str| path.starts_with("src/") && path.ends_with(".rs") && !path.contains("/sim/");
    let code = deployment.sources.iter().filter(|(path, _)| own(path));
    let mut findings = BTreeSet::new();
    for (path, text) in code {
        for literal in text.split('"').skip(1).step_by(2) {
            let setting = ["ANNALS_", "AnnalsStorage", "AnnalsEventGrid", "IDENTITY_", "WEBSITE_"]
                .iter()
                .any(|prefix| literal.starts_with(prefix))
                && !literal.ends_with('_')
                && literal.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if setting && !NO_SETTINGS.contains(&literal) && !listed.contains(literal) {
                findings.insert(format!(
                    "{path} reads the setting {literal}, which config::SETTINGS does not list"
                ));
            }
        }
    }
    findings.into_iter().collect()
}

pub(super) fn local(deployment: &Deployment) -> Vec<String> {
    let values = &deployment.local["Values"];
    let mut needed = vec![
        "FUNCTIONS_WORKER_RUNTIME",
        "AzureWebJobsStorage",
        "AnnalsStorage",
        "AnnalsEventGrid__topicEndpointUri",
    ];
    let expanded: BTreeSet<_> = deployment
        .bindings
        .iter()
        .filter_map(|one| one.value["queueName"].as_str()?.split('%').nth(1))
        .collect();
    needed.extend(expanded);
    needed
        .into_iter()
        .filter(|name| values[name].as_str().is_none_or(str::is_empty))
        .map(|name| format!("local.settings.json.example must set {name}"))
        .collect()
}
