//! What must hold of a deployment. Each check gives findings: what is wrong, by name.

use std::collections::{BTreeMap, BTreeSet};

use annals::config::SETTINGS;

use super::{
    bicep::{Expr, Kind},
    model::{APP, Deployment},
};

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
/// Crates that call a data plane, and the roles that their calls need: `(role, scope, why)`.
const CALLS: [(&str, &[(&str, &str, &str)]); 2] = [
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

/// All checks that need no running handler.
pub(super) fn all(deployment: &Deployment) -> Vec<String> {
    let checks =
        [bicep, settings, connections, functions, roles, resources, parameters, host, local, secrets];
    checks.iter().flat_map(|check| check(deployment)).collect()
}

fn bicep(deployment: &Deployment) -> Vec<String> {
    let mut findings: Vec<_> = deployment.bicep.iter().flat_map(|file| file.faults.clone()).collect();
    for file in &deployment.bicep {
        for one in &file.declarations {
            if matches!(one.kind, Kind::Parameter | Kind::Output) && !one.described {
                findings.push(format!("{}: `{}` has no @description", file.path, one.name));
            }
            if one.kind == Kind::Resource && !one.of.contains('@') {
                findings.push(format!("{}: the type of `{}` names no version", file.path, one.name));
            }
        }
    }
    findings
}

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

fn settings(deployment: &Deployment) -> Vec<String> {
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
            // Between `annals dev` and its own child.
            if setting && literal != "ANNALS_DEV_PARENT" && !listed.contains(literal) {
                findings.insert(format!(
                    "{path} reads the setting {literal}, which config::SETTINGS does not list"
                ));
            }
        }
    }
    findings.into_iter().collect()
}

fn connections(deployment: &Deployment) -> Vec<String> {
    let mut findings = Vec::new();
    for binding in &deployment.bindings {
        let function = &binding.function;
        let Some(queue) = binding.value["queueName"].as_str() else { continue };
        match deployment.expand(queue) {
            Ok(name) => {
                for needed in [name.clone(), format!("{}-poison", name.trim_end_matches("-poison"))] {
                    if !deployment.queues.contains(&needed) {
                        findings.push(format!("Bicep does not make the queue {needed} of the function {function}"));
                    }
                }
            }
            Err(setting) => findings.push(format!(
                "the queue of the function {function} needs the setting {setting}, which Bicep does not set to a name"
            )),
        }
        if binding.value["dataType"] != "binary" {
            findings.push(format!("the function {function} must take its messages with dataType binary"));
        }
    }
    for table in ["annalsregistry", "annalsdeadletters"] {
        if !deployment.tables.contains(table) {
            findings.push(format!("Bicep does not make the table {table}"));
        }
    }
    findings
}

fn functions(deployment: &Deployment) -> Vec<String> {
    let host = deployment.sources.get("src/host/mod.rs").map(String::as_str).unwrap_or_default();
    let routes: BTreeSet<_> = host
        .split(".route(\"/")
        .skip(1)
        .filter(|rest| rest.contains("post(functions::"))
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let mut findings = Vec::new();
    for route in &routes {
        if !deployment.functions.contains(route) {
            findings
                .push(format!("the handler serves /{route}, but there is no function-definitions/{route}"));
        }
    }
    for function in &deployment.functions {
        let http = function == "http";
        if !http && !routes.contains(function) {
            findings.push(format!("function-definitions/{function} has no route in the handler"));
        }
        let own: Vec<_> = deployment.bindings.iter().filter(|one| one.function == *function).collect();
        let triggers = own.iter().filter(|one| kind(&one.value).ends_with("Trigger")).count();
        if triggers != 1 {
            findings.push(format!("the function {function} must have exactly one trigger"));
        }
        let queue = own.iter().any(|one| kind(&one.value) == "queueTrigger");
        if own.iter().any(|one| kind(&one.value) == "eventGrid") && !queue {
            findings.push(format!(
                "the function {function} publishes without a queue: the host would not try again"
            ));
        }
    }
    findings.extend(http_function(deployment));
    findings
}

fn kind(binding: &serde_json::Value) -> &str {
    binding["type"].as_str().unwrap_or_default()
}

fn http_function(deployment: &Deployment) -> Vec<String> {
    let trigger = deployment.bindings.iter().find(|one| kind(&one.value) == "httpTrigger");
    let Some(trigger) = trigger else {
        return vec!["there is no function-definitions/http for the API".to_owned()];
    };
    let methods: Vec<_> =
        trigger.value["methods"].as_array().into_iter().flatten().filter_map(|one| one.as_str()).collect();
    let needed = ["get", "head", "post", "put", "patch", "delete", "options"];
    let mut findings: Vec<_> = needed
        .iter()
        .filter(|method| !methods.contains(method))
        .map(|method| {
            format!("the function {} must name the method {method}, in lower case", trigger.function)
        })
        .collect();
    if trigger.value["authLevel"] != "anonymous" || trigger.value["route"] != "{*path}" {
        findings.push(format!("the function {} must be anonymous and take every path", trigger.function));
    }
    findings
}

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

fn roles(deployment: &Deployment) -> Vec<String> {
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

fn resources(deployment: &Deployment) -> Vec<String> {
    const ACCOUNT: [(&str, &str); 7] = [
        ("allowSharedKeyAccess", "false"),
        ("allowBlobPublicAccess", "false"),
        ("allowCrossTenantReplication", "false"),
        ("isLocalUserEnabled", "false"),
        ("supportsHttpsTrafficOnly", "true"),
        ("defaultToOAuthAuthentication", "true"),
        ("minimumTlsVersion", "TLS1_2"),
    ];
    const SITE: [(&str, &str); 2] = [("httpsOnly", "true"), ("clientAffinityEnabled", "false")];
    const RULES: [(&str, &[(&str, &str)]); 6] = [
        ("Microsoft.Storage/storageAccounts@", &ACCOUNT),
        (
            "Microsoft.EventGrid/topics@",
            &[
                ("disableLocalAuth", "true"),
                ("inputSchema", "CloudEventSchemaV1_0"),
                ("minimumTlsVersionAllowed", "1.2"),
            ],
        ),
        ("Microsoft.Insights/components@", &[("DisableLocalAuth", "true")]),
        (
            "Microsoft.KeyVault/vaults@",
            &[("enableRbacAuthorization", "true"), ("enablePurgeProtection", "true")],
        ),
        ("Microsoft.Web/sites@", &SITE),
        ("Microsoft.Storage/storageAccounts/blobServices/containers@", &[("publicAccess", "None")]),
    ];
    let mut findings = Vec::new();
    for (file, resource) in deployment.resources() {
        let properties = resource.value.as_ref().and_then(|body| body.at(&["properties"]));
        let says = |name: &str| {
            let value = properties.and_then(|properties| properties.at(&[name]));
            value.and_then(|value| value.text().or_else(|| value.written()))
        };
        for (_, wanted) in RULES.iter().filter(|(of, _)| resource.of.starts_with(of)) {
            for (name, value) in *wanted {
                if says(name) != Some(value) {
                    findings.push(format!("{}: `{}` must say {name}: {value}", file.path, resource.name));
                }
            }
        }
        let public = [
            "Microsoft.Storage/storageAccounts@",
            "Microsoft.EventGrid/topics@",
            "Microsoft.Web/sites@",
            "Microsoft.KeyVault/vaults@",
        ];
        if public.iter().any(|of| resource.of.starts_with(of))
            && says("publicNetworkAccess") != Some("publicNetworkAccess")
        {
            findings.push(format!("{}: public access to `{}` must be a parameter", file.path, resource.name));
        }
    }
    findings.extend(site(deployment));
    findings
}

fn site(deployment: &Deployment) -> Vec<String> {
    let found = deployment.resources().find(|(_, one)| one.of.starts_with("Microsoft.Web/sites@"));
    let Some(body) = found.and_then(|(_, one)| one.value.as_ref()) else {
        return vec!["there is no function app".to_owned()];
    };
    let mut findings = Vec::new();
    let config = ["properties", "functionAppConfig"];
    let at = |path: &[&str]| body.at(&[&config[..], path].concat());
    if at(&["runtime", "name"]).and_then(Expr::text) != Some("custom") {
        findings.push("the runtime of the function app must be custom".to_owned());
    }
    for path in [
        &["deployment", "storage"][..],
        &["scaleAndConcurrency", "triggers", "http", "perInstanceConcurrency"],
    ] {
        if at(path).is_none() {
            findings.push(format!("the function app must say {}", path.join(".")));
        }
    }
    let site = body.at(&["properties", "siteConfig"]);
    if site.and_then(|site| site.at(&["minTlsVersion"])).and_then(Expr::text) != Some("1.2") {
        findings.push("the function app must say siteConfig.minTlsVersion: 1.2".to_owned());
    }
    if site.is_some_and(|site| site.at(&["linuxFxVersion"]).is_some() || site.at(&["appSettings"]).is_some())
    {
        findings.push(
            "siteConfig of the function app must hold neither linuxFxVersion nor appSettings".to_owned(),
        );
    }
    findings
}

/// Modules get the parameters that they have, all of them; files of parameters name those of main.
fn parameters(deployment: &Deployment) -> Vec<String> {
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
fn outputs(
    deployment: &Deployment,
    file: &super::bicep::File,
    module: &super::bicep::Declaration,
) -> Vec<String> {
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

fn host(deployment: &Deployment) -> Vec<String> {
    let host = &deployment.host;
    let wanted = [
        ("/version", serde_json::json!("2.0")),
        ("/functionTimeout", serde_json::json!("00:05:00")),
        ("/extensionBundle/id", serde_json::json!("Microsoft.Azure.Functions.ExtensionBundle")),
        ("/extensionBundle/version", serde_json::json!("[4.0.0, 5.0.0)")),
        ("/customHandler/description/defaultExecutablePath", serde_json::json!("handler")),
        ("/customHandler/enableForwardingHttpRequest", serde_json::json!(true)),
        ("/extensions/queues/messageEncoding", serde_json::json!("none")),
        ("/extensions/http/routePrefix", serde_json::json!("api")),
    ];
    let mut findings: Vec<_> = wanted
        .iter()
        .filter(|(path, value)| host.pointer(path) != Some(value))
        .map(|(path, value)| format!("host.json must say {path}: {value}"))
        .collect();
    let excluded = host.pointer("/logging/applicationInsights/samplingSettings/excludedTypes");
    if !excluded.and_then(|text| text.as_str()).is_some_and(|text| text.split(';').any(|one| one == "Trace"))
    {
        findings.push("host.json must not sample traces away: alerts read them".to_owned());
    }
    let count = host.pointer("/extensions/queues/maxDequeueCount").and_then(serde_json::Value::as_u64);
    let pause = host.pointer("/extensions/queues/visibilityTimeout").and_then(serde_json::Value::as_str);
    let pause =
        pause.map(|text| text.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap_or(0)));
    if count.zip(pause).is_none_or(|(count, pause)| count * pause < 4 * 3_600) {
        findings.push(
            "host.json: maxDequeueCount × visibilityTimeout must outlast an outage of four hours".to_owned(),
        );
    }
    findings
}

fn local(deployment: &Deployment) -> Vec<String> {
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

/// No key is asked for anywhere, and nothing secret comes out.
fn secrets(deployment: &Deployment) -> Vec<String> {
    const ASKING: [&str; 6] =
        ["listKeys(", "listAccountSas(", "listServiceSas(", "AccountKey=", "SharedAccessKey", "primaryKey"];
    let mut findings = Vec::new();
    for file in &deployment.bicep {
        for word in ASKING {
            if file.text.contains(word) {
                findings.push(format!("{} asks for a key ({word})", file.path));
            }
        }
    }
    findings
}
