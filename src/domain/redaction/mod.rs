//! What must never be written down, taken out before anything is.
//!
//! Three rules, each of which only adds to the others:
//!
//! - **Names.** A member whose name ends in what secrets are called loses its value (`names`).
//! - **Shapes.** A value that *is* a secret by its form is taken out wherever it stands (`shapes`).
//!   A tenant may switch these off.
//! - **Pointers.** What a tenant points to.
//!
//! What is taken out becomes [`REDACTED`]; everything else stays byte for byte as it was sent. Truth
//! values and `null` under a secret's name stay: they say whether there is a secret, not which.
//! Identifiers stand in keys and on the feed, so an event with a secret in one is refused.
//!
//! Limits: an encrypted or binary payload is not looked into, and neither is XML beyond its shapes.

mod names;
mod shapes;
mod strings;
mod walker;

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use self::{names::Names, strings::escaped, walker::Walker};
use super::{
    command::FACT_ATTRIBUTE,
    event::{Attribute, Data, NewEvent, Target},
    ids::Invalid,
    json::MAX_DEPTH,
};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";
/// Most pointers that are noted on an event, and the longest, in bytes. What goes beyond is noted as
/// its root: `/data`.
const MAX_NOTED: (usize, usize) = (64, 256);
/// Most names and most pointers that a tenant adds, and the longest, in bytes.
const MAX_RULES: (usize, usize) = (64, 256);

/// What a tenant adds to the rules that always hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rules {
    /// More names: of members whose last words are these, in whatever spelling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// JSON pointers into an event, `/data/…` or `/extensions/…`; `*` stands for any one segment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pointers: Vec<String>,
    /// Whether values that are secrets by shape are taken out.
    #[serde(default = "yes")]
    pub shapes: bool,
}

fn yes() -> bool {
    true
}

impl Default for Rules {
    fn default() -> Self {
        Self { names: Vec::new(), pointers: Vec::new(), shapes: true }
    }
}

impl Rules {
    /// Checks what a tenant asks for.
    ///
    /// # Errors
    /// [`Invalid`] for a name without a letter or digit, a pointer that leads nowhere, or too many.
    pub fn check(&self) -> Result<(), Invalid> {
        let (most, longest) = MAX_RULES;
        let fits = |list: &[String]| list.len() <= most && list.iter().all(|text| text.len() <= longest);
        if !fits(&self.names) || self.names.iter().any(|name| names::words(name).is_empty()) {
            let rule =
                format!("must be at most {most} names of at most {longest} bytes with letters or digits");
            return Err(Invalid::new("redaction.names", rule));
        }
        let leads = |pointer: &String| {
            let segments = segments(pointer);
            matches!(segments.first().map(String::as_str), Some("data" | "extensions")) && segments.len() > 1
        };
        if !fits(&self.pointers) || !self.pointers.iter().all(leads) {
            let rule = format!("must be at most {most} JSON pointers below /data or /extensions");
            return Err(Invalid::new("redaction.pointers", rule));
        }
        Ok(())
    }
}

/// The segments of a JSON pointer, as a pointer of ours writes them.
fn segments(pointer: &str) -> Vec<String> {
    let Some(rest) = pointer.strip_prefix('/') else { return Vec::new() };
    let segment = |text: &str| escaped(&text.replace("~1", "/").replace("~0", "~")).into_owned();
    rest.split('/').map(segment).collect()
}

/// An event holds a secret where none can be taken out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` holds what looks like a secret, and cannot be stored without it")]
pub struct SecretIn(pub &'static str);

/// The rules of a tenant, ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Redactor {
    names: Names,
    pointers: Vec<Vec<String>>,
    shapes: bool,
}

impl Default for Redactor {
    /// The rules that always hold, and the shapes.
    fn default() -> Self {
        Self::new(&Rules::default())
    }
}

impl Redactor {
    /// The rules that always hold, and these.
    pub fn new(rules: &Rules) -> Self {
        Self {
            names: Names::with(&rules.names),
            pointers: rules.pointers.iter().map(|pointer| segments(pointer)).collect(),
            shapes: rules.shapes,
        }
    }

    /// Takes secrets out of an event, and notes where.
    ///
    /// Its content digest, taken before, stays: a later delivery of the same event is recognised.
    ///
    /// # Errors
    /// [`SecretIn`] when an identifier holds one.
    pub fn event(&self, event: &mut NewEvent) -> Result<(), SecretIn> {
        self.identifiers(event)?;
        let mut noted = Vec::new();
        self.data(event, &mut noted);
        let ruled = event.ruling.is_some();
        for (name, value) in &mut event.extensions {
            // The journal's own facts hold no secret, and no rule of a tenant's may blank them.
            if ruled && name == FACT_ATTRIBUTE {
                continue;
            }
            if self.attribute(name, value) {
                noted.push(note(&format!("/extensions/{name}")));
            }
        }
        if let Some(id) = event.actor.as_mut().and_then(|actor| actor.id.as_mut())
            && let Cow::Owned(redacted) = self.text(id)
        {
            *id = redacted;
            noted.push(note("/actor/id"));
        }
        for value in event.essentials.values_mut().chain(event.state.as_mut()) {
            if let Cow::Owned(redacted) = self.text(value) {
                *value = redacted;
            }
        }
        event.redacted = within_bounds(noted);
        Ok(())
    }

    /// Takes secrets out of a document that is no event, as far as it can be read; `None` when it
    /// holds none that can be seen.
    pub fn document(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.bytes(bytes, None, "", &mut Vec::new())
    }

    /// Takes out of a text what is a secret by shape.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.shapes { shapes::redact(text) } else { Cow::Borrowed(text) }
    }

    fn identifiers(&self, event: &NewEvent) -> Result<(), SecretIn> {
        let stream = match &event.target {
            Target::Stream(name) => Some(name.id.as_str()),
            Target::TenantAudit => None,
        };
        let texts = [
            ("source", Some(event.source.as_str())),
            ("id", Some(event.id.as_str())),
            ("subject", event.subject.as_deref()),
            ("type", Some(event.event_type.as_str())),
            ("dataschema", event.data_schema.as_deref()),
            ("datacontenttype", event.content_type.as_deref()),
            ("correlationid", event.correlation.as_ref().map(|id| id.as_str())),
            ("causationid", event.causation.as_ref().map(|id| id.as_str())),
            ("data", stream),
            ("data", event.status.as_ref().map(|status| status.as_str())),
        ];
        let secret = |text: &str| {
            matches!(self.text(text), Cow::Owned(_))
                || shapes::url_secret(text, |name| self.names.secret(name))
        };
        match texts.into_iter().find(|(_, text)| text.is_some_and(secret)) {
            Some((field, _)) => Err(SecretIn(field)),
            None => Ok(()),
        }
    }

    fn data(&self, event: &mut NewEvent, noted: &mut Vec<Note>) {
        match &event.data {
            Data::None => {}
            Data::Json(text) => {
                if let Some(redacted) = self.json(text, "/data", noted) {
                    event.data = Data::Json(redacted.into());
                }
            }
            Data::Binary(bytes) => {
                if let Some(redacted) = self.bytes(bytes, event.content_type.as_deref(), "/data", noted) {
                    event.data = Data::Binary(redacted.into());
                }
            }
        }
    }

    /// `text` must be JSON, and is left alone where it is not.
    fn json(&self, text: &str, root: &str, noted: &mut Vec<Note>) -> Option<String> {
        Walker::new(self, text, root).redact(noted)
    }

    fn bytes(&self, bytes: &[u8], media: Option<&str>, root: &str, noted: &mut Vec<Note>) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let trimmed = text.trim_start_matches('\u{FEFF}').trim_start();
        let redacted = if trimmed.starts_with(['{', '[']) && is_json(trimmed) {
            self.json(trimmed, root, noted)
        } else {
            let form = media.is_some_and(|media| media.starts_with("application/x-www-form-urlencoded"));
            let out = if form { self.form(text) } else { self.text(text).into_owned() };
            let changed = out != text;
            if changed {
                noted.push(note(root));
            }
            changed.then_some(out)
        };
        redacted.map(String::into_bytes)
    }

    fn form(&self, text: &str) -> String {
        let pairs = text.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && self.names.secret(name) => {
                format!("{name}={REDACTED}")
            }
            _ => self.text(pair).into_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Base64 of a document; `None` when nothing in it is taken out.
    fn base64(&self, encoded: &str, root: &str, noted: &mut Vec<Note>) -> Option<String> {
        let bytes = STANDARD.decode(encoded.trim()).ok()?;
        Some(STANDARD.encode(self.bytes(&bytes, None, root, noted)?))
    }

    fn attribute(&self, name: &str, value: &mut Attribute) -> bool {
        let Attribute::Str(text) = value else { return false };
        let pointed = self.pointers.iter().any(|pointer| {
            matches!(pointer.as_slice(), [root, segment] if root == "extensions" && (segment == name || segment == "*"))
        });
        let redacted = match pointed || self.names.secret(name) {
            true => Cow::Borrowed(REDACTED),
            false => self.text(text),
        };
        if *redacted == *text {
            return *text == REDACTED;
        }
        *value = Attribute::Str(redacted.into_owned());
        true
    }
}

/// JSON that the walker may walk: whole, and not too deep.
fn is_json(text: &str) -> bool {
    super::json::check_depth("data", text).is_ok() && super::json::value("data", text).is_ok()
}

/// Where something was found; `None` where that is too long to be shown.
type Note = Option<String>;

fn note(pointer: &str) -> Note {
    (pointer.len() <= MAX_NOTED.1).then(|| pointer.to_owned())
}

fn within_bounds(noted: Vec<Note>) -> Vec<String> {
    let all = noted.len() <= MAX_NOTED.0 && noted.iter().all(Option::is_some);
    let rest = (!all).then(|| "/data".to_owned());
    noted.into_iter().take(MAX_NOTED.0).flatten().chain(rest).collect()
}

#[cfg(test)]
mod tests;
