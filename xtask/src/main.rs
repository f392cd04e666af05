//! `cargo run -p xtask -- package`: `dist/app` and `dist/annals.zip`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use xtask::{Package, build, elf};

/// What the project does around its code.
#[derive(Debug, Parser)]
#[command(name = "xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make the package that is deployed: `app`, a folder, and `annals.zip`.
    Package {
        /// Where to.
        #[arg(long, default_value = "dist")]
        out: PathBuf,
        /// A handler that is built already. It must be static, for linux-x64.
        #[arg(long)]
        handler: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    let Task::Package { out, handler } = Cli::parse().command;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the project has a folder")?;
    let handler = match handler {
        Some(file) => fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?,
        None => build::handler(root)?,
    };
    if let Err(problem) = elf::check(&handler) {
        bail!(problem);
    }
    let out = root.join(out);
    let package = Package::assemble(root, handler)?;
    package.write_folder(&out.join("app"))?;
    let zip = out.join("annals.zip");
    package.write_zip(File::create(&zip).with_context(|| format!("{} cannot be written", zip.display()))?)?;
    say(&format!("{} and {}", out.join("app").display(), zip.display()));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "where the package is belongs on stdout")]
fn say(line: &str) {
    println!("{line}");
}
