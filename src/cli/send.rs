//! `annals send`.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

use super::show;

/// Puts each file (stdin for `-` or none) as one message on a queue of `annals dev`.
pub(super) async fn send(url: &str, queue: &str, files: &[PathBuf]) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
    let stdin = [PathBuf::from("-")];
    let files = if files.is_empty() { &stdin[..] } else { files };
    for file in files {
        let message = read(file)?;
        let target = format!("{}/dev/queues/{queue}/messages", url.trim_end_matches('/'));
        let sent = client.post(target).body(message).send().await;
        let response = sent.with_context(|| format!("nothing answers at {url}: is `annals dev` running?"))?;
        let status = response.status();
        let answer = response.text().await.unwrap_or_default();
        if !status.is_success() {
            bail!("{} was not taken ({status}): {answer}", file.display());
        }
        show(answer.trim());
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut message = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut message).context("stdin cannot be read")?;
    } else {
        message = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    Ok(message)
}
