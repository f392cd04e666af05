//! `annals export`.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{Answer, Client, Reach, escape};

/// Options of `annals export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    reach: Reach,
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    /// Recorded at this time or later (RFC 3339).
    #[arg(long)]
    from: Option<String>,
    /// Recorded before this time.
    #[arg(long)]
    to: Option<String>,
    /// Commits and rows as stored, for `docs/verify_export.py`.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    proof: bool,
    /// The file to write; stdout without it.
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Go on with a file that an earlier run did not finish.
    #[arg(long, requires = "output")]
    resume: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

/// Where an export stands: beside the file until it is finished.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Progress {
    cursor: Option<String>,
    count: u64,
    length: u64,
}

pub(super) async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let client = args.reach.open()?;
    let mut target = Target::open(&args)?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} events {per_sec}")?);
    loop {
        let Answer { headers, body } = client.get(&args.page(&target.progress)).await?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let count: u64 =
            header("annals-count").and_then(|text| text.parse().ok()).context("the answer is no page")?;
        target.progress.cursor = header("annals-cursor");
        target.progress.count += count;
        target.write(&body)?;
        bar.set_position(target.progress.count);
        if header("annals-end").as_deref() == Some("true") {
            break;
        }
    }
    bar.finish_and_clear();
    let end = args.end(&client, &target.progress).await?;
    if args.format == Format::Ndjson {
        target.write(format!("{end}\n").as_bytes())?;
    }
    target.finish()?;
    super::say(&format!("annals: {end}"));
    Ok(())
}

impl ExportArgs {
    fn page(&self, progress: &Progress) -> String {
        let format = if self.format == Format::Csv { "csv" } else { "ndjson" };
        let mut path = self.reach.path(&format!("export?limit=500&format={format}&proof={}", self.proof));
        for (name, value) in [("from", &self.from), ("to", &self.to), ("after", &progress.cursor)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        path
    }

    /// The last line: how many events, and the digest that each partition has behind the last of them.
    async fn end(&self, client: &Client, progress: &Progress) -> anyhow::Result<Value> {
        let (mut cursor, mut partitions): (Option<String>, Vec<Value>) = (None, Vec::new());
        loop {
            let mut path = self.reach.path("completeness?");
            let until = &progress.cursor;
            let asked = [("from", &self.from), ("to", &self.to), ("until", until), ("cursor", &cursor)];
            for (name, value) in asked {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", escape(value)));
                }
            }
            let page: Value = serde_json::from_slice(&client.get(&path).await?.body)?;
            partitions.extend(page["partitions"].as_array().into_iter().flatten().cloned());
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(json!({ "kind": "end", "count": progress.count, "partitions": partitions }));
            }
        }
    }
}

/// Where the lines go.
struct Target {
    file: Option<(File, PathBuf)>,
    progress: Progress,
}

impl Target {
    fn open(args: &ExportArgs) -> anyhow::Result<Self> {
        let Some(path) = &args.output else { return Ok(Self { file: None, progress: Progress::default() }) };
        let beside = beside(path);
        let progress = match args.resume {
            true => {
                let text = fs::read(&beside)
                    .with_context(|| format!("there is no unfinished export {}", path.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("{} is damaged", beside.display()))?
            }
            false if path.exists() => bail!("{} exists already", path.display()),
            false => Progress::default(),
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        // What was written behind the last known place is written again.
        file.set_len(progress.length)?;
        file.seek(SeekFrom::Start(progress.length))?;
        Ok(Self { file: Some((file, beside)), progress })
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some((file, beside)) = &mut self.file else {
            std::io::stdout().write_all(bytes)?;
            return Ok(());
        };
        file.write_all(bytes)?;
        file.sync_data()?;
        self.progress.length += bytes.len() as u64;
        let new = beside.with_extension("new");
        fs::write(&new, serde_json::to_vec(&self.progress)?)?;
        fs::rename(new, beside)?;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        if let Some((_, beside)) = self.file {
            fs::remove_file(beside)?;
        }
        Ok(())
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    path.with_file_name(name)
}
