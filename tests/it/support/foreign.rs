//! A storage account, looked at by a client that is not ours.

use std::process::Command;

/// Every row of every table of an account, and every message of its queues (32 of each), as text. Binary
/// properties and messages in base64 come decoded too.
///
/// # Panics
/// Without Node, or when the account does not answer: a test must not pass because nobody looked.
pub(crate) fn dump(connection: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/foreign.mjs");
    let output = Command::new("node").args([script, connection]).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
