//! What an invocation was about, for its one log line: named where it was one thing.

use crate::{
    domain::ids::{StreamName, TenantId},
    store::append::Answer,
    telemetry::trace::Trace,
};

/// One thing, if it was only one.
#[derive(Debug, Default)]
enum Only<T> {
    #[default]
    Nothing,
    This(T),
    Several,
}

impl<T: PartialEq> Only<T> {
    fn note(&mut self, value: T) {
        match self {
            Self::Nothing => *self = Self::This(value),
            Self::This(known) if *known == value => {}
            Self::This(_) => *self = Self::Several,
            Self::Several => {}
        }
    }

    fn get(&self) -> Option<&T> {
        match self {
            Self::This(value) => Some(value),
            Self::Nothing | Self::Several => None,
        }
    }
}

/// The tenant, stream and trace of an invocation.
#[derive(Debug, Default)]
pub(super) struct About {
    tenant: Only<TenantId>,
    stream: Only<StreamName>,
    trace: Only<Trace>,
}

impl About {
    /// It was about this tenant.
    pub(super) fn tenant(&mut self, tenant: &TenantId) {
        self.tenant.note(tenant.clone());
    }

    /// It stored this event, or met it again.
    pub(super) fn event(&mut self, tenant: &TenantId, answer: &Answer) {
        let essentials = &answer.stored.essentials;
        self.tenant(tenant);
        self.stream.note(essentials.stream_name());
        self.trace.note(Trace::parse(essentials.traceparent.as_deref()));
    }

    /// The one tenant.
    pub(super) fn one_tenant(&self) -> Option<&str> {
        self.tenant.get().map(TenantId::as_str)
    }

    /// The one stream.
    pub(super) fn one_stream(&self) -> Option<String> {
        self.stream.get().map(ToString::to_string)
    }

    /// The trace id of the one event's sender, or that of the request.
    pub(super) fn trace_id<'a>(&'a self, request: &'a Trace) -> Option<&'a str> {
        self.trace.get().and_then(Trace::id).or_else(|| request.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_is_named_and_several_are_not() {
        let tenant = |id| TenantId::parse(id).unwrap();
        let mut about = About::default();
        assert_eq!(about.one_tenant(), None);
        about.tenant(&tenant("a"));
        about.tenant(&tenant("a"));
        assert_eq!(about.one_tenant(), Some("a"));
        about.tenant(&tenant("b"));
        about.tenant(&tenant("a"));
        assert_eq!(about.one_tenant(), None);
    }
}
