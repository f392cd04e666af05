//! A secret that is planted wherever a sender could leave one, and looked for everywhere else.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde_json::{Value, json};

/// What must be found nowhere.
pub const SECRET: &str = "Kn4rz-Quux-Zwieback-31";
/// What stands beside it and is kept: where this is found, the secret could have been.
pub const MARKER: &str = "Marker-7b";

/// Whether the secret stands in a text, as it is or in base64, however it is aligned there.
pub fn found(text: &str) -> bool {
    let aligned = (0..3).map(|offset: usize| {
        let encoded = STANDARD_NO_PAD.encode(["x".repeat(offset).as_str(), SECRET].concat());
        // What depends on the neighbours is left out.
        encoded[offset * 2..encoded.len() - 2].to_owned()
    });
    text.contains(SECRET) || aligned.into_iter().any(|encoded| text.contains(&encoded))
}

/// A document with the secret at every depth, under a name or in a shape.
pub fn riddled() -> Value {
    let shape = format!("AccountName=a;AccountKey={SECRET};x=y");
    let inner = json!({ "password": SECRET }).to_string();
    json!({
        "password": SECRET, "nested": [{ "deep": { "API-Key": SECRET } }, [shape]],
        "metadata": { "authorization": format!("Bearer {SECRET}"), "set-cookie": [SECRET] },
        "error": { "message": format!("failed with Password={SECRET};"), "detail": { "clientSecret": { "value": SECRET } } },
        "headers": [{ "name": "X-Api-Key", "value": SECRET }], "body": inner, "kept": MARKER,
        "pem": format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"),
        "trigger": { "parameters": { "db_password": SECRET } },
        "previousContext": { "connectionString": SECRET }, "newContext": { "items": { "refresh_token": [SECRET] } },
        "connection": format!("Endpoint=sb://x;SharedAccessKeyName=n;SharedAccessKey={SECRET}"),
    })
}

/// An event that is riddled with it, also in attributes of its own.
pub fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/tests", "type": "t.happened", "subject": format!("s-{id}"),
        "apikey": SECRET, "note": format!("https://x/?sv=1&sig={SECRET}"), "data": riddled(),
    })
}

/// Events with the secret in each of the attributes that identify them: these are refused. With the
/// attribute.
pub fn named() -> Vec<(&'static str, Value)> {
    let shape = format!("AccountKey={SECRET}");
    ["id", "source", "subject", "correlationid", "causationid", "type"]
        .into_iter()
        .map(|attribute| {
            let mut event = event("named");
            event[attribute] = shape.clone().into();
            (attribute, event)
        })
        .collect()
}

/// Messages for the queue that can never be stored, of this tenant and of nobody.
pub fn dead(tenant: &str) -> Vec<String> {
    let with = |name: &str, value: Value| {
        let mut event = event("dead");
        event["tenantid"] = tenant.into();
        event[name] = value;
        event.to_string()
    };
    let wrapped = json!({
        "specversion": "1.0", "tenantid": tenant, "id": "b",
        "data_base64": STANDARD.encode(json!({ "password": SECRET }).to_string()),
    });
    let named = named().into_iter().map(|(_, mut event)| {
        event["tenantid"] = tenant.into();
        event.to_string()
    });
    let others = [
        with("specversion", "7".into()),
        with("tenantid", "unknown".into()),
        wrapped.to_string(),
        format!("no JSON at all; Password={SECRET}; and more"),
    ];
    others.into_iter().chain(named).collect()
}

/// Marain's envelope around a trigger with the secret among its parameters.
pub fn envelope(tenant: &str) -> Value {
    json!({
        "contentType": "application/vnd.marain.workflows.hosted.messageenvelope", "tenantId": tenant,
        "isStartWorkflowRequest": false, "isTrigger": true, "startWorkflowInstanceRequest": null,
        "operationId": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "trigger": {
            "contentType": "application/vnd.marain.workflows.hosted.trigger", "id": "t-1", "triggerName": "Submit",
            "parameters": { "Note": MARKER, "userPassword": SECRET, "Link": format!("https://x/?sig={SECRET}") },
            "subjects": ["instance"],
        },
        "properties": { "authToken": SECRET },
    })
}

/// A command, and how it ended.
pub fn command(id: &str) -> [Value; 2] {
    let dispatch = json!({ "id": id, "type": "t.command", "data": riddled(), "metadata": riddled() });
    let outcome = json!({
        "status": "failed", "error": riddled(), "result": { "kept": MARKER, "once": SECRET }, "secretOnce": ["/once"],
        "errorReason": format!("failed with Password={SECRET};"),
    });
    [dispatch, outcome]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_however_it_is_hidden() {
        for around in ["", "a", "ab", "abc"] {
            let text = format!("{around}{SECRET}{around}");
            assert!(found(&text) && found(&STANDARD.encode(&text)), "{text}");
        }
        assert!(!found(MARKER) && !found(&STANDARD.encode(MARKER)));
    }
}
