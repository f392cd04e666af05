//! Whose messages may wait for storage: invocations are few (the host starts at most 32 at a time), and
//! those of a tenant whose own account does not answer each take as long as one may. Without an end to
//! that, a backlog of such a tenant would keep everybody else's messages waiting.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::ids::TenantId;

/// Invocations that go on trying for a tenant whose storage failed the last time. One would do to notice
/// that it is back; a few do it sooner.
const TRYING: usize = 4;

/// A tenant's storage failed the last time, and enough others are trying whether it is back. The message
/// comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant's storage does not answer, and others are trying")]
pub(crate) struct OthersTry;

#[derive(Debug, Default)]
struct Standing {
    trying: usize,
    failed: bool,
}

/// How storage answered each tenant last. Holds only tenants that are being served or that failed.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    of: Mutex<HashMap<TenantId, Standing>>,
}

/// Somebody's turn; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    tenant: &'a TenantId,
}

impl Turns {
    /// Lets an invocation go to the tenant's storage.
    ///
    /// # Errors
    /// [`OthersTry`].
    pub(crate) fn take<'a>(&'a self, tenant: &'a TenantId) -> Result<Turn<'a>, OthersTry> {
        let mut of = self.lock();
        let standing = of.entry(tenant.clone()).or_default();
        if standing.failed && standing.trying >= TRYING {
            return Err(OthersTry);
        }
        standing.trying += 1;
        Ok(Turn { turns: self, tenant })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Standing>> {
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Says whether storage answered. A turn that is dropped without a word says nothing.
    pub(crate) fn answered(&self, answered: bool) {
        if let Some(standing) = self.turns.lock().get_mut(self.tenant) {
            standing.failed = !answered;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut of = self.turns.lock();
        let Some(standing) = of.get_mut(self.tenant) else { return };
        standing.trying -= 1;
        if standing.trying == 0 && !standing.failed {
            of.remove(self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_whose_storage_failed_tries_with_few_until_it_answers() {
        let turns = Turns::default();
        let [down, well] = ["down", "well"].map(|name| TenantId::parse(name).unwrap());
        let first: Vec<_> = (0..32).map(|_| turns.take(&down).unwrap()).collect();
        first[0].answered(false);
        assert_eq!(turns.take(&down).unwrap_err(), OthersTry);
        assert!((0..32).all(|_| turns.take(&well).is_ok()), "nobody else is touched");
        drop(first);
        let mut trying: Vec<_> = (0..TRYING).map(|_| turns.take(&down).unwrap()).collect();
        assert!(turns.take(&down).is_err());
        trying.pop();
        assert!(turns.take(&down).is_ok(), "whoever ends makes room");
        trying[0].answered(true);
        assert!((0..32).map(|_| turns.take(&down)).all(|turn| turn.is_ok()));
        drop(trying);
        assert!(turns.lock().is_empty(), "nothing is kept of tenants that are well");
    }
}
