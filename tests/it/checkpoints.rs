//! Checkpoints: where they are kept, what they prove later, and which key signed them.

use std::path::Path;

use annals::{checkpoint::SigningKey, testing::azurite::Azurite};
use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::{
    proof::{annals, embedded, fill, get},
    support::{dev::until, handler::Handler},
};

/// The container's address with one blob's name in it.
fn blob(container: &str, name: &str) -> String {
    let (path, signature) = container.split_once('?').unwrap();
    format!("{path}/{name}?{signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_lands_in_its_container_and_is_held_against_the_log() {
    let azurite = Azurite::start().unwrap();
    let container = azurite.container("checkpoints");
    let client = Client::builder().no_proxy().build().unwrap();
    let key = SigningKey::generate("annals.example/test").unwrap();
    let connection = azurite.connection_string();
    let handler = Handler::start(&[
        ("AnnalsStorage", &connection),
        ("ANNALS_CHECKPOINT_KEY", &key.secret()),
        ("ANNALS_CHECKPOINT_CONTAINER", &container),
    ])
    .await;
    handler.register("acme").await;
    fill(&handler, 0, 15).await;
    // The container is not there yet: the timer fails and says so, and the next round mends it.
    assert!(handler.invoke("checkpoint", "", 1).await.is_err());
    let failed = until("the log tells of it", || {
        let failed = handler.logged("invocation.failed").join("\n");
        (!failed.is_empty()).then_some(failed)
    })
    .await;
    assert!(failed.contains("container") && !failed.contains("sig="), "{failed}");
    let made = client.put(format!("{container}&restype=container")).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED, "{:?}", made.text().await);
    handler.invoke("checkpoint", "", 1).await.unwrap();
    let kept = get(&handler, "checkpoints").await["checkpoints"][0].clone();
    let note = kept["note"].as_str().unwrap();
    let (table, sequence) = (note.split('/').nth(2).unwrap(), note.lines().nth(1).unwrap());
    let name = format!("{table}/p00/{:020}.txt", sequence.parse::<u64>().unwrap());
    let read = async || client.get(blob(&container, &name)).send().await.unwrap().text().await.unwrap();
    assert_eq!(read().await, note);
    // Never over an existing one, and never twice.
    handler.invoke("checkpoint", "", 1).await.unwrap();
    assert_eq!(read().await, note);
    // What lies in the container, and nothing else, is enough to hold the log against.
    fill(&handler, 15, 30).await;
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("from-the-container.txt");
    std::fs::write(&file, read().await).unwrap();
    let url = format!("http://127.0.0.1:{}", handler.port);
    verify(&["--url", &url], &file, &key.verifier().to_string(), true);
    drop(handler);
    let storage = [("AnnalsStorage", connection.as_str())];
    let output = annals(
        &[
            "verify",
            "--tenant",
            "acme",
            "--checkpoint",
            file.to_str().unwrap(),
            "--key",
            &key.verifier().to_string(),
        ],
        &storage,
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `annals verify` against a note.
fn verify(place: &[&str], file: &Path, key: &str, clean: bool) -> String {
    let fixed = ["verify", "--tenant", "acme", "--checkpoint", file.to_str().unwrap(), "--key", key];
    let output = annals(&[&fixed, place].concat(), &[]);
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.success(), clean, "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_and_notes_of_both_are_checked() {
    let (old, new) = (SigningKey::generate("annals/1").unwrap(), SigningKey::generate("annals/2").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (n, key) in [&old, &new].into_iter().enumerate() {
        let secret = key.secret();
        let handler = Handler::start(&[("ANNALS_DATA_DIR", data), ("ANNALS_CHECKPOINT_KEY", &secret)]).await;
        handler.register("acme").await;
        fill(&handler, n as u64 * 10, n as u64 * 10 + 10).await;
        handler.invoke("checkpoint", "", 1).await.unwrap();
        let newest = get(&handler, "checkpoints").await["checkpoints"][0]["note"].clone();
        let file = work.path().join(format!("{n}.txt"));
        std::fs::write(&file, newest.as_str().unwrap()).unwrap();
        files.push(file);
    }
    let place = ["--data", data];
    let (old, new) = (old.verifier().to_string(), new.verifier().to_string());
    let said = verify(&place, &files[0], &new, false);
    assert!(said.contains("no signature of the given keys"), "{said}");
    let both = [&place[..], &["--key", &new, "--checkpoint", files[1].to_str().unwrap()]].concat();
    verify(&both, &files[0], &old, true);
    // A digest that is not the log's.
    let text = std::fs::read_to_string(&files[0]).unwrap();
    let digest = text.lines().nth(2).unwrap();
    let other = std::fs::read_to_string(&files[1]).unwrap();
    let forged = work.path().join("forged.txt");
    std::fs::write(&forged, text.replace(digest, other.lines().nth(2).unwrap())).unwrap();
    let output = annals(
        &["verify", "--tenant", "acme", "--data", data, "--checkpoint", forged.to_str().unwrap()],
        &[],
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("as the checkpoint says"), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not checked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_signed_and_the_log_says_so() {
    let (_folder, handler) = embedded(&[]).await;
    fill(&handler, 0, 3).await;
    handler.invoke("checkpoint", "", 1).await.unwrap();
    assert_eq!(get(&handler, "checkpoints").await["checkpoints"], json!([]));
    assert!(handler.logged("checkpoint.no-key")[0].contains("ANNALS_CHECKPOINT_KEY"));
    drop(handler);
    // A vault that cannot be read leaves its reference in the setting: that costs the checkpoints, not the log.
    let reference = "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/key)";
    let (_folder, handler) = embedded(&[("ANNALS_CHECKPOINT_KEY", reference)]).await;
    fill(&handler, 0, 3).await;
    handler.invoke("checkpoint", "", 1).await.unwrap();
    assert_eq!(get(&handler, "checkpoints").await["checkpoints"], json!([]));
    assert!(handler.logged("checkpoint.no-key")[0].contains("refers to a vault"));
}
