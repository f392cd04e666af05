//! The handler process: started as the host starts it, watched, and started again when it ends.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::sleep,
};

/// How long a handler may take until it answers: the host's `initializationTimeout`.
const START: Duration = Duration::from_secs(30);
/// A handler that lived this long has started well.
const WELL: Duration = Duration::from_secs(30);

/// How the handler is started.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) program: PathBuf,
    pub(super) root: PathBuf,
    pub(super) port: u16,
    pub(super) settings: BTreeMap<String, String>,
}

impl Handler {
    fn spawn(&self) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.root)
            .envs(&self.settings)
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", self.port.to_string())
            .env("FUNCTIONS_HTTPWORKER_PORT", self.port.to_string())
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", uuid::Uuid::new_v4().to_string())
            .env("FUNCTIONS_APP_ROOT_PATH", &self.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", self.program.display()))?;
        pass_on(child.stdout.take(), false);
        pass_on(child.stderr.take(), true);
        Ok(child)
    }

    /// Starts the handler, waits until it answers `GET /`, and keeps it running from then on.
    pub(super) async fn start(self: &Arc<Self>) -> anyhow::Result<()> {
        let mut child = self.spawn()?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
        let started = Instant::now();
        while client.get(format!("http://127.0.0.1:{}/", self.port)).send().await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the handler ended before it answered ({status}): its last lines say why");
            }
            if started.elapsed() > START {
                bail!("the handler did not answer within 30 s: the real host would give up here");
            }
            sleep(Duration::from_millis(25)).await;
        }
        let handler = Arc::clone(self);
        tokio::spawn(async move { handler.watch(child).await });
        Ok(())
    }

    /// Starts the handler again whenever it ends, at once the first time, then less and less eagerly.
    async fn watch(&self, mut child: Child) {
        let mut pause = Duration::ZERO;
        loop {
            let started = Instant::now();
            // Held open, where `wait` would close it: the handler ends when its stdin does.
            let _stdin = child.stdin.take();
            let status = child.wait().await;
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            if started.elapsed() > WELL {
                pause = Duration::ZERO;
            }
            tracing::warn!(
                status,
                "the handler ended and is started again (the real host stops after the third time)"
            );
            sleep(pause).await;
            pause = (pause * 2).clamp(Duration::from_millis(100), Duration::from_secs(5));
            child = loop {
                match self.spawn() {
                    Ok(child) => break child,
                    Err(error) => tracing::error!(error = %error, "the handler cannot be started"),
                }
                sleep(Duration::from_secs(1)).await;
            };
        }
    }
}

/// Passes a stream of the handler on, line by line, as the host does: stderr is an error there.
fn pass_on(stream: Option<impl AsyncRead + Unpin + Send + 'static>, error: bool) {
    let Some(stream) = stream else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if error {
                tracing::error!(target: "handler", "{line}");
            } else {
                tracing::debug!(target: "handler", "{line}");
            }
        }
    });
}
