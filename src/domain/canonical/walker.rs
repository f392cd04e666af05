//! JSON in one spelling.

use std::ops::Range;

use memchr::memchr2;

use crate::domain::{
    cloud_event::DecodeError,
    ids::Invalid,
    json::{self, MAX_DEPTH},
};

/// `text` with members sorted, white space gone and strings spelt in one way; itself JSON.
///
/// # Errors
/// [`DecodeError`] as for [`digest`](super::digest).
pub(crate) fn canonical_json(text: &str) -> Result<Vec<u8>, DecodeError> {
    let mut walker = Walker { text: text.as_bytes(), at: 0, out: Vec::with_capacity(text.len()) };
    walker.value(MAX_DEPTH).map_err(|flaw| match flaw {
        Flaw::TooDeep => json::too_deep("data"),
        Flaw::Repeated => json::repeated("data"),
        Flaw::Malformed => Invalid::new("data", "must be JSON").into(),
    })?;
    Ok(walker.out)
}

/// Why a text has no canonical form.
enum Flaw {
    TooDeep,
    Repeated,
    /// The walker is built for validated JSON: it stops at what it cannot read, and does not
    /// look for every mistake.
    Malformed,
}

/// Walks over JSON and writes its canonical form behind itself.
struct Walker<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl Walker<'_> {
    fn value(&mut self, depth_left: usize) -> Result<(), Flaw> {
        match self.peek()? {
            b'{' => self.object(depth_left.checked_sub(1).ok_or(Flaw::TooDeep)?),
            b'[' => self.array(depth_left.checked_sub(1).ok_or(Flaw::TooDeep)?),
            b'"' => self.string(),
            _ => self.token(),
        }
    }

    /// A number, `true`, `false` or `null`, as it stands.
    fn token(&mut self) -> Result<(), Flaw> {
        let rest = &self.text[self.at..];
        let ends = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(Flaw::Malformed);
        }
        self.out.extend_from_slice(&rest[..length]);
        self.at += length;
        Ok(())
    }

    fn array(&mut self, depth_left: usize) -> Result<(), Flaw> {
        self.open();
        while self.peek()? != b']' {
            self.value(depth_left)?;
            self.separator(b']')?;
        }
        self.close(b']');
        Ok(())
    }

    fn object(&mut self, depth_left: usize) -> Result<(), Flaw> {
        self.open();
        let start = self.out.len();
        let mut members = Vec::new();
        while self.peek()? != b'}' {
            let from = self.out.len();
            if self.peek()? != b'"' {
                return Err(Flaw::Malformed);
            }
            self.string()?;
            let name = from..self.out.len();
            if self.peek()? != b':' {
                return Err(Flaw::Malformed);
            }
            self.at += 1;
            self.out.push(b':');
            self.value(depth_left)?;
            self.separator(b'}')?;
            members.push((name, self.out.len()));
        }
        self.sort(start, &mut members)?;
        self.close(b'}');
        Ok(())
    }

    /// Puts the members written since `start` in the order of their names. (The order of the
    /// encoded names: all that matters is that there is one.)
    fn sort(&mut self, start: usize, members: &mut [(Range<usize>, usize)]) -> Result<(), Flaw> {
        let out = &self.out;
        let name = |member: &(Range<usize>, usize)| &out[member.0.clone()];
        if members.windows(2).all(|pair| name(&pair[0]) < name(&pair[1])) {
            return Ok(());
        }
        members.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        if members.windows(2).any(|pair| name(&pair[0]) == name(&pair[1])) {
            return Err(Flaw::Repeated);
        }
        let mut sorted = Vec::with_capacity(out.len() - start);
        for (name, end) in members {
            sorted.extend_from_slice(&out[name.start..*end]);
        }
        self.out.truncate(start);
        self.out.extend_from_slice(&sorted);
        Ok(())
    }

    /// A string by its decoded value: raw but for quotes, backslashes and control characters.
    fn string(&mut self) -> Result<(), Flaw> {
        self.out.push(b'"');
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let length = memchr2(b'"', b'\\', rest).ok_or(Flaw::Malformed)?;
            self.out.extend_from_slice(&rest[..length]);
            self.at += length + 1;
            if rest[length] == b'"' {
                self.out.push(b'"');
                return Ok(());
            }
            self.escape()?;
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<(), Flaw> {
        let kind = *self.text.get(self.at).ok_or(Flaw::Malformed)?;
        self.at += 1;
        let c = match kind {
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            b'"' | b'\\' | b'/' => char::from(kind),
            _ => return Err(Flaw::Malformed),
        };
        self.char(c);
        Ok(())
    }

    /// `\uXXXX`, with its second half when it is a pair. A lone surrogate is no character, but it
    /// is valid JSON, so it stays an escape.
    fn unicode(&mut self) -> Result<(), Flaw> {
        let first = self.hex4(self.at)?;
        self.at += 4;
        if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let second = self.hex4(self.at + 2)?;
            let pair = char::decode_utf16([first, second]).next();
            if let Some(Ok(c)) = pair {
                self.at += 6;
                self.char(c);
                return Ok(());
            }
        }
        match char::from_u32(u32::from(first)) {
            Some(c) => self.char(c),
            None => self.out.extend_from_slice(format!("\\u{first:04x}").as_bytes()),
        }
        Ok(())
    }

    fn hex4(&self, at: usize) -> Result<u16, Flaw> {
        let digits = self.text.get(at..at + 4).ok_or(Flaw::Malformed)?;
        digits.iter().try_fold(0_u16, |value, &digit| {
            let digit = char::from(digit).to_digit(16).ok_or(Flaw::Malformed)?;
            Ok(value << 4 | digit as u16)
        })
    }

    fn char(&mut self, c: char) {
        match c {
            '"' | '\\' => self.out.extend_from_slice(&[b'\\', c as u8]),
            '\0'..='\u{1F}' => self.out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            _ => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, Flaw> {
        while let Some(&byte) = self.text.get(self.at) {
            if !json::is_space(char::from(byte)) {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(Flaw::Malformed)
    }

    fn open(&mut self) {
        self.out.push(self.text[self.at]);
        self.at += 1;
    }

    /// Every element is followed by a comma until its container closes, so that members can
    /// change places.
    fn separator(&mut self, end: u8) -> Result<(), Flaw> {
        match self.peek()? {
            b',' => self.at += 1,
            byte if byte == end => {}
            _ => return Err(Flaw::Malformed),
        }
        self.out.push(b',');
        Ok(())
    }

    fn close(&mut self, end: u8) {
        if self.out.last() == Some(&b',') {
            self.out.pop();
        }
        self.out.push(end);
        self.at += 1;
    }
}
