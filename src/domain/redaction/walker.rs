//! Walks over JSON once and notes what has to go. What stays is copied byte for byte.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memchr2};

use super::{
    MAX_DEPTH, MAX_NOTED, Note, REDACTED, Redactor, is_json, names, note, shapes,
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

/// The value of a member `value`, and what was found in it.
struct Labelled {
    span: Range<usize>,
    edits: Range<usize>,
    noted: Range<usize>,
    /// What is noted when it goes as a whole.
    note: Note,
}

/// The walk. It is built for validated JSON: it stops where it cannot read on, and what was found
/// before that is taken out all the same.
pub(super) struct Walker<'a> {
    redactor: &'a Redactor,
    text: &'a str,
    at: usize,
    /// Where the walk is, as a JSON pointer.
    pointer: String,
    /// Where each segment of the pointer begins: members' names may be long, and many rules may be held
    /// against each value.
    segments: Vec<usize>,
    nested: usize,
    /// No string of the text is anything but what it says: there is nothing to look for in it.
    plain: bool,
    edits: Vec<Edit>,
    /// One for each find, in the order of the text.
    noted: Vec<Note>,
    /// How many of those may yet become one, because the value that they lie in may have to go.
    unsettled: usize,
}

/// The text is not what it should be.
struct Stuck;

impl<'a> Walker<'a> {
    pub(super) fn new(redactor: &'a Redactor, text: &'a str, root: &str) -> Self {
        let mut pointer = String::with_capacity(64);
        pointer.push_str(root);
        let segments = root.match_indices('/').map(|(at, _)| at + 1).collect();
        // JSON in a string has its quotes escaped.
        let plain = memchr(b'\\', text.as_bytes()).is_none() && !shapes::may_be_in(text);
        let (edits, noted) = (Vec::new(), Vec::new());
        Self { redactor, text, at: 0, pointer, segments, nested: 0, plain, edits, noted, unsettled: 0 }
    }

    /// The text without its secrets, and where they were; `None` when there are none.
    pub(super) fn redact(mut self, noted: &mut Vec<Note>) -> Option<String> {
        // Stuck means malformed, which validated JSON is not.
        let _ = self.value("", MAX_DEPTH);
        // One too many says that there are too many.
        noted.extend(self.noted.into_iter().take(MAX_NOTED.0 + 1));
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
        let (edits, noted) = (self.edits.len(), self.noted.len());
        match first {
            b'{' => self.object(depth_left.checked_sub(1).ok_or(Stuck)?)?,
            b'[' => self.array(depth_left.checked_sub(1).ok_or(Stuck)?)?,
            b'"' => self.string().map(|_| ())?,
            _ => self.token()?,
        }
        let span = start..self.at;
        if self.is_pointed_to() || self.is_secret(name, &span) {
            self.take_out(&span, edits, noted);
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
        let segment = |index: usize| {
            let end = self.segments.get(index + 1).map_or(self.pointer.len(), |next| next - 1);
            &self.pointer[self.segments[index]..end]
        };
        self.redactor.pointers.iter().any(|pointer| {
            pointer.len() == self.segments.len()
                && pointer.iter().enumerate().all(|(index, rule)| rule == "*" || rule == segment(index))
        })
    }

    /// Notes that something was found here. It is only counted when it cannot be shown in the end: names
    /// may be long and finds many, and the one times the other is more than the memory there is.
    fn note(&mut self) {
        let shown = self.noted.len().saturating_sub(self.unsettled) < MAX_NOTED.0;
        let note = if shown { note(&self.pointer) } else { None };
        self.noted.push(note);
    }

    /// Puts the mark in the place of the value, and of whatever was found inside it.
    fn take_out(&mut self, span: &Range<usize>, edits: usize, noted: usize) {
        self.edits.truncate(edits);
        self.noted.truncate(noted);
        self.note();
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
        self.note();
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
        let (mut label, mut labelled) = (None, None::<Labelled>);
        let mut renamed = 0;
        while self.peek()? != b'}' {
            let name_span = self.string()?;
            let Some(name) = decoded(&self.text[name_span.clone()]) else { return Err(Stuck) };
            let shown = self.member_name(&name, name_span, &mut renamed);
            let length = self.push(&shown);
            if matches!(shown, Cow::Owned(_)) {
                self.note();
            }
            self.expect(b':')?;
            let (edits, noted) = (self.edits.len(), self.noted.len());
            let span = self.value(&name, depth_left)?;
            match () {
                () if name.eq_ignore_ascii_case("value") => {
                    let (edits, noted) = (edits..self.edits.len(), noted..self.noted.len());
                    self.unsettled += noted.len();
                    let found = Labelled { span, edits, noted, note: note(&self.pointer) };
                    self.unsettled -= labelled.replace(found).map_or(0, |before| before.noted.len());
                }
                () if ["name", "key"].iter().any(|known| name.eq_ignore_ascii_case(known)) => {
                    label = label.or_else(|| decoded(&self.text[span]));
                }
                () => {}
            }
            self.pop(length);
            self.comma(b'}')?;
        }
        self.at += 1;
        let Some(Labelled { span, edits, noted, note }) = labelled else { return Ok(()) };
        self.unsettled -= noted.len();
        if label.is_some_and(|label| self.is_secret(&label, &span)) {
            self.edits.drain(edits);
            self.noted.splice(noted, [note]);
            self.edits.push(Edit { span, with: format!("\"{REDACTED}\"") });
        }
        Ok(())
    }

    /// The name of a member as it may be shown: a name can itself be a secret.
    fn member_name<'n>(&mut self, name: &'n str, span: Range<usize>, renamed: &mut usize) -> Cow<'n, str> {
        let redacted = if self.plain { Cow::Borrowed(name) } else { self.redactor.text(name) };
        let Cow::Owned(mut shown) = redacted else { return redacted };
        *renamed += 1;
        if *renamed > 1 {
            shown.push_str(&format!("-{renamed}"));
        }
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
            self.pop(length);
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
        self.segments.push(self.pointer.len());
        self.pointer.push_str(&escaped(segment));
        length
    }

    fn pop(&mut self, length: usize) {
        self.pointer.truncate(length);
        self.segments.pop();
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
