use std::collections::HashMap;

use super::*;

fn read(settings: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let mut map: HashMap<&str, &str> =
        [("FUNCTIONS_CUSTOMHANDLER_PORT", "4711"), ("ANNALS_DATA_DIR", "/data"), ("ANNALS_AUTH", "keys")]
            .into();
    map.extend(settings.iter().copied());
    for name in map.keys() {
        assert!(SETTINGS.iter().any(|(known, _)| known == name), "{name} is not in the list");
    }
    Settings::read(&|name| map.get(name).map(|value| (*value).to_owned()))
}

fn azure(settings: &[(&str, &str)]) -> AzureStorage {
    match read(settings).unwrap().storage {
        Storage::Azure(azure) => azure,
        Storage::Embedded(_) => panic!("the embedded store was chosen"),
    }
}

#[test]
fn a_bad_setting_is_named_with_what_is_expected() {
    let cases: [(&[(&str, &str)], &str); 10] = [
        (
            &[("FUNCTIONS_CUSTOMHANDLER_PORT", "x")],
            "FUNCTIONS_CUSTOMHANDLER_PORT must be the port to listen on",
        ),
        (&[("ANNALS_DATA_DIR", "")], "AnnalsStorage must name a storage account"),
        (
            &[("ANNALS_PUBLIC_URL", "annals.example")],
            "ANNALS_PUBLIC_URL must be an absolute http or https URL",
        ),
        (&[("ANNALS_PUBLIC_URL", "https://a/?x=1")], "ANNALS_PUBLIC_URL must be a URL without query"),
        (&[("ANNALS_INGEST_QUEUE", "Bad_Queue")], "ANNALS_INGEST_QUEUE must be a queue name"),
        (&[("AnnalsStorage", "AccountName=a")], "AnnalsStorage must hold either AccountKey or"),
        (&[("AnnalsStorage", "AccountKey=c2VjcmV0")], "AnnalsStorage must hold AccountName"),
        (
            &[("AnnalsStorage__tableServiceUri", "http://a.table.core.windows.net")],
            "AnnalsStorage__tableServiceUri must be an https URL",
        ),
        (
            &[
                ("AnnalsStorage__tableServiceUri", "https://a.table.core.windows.net"),
                ("AnnalsStorage__queueServiceUri", "https://a.queue.core.windows.net"),
            ],
            "IDENTITY_ENDPOINT must be set for a managed identity",
        ),
        (
            &[("AnnalsStorage", "x=1"), ("AnnalsStorage__tableServiceUri", "https://a")],
            "AnnalsStorage must not be set together",
        ),
    ];
    for (settings, message) in cases {
        let error = read(settings).unwrap_err().to_string();
        assert!(error.starts_with(message), "{settings:?} gave: {error}");
    }
}

#[test]
fn the_two_queues_are_two() {
    let queues =
        |ingest, publish| read(&[("ANNALS_INGEST_QUEUE", ingest), ("ANNALS_PUBLISH_QUEUE", publish)]);
    for (ingest, publish) in [("one", "one"), ("one", "one-poison"), ("one-poison", "one")] {
        let error = queues(ingest, publish).unwrap_err().to_string();
        assert!(error.starts_with("ANNALS_PUBLISH_QUEUE must not be the queue"), "{error}");
    }
    assert!(queues("annals", "annals-publish").is_ok(), "one may begin as the other does");
}

#[test]
fn no_error_and_no_debug_repeats_a_key() {
    let secret = "c2VjcmV0LWtleQ==";
    let good = format!("AccountName=a;AccountKey={secret}");
    assert!(!format!("{:?}", azure(&[("AnnalsStorage", &good)])).contains(secret));
    for bad in
        [format!("{secret};AccountKey"), format!("AccountKey={secret};TableEndpoint=nonsense;AccountName=a")]
    {
        let error = read(&[("AnnalsStorage", &bad)]).unwrap_err().to_string();
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn a_connection_string_gives_endpoints_and_account() {
    let plain = azure(&[(
        "AnnalsStorage",
        "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.usgovcloudapi.net",
    )]);
    assert_eq!(plain.table_endpoint, "https://acme.table.core.usgovcloudapi.net");
    assert_eq!(plain.queue_endpoint, "https://acme.queue.core.usgovcloudapi.net");
    let azurite = azure(&[("AnnalsStorage", "UseDevelopmentStorage=true")]);
    assert_eq!(azurite.table_endpoint, "http://127.0.0.1:10002/devstoreaccount1");
    let explicit = azure(&[(
        "AnnalsStorage",
        "AccountName=x;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/x/;QueueEndpoint=http://127.0.0.1:8/x",
    )]);
    assert_eq!((explicit.table_endpoint.as_str(), explicit.account.as_str()), ("http://127.0.0.1:9/x", "x"));
}

#[test]
fn an_identity_may_be_user_assigned() {
    let settings = [
        ("AnnalsStorage__tableServiceUri", "https://acme.table.core.windows.net/"),
        ("AnnalsStorage__queueServiceUri", "https://acme.queue.core.windows.net"),
        ("AnnalsStorage__clientId", "11111111-2222-3333-4444-555555555555"),
        ("AnnalsStorage__credential", "managedidentity"),
        ("IDENTITY_ENDPOINT", "http://169.254.129.3:8081/msi/token"),
        ("IDENTITY_HEADER", "proof"),
    ];
    let identity = azure(&settings);
    assert_eq!(
        (identity.account.as_str(), identity.table_endpoint.as_str()),
        ("acme", "https://acme.table.core.windows.net")
    );
    assert!(matches!(identity.credential, Credential::ManagedIdentity { client_id: Some(_), .. }));
}

#[test]
fn without_an_account_the_embedded_store_serves() {
    assert_eq!(read(&[]).unwrap().storage, Storage::Embedded("/data".into()));
}
