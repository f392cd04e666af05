//! Rows, and what one holds.

use std::borrow::Cow;

use bytes::Bytes;

use super::ETag;

/// A property's value. A string is at most 32 Ki UTF-16 units, a binary at most 64 KiB
/// ([`MAX_BINARY`]); longer content is split over several properties by the caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Str(String),
    /// `Edm.Int64`.
    Int(i64),
    /// `Edm.Binary`.
    Bin(Bytes),
    /// `Edm.Boolean`.
    Bool(bool),
}

/// Longest binary property, in bytes.
pub const MAX_BINARY: usize = 64 * 1024;
/// Longest string property, in UTF-16 units.
pub const MAX_STRING_UTF16: usize = 32 * 1024;

/// A row's name within its partition, and its properties in a fixed order.
///
/// Property names are ASCII letters and digits. `PartitionKey`, `RowKey` and `Timestamp` are the
/// service's own and never appear among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The row key.
    pub key: String,
    /// Name and value of each property.
    pub properties: Vec<(Cow<'static, str>, Value)>,
}

impl Row {
    /// An empty row under `key`.
    pub fn new(key: impl Into<String>) -> Self {
        // Room for all that an event's row has.
        Self { key: key.into(), properties: Vec::with_capacity(12) }
    }

    /// Adds a property.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: Value) -> Self {
        self.properties.push((name.into(), value));
        self
    }

    /// Adds a property, where there is a value for it.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The value of a property, if it is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// A text property.
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// A number property.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// A binary property.
    pub fn bin(&self, name: &str) -> Option<&Bytes> {
        match self.get(name) {
            Some(Value::Bin(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A truth-value property.
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Bool(truth)) => Some(*truth),
            _ => None,
        }
    }
}

/// A row as it is stored, with the version it has.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// The row.
    pub row: Row,
    /// Its version.
    pub etag: ETag,
}
