//! The body of an entity group transaction, in both directions.
//!
//! The SDK writes bare line feeds, leaves out the end of the outer boundary and asks for every row
//! back; and it takes a failed transaction for a success. [`frame`] puts the first right before the
//! request goes out, [`read`] the second when the reply comes in.

use std::fmt::Write;

use serde::Deserialize;

use super::fault::Fault;

/// Rewrites the SDK's body to what the service documents.
///
/// Safe line by line, because JSON as `serde_json` writes it never holds a raw line feed. A
/// U+2028 or U+2029 becomes an escape: some servers end a line there.
pub(crate) fn frame(body: &[u8]) -> Result<Vec<u8>, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::Senseless)?;
    let mut framed = String::with_capacity(text.len() + text.len() / 8);
    let mut bodiless = false;
    for line in text.lines() {
        if line.starts_with("--") && std::mem::take(&mut bodiless) {
            // The line end before a boundary belongs to it; the headers' own blank line comes before.
            framed.push_str("\r\n");
        }
        push_escaped(&mut framed, line);
        framed.push_str("\r\n");
        if line.ends_with(" HTTP/1.1") {
            bodiless = line.starts_with("DELETE ");
            if line.starts_with("POST ") {
                framed.push_str("Prefer: return-no-content\r\n");
            }
        }
    }
    framed.truncate(framed.trim_end_matches("\r\n").len());
    framed.push_str("--\r\n");
    Ok(framed.into_bytes())
}

fn push_escaped(framed: &mut String, line: &str) {
    let mut rest = line;
    // The first byte of both in UTF-8; most lines are ASCII and pass at once.
    if !line.as_bytes().contains(&0xE2) {
        framed.push_str(line);
        return;
    }
    while let Some(at) = rest.find(['\u{2028}', '\u{2029}']) {
        let (before, from) = rest.split_at(at);
        framed.push_str(before);
        framed.push_str(if from.starts_with('\u{2028}') { "\\u2028" } else { "\\u2029" });
        rest = &from['\u{2028}'.len_utf8()..];
    }
    framed.push_str(rest);
}

/// What one operation answered.
#[derive(Debug, Default)]
struct Part {
    status: u16,
    etag: Option<String>,
    code: Option<String>,
    body: String,
}

/// Reads a transaction's reply. A success comes back as the plainest text that the SDK reads.
///
/// # Errors
/// [`Fault::Answer`] with status, code and index of the operation that failed: nothing was
/// committed. [`Fault::Senseless`] when there is no telling.
pub(crate) fn read(body: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::Senseless)?;
    let parts = parts(text)?;
    if parts.is_empty() {
        return Err(Fault::Senseless);
    }
    if let Some(failed) = parts.iter().find(|part| !(200..300).contains(&part.status)) {
        let said = ODataError::read(failed.body.as_bytes());
        let index = said.as_ref().and_then(ODataError::index);
        let code = failed.code.clone().or(said.map(|error| error.code)).unwrap_or_default();
        return Err(Fault::Answer { status: failed.status, code, index, retry_after: None });
    }
    let mut plain = String::new();
    for part in parts {
        // Writing to a String never fails.
        let _ = write!(plain, "\n--changesetresponse_0\nHTTP/1.1 {}\n", part.status);
        if let Some(etag) = part.etag {
            let _ = writeln!(plain, "ETag: {etag}");
        }
    }
    Ok(plain)
}

fn parts(text: &str) -> Result<Vec<Part>, Fault> {
    let mut parts: Vec<Part> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(status) = line.strip_prefix("HTTP/1.1 ") else { continue };
        let status = status.split(' ').next().and_then(|number| number.parse().ok());
        let mut part = Part { status: status.ok_or(Fault::Senseless)?, ..Part::default() };
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            match line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim())) {
                Some((name, value)) if name == "etag" => part.etag = Some(value.to_owned()),
                Some((name, value)) if name == "x-ms-error-code" => part.code = Some(value.to_owned()),
                _ => {}
            }
        }
        for line in lines.by_ref().take_while(|line| !line.starts_with("--")) {
            part.body.push_str(line);
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The service's error in JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct ODataError {
    pub(crate) code: String,
    #[serde(default)]
    message: Message,
}

#[derive(Debug, Default, Deserialize)]
struct Message {
    #[serde(default)]
    value: String,
}

impl ODataError {
    /// Finds it in a body, if it is one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(rename = "odata.error")]
            error: ODataError,
        }
        serde_json::from_slice::<Body>(body).ok().map(|body| body.error)
    }

    /// A transaction's message begins with the number of the operation that failed: `2:The …`.
    fn index(&self) -> Option<usize> {
        self.message.value.split_once(':').and_then(|(number, _)| number.parse().ok())
    }
}

#[cfg(test)]
mod tests;
