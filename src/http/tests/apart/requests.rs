//! Requests to every route of the table: some that fit, and others with anything in any place.

use axum::http::Method;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{MINE, furnish::Loot};
use crate::http::routes::Route;

/// One request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<String>,
}

/// Draws requests.
pub(super) struct Requests<'a> {
    pub(super) random: SmallRng,
    /// Of the tenant whose roles callers have.
    pub(super) mine: &'a Loot,
    /// Of both.
    pub(super) all: Vec<String>,
}

impl Requests<'_> {
    /// One that the route answers with a success, if it comes from somebody who may. A route that is not
    /// known here gets what its neighbours get; the test says so when that is not enough.
    pub(super) fn fitting(&mut self, route: &Route, tenant: &str) -> Asked {
        let path = self.filled(route, tenant, false);
        Asked { method: route.method.clone(), path, body: self.body(route) }
    }

    /// One with anything in any place.
    pub(super) fn wild(&mut self, route: &Route, tenant: &str) -> Asked {
        let mut path = self.filled(route, tenant, true);
        let parameters = [
            "actor",
            "after",
            "anchors",
            "category",
            "correlation",
            "cursor",
            "format",
            "from",
            "include",
            "limit",
            "order",
            "proof",
            "source",
            "status",
            "to",
            "type",
            "until",
        ];
        let mut join = '?';
        for name in parameters {
            if self.random.random_bool(0.12) {
                let value = self.parameter(name);
                path.push_str(&format!("{join}{name}={value}"));
                join = '&';
            }
        }
        Asked { method: route.method.clone(), path, body: self.body(route) }
    }

    fn filled(&mut self, route: &Route, tenant: &str, wild: bool) -> String {
        let mut path = "/api".to_owned();
        for segment in route.path.split('/').skip(1) {
            let filled = match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                None => segment.to_owned(),
                Some("tenant") => tenant.to_owned(),
                // What is written under a name is read again: it must be of this tenant's colour.
                Some("name" | "principal") if route.method != Method::GET => self.named(segment, route),
                Some(_) if wild && self.random.random_bool(0.4) => self.anything(),
                Some(_) => self.named(segment, route),
            };
            path.push('/');
            path.push_str(&filled);
        }
        path
    }

    /// Something that is there.
    fn named(&mut self, segment: &str, route: &Route) -> String {
        let under = |part: &str| route.path.contains(part);
        match segment {
            "{category}" => "event".to_owned(),
            "{key}" => self.one_of(|mine| &mine.keys),
            "{name}" => format!(
                "{MINE}-{}",
                self.random.random_range(0..4) * usize::from(route.method != Method::GET)
            ),
            "{principal}" => format!("~{}", URL_SAFE_NO_PAD.encode(format!("entra:directory:{MINE}-person"))),
            _ if under("/dead-letters/{id}/replay") => self.one_of(|mine| &mine.curable),
            _ if under("/dead-letters/") => self.one_of(|mine| &mine.letters),
            _ if under("/replay/") => self.one_of(|mine| &mine.replays),
            _ if under("/correlations/") => format!("{MINE}-c"),
            _ if under("/streams/") => format!("{MINE}-stream-{}", self.random.random_range(0..5)),
            _ if under("/outcome") => format!("{MINE}-plain"),
            _ if under("/approvals") => format!("{MINE}-ask"),
            _ if under("/claim/renew") => format!("{MINE}-held"),
            _ if under("/claim") => format!("{MINE}-ok"),
            _ if under("/withdraw") => format!("{MINE}-mine"),
            _ if under("/commands/") => format!("{MINE}-secret"),
            _ => format!("{MINE}-{}", self.random.random_range(0..30)),
        }
    }

    fn anything(&mut self) -> String {
        match self.random.random_range(0..4) {
            0 => format!("{MINE}-{}", self.random.random_range(0..40)),
            1 => format!("{MINE}-stream-{}", self.random.random_range(0..7)),
            2 => {
                ["..", "~", "%2e%2e", "'", "a%7Cb", "e%7Cevent"].choose(&mut self.random).unwrap().to_string()
            }
            _ => self.all.choose(&mut self.random).unwrap().clone(),
        }
    }

    /// A value of a query, more often than not of its kind.
    fn parameter(&mut self, name: &str) -> String {
        let times = ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"];
        let fitting: &[&str] = match name {
            "category" => &["event", "command", "tenant"],
            "format" => &["csv", "ndjson"],
            "include" => &["data"],
            "limit" => &["1", "2", "50", "1000", "0"],
            "order" => &["asc", "desc"],
            "proof" => &["true"],
            "source" => &["/mauve", "/annals/registry"],
            "status" => &["pending-approval", "succeeded", "faulted"],
            "type" => &["t.mauve", "t.*", "annals.*", "*"],
            "from" | "to" if self.random.random_bool(0.7) => &times,
            _ => &[],
        };
        match fitting.choose(&mut self.random) {
            Some(value) if self.random.random_bool(0.8) => (*value).to_owned(),
            _ => self.anything(),
        }
    }

    fn body(&mut self, route: &Route) -> Option<String> {
        if matches!(route.method, Method::GET | Method::DELETE) {
            return None;
        }
        let number = self.random.random_range(0..1_000_000);
        let body: Value = match route.path.trim_start_matches("/tenants/{tenant}") {
            "" => json!({ "displayName": MINE, "changeFeed": { "enabled": true } }),
            "/keys" => json!({ "label": MINE, "roles": ["reader"] }),
            "/roles/{principal}" => json!({ "roles": ["reader"] }),
            "/events" => json!({
                "specversion": "1.0", "id": format!("{MINE}-{number}"), "source": format!("/{MINE}"), "type": "t",
                "subject": format!("{MINE}-stream-{}", number % 7), "data": { "value": MINE },
            }),
            "/consumers/{name}" => json!({ "cursor": self.one_of(|mine| &mine.places), "reset": true }),
            "/change-feed/replay" if number % 2 == 0 => json!({ "after": self.one_of(|mine| &mine.places) }),
            "/erasures" if number % 2 == 0 => {
                json!({ "subject": format!("{MINE}-person-{}", number % 5), "reason": MINE })
            }
            "/erasures" => {
                json!({ "event": { "id": format!("{MINE}-{}", number % 30), "source": format!("/{MINE}") }, "reason": MINE })
            }
            "/commands" => json!({
                "id": format!("{MINE}-c-{number}"), "type": format!("c.{MINE}"), "data": { "value": MINE },
                "correlationId": format!("{MINE}-c"),
            }),
            "/commands/{id}/outcome" => json!({ "status": "succeeded", "result": { "value": MINE } }),
            "/commands/{id}/approvals" => json!({ "decision": "approve", "comment": MINE }),
            "/commands/{id}/claim/renew" => json!({ "fence": self.mine.fence, "lease": 3_000 }),
            "/commands/{id}/secret-check" => json!({ "pointer": "/key", "value": format!("{MINE}-key") }),
            _ => json!({}),
        };
        // Of the other tenant's, instead of one's own.
        let foreign =
            self.random.random_bool(0.1).then(|| self.all.choose(&mut self.random).unwrap().clone());
        Some(match (foreign, body) {
            (Some(cursor), Value::Object(mut body))
                if body.contains_key("cursor") || body.contains_key("after") =>
            {
                let name = if body.contains_key("cursor") { "cursor" } else { "after" };
                body.insert(name.to_owned(), cursor.into());
                Value::Object(body).to_string()
            }
            (_, body) => body.to_string(),
        })
    }

    fn one_of(&mut self, list: impl Fn(&Loot) -> &Vec<String>) -> String {
        list(self.mine).choose(&mut self.random).unwrap().clone()
    }
}
