//! Cursors: opaque, versioned, and sealed under the tenant's key, so that a cursor of another
//! tenant, of another incarnation, or one that somebody touched is refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    domain::ids::Invalid,
    feed::all_stream::{Direction, Places},
    journal::ListPlace,
    store::{
        digest,
        history::{ListFrom, Order},
        registry::Tenant,
    },
};

/// The form written by this version.
const VERSION: u8 = 1;
/// Bytes of the seal.
const SEAL: usize = 16;

/// Where a list goes on, with all that the list was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "lowercase")]
pub(super) enum Cursor {
    /// The history of a stream.
    History { stream: String, from: u64, order: Order },
    /// A list of streams.
    Streams { category: Option<String>, status: Option<String>, from: ListFrom },
    /// A list of commands.
    Commands { asked: Vec<Option<String>>, from: ListPlace },
    /// A list of dead letters.
    Dead { from: String },
    /// The all-stream.
    All { at: Places, order: Direction },
    /// A verification that goes on.
    Verify { state: String, data: bool, from: Option<Places> },
    /// A count for completeness that goes on.
    Complete { state: String },
    /// The dead letters that an erasure has not searched yet.
    Erase { from: String },
    /// Consumers behind this name.
    Consumers { after: String },
    /// What shares a correlation id.
    Linked { correlation: String, at: Places },
}

impl Cursor {
    /// Seals the cursor for a tenant.
    pub(super) fn seal(&self, tenant: &Tenant) -> String {
        let json = serde_json::to_vec(self).expect("strings and numbers serialise");
        let mut out = vec![VERSION];
        out.extend(seal(tenant, &json));
        out.extend(json);
        URL_SAFE_NO_PAD.encode(out)
    }

    /// Opens a cursor of this tenant.
    ///
    /// # Errors
    /// [`Invalid`] for any other: it does not say which, nor whose it is.
    fn open(tenant: &Tenant, text: &str) -> Result<Self, Invalid> {
        Self::unseal(tenant, text).ok_or_else(Self::foreign)
    }

    /// What a cursor says, where one was sent: `part` takes from a cursor of its own kind, and of what
    /// was asked for the same, what is wanted of it.
    ///
    /// # Errors
    /// [`Invalid`] for any other.
    pub(super) fn read<T>(
        tenant: &Tenant,
        text: Option<&str>,
        part: impl FnOnce(Self) -> Option<T>,
    ) -> Result<Option<T>, Invalid> {
        text.map(|text| part(Self::open(tenant, text)?).ok_or_else(Self::foreign)).transpose()
    }

    /// A place in the all-stream, oldest first.
    ///
    /// # Errors
    /// [`Invalid`] for any other cursor.
    pub(super) fn forward(tenant: &Tenant, text: &str) -> Result<Places, Invalid> {
        match Self::open(tenant, text)? {
            Self::All { at, order: Direction::Forward } => Ok(at),
            _ => Err(Self::foreign()),
        }
    }

    /// What is said of every cursor that does not belong where it was sent.
    fn foreign() -> Invalid {
        Invalid::new("cursor", "must be a cursor that this list gave, unchanged")
    }

    fn unseal(tenant: &Tenant, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, sealed) = bytes.split_first()?;
        let (mac, json) = sealed.split_at_checked(SEAL)?;
        // A seal keeps honest callers from mistakes; what a cursor holds is no secret.
        (*version == VERSION && mac == seal(tenant, json)).then(|| serde_json::from_slice(json).ok())?
    }
}

fn seal(tenant: &Tenant, json: &[u8]) -> [u8; SEAL] {
    let message = [b"cursor\0", tenant.table.as_str().as_bytes(), b"\0", json].concat();
    let mac = digest::hmac(&tenant.key.0, &message);
    std::array::from_fn(|index| mac[index])
}
