//! `annals dev` as a process, watched from outside.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Client, Response};
use serde_json::Value;

/// A running `annals dev`; it dies with this value.
pub(crate) struct Dev {
    pub(crate) port: u16,
    pub(crate) client: Client,
    said: Arc<Mutex<Vec<String>>>,
    child: Child,
}

impl Dev {
    /// Starts it on a free port; its handler answers when this returns.
    pub(crate) async fn start(app: &Path, data: &Path, more: &[&str]) -> Self {
        Self::run(&mut command(app, data, 0, more)).await
    }

    /// Starts this [`command`]; its handler answers when this returns.
    pub(crate) async fn run(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let (lines, heard) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&said));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|l| heard.lock().unwrap().push(l)));
        let client = Client::builder().timeout(Duration::from_secs(40)).no_proxy().build().unwrap();
        let mut dev = Self { port: 0, client, said, child };
        dev.port = until("annals dev is up", || {
            let ended = dev.child.try_wait().unwrap();
            assert!(ended.is_none(), "annals dev ended: {}", dev.said());
            dev.said.lock().unwrap().iter().find_map(|line| port(line))
        })
        .await;
        dev
    }

    /// All that it printed so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        json(self.client.get(self.url(path)).send().await.unwrap()).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Response {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, self.url(path)).header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    }

    pub(crate) async fn put(&self, queue: &str, message: &str) {
        let answer = self.send("POST", &format!("/dev/queues/{queue}/messages"), message.to_owned()).await;
        assert_eq!(answer.status(), 202);
    }

    /// Messages of a queue that are not worked yet: waiting or in flight.
    pub(crate) async fn depth(&self, queue: &str) -> u64 {
        let depths = self.get("/dev/queues").await;
        depths[queue]["visible"].as_u64().unwrap_or(0) + depths[queue]["invisible"].as_u64().unwrap_or(0)
    }

    pub(crate) async fn drained(&self, queue: &str) {
        let started = Instant::now();
        while self.depth(queue).await > 0 {
            assert!(started.elapsed() < Duration::from_secs(60), "{queue} is not drained: {}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process of the handler.
    pub(crate) async fn handler(&self) -> u32 {
        let parent = self.child.id().to_string();
        until("a handler runs", || {
            let found = Command::new("pgrep").args(["-P", &parent]).output().unwrap().stdout;
            let found = String::from_utf8(found).unwrap();
            // One that was killed may still be listed.
            found.lines().filter_map(|pid| pid.parse().ok()).find(|pid| runs(*pid))
        })
        .await
    }

    /// SIGKILL for the handler that runs; a new one may run when this returns.
    pub(crate) async fn kill_handler(&self) {
        let handler = self.handler().await;
        signal("KILL", handler);
        until("the handler is gone", || (!runs(handler)).then_some(())).await;
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What a person's Ctrl-C does; gives the exit code.
    pub(crate) async fn interrupt(&mut self) -> Option<i32> {
        signal("INT", self.child.id());
        let child = &mut self.child;
        until("annals dev ends", || child.try_wait().unwrap()).await.code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `annals dev`, not started.
pub(crate) fn command(app: &Path, data: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.args(["dev", "--port", &port.to_string(), "--app"]).arg(app).arg("--data").arg(data).args(more);
    command.env_remove("ANNALS_LOG").stdin(Stdio::null());
    command
}

/// Sends a signal to a process, if it is still there.
fn signal(name: &str, pid: u32) {
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).output().unwrap();
}

/// Whether a process still runs; one that only waits to be reaped does not. A zombie with threads
/// (`Zl`) still does: until the last of them is gone, its port takes connections and loses them.
pub(crate) fn runs(pid: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap().stdout;
    state.first().is_some_and(|first| *first != b'Z') || state.contains(&b'l')
}

pub(crate) async fn json(answer: Response) -> Value {
    let text = answer.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// Waits for something to come true; a slow machine gets a minute.
pub(crate) async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("http://localhost:")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
