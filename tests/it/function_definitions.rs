//! `host.json` and `function-definitions/`, held to what the Functions host demands of them and to
//! what the handler serves.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn json_file(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The bindings of every function, by name.
fn functions() -> BTreeMap<String, Vec<Value>> {
    let folders = std::fs::read_dir(root().join("function-definitions")).unwrap();
    let read = |folder: std::fs::DirEntry| {
        let definition = json_file(&folder.path().join("function.json"));
        (folder.file_name().into_string().unwrap(), definition["bindings"].as_array().unwrap().clone())
    };
    folders.map(|folder| read(folder.unwrap())).collect()
}

fn is_trigger(binding: &Value) -> bool {
    binding["type"].as_str().unwrap().ends_with("Trigger")
}

fn queue(name: &str) -> Value {
    json!({ "type": "queueTrigger", "direction": "in", "name": "msg", "queueName": name, "connection": "AnnalsStorage", "dataType": "binary" })
}

fn event_grid() -> Value {
    json!({ "type": "eventGrid", "direction": "out", "name": "events", "connection": "AnnalsEventGrid" })
}

#[test]
fn names_are_legal_and_each_function_has_one_trigger() {
    for (name, bindings) in functions() {
        let mut letters = name.chars();
        assert!(letters.next().is_some_and(|first| first.is_ascii_lowercase()), "{name}");
        assert!(letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)), "{name}");
        assert!(name.len() <= 128 && name != "host", "{name}");
        assert_eq!(bindings.iter().filter(|binding| is_trigger(binding)).count(), 1, "{name}");
        let mut names: Vec<_> =
            bindings.iter().map(|binding| binding["name"].as_str().unwrap().to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), bindings.len(), "{name}: two bindings have one name");
        for binding in &bindings {
            let direction = if is_trigger(binding) { "in" } else { "out" };
            assert_eq!(binding["direction"], direction, "{name}");
        }
    }
}

#[test]
fn queue_functions_have_the_bindings_of_the_plan() {
    let functions = functions();
    let expected = [
        ("ingest", vec![queue("%ANNALS_INGEST_QUEUE%"), event_grid()]),
        ("ingest-poison", vec![queue("%ANNALS_INGEST_QUEUE%-poison"), event_grid()]),
        ("publish", vec![queue("%ANNALS_PUBLISH_QUEUE%"), event_grid()]),
        ("publish-poison", vec![queue("%ANNALS_PUBLISH_QUEUE%-poison")]),
    ];
    for (name, bindings) in expected {
        assert_eq!(functions[name], bindings, "{name}");
    }
    let queues = functions.values().flatten().filter(|binding| binding["type"] == "queueTrigger");
    assert_eq!(queues.count(), 4, "a queue function is missing in this test");
    // Event Grid belongs to queue functions alone: only there the host tries again.
    for (name, bindings) in &functions {
        let publishes = bindings.iter().any(|binding| binding["type"] == "eventGrid");
        let queued = bindings.iter().any(|binding| binding["type"] == "queueTrigger");
        assert!(queued || !publishes, "{name} publishes without a queue behind it");
    }
}

#[test]
fn connections_are_the_two_that_infrastructure_sets() {
    for (name, bindings) in functions() {
        for binding in bindings {
            let expected = match binding["type"].as_str().unwrap() {
                "queueTrigger" => Some("AnnalsStorage"),
                "eventGrid" => Some("AnnalsEventGrid"),
                _ => None,
            };
            assert_eq!(binding["connection"].as_str(), expected, "{name}");
            assert!(binding.get("topicKeySetting").is_none(), "{name}: a connection needs no key setting");
        }
    }
}

#[test]
fn one_function_serves_http_and_is_forwarded() {
    let functions = functions();
    let http: Vec<_> = functions
        .iter()
        .filter(|(_, bindings)| bindings.iter().any(|binding| binding["type"] == "httpTrigger"))
        .collect();
    let [(name, bindings)] = http.as_slice() else { panic!("one function serves HTTP") };
    assert_eq!(name.as_str(), "http");
    // Forwarded means: http in and http out, and nothing beside.
    let [trigger, output] = bindings.as_slice() else { panic!("{bindings:?}") };
    assert_eq!(output, &json!({ "type": "http", "direction": "out", "name": "res" }));
    assert_eq!((&trigger["route"], &trigger["authLevel"]), (&json!("{*path}"), &json!("anonymous")));
    let methods = trigger["methods"].as_array().unwrap();
    for method in methods {
        let method = method.as_str().unwrap();
        assert_eq!(method, method.to_ascii_lowercase(), "some hosts know a method in lower case only");
    }
    for needed in ["get", "post", "put", "delete"] {
        assert!(methods.contains(&json!(needed)), "{needed}");
    }
    let host = json_file(&root().join("host.json"));
    assert_eq!(host["customHandler"]["enableForwardingHttpRequest"], true);
    assert_eq!(host["extensions"]["http"]["routePrefix"], "api");
}

#[test]
fn a_timer_names_its_schedule_in_six_fields() {
    for (name, bindings) in functions() {
        for binding in bindings.iter().filter(|binding| binding["type"] == "timerTrigger") {
            let schedule = binding["schedule"].as_str().unwrap();
            assert_eq!(schedule.split(' ').count(), 6, "{name}: {schedule}");
            assert_eq!(binding.get("connection"), None, "{name}");
        }
    }
    assert!(functions()["sweep"].iter().any(is_trigger));
}

#[test]
fn host_json_outlasts_an_outage_of_hours_and_takes_messages_as_they_are() {
    let host = json_file(&root().join("host.json"));
    assert_eq!(host["version"], "2.0");
    let queues = &host["extensions"]["queues"];
    assert_eq!(
        queues["messageEncoding"], "none",
        "`base64` would move plain JSON to the poison queue, unseen"
    );
    let seconds = |span: &Value| {
        let parts = span.as_str().unwrap().split(':').map(|part| part.parse::<u64>().unwrap());
        parts.fold(0, |sum, part| sum * 60 + part)
    };
    let outlasted = queues["maxDequeueCount"].as_u64().unwrap() * seconds(&queues["visibilityTimeout"]);
    assert!(outlasted >= 3 * 3_600, "a message is given up after {outlasted} s");
    assert!((1..=32).contains(&queues["batchSize"].as_u64().unwrap()));
    let timeout = seconds(&host["functionTimeout"]);
    assert!((30..=600).contains(&timeout), "a Consumption plan takes at most 10 minutes");
    assert!(host.get("retry").is_none(), "the queue tries again, and counts");
    let bundle = &host["extensionBundle"];
    assert_eq!(bundle["id"], "Microsoft.Azure.Functions.ExtensionBundle");
    assert!(bundle["version"].as_str().unwrap().starts_with("[4."));
    let handler = &host["customHandler"]["description"];
    assert!(handler["defaultExecutablePath"].is_string(), "without it the host starts nothing");
}
