//! How often one tenant may ask: a token bucket for its writes and one for its reads, on each
//! instance. A limit over all instances belongs in front of them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{config::Limits, domain::ids::TenantId};

/// A bucket holds what comes in this many seconds.
const BURST: f64 = 2.0;
/// Most buckets. Full ones are dropped first: a new one is full as well.
const MAX: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets of all tenants.
#[derive(Debug)]
pub(super) struct Buckets {
    limits: Limits,
    buckets: Mutex<HashMap<(TenantId, bool), Bucket>>,
}

impl Buckets {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, buckets: Mutex::default() }
    }

    /// Takes one request out of the tenant's bucket, or says how long until there is one again.
    pub(super) fn take(&self, tenant: &TenantId, writes: bool) -> Result<(), Duration> {
        let rate = f64::from(if writes { self.limits.writes.get() } else { self.limits.reads.get() });
        let now = Instant::now();
        let full = rate * BURST;
        // Never held across an await; a panic elsewhere leaves nothing half-done in it.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX {
            let seconds = Duration::from_secs_f64(BURST);
            buckets.retain(|_, bucket| now.duration_since(bucket.at) < seconds);
        }
        let bucket = buckets.entry((tenant.clone(), writes)).or_insert(Bucket { tokens: full, at: now });
        let gained = now.duration_since(bucket.at).as_secs_f64() * rate;
        *bucket = Bucket { tokens: (bucket.tokens + gained).min(full), at: now };
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / rate))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_asks_too_often_waits_and_no_other_does() {
        let limit = |n| NonZeroU32::new(n).unwrap();
        let buckets = Buckets::new(Limits { writes: limit(10), reads: limit(5) });
        let (noisy, quiet) = (TenantId::parse("noisy").unwrap(), TenantId::parse("quiet").unwrap());
        assert_eq!((0..100).filter(|_| buckets.take(&noisy, true).is_ok()).count(), 20);
        let wait = buckets.take(&noisy, true).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100));
        assert!(buckets.take(&quiet, true).is_ok() && buckets.take(&noisy, false).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..100).filter(|_| buckets.take(&noisy, true).is_ok()).count(), 10);
    }
}
