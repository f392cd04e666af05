//! `annals verify`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;

use super::{
    client::{Client, Reach, escape},
    show,
};
use crate::{
    checkpoint::{Note, VerifierKey},
    verify::{self, Anchor, Difference, Options, Outcome, Report},
};

/// Options of `annals verify`. It fails when something is not as it must be.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    reach: Reach,
    /// Verify only what lies behind this cursor.
    #[arg(long)]
    from: Option<String>,
    /// Read event rows too, with their data.
    #[arg(long)]
    include_data: bool,
    /// A checkpoint taken earlier, as it was published: the log must still agree with it. Can be repeated.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Verifier key of the checkpoints (`name+hash+key`); can be repeated. Without one their signatures
    /// are not checked.
    #[arg(long, value_name = "KEY")]
    key: Vec<VerifierKey>,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Page {
    next: Option<String>,
    #[serde(default)]
    progress: Option<Progress>,
    #[serde(default)]
    partitions: Vec<verify::CheckedPartition>,
    #[serde(default)]
    differences: Vec<Difference>,
}

#[derive(Deserialize)]
struct Progress {
    done: u64,
    total: u64,
}

pub(super) async fn verify(args: VerifyArgs) -> anyhow::Result<()> {
    let anchors = args.checkpoints()?;
    let client = args.reach.open()?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{msg:<12} {wide_bar} {pos}/{len} {eta}")?);
    let report = match &client {
        Client::Local { app, .. } if args.from.is_none() => {
            let tenant =
                app.store.registry().get(&args.reach.tenant).await?.context("there is no such tenant")?;
            let options = Options { data: args.include_data, from: None, anchors };
            let tell = |progress: verify::Progress| {
                bar.set_length(progress.total.max(progress.done));
                bar.set_position(progress.done);
                bar.set_message(progress.what);
            };
            match verify::verify(&app.store.log(&tenant), &options, None, None, &tell).await? {
                Outcome::Done(report) => report,
                Outcome::More(_) => bail!("the run was cut off"),
            }
        }
        client => args.page_by_page(client, &anchors, &bar).await?,
    };
    bar.finish_and_clear();
    args.tell(&report)
}

impl VerifyArgs {
    async fn page_by_page(
        &self,
        client: &Client,
        anchors: &[Anchor],
        bar: &ProgressBar,
    ) -> anyhow::Result<Report> {
        let mut query = Vec::new();
        if self.include_data {
            query.push("include=data".to_owned());
        }
        if let Some(from) = &self.from {
            query.push(format!("from={from}"));
        }
        if !anchors.is_empty() {
            let one = |anchor: &Anchor| {
                format!("{}-{}-{}", anchor.partition, anchor.sequence, hex::encode(anchor.digest.0))
            };
            query.push(format!("anchors={}", escape(&anchors.iter().map(one).collect::<Vec<_>>().join(","))));
        }
        let (mut cursor, mut report) = (None, Report::default());
        loop {
            let mut asked = query.clone();
            asked.extend(cursor.map(|cursor| format!("cursor={cursor}")));
            let answer = client.get(&self.reach.path(&format!("verification?{}", asked.join("&")))).await?;
            let page: Page =
                serde_json::from_slice(&answer.body).context("the system answered something else")?;
            if let Some(progress) = page.progress {
                bar.set_length(progress.total.max(progress.done));
                bar.set_position(progress.done);
            }
            report.partitions.extend(page.partitions);
            report.differences.extend(page.differences);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(report),
            }
        }
    }

    /// The digests that the checkpoints name.
    fn checkpoints(&self) -> anyhow::Result<Vec<Anchor>> {
        let mut anchors = Vec::new();
        for file in &self.checkpoint {
            let name = file.display();
            let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
            let note = Note::parse(&text).with_context(|| format!("{name} is no checkpoint"))?;
            if note.tenant != self.reach.tenant {
                bail!("{name} is of another tenant");
            }
            if !self.key.is_empty() && !self.key.iter().any(|key| note.is_signed_by(key)) {
                bail!("{name} carries no signature of the given keys");
            }
            if self.key.is_empty() {
                super::say(&format!(
                    "annals: the signature of {name} is not checked: --key names whose it must be"
                ));
            }
            anchors.push(note.anchor());
        }
        Ok(anchors)
    }

    fn tell(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            show(&serde_json::to_string_pretty(report)?);
        } else {
            for checked in &report.partitions {
                show(&format!(
                    "{}: {} events in {} commits, {} erasures, {} other rows; digest {} at sequence {} ({})",
                    checked.partition,
                    checked.events,
                    checked.commits,
                    checked.erasures,
                    checked.rows,
                    checked.digest,
                    checked.sequence,
                    checked.checked.join(", "),
                ));
            }
            for difference in &report.differences {
                show(&format!(
                    "{}: row `{}`: expected {}, found {}",
                    difference.partition, difference.row, difference.expected, difference.found
                ));
            }
        }
        match report.differences.len() {
            0 => Ok(()),
            1 => bail!("something is not as it must be"),
            more => bail!("{more} things are not as they must be"),
        }
    }
}
