//! Invocations that are not HTTP: the request that the host sends, and what its answer does.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    change_feed::ChangeFeed,
    definitions::{Function, QueueSettings, Trigger},
    handler::Handler,
    output::{self, Rejected},
    queues::{Fate, Message, QueueService},
};
use crate::domain::timestamp::{Clock, SystemClock};

/// The host's version that we play.
pub(super) const HOST_VERSION: &str = "4.1037.0.0";
/// How often, and after which pause, a refused connection is tried again: the handler has just
/// ended, and nobody has noticed yet.
const REFUSALS: (u32, Duration) = (200, Duration::from_millis(25));

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvocationError {
    #[error("the handler does not answer")]
    Connection(#[source] reqwest::Error),
    #[error("the handler did not answer within functionTimeout ({0:?}): it is killed")]
    Timeout(Duration),
    #[error("the answer is not accepted")]
    Rejected(#[from] Rejected),
}

/// Sends invocations to the handler and publishes what they return.
#[derive(Debug)]
pub(super) struct Invoker {
    pub(super) handler: Arc<Handler>,
    pub(super) feed: Arc<ChangeFeed>,
    client: reqwest::Client,
    timeout: Option<Duration>,
}

impl Invoker {
    /// `timeout` is `functionTimeout`; `None` for none.
    pub(super) fn new(
        handler: Arc<Handler>,
        feed: Arc<ChangeFeed>,
        timeout: Option<Duration>,
    ) -> reqwest::Result<Self> {
        // No connection is kept: one to a handler that is gone would fail the next invocation.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self { handler, feed, client: client.build()?, timeout })
    }

    /// Sends a request once the handler is up. A connection that was refused has carried nothing:
    /// such a request waits like all others, and is sent again.
    pub(super) async fn send(
        &self,
        request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> reqwest::Result<reqwest::Response> {
        let mut refusals = 0;
        loop {
            self.handler.ready().await;
            match request(&self.client).send().await {
                Err(error) if error.is_connect() && refusals < REFUSALS.0 => {
                    refusals += 1;
                    tokio::time::sleep(REFUSALS.1).await;
                }
                sent => return sent.inspect_err(|error| self.broke(error)),
            }
        }
    }

    /// An exchange with the handler ended without an answer.
    fn broke(&self, error: &reqwest::Error) {
        if self.exceeded(error).is_some() { self.handler.condemn() } else { self.handler.suspect() }
    }

    /// `functionTimeout`, if that is what ended an exchange.
    fn exceeded(&self, error: &reqwest::Error) -> Option<Duration> {
        self.timeout.filter(|_| error.is_timeout())
    }

    /// Invokes a function; gives the number of events that it published. `functionTimeout` is the
    /// handler's own time: what it takes to start again first does not count.
    pub(super) async fn invoke(&self, function: &Function, body: &Value) -> Result<usize, InvocationError> {
        let (status, content_type, answer) =
            self.exchange(function, body).await.map_err(|error| match self.exceeded(&error) {
                Some(limit) => InvocationError::Timeout(limit),
                None => InvocationError::Connection(error),
            })?;
        let events =
            output::accept(status, content_type.as_deref(), &answer, function.event_grid.as_deref())?;
        let count = events.len();
        self.feed.publish(events);
        Ok(count)
    }

    /// Status, content type and body of the answer.
    async fn exchange(
        &self,
        function: &Function,
        body: &Value,
    ) -> reqwest::Result<(u16, Option<String>, Bytes)> {
        let url = format!("{}/{}", self.handler.url(), function.name);
        let invocation = uuid::Uuid::new_v4().to_string();
        let sent = self.send(|client| {
            // A stream has no length: the host sends its invocations chunked.
            let chunk = futures::stream::iter([Ok::<_, std::io::Error>(body.to_string())]);
            let request = client
                .post(&url)
                .header("content-type", "application/json; charset=utf-8")
                .header("x-azure-functions-hostversion", HOST_VERSION)
                .header("x-azure-functions-invocationid", &invocation)
                .header("user-agent", format!("Azure-Functions-Host/{HOST_VERSION}"))
                .body(reqwest::Body::wrap_stream(chunk));
            match self.timeout {
                Some(limit) => request.timeout(limit),
                None => request,
            }
        });
        let response = sent.await?;
        let status = response.status().as_u16();
        let content_type =
            response.headers().get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let answer = response.bytes().await.inspect_err(|error| self.broke(error))?;
        Ok((status, content_type, answer))
    }
}

/// Works one queue for one function, for ever, with as many messages in flight as the host has.
pub(super) fn work_queue(
    invoker: &Arc<Invoker>,
    service: &Arc<QueueService>,
    settings: &QueueSettings,
    function: &Function,
) {
    let Trigger::Queue { queue, .. } = &function.trigger else { return };
    service.declare(queue);
    for _ in 0..settings.in_flight() {
        let (invoker, service) = (Arc::clone(invoker), Arc::clone(service));
        let (settings, function, queue) = (settings.clone(), function.clone(), queue.clone());
        tokio::spawn(async move {
            loop {
                // The host polls for nothing while a handler starts again.
                invoker.handler.ready().await;
                let message = service.take(&queue).await;
                work_one(&invoker, &service, &settings, &function, &queue, message).await;
            }
        });
    }
}

async fn work_one(
    invoker: &Invoker,
    service: &QueueService,
    settings: &QueueSettings,
    function: &Function,
    queue: &str,
    message: Message,
) {
    let Some(body) = queue_body(&function.trigger, &message, settings) else {
        tracing::warn!("a message on {queue} is not as host.json says: straight to the poison queue");
        service.fail(queue, message, 0, Duration::ZERO);
        return;
    };
    match invoker.invoke(function, &body).await {
        Ok(_) => service.complete(queue),
        Err(error) => {
            let count = message.dequeue_count;
            let fate = service.fail(queue, message, settings.max_dequeue_count, settings.visibility_timeout);
            let then = match fate {
                Fate::Again => format!("again in {:?}", settings.visibility_timeout),
                Fate::Poison => format!("moved to {queue}-poison"),
                Fate::Exhausted => "not delivered any more: a poison queue has none of its own".to_owned(),
            };
            let error = crate::telemetry::chain(&error);
            tracing::warn!("{}: delivery {count} of a message failed ({error}); {then}", function.name);
        }
    }
}

/// The body of a queue invocation; `None` when the message cannot be decoded as host.json demands.
fn queue_body(trigger: &Trigger, message: &Message, settings: &QueueSettings) -> Option<Value> {
    let Trigger::Queue { binding, binary, .. } = trigger else { return None };
    let payload = if settings.base64() { STANDARD.decode(&message.body).ok()? } else { message.body.clone() };
    let data = match binary {
        true => STANDARD.encode(&payload),
        // A JSON string that holds the JSON text of a string.
        false => Value::String(String::from_utf8(payload).ok()?).to_string(),
    };
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    let time = message.inserted.to_string();
    Some(json!({
        "Data": { binding: data },
        "Metadata": {
            "DequeueCount": message.dequeue_count.to_string(),
            "ExpirationTime": "9999-12-31T23:59:59+00:00",
            "Id": quoted(&message.id),
            "InsertionTime": time,
            "NextVisibleTime": time,
            "PopReceipt": quoted("dev"),
            "sys": { "UtcNow": SystemClock.now().to_string(), "RandGuid": uuid::Uuid::new_v4().to_string() },
        }
    }))
}

/// The body of a timer invocation.
pub(super) fn timer_body(binding: &str) -> Value {
    let now = SystemClock.now().to_string();
    let status = json!({ "Last": now, "Next": now, "LastUpdated": now });
    json!({
        "Data": { binding: { "Schedule": { "AdjustForDST": true }, "ScheduleStatus": status, "IsPastDue": false } },
        "Metadata": { "sys": { "UtcNow": now } }
    })
}

/// Fires a timer on its schedule, for ever.
pub(super) fn work_timer(invoker: &Arc<Invoker>, function: &Function) {
    let Trigger::Timer { binding, schedule } = &function.trigger else { return };
    let (invoker, function) = (Arc::clone(invoker), function.clone());
    let (binding, schedule) = (binding.clone(), schedule.clone());
    tokio::spawn(async move {
        while let Some(next) = schedule.upcoming(chrono::Utc).next() {
            let wait = (next - chrono::Utc::now()).to_std().unwrap_or_default();
            tokio::time::sleep(wait).await;
            if let Err(error) = invoker.invoke(&function, &timer_body(&binding)).await {
                tracing::warn!("the timer {} failed ({})", function.name, crate::telemetry::chain(&error));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::{Router, http::header};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    /// Answers every request with `{}` until it is aborted.
    fn answering(listener: TcpListener) -> tokio::task::JoinHandle<()> {
        let app = Router::new().fallback(|| async { ([(header::CONTENT_TYPE, "application/json")], "{}") });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_time_that_a_handler_takes_to_start_again_is_not_the_invocation_s() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let before = answering(listener);
        // The process stays, so that nobody notices that it does not listen any more.
        let arguments = vec!["60".to_owned()];
        let handler = Handler::new("sleep".into(), arguments, "/".into(), address.port(), BTreeMap::new());
        let handler = Arc::new(handler);
        handler.start().await.unwrap();
        before.abort();
        let _ = before.await;
        // Ours from now on, and not listened to before long.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let again = tokio::spawn(async move {
            tokio::time::sleep(LIMIT * 2).await;
            answering(socket.listen(16).unwrap());
        });
        let trigger = Trigger::Queue { binding: "msg".to_owned(), queue: "jobs".to_owned(), binary: true };
        let function = Function { name: "work".to_owned(), trigger, event_grid: None };
        let invoker = Invoker::new(handler, Arc::default(), Some(LIMIT)).unwrap();
        let invoked = invoker.invoke(&function, &json!({})).await;
        assert!(matches!(invoked, Ok(0)), "{invoked:?}");
        again.await.unwrap();
    }
}
