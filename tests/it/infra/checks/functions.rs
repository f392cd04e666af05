//! Functions, their queues and connections, and host.json.

use std::collections::BTreeSet;

use super::super::model::{APP, Deployment};

pub(super) fn connections(deployment: &Deployment) -> Vec<String> {
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

pub(super) fn functions(deployment: &Deployment) -> Vec<String> {
    let host = deployment.sources.get("src/host/mod.rs").map(String::as_str).unwrap_or_default();
    let routes: BTreeSet<_> = host
        .split(".route(\"/")
        .skip(1)
        .filter(|rest| rest.contains("any(functions::") || rest.contains("any(timers::"))
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

pub(super) fn kind(binding: &serde_json::Value) -> &str {
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

pub(super) fn host(deployment: &Deployment) -> Vec<String> {
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

/// azd finds the app by its tag, and publishes what xtask has made.
pub(super) fn azd(deployment: &Deployment) -> Vec<String> {
    let file = deployment.sources.get("azure.yaml").map(String::as_str).unwrap_or_default();
    let says = |line: &str| file.lines().any(|one| one.trim() == line);
    let wanted = [
        "host: function",
        "language: custom",
        "dist: dist/app",
        "run: cargo run --locked -p xtask -- package",
    ];
    let mut findings: Vec<_> =
        wanted.iter().filter(|line| !says(line)).map(|line| format!("azure.yaml must say {line}")).collect();
    let app = deployment.sources.get(APP).map(String::as_str).unwrap_or_default();
    let tag = app.split("'azd-service-name': '").nth(1).and_then(|rest| rest.split('\'').next());
    if tag.is_none_or(|service| !says(&format!("{service}:"))) {
        findings.push(format!("azure.yaml has no service of the name in the tag azd-service-name of {APP}"));
    }
    findings
}
