//! A checkpoint as text.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    domain::{
        ids::TenantId,
        position::PartitionId,
        signing::{SigningKey, VerifierKey},
        timestamp::Timestamp,
    },
    store::{digest::Digest, registry::Tenant, rows::Head, table::TableName},
    verify::Anchor,
};

/// A text that is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a checkpoint of a log of ours")]
pub struct BadNote;

/// What a checkpoint says, with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The tenant.
    pub tenant: TenantId,
    /// Its table: a tenant registered anew is another one.
    pub table: TableName,
    /// The partition.
    pub partition: PartitionId,
    /// The last sequence.
    pub sequence: u64,
    /// The digest there.
    pub digest: Digest,
    /// When that was recorded.
    pub recorded: Timestamp,
    signatures: Vec<String>,
}

impl Note {
    /// Signs the end of a partition's log.
    pub fn sign(tenant: &Tenant, partition: PartitionId, head: &Head, key: &SigningKey) -> Self {
        let mut note = Self {
            tenant: tenant.id.clone(),
            table: tenant.table.clone(),
            partition,
            sequence: head.last,
            digest: head.digest,
            recorded: head.recorded,
            signatures: Vec::new(),
        };
        let line = key.sign(&note.text());
        note.signatures.push(line.trim_end().to_owned());
        note
    }

    /// What is signed: origin, size, digest, and when.
    fn text(&self) -> String {
        let Self { tenant, table, partition, sequence, digest, recorded, .. } = self;
        format!(
            "annals/{tenant}/{table}/{partition}\n{sequence}\n{}\n{recorded}\n",
            STANDARD.encode(digest.0)
        )
    }

    /// Reads a note. Its signatures are checked by [`Note::is_signed_by`].
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn parse(text: &str) -> Result<Self, BadNote> {
        Self::read(text).ok_or(BadNote)
    }

    fn read(text: &str) -> Option<Self> {
        let (body, signatures) = text.split_once("\n\n")?;
        let mut lines = body.lines();
        let mut origin = lines.next()?.strip_prefix("annals/")?.splitn(3, '/');
        let note = Self {
            tenant: TenantId::parse(origin.next()?).ok()?,
            table: TableName::new(origin.next()?)?,
            partition: PartitionId::parse(origin.next()?)?,
            sequence: lines.next()?.parse().ok()?,
            digest: Digest::from_slice(&STANDARD.decode(lines.next()?).ok()?)?,
            recorded: Timestamp::parse("recorded", lines.next()?).ok()?,
            signatures: signatures.lines().map(str::to_owned).collect(),
        };
        // What was signed is what we would sign: nothing hides in another spelling.
        (note.text() == format!("{body}\n") && !note.signatures.is_empty()).then_some(note)
    }

    /// Whether one of its signatures is this key's.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let text = self.text();
        self.signatures.iter().any(|line| key.signed(&text, line))
    }

    /// What a log must still agree with.
    pub fn anchor(&self) -> Anchor {
        Anchor { partition: self.partition, sequence: self.sequence, digest: self.digest }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text())?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_from_its_text_and_a_changed_one_is_not_signed() {
        let key = SigningKey::generate("annals.example").unwrap();
        let mut note = Note {
            tenant: TenantId::parse("acme").unwrap(),
            table: TableName::new("annals00").unwrap(),
            partition: PartitionId::new(0).unwrap(),
            sequence: 17,
            digest: Digest([7; 32]),
            recorded: Timestamp::from_unix_nanos(1_700_000_000_000_001_000),
            signatures: Vec::new(),
        };
        note.signatures.push(key.sign(&note.text()).trim_end().to_owned());
        let text = note.to_string();
        assert_eq!(Note::parse(&text), Ok(note.clone()));
        assert!(note.is_signed_by(&key.verifier()));
        let forged = Note::parse(&text.replace("\n17\n", "\n18\n")).unwrap();
        assert!(!forged.is_signed_by(&key.verifier()));
        assert!(!note.is_signed_by(&SigningKey::generate("annals.example").unwrap().verifier()));
        for broken in ["", "annals/acme\n", &text.replace("17", "017"), &text.replace("acme", "ac/me")] {
            assert_eq!(Note::parse(broken), Err(BadNote), "{broken}");
        }
    }
}
