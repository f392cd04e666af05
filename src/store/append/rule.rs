//! The rules of the committer that look superfluous until a schedule shows otherwise.
//!
//! The simulation takes each out in turn and must then find a schedule that breaks a promise.
//! In a build that is not a unit test they hold, and cost nothing.

/// A rule that can be taken out in a unit test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A refresh counts only if the commits it read lead to the head it read.
    SettledRefresh,
    /// A foreign commit evicts the streams it touched; patching their version is not enough.
    EvictForeign,
    /// Only our attempt id proves that a commit of unknown outcome is ours.
    AttemptId,
    /// A known identity gets its first answer before any other rule may refuse it.
    IdentityFirst,
    /// A winner that lost a race lately rests after each commit, so that the others get a turn.
    WinnerRests,
    /// A committer waits a moment for those it has just answered, so that a crowd shares one commit.
    CrowdsShare,
}

impl Rule {
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the unit-test build looks at it")]
    pub(super) const fn holds(self) -> bool {
        true
    }

    #[cfg(test)]
    pub(super) fn holds(self) -> bool {
        BROKEN.get() != Some(self)
    }

    /// Runs `body` without this rule, on this thread.
    #[cfg(test)]
    pub(super) fn without<T>(self, body: impl FnOnce() -> T) -> T {
        BROKEN.set(Some(self));
        let result = body();
        BROKEN.set(None);
        result
    }
}

#[cfg(test)]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}
