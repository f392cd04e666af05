//! Makes the package that is deployed: what the Functions host wants to find, and nothing else.
//!
//! ```text
//! host.json
//! handler                    0755, static, linux-x64
//! {function}/function.json   one folder a function
//! ```
//!
//! The same files always give the same bytes: entries in order, no time, no owner.

pub mod build;
pub mod elf;

use std::{
    collections::BTreeMap,
    fs,
    io::{Seek, Write},
    path::Path,
};

use anyhow::{Context, ensure};
pub use zip;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// Name of the handler, as `host.json` calls it.
pub const HANDLER: &str = "handler";
/// What a developer may keep beside the unpacked package; it is never in the package.
pub const LOCAL_SETTINGS: &str = "local.settings.json";

/// The files of a package, by their path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    files: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// Gathers `host.json` and the functions of the project in `root`, with this handler.
    ///
    /// # Errors
    /// When a file cannot be read, `host.json` calls the handler something else, or there is no
    /// function at all: the host would then start no handler, and say nothing.
    pub fn assemble(root: &Path, handler: Vec<u8>) -> anyhow::Result<Self> {
        let host = read(&root.join("host.json"))?;
        let names_us = format!("\"defaultExecutablePath\": \"{HANDLER}\"");
        ensure!(
            String::from_utf8_lossy(&host).contains(&names_us),
            "host.json must say {names_us}: that is what the handler is called in the package"
        );
        let mut files = BTreeMap::from([("host.json".to_owned(), host), (HANDLER.to_owned(), handler)]);
        let folder = root.join("function-definitions");
        let entries =
            fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("{} cannot be read", folder.display()))?;
            let definition = entry.path().join("function.json");
            if definition.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                files.insert(format!("{name}/function.json"), read(&definition)?);
            }
        }
        ensure!(files.len() > 2, "{} holds no function", folder.display());
        Ok(Self { files })
    }

    /// The paths in the package, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Writes the files below `folder`, and removes whatever else is there but local settings.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_folder(&self, folder: &Path) -> anyhow::Result<()> {
        if folder.is_dir() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else if entry.file_name() != LOCAL_SETTINGS {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        for (path, content) in &self.files {
            let file = folder.join(path);
            let parent = file.parent().context("a file has a folder")?;
            fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
            fs::write(&file, content).with_context(|| format!("{} cannot be written", file.display()))?;
            set_mode(&file, mode(path))?;
        }
        Ok(())
    }

    /// Writes the package as a zip.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_zip(&self, to: impl Write + Seek) -> anyhow::Result<()> {
        let mut zip = ZipWriter::new(to);
        for (path, content) in &self.files {
            // A mode makes the entry one "created by Unix": without that it is lost.
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .last_modified_time(DateTime::default())
                .unix_permissions(mode(path));
            zip.start_file(path.as_str(), options)?;
            zip.write_all(content)?;
        }
        zip.finish()?;
        Ok(())
    }
}

fn mode(path: &str) -> u32 {
    if path == HANDLER { 0o755 } else { 0o644 }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

#[cfg(unix)]
fn set_mode(file: &Path, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(mode))?)
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> anyhow::Result<()> {
    Ok(())
}
