//! Walks over JSON once and notes what has to go. What stays is copied byte for byte.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memchr2};

use super::{
    MAX_DEPTH, REDACTED, Redactor, is_json, names, shapes,
    strings::{decoded, encoded, escaped},
};

/// The member in which CloudEvents writes binary data.
const BASE64: &str = "data_base64";
/// Strings that hold JSON are read as such this often one inside the other.
const MAX_NESTED: usize = 3;

struct Edit {
    span: Range<usize>,
    with: String,
}

/// The walk. It is built for validated JSON: it stops where it cannot read on, and what was found
/// before that is taken out all the same.
pub(super) struct Walker<'a> {
    redactor: &'a Redactor,
    text: &'a str,
    at: usize,
    /// Where the walk is, as a JSON pointer.
    pointer: String,
    nested: usize,
    /// No string of the text is anything but what it says: there is nothing to look for in it.
    plain: bool,
    edits: Vec<Edit>,
    noted: Vec<(usize, String)>,
}

/// The text is not what it should be.
struct Stuck;

impl<'a> Walker<'a> {
    pub(super) fn new(redactor: &'a Redactor, text: &'a str, root: &str) -> Self {
        let pointer = root.to_owned();
        // JSON in a string has its quotes escaped.
        let plain = memchr(b'\\', text.as_bytes()).is_none() && !shapes::may_be_in(text);
        Self { redactor, text, at: 0, pointer, nested: 0, plain, edits: Vec::new(), noted: Vec::new() }
    }

    /// The text without its secrets, and where they were; `None` when there are none.
    pub(super) fn redact(mut self, noted: &mut Vec<String>) -> Option<String> {
        // Stuck means malformed, which validated JSON is not.
        let _ = self.value("", MAX_DEPTH);
        self.noted.sort();
        noted.extend(self.noted.into_iter().map(|(_, pointer)| pointer));
        if self.edits.is_empty() {
            return None;
        }
        self.edits.sort_by_key(|edit| edit.span.start);
        let (mut out, mut at) = (String::with_capacity(self.text.len()), 0);
        for Edit { span, with } in &self.edits {
            out.push_str(&self.text[at..span.start]);
            out.push_str(with);
            at = span.end;
        }
        out.push_str(&self.text[at..]);
        Some(out)
    }

    /// Walks over one value, which is a member of this name, or an element of one.
    fn value(&mut self, name: &str, depth_left: usize) -> Result<Range<usize>, Stuck> {
        let first = self.peek()?;
        let start = self.at;
        let edits = self.edits.len();
        match first {
            b'{' => self.object(depth_left.checked_sub(1).ok_or(Stuck)?)?,
            b'[' => self.array(depth_left.checked_sub(1).ok_or(Stuck)?)?,
            b'"' => self.string().map(|_| ())?,
            _ => self.token()?,
        }
        let span = start..self.at;
        if self.is_pointed_to() || self.is_secret(name, &span) {
            self.take_out(&span, edits);
        } else if first == b'"' && !(self.plain && name != BASE64) {
            self.shaped(name, &span);
        }
        Ok(span)
    }

    fn is_secret(&self, name: &str, span: &Range<usize>) -> bool {
        if name.is_empty() {
            return false;
        }
        let keeps = match &self.text[span.clone()] {
            "true" | "false" | "null" | "\"\"" => true,
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => names::counts(name),
            container if container.starts_with(['{', '[']) => {
                container[1..container.len() - 1].trim().is_empty()
            }
            _ => false,
        };
        !keeps && self.redactor.names.secret(name)
    }

    fn is_pointed_to(&self) -> bool {
        self.redactor.pointers.iter().any(|pointer| {
            let mut path = self.pointer.split('/').skip(1);
            pointer.iter().all(|rule| path.next().is_some_and(|segment| rule == "*" || rule == segment))
                && path.next().is_none()
        })
    }

    /// Puts the mark in the place of the value, and of whatever was found inside it.
    fn take_out(&mut self, span: &Range<usize>, edits: usize) {
        self.edits.truncate(edits);
        self.noted.retain(|(at, _)| !span.contains(at));
        self.noted.push((span.start, self.pointer.clone()));
        if self.text[span.clone()] != *"\"[REDACTED]\"" {
            self.edits.push(Edit { span: span.clone(), with: format!("\"{REDACTED}\"") });
        }
    }

    /// Looks at a string for what it is, not for its name.
    fn shaped(&mut self, name: &str, span: &Range<usize>) {
        let Some(text) = decoded(&self.text[span.clone()]) else { return };
        let redacted = match self.inner(name, &text) {
            Some(redacted) => redacted,
            None => match self.redactor.text(&text) {
                Cow::Owned(redacted) => redacted,
                Cow::Borrowed(_) => return,
            },
        };
        self.noted.push((span.start, self.pointer.clone()));
        self.edits.push(Edit { span: span.clone(), with: encoded(&redacted) });
    }

    /// A string that holds JSON, or the base64 in which CloudEvents writes binary data.
    fn inner(&self, name: &str, text: &str) -> Option<String> {
        if name == BASE64 {
            return self.redactor.base64(text, "", &mut Vec::new());
        }
        let trimmed = text.trim_start();
        if self.nested >= MAX_NESTED || !trimmed.starts_with(['{', '[']) || !is_json(trimmed) {
            return None;
        }
        let inside = Walker { nested: self.nested + 1, ..Walker::new(self.redactor, trimmed, "") };
        inside.redact(&mut Vec::new())
    }

    fn object(&mut self, depth_left: usize) -> Result<(), Stuck> {
        self.at += 1;
        // `{"name": "password", "value": "…"}`: the name stands in another member.
        let (mut label, mut labelled) = (None, None);
        let mut renamed = 0;
        while self.peek()? != b'}' {
            let name_span = self.string()?;
            let Some(name) = decoded(&self.text[name_span.clone()]) else { return Err(Stuck) };
            let shown = self.member_name(&name, name_span, &mut renamed);
            self.expect(b':')?;
            let length = self.push(&shown);
            let edits = self.edits.len();
            let span = self.value(&name, depth_left)?;
            match () {
                () if name.eq_ignore_ascii_case("value") => {
                    labelled = Some((span, edits..self.edits.len(), self.pointer.clone()));
                }
                () if ["name", "key"].iter().any(|known| name.eq_ignore_ascii_case(known)) => {
                    label = label.or_else(|| decoded(&self.text[span]));
                }
                () => {}
            }
            self.pointer.truncate(length);
            self.comma(b'}')?;
        }
        self.at += 1;
        if let (Some(label), Some((span, edits, pointer))) = (label, labelled)
            && self.is_secret(&label, &span)
        {
            self.edits.drain(edits);
            self.noted.retain(|(at, _)| !span.contains(at));
            self.noted.push((span.start, pointer));
            self.edits.push(Edit { span, with: format!("\"{REDACTED}\"") });
        }
        Ok(())
    }

    /// The name of a member as it may be shown: a name can itself be a secret.
    fn member_name<'n>(&mut self, name: &'n str, span: Range<usize>, renamed: &mut usize) -> Cow<'n, str> {
        let Cow::Owned(mut shown) = self.redactor.text(name) else { return Cow::Borrowed(name) };
        *renamed += 1;
        if *renamed > 1 {
            shown.push_str(&format!("-{renamed}"));
        }
        let pointer = format!("{}/{}", self.pointer, escaped(&shown));
        self.noted.push((span.start, pointer));
        self.edits.push(Edit { span, with: encoded(&shown) });
        Cow::Owned(shown)
    }

    fn array(&mut self, depth_left: usize) -> Result<(), Stuck> {
        self.at += 1;
        let mut index = 0;
        while self.peek()? != b']' {
            let length = self.push(&index.to_string());
            // The elements of a secret go with it as a whole; they have no name of their own.
            self.value("", depth_left)?;
            self.pointer.truncate(length);
            self.comma(b']')?;
            index += 1;
        }
        self.at += 1;
        Ok(())
    }

    /// Goes down to a member or an element; gives the length of the pointer to come back to.
    fn push(&mut self, segment: &str) -> usize {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escaped(segment));
        length
    }

    fn string(&mut self) -> Result<Range<usize>, Stuck> {
        let start = self.at;
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        loop {
            let rest = &bytes[self.at..];
            let length = memchr2(b'"', b'\\', rest).ok_or(Stuck)?;
            self.at += length + 1;
            if rest[length] == b'"' {
                return Ok(start..self.at);
            }
            self.at += 1;
            if self.at > bytes.len() {
                return Err(Stuck);
            }
        }
    }

    fn token(&mut self) -> Result<(), Stuck> {
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        if length == 0 { Err(Stuck) } else { Ok(()) }
    }

    fn comma(&mut self, end: u8) -> Result<(), Stuck> {
        match self.peek()? {
            b',' => self.at += 1,
            byte if byte == end => {}
            _ => return Err(Stuck),
        }
        Ok(())
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stuck> {
        if self.peek()? != byte {
            return Err(Stuck);
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, Stuck> {
        let rest = self.text.as_bytes().get(self.at..).ok_or(Stuck)?;
        let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blank;
        rest.get(blank).copied().ok_or(Stuck)
    }
}
