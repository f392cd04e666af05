//! The roles, and what each includes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller may do in one tenant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads history and feed.
    Reader,
    /// Appends events.
    Writer,
    /// Reads, verifies, asks for erasure, handles dead letters. Includes [`Role::Reader`].
    Auditor,
    /// Changes settings, keys and assignments of the tenant. Includes no right to its data: an
    /// administrator who wants to read grants that, which stands in the tenant's audit stream.
    Admin,
    /// Says for whom it acts. Includes nothing else: it goes with `writer`.
    Delegate,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Reader, Self::Writer, Self::Auditor, Self::Admin, Self::Delegate];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
            Self::Delegate => "delegate",
        }
    }

    /// The role of this name, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether whoever has this role may do what `other` may.
    pub fn includes(self, other: Self) -> bool {
        self == other || (self, other) == (Self::Auditor, Self::Reader)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Roles {
    /// Every role.
    pub fn all() -> Self {
        Role::ALL.into_iter().collect()
    }

    /// Adds a role.
    pub fn insert(&mut self, role: Role) {
        self.0 |= role.bit();
    }

    /// Whether the set holds the role, or one that includes it.
    pub fn allow(self, role: Role) -> bool {
        self.iter().any(|held| held.includes(role))
    }

    /// Whether nothing is held.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roles held.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.0 & role.bit() != 0)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::default(), |mut all, role| {
            all.insert(role);
            all
        })
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auditor_reads_and_nobody_else_gets_more_than_was_given() {
        for held in Role::ALL {
            for wanted in Role::ALL {
                let want = held == wanted || (held == Role::Auditor && wanted == Role::Reader);
                assert_eq!(Roles::from_iter([held]).allow(wanted), want, "{held} {wanted}");
            }
        }
    }

    #[test]
    fn roles_are_read_whatever_their_case() {
        assert_eq!(Role::parse("Auditor"), Some(Role::Auditor));
        assert_eq!(Role::parse("owner"), None);
    }
}
