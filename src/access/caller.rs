//! A caller that has been verified.

use std::collections::BTreeMap;

use super::{Role, Roles};
use crate::domain::{
    event::{Actor, RecordedBy},
    ids::TenantId,
};

/// Who is calling, and what it may do where.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    name: RecordedBy,
    actor: Actor,
    grants: Grants,
}

#[derive(Debug, Clone, PartialEq)]
enum Grants {
    /// Whoever reaches the port of `annals dev`.
    Everything,
    /// Over all tenants.
    Operator { delegate: BTreeMap<TenantId, Roles> },
    /// In these tenants.
    Tenants(BTreeMap<TenantId, Roles>),
}

/// The caller names an actor for whom it may not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event names an actor (`authtype`, `authid`) other than the caller, who lacks the role `delegate`"
)]
pub struct Refused;

impl Caller {
    /// The one caller of `annals dev`, who may do everything.
    pub fn local() -> Self {
        let actor = Actor { kind: "system".to_owned(), id: Some("local".to_owned()) };
        Self { name: RecordedBy::new("local"), actor, grants: Grants::Everything }
    }

    /// A caller under its verified name, with what it was granted.
    pub fn verified(
        name: RecordedBy,
        actor: Actor,
        operator: bool,
        tenants: BTreeMap<TenantId, Roles>,
    ) -> Self {
        let grants = match operator {
            true => Grants::Operator { delegate: tenants },
            false => Grants::Tenants(tenants),
        };
        Self { name, actor, grants }
    }

    /// What stands in `recordedby`.
    pub fn recorded_by(&self) -> RecordedBy {
        self.name.clone()
    }

    /// The caller itself, as an actor.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Whether the caller stands over all tenants.
    pub fn is_operator(&self) -> bool {
        matches!(self.grants, Grants::Everything | Grants::Operator { .. })
    }

    /// Whether the caller may do in this tenant what the role may. An operator has every role but
    /// `delegate`, which somebody has to give: nobody speaks for others by rank.
    pub fn has(&self, tenant: &TenantId, role: Role) -> bool {
        let given =
            |tenants: &BTreeMap<TenantId, Roles>| tenants.get(tenant).is_some_and(|roles| roles.allow(role));
        match &self.grants {
            Grants::Everything => true,
            Grants::Operator { delegate } => role != Role::Delegate || given(delegate),
            Grants::Tenants(tenants) => given(tenants),
        }
    }

    /// Who acts: the caller itself, or whom a caller with the role `delegate` names.
    ///
    /// # Errors
    /// [`Refused`] when somebody else is named without that role. Nothing is put right silently: an
    /// event under another name than the sender wrote would be a lie in an audit log.
    pub fn acting(&self, tenant: &TenantId, claimed: Option<Actor>) -> Result<Actor, Refused> {
        match claimed {
            None => Ok(self.actor.clone()),
            Some(actor) if actor == self.actor || self.has(tenant, Role::Delegate) => Ok(actor),
            Some(_) => Err(Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    fn caller(operator: bool, roles: &[Role]) -> Caller {
        let actor = Actor { kind: "service_account".to_owned(), id: Some("key-1".to_owned()) };
        let tenants = [(tenant("a"), roles.iter().copied().collect())].into();
        Caller::verified(RecordedBy::new("key:key-1"), actor, operator, tenants)
    }

    fn somebody() -> Actor {
        Actor { kind: "user".to_owned(), id: Some("ann".to_owned()) }
    }

    #[test]
    fn a_role_in_one_tenant_says_nothing_about_another() {
        for role in Role::ALL {
            let caller = caller(false, &[role]);
            assert!(caller.has(&tenant("a"), role));
            assert!(Role::ALL.iter().all(|any| !caller.has(&tenant("b"), *any)));
        }
    }

    #[test]
    fn an_operator_may_everything_but_speak_for_others() {
        let operator = caller(true, &[]);
        for role in Role::ALL {
            assert_eq!(operator.has(&tenant("b"), role), role != Role::Delegate);
        }
        assert!(operator.acting(&tenant("b"), Some(somebody())).is_err());
    }

    #[test]
    fn only_a_delegate_names_another_actor() {
        let writer = caller(false, &[Role::Writer]);
        let own = writer.acting(&tenant("a"), None).unwrap();
        assert_eq!(own.id.as_deref(), Some("key-1"));
        assert_eq!(writer.acting(&tenant("a"), Some(own.clone())), Ok(own));
        assert_eq!(writer.acting(&tenant("a"), Some(somebody())), Err(Refused));
        let delegate = caller(false, &[Role::Writer, Role::Delegate]);
        assert_eq!(delegate.acting(&tenant("a"), Some(somebody())), Ok(somebody()));
        assert_eq!(delegate.acting(&tenant("b"), Some(somebody())), Err(Refused));
    }
}
