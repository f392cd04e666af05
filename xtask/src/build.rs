//! Builds the handler: static, so that it asks nothing of the worker it runs on.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

/// The target of the platform. Named even where it is that of this machine: flags for a named target
/// do not reach build scripts and macros, which cannot be static.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds a release of the project in `root`; gives the binary.
///
/// # Errors
/// When cargo fails, or what it built cannot be read.
pub fn handler(root: &Path) -> anyhow::Result<Vec<u8>> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "annals",
            "--bin",
            "annals",
            "--target",
            TARGET,
        ])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", flags(root))
        .status()
        .context("cargo cannot be started")?;
    ensure!(status.success(), "the handler was not built ({status})");
    let file = target.join(TARGET).join("release/annals");
    let handler = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let own = [Some(format!("{}/src/", root.display())), home().map(|home| format!("{home}/registry/"))];
    if let Some(path) = own.iter().flatten().find(|path| holds(&handler, path)) {
        bail!("the handler names {path}: built elsewhere, the package would be another");
    }
    Ok(handler)
}

/// Whether a path stands in a file.
fn holds(file: &[u8], path: &str) -> bool {
    file.windows(path.len()).any(|part| part == path.as_bytes())
}

/// Where cargo keeps the sources of others.
fn home() -> Option<String> {
    env::var("CARGO_HOME").ok().or_else(|| Some(format!("{}/.cargo", env::var("HOME").ok()?)))
}

/// Static, and without the paths of this machine, which would make each machine's package another.
fn flags(root: &Path) -> String {
    let mut flags = format!("-C target-feature=+crt-static --remap-path-prefix={}=annals", root.display());
    if let Some(home) = home() {
        flags.push_str(&format!(" --remap-path-prefix={home}=cargo"));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_machine_is_found_and_what_stands_for_it_is_not() {
        let registry = "/home/me/.cargo/registry/";
        assert!(holds(b"\0/home/me/.cargo/registry/src/index/hex-0.4.3/src/lib.rs\0", registry));
        assert!(!holds(b"\0cargo/registry/src/index/hex-0.4.3/src/lib.rs\0", registry));
        assert!(flags(Path::new("/a/b")).contains("--remap-path-prefix=/a/b=annals"));
    }
}
