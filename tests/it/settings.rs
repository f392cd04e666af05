//! Settings, at the start of the real process.

use std::process::Command;

#[test]
fn a_bad_setting_stops_the_start_with_its_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .env_clear()
        .envs([
            ("FUNCTIONS_CUSTOMHANDLER_PORT", "1"),
            ("ANNALS_DATA_DIR", "/tmp/x"),
            ("ANNALS_PUBLIC_URL", "nonsense"),
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ANNALS_PUBLIC_URL must be an absolute http or https URL"), "{said}");
}
