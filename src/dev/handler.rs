//! The handler process: started as the host starts it, watched, and started again when it ends.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures::FutureExt;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, Command},
    sync::{Notify, watch},
    time::sleep,
};

use super::log;

/// How long a handler may take until it answers: the host's `initializationTimeout`.
const START: Duration = Duration::from_secs(30);
/// A handler that lived this long has started well.
const WELL: Duration = Duration::from_secs(30);

/// The handler: how it is started, and whether it answers.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) root: PathBuf,
    pub(super) port: u16,
    pub(super) settings: BTreeMap<String, String>,
    ready: watch::Sender<bool>,
    condemned: Notify,
    suspected: Notify,
}

/// A process that runs. It ends with this value; it sees the end of its stdin even when we are
/// killed and nothing of ours runs any more.
struct Running {
    child: Child,
    _stdin: Option<ChildStdin>,
}

impl Handler {
    /// A handler that is not started yet.
    pub(super) fn new(
        program: PathBuf,
        arguments: Vec<String>,
        root: PathBuf,
        port: u16,
        settings: BTreeMap<String, String>,
    ) -> Self {
        let (ready, _) = watch::channel(false);
        let (condemned, suspected) = Default::default();
        Self { program, arguments, root, port, settings, ready, condemned, suspected }
    }

    /// Where it answers.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until the handler answers. The host keeps its invocations back so long, and so do we:
    /// a message that was never sent has lost no delivery.
    pub(super) async fn ready(&self) {
        // The sender is our own: it cannot be gone.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Has the handler killed and started again: what the host does after `functionTimeout`.
    pub(super) fn condemn(&self) {
        self.ready.send_replace(false);
        self.condemned.notify_one();
    }

    /// A connection broke: nothing is sent until the handler has answered a ping, since one that is
    /// on its way out may still take connections, and messages with them.
    pub(super) fn suspect(&self) {
        self.ready.send_replace(false);
        self.suspected.notify_one();
    }

    fn spawn(&self) -> anyhow::Result<Running> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
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
        // Ctrl-C reaches a whole process group: the handler is ended by us, not beside us.
        #[cfg(unix)]
        command.process_group(0);
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", self.program.display()))?;
        pass_on(child.stdout.take(), false);
        pass_on(child.stderr.take(), true);
        // Taken out of the child, whose `wait` would close it.
        let stdin = child.stdin.take();
        Ok(Running { child, _stdin: stdin })
    }

    /// Starts the process and waits until it answers.
    async fn begin(&self) -> anyhow::Result<Running> {
        let mut running = self.spawn()?;
        self.answers(&mut running.child).await?;
        // Meant for the process before this one.
        let _ = self.condemned.notified().now_or_never();
        Ok(running)
    }

    /// Waits until the process answers `GET /`.
    async fn answers(&self, child: &mut Child) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
        let started = Instant::now();
        while client.get(self.url()).send().await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the handler ended before it answered ({status}): its last lines say why");
            }
            if started.elapsed() > START {
                bail!("the handler did not answer within 30 s: the real host would give up here");
            }
            sleep(Duration::from_millis(25)).await;
        }
        self.ready.send_replace(true);
        Ok(())
    }

    /// Starts the handler, waits until it answers, and keeps it running from then on.
    pub(super) async fn start(self: &std::sync::Arc<Self>) -> anyhow::Result<()> {
        let running = self.begin().await?;
        let handler = std::sync::Arc::clone(self);
        tokio::spawn(async move { handler.watch(running).await });
        Ok(())
    }

    /// Starts the handler again whenever it ends: at once, then less and less eagerly.
    async fn watch(&self, mut running: Running) {
        let mut pause = Duration::ZERO;
        loop {
            let started = Instant::now();
            let ended = self.end(&mut running.child).await;
            self.ready.send_replace(false);
            tracing::warn!("the handler ended ({ended}) and is started again");
            if started.elapsed() > WELL {
                pause = Duration::ZERO;
            }
            running = loop {
                sleep(pause).await;
                pause = (pause * 2).clamp(Duration::from_millis(100), Duration::from_secs(5));
                match self.begin().await {
                    Ok(running) => break running,
                    Err(error) => tracing::error!("{error:#}"),
                }
            };
        }
    }

    /// Waits for the end of the process, or brings it about; gives what there is to say.
    async fn end(&self, child: &mut Child) -> String {
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                () = self.condemned.notified() => {
                    return match child.kill().await {
                        Ok(()) => "killed after functionTimeout".to_owned(),
                        Err(error) => error.to_string(),
                    };
                }
                () = self.suspected.notified() => {
                    if self.answers(child).await.is_err() {
                        // It has ended already, or answers nobody any more.
                        let _ = child.start_kill();
                    }
                }
            }
        };
        match status {
            Ok(status) if status.code() == Some(0) => {
                format!("{status}; older hosts start no handler again that exits with 0")
            }
            Ok(status) => format!("{status}; the real host stops after the third time"),
            Err(error) => error.to_string(),
        }
    }
}

/// Passes a stream of the handler on, line by line, as the host does: stderr is an error there.
fn pass_on(stream: Option<impl AsyncRead + Unpin + Send + 'static>, error: bool) {
    let Some(stream) = stream else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if error { log::stderr(&line) } else { log::stdout(&line) }
        }
    });
}
