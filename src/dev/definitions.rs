//! `host.json` and `function-definitions/`: what the real host reads, read the same way.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use cron::Schedule;
use serde::{Deserialize, de::DeserializeOwned};

/// `functionTimeout` where host.json has none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The application: its functions, and how its queues are worked.
#[derive(Debug)]
pub(super) struct Definitions {
    /// The handler as `customHandler.description` names it, and its arguments.
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// `functionTimeout`; `None` for none.
    pub(super) timeout: Option<Duration>,
    pub(super) route_prefix: String,
    pub(super) queues: QueueSettings,
    pub(super) functions: Vec<Function>,
}

/// One function.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) trigger: Trigger,
    /// Name of the Event Grid output binding, if there is one.
    pub(super) event_grid: Option<String>,
}

/// What starts a function.
#[derive(Debug, Clone)]
pub(super) enum Trigger {
    Queue { binding: String, queue: String, binary: bool },
    Timer { binding: String, schedule: Box<Schedule> },
    Http,
}

/// `extensions.queues` of `host.json`, with the host's defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QueueSettings {
    batch_size: usize,
    new_batch_threshold: Option<usize>,
    #[serde(deserialize_with = "time_span")]
    pub(super) visibility_timeout: Duration,
    pub(super) max_dequeue_count: u32,
    message_encoding: String,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            batch_size: 16,
            new_batch_threshold: None,
            visibility_timeout: Duration::ZERO,
            max_dequeue_count: 5,
            message_encoding: "base64".to_owned(),
        }
    }
}

impl QueueSettings {
    /// Most messages of one function in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.batch_size + self.new_batch_threshold.unwrap_or(self.batch_size / 2)
    }

    /// Whether the host takes base64 off a message before a function sees it.
    pub(super) fn base64(&self) -> bool {
        self.message_encoding == "base64"
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostFile {
    custom_handler: CustomHandler,
    function_timeout: Option<String>,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomHandler {
    description: Description,
    #[serde(default)]
    enable_forwarding_http_request: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    default_executable_path: PathBuf,
    #[serde(default)]
    arguments: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Extensions {
    #[serde(default)]
    http: HttpSettings,
    #[serde(default)]
    queues: QueueSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpSettings {
    route_prefix: String,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { route_prefix: "api".to_owned() }
    }
}

#[derive(Deserialize)]
struct FunctionFile {
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    r#type: String,
    name: String,
    queue_name: Option<String>,
    data_type: Option<String>,
    schedule: Option<String>,
}

impl Definitions {
    /// Reads the application in `root`. `settings` are its app settings, for `%NAME%`.
    pub(super) fn read(root: &Path, settings: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let host: HostFile = json(&root.join("host.json"))
            .context("start `annals dev` in the folder that holds host.json, or name it with --app")?;
        let folder = root.join("function-definitions");
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|e| e.path().join("function.json"))
            .filter(|p| p.is_file())
            .collect();
        files.sort();
        let functions =
            files.iter().map(|file| function(file, settings)).collect::<anyhow::Result<Vec<_>>>()?;
        if functions.is_empty() {
            bail!("{} holds no function.json: the host would start no handler", folder.display());
        }
        let forwarded = host.custom_handler.enable_forwarding_http_request;
        if !forwarded && functions.iter().any(|function| matches!(function.trigger, Trigger::Http)) {
            bail!(
                "host.json must set customHandler.enableForwardingHttpRequest: HTTP is served in no other way"
            );
        }
        let timeout = host.function_timeout.as_deref().map_or(Ok(Some(DEFAULT_TIMEOUT)), function_timeout)?;
        Ok(Self {
            program: host.custom_handler.description.default_executable_path,
            arguments: host.custom_handler.description.arguments,
            timeout,
            route_prefix: host.extensions.http.route_prefix,
            queues: host.extensions.queues,
            functions,
        })
    }
}

fn json<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what the host expects", file.display()))
}

fn function(file: &Path, settings: &BTreeMap<String, String>) -> anyhow::Result<Function> {
    let FunctionFile { bindings } = json(file)?;
    let name = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = name.context("a function has a folder")?;
    let mut triggers =
        bindings.iter().filter(|binding| binding.r#type.to_ascii_lowercase().ends_with("trigger"));
    let (Some(binding), None) = (triggers.next(), triggers.next()) else {
        bail!("{} must have exactly one trigger", file.display());
    };
    let missing = |what: &str| format!("{}: the trigger has no {what}", file.display());
    let trigger = match binding.r#type.as_str() {
        "queueTrigger" => Trigger::Queue {
            binding: binding.name.clone(),
            queue: expand(binding.queue_name.as_deref().with_context(|| missing("queueName"))?, settings)?,
            binary: binding.data_type.as_deref() == Some("binary"),
        },
        "timerTrigger" => {
            let schedule =
                expand(binding.schedule.as_deref().with_context(|| missing("schedule"))?, settings)?;
            let schedule =
                Schedule::from_str(&schedule).with_context(|| format!("{}: bad schedule", file.display()))?;
            Trigger::Timer { binding: binding.name.clone(), schedule: Box::new(schedule) }
        }
        "httpTrigger" => Trigger::Http,
        other => bail!("{}: `annals dev` knows no {other}", file.display()),
    };
    let event_grid =
        bindings.iter().find(|binding| binding.r#type == "eventGrid").map(|binding| binding.name.clone());
    Ok(Function { name, trigger, event_grid })
}

/// Replaces `%NAME%` by the app setting of that name.
fn expand(text: &str, settings: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let mut out = String::new();
    for (index, part) in text.split('%').enumerate() {
        match index % 2 {
            0 => out.push_str(part),
            _ => out
                .push_str(settings.get(part).with_context(|| format!("the app setting {part} is not set"))?),
        }
    }
    Ok(out)
}

/// `hh:mm:ss`, as .NET writes a span of time.
fn span(text: &str) -> Option<Duration> {
    let parts: Option<Vec<u64>> = text.split(':').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([hours, minutes, seconds]) => Some(Duration::from_secs(hours * 3_600 + minutes * 60 + seconds)),
        _ => None,
    }
}

fn function_timeout(text: &str) -> anyhow::Result<Option<Duration>> {
    match text {
        "-1" => Ok(None),
        text => {
            span(text).map(Some).context("host.json: functionTimeout is written hh:mm:ss, or -1 for none")
        }
    }
}

fn time_span<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    span(&text).ok_or_else(|| serde::de::Error::custom("a span of time is written hh:mm:ss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BTreeMap<String, String> {
        let pairs = [("ANNALS_INGEST_QUEUE", "in"), ("ANNALS_PUBLISH_QUEUE", "out")];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn our_own_definitions_are_read_with_their_settings() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let definitions = Definitions::read(root, &settings()).unwrap();
        let names: Vec<_> = definitions.functions.iter().map(|function| function.name.as_str()).collect();
        let ours =
            ["checkpoint", "gauge", "http", "ingest", "ingest-poison", "publish", "publish-poison", "sweep"];
        assert_eq!(names, ours);
        assert_eq!(definitions.queues.in_flight(), 32);
        assert_eq!(definitions.timeout, Some(Duration::from_secs(300)));
        assert_eq!(definitions.queues.visibility_timeout, Duration::from_secs(30));
        assert!(!definitions.queues.base64());
        let queue = |name: &str| match &definitions.functions.iter().find(|f| f.name == name).unwrap().trigger
        {
            Trigger::Queue { queue, binary: true, .. } => queue.clone(),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!((queue("ingest-poison").as_str(), queue("publish").as_str()), ("in-poison", "out"));
    }

    #[test]
    fn a_function_timeout_may_be_none() {
        assert_eq!(function_timeout("-1").unwrap(), None);
        assert_eq!(function_timeout("00:00:02").unwrap(), Some(Duration::from_secs(2)));
        assert!(function_timeout("5 minutes").is_err());
    }

    #[test]
    fn a_setting_that_is_not_set_is_named() {
        let error = expand("%MISSING%-poison", &settings()).unwrap_err().to_string();
        assert_eq!(error, "the app setting MISSING is not set");
    }
}
