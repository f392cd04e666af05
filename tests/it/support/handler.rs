//! The built handler on a real port, with the Functions host played by the test.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A handler process; it dies with this value.
pub(crate) struct Handler {
    pub(crate) port: u16,
    settings: Vec<(String, String)>,
    child: Mutex<Child>,
    client: Client,
    log: Log,
}

/// How much of its log a failed test shows.
const LAST_LINES: usize = 40;

/// What a handler has said, line by line.
type Log = Arc<Mutex<Vec<String>>>;

impl Handler {
    /// Starts it with these settings, and waits until it answers.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let owned = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        let settings: Vec<_> = settings.iter().map(owned).collect();
        let log = Log::default();
        let child = Mutex::new(spawn(port, &settings, &log));
        let client = Client::builder().timeout(Duration::from_secs(40)).no_proxy().build().unwrap();
        let handler = Self { port, settings, child, client, log };
        handler.ready().await;
        handler
    }

    async fn ready(&self) {
        let started = Instant::now();
        while self.client.get(self.url("/")).send().await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "the handler does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL, as the host does it, and a new start on the same port.
    pub(crate) async fn kill_and_restart(&self) {
        {
            let mut child = self.child.lock().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            *child = spawn(self.port, &self.settings, &self.log);
        }
        self.ready().await;
    }

    /// SIGTERM, as services and containers are stopped, and how the process ended.
    pub(crate) async fn stop(&self) -> ExitStatus {
        let id = self.child.lock().unwrap().id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status().unwrap();
        assert!(sent.success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "the handler does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lines of its log that hold this text.
    pub(crate) fn logged(&self, text: &str) -> Vec<String> {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Invokes a function as the host does in binary mode; `Err` for anything but a success.
    pub(crate) async fn invoke(
        &self,
        function: &str,
        message: &str,
        dequeue_count: u32,
    ) -> Result<Vec<Value>, String> {
        let body = json!({
            "Data": { "msg": STANDARD.encode(message) },
            "Metadata": { "DequeueCount": dequeue_count.to_string(), "Id": "\"m-1\"" }
        });
        let request =
            self.client.post(self.url(&format!("/{function}"))).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let json = response.headers().get("content-type").is_some_and(|value| value == "application/json");
        let text = response.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status}: {text}"));
        }
        assert!(json, "a success is JSON");
        let answer: Value = serde_json::from_str(&text).expect("a success is a JSON object");
        let events = answer["Outputs"]["events"].as_array().cloned().unwrap_or_default();
        Ok(events
            .iter()
            .map(|event| serde_json::from_str(event.as_str().expect("a JSON text")).unwrap())
            .collect())
    }

    /// A request as the host forwards it: with the public name of the app.
    pub(crate) async fn api(&self, method: &str, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let headers: &[(&str, &str)] = match body {
            Some(_) => &[("content-type", "application/json")],
            None => &[],
        };
        let response = self.send(method, path, headers, body.map(|body| body.to_string().into_bytes())).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Response {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, self.url(path)).header("host", "annals.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.unwrap_or_default()).send().await.unwrap()
    }

    /// Registers a tenant with its change feed on.
    pub(crate) async fn register(&self, tenant: &str) {
        let settings = json!({ "changeFeed": { "enabled": true } });
        let (status, body) = self.api("PUT", &format!("/api/tenants/{tenant}"), Some(&settings)).await;
        assert!(status.is_success(), "{status} {body}");
    }
}

impl Drop for Handler {
    #[expect(clippy::print_stdout, reason = "captured with the rest of a test's output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Captured with the rest of the test's output: what the handler said tells why.
            self.log.lock().unwrap().iter().rev().take(LAST_LINES).rev().for_each(|line| println!("{line}"));
        }
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(port: u16, settings: &[(String, String)], log: &Log) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("ANNALS_PUBLIC_URL", "https://annals.example")
        .env("ANNALS_LOG", "warn")
        // As `annals dev` starts it: a test that is about who may do what says otherwise.
        .env("ANNALS_AUTH", "off")
        .env("ANNALS_DEV", "1")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("the handler starts");
    let (stdout, log) = (child.stdout.take().expect("stdout is piped"), Arc::clone(log));
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.for_each(|line| log.lock().unwrap().push(line));
    });
    child
}

/// An event of a workflow instance, as Marain publishes it.
pub(crate) fn instance_event(tenant: &str, id: &str, instance: &str, kind: &str, data: Value) -> Value {
    let mut members = data;
    members["workflowInstanceId"] = instance.into();
    json!({
        "specversion": "1.0", "id": id, "source": "/engine", "type": format!("io.marain.workflow.instance.{kind}"),
        "time": "2026-11-24T09:00:00Z", "maraintenantid": tenant, "data": members,
    })
}

/// A handler on an embedded store of its own, with the tenant `acme`.
pub(crate) async fn embedded() -> (TempDir, Handler) {
    let folder = tempfile::tempdir().unwrap();
    let handler = Handler::start(&[("ANNALS_DATA_DIR", folder.path().to_str().unwrap())]).await;
    handler.register("acme").await;
    (folder, handler)
}
