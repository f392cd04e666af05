//! What a verified claim set says of who is calling.

use std::collections::BTreeMap;

use super::{Role, Roles};
use crate::domain::{
    event::{Actor, RecordedBy},
    ids::TenantId,
};

/// Who a token or the platform vouches for, before the registry is asked what was granted here.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    /// `entra:{directory}:{object id}`: never a name or an address, which people have.
    pub name: RecordedBy,
    /// The principal as an actor.
    pub actor: Actor,
    /// Whether the application role `operator` was given.
    pub operator: bool,
    /// Application roles `{role}:{tenant}`.
    pub roles: BTreeMap<TenantId, Roles>,
}

/// The claims that count, in whichever way they came.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) directory: Option<String>,
    pub(super) object: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) is_application: bool,
    pub(super) roles: Vec<String>,
}

impl Claims {
    /// `None` when the claims name nobody. A role without a tenant gives nothing: there is no role over
    /// all tenants but the operator's.
    pub(super) fn principal(self) -> Option<Principal> {
        let id = match (self.directory, self.object, self.subject) {
            (Some(directory), Some(object), _) => format!("entra:{directory}:{object}"),
            (_, _, Some(subject)) => format!("entra:sub:{subject}"),
            _ => return None,
        };
        let fits = id.len() <= 256 && !id.chars().any(char::is_control);
        let kind = if self.is_application { "service_account" } else { "user" };
        let mut roles: BTreeMap<TenantId, Roles> = BTreeMap::new();
        let mut operator = false;
        for role in &self.roles {
            match role.split_once(':') {
                None => operator |= role.eq_ignore_ascii_case("operator"),
                Some((role, tenant)) => {
                    if let (Some(role), Ok(tenant)) = (Role::parse(role), TenantId::parse(tenant)) {
                        roles.entry(tenant).or_default().insert(role);
                    }
                }
            }
        }
        let actor = Actor { kind: kind.to_owned(), id: Some(id.clone()) };
        fits.then(|| Principal { name: RecordedBy::new(id), actor, operator, roles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_counts_in_the_tenant_that_it_names_and_nowhere_else() {
        let roles =
            ["reader:acme", "Writer:acme", "auditor", "owner:acme", "admin:", "reader:a/b", "operators"];
        let claims = Claims {
            directory: Some("d".to_owned()),
            object: Some("o".to_owned()),
            roles: roles.map(str::to_owned).to_vec(),
            ..Claims::default()
        };
        let principal = claims.principal().unwrap();
        assert_eq!(principal.name.as_str(), "entra:d:o");
        assert!(!principal.operator);
        let acme = TenantId::parse("acme").unwrap();
        assert_eq!(principal.roles, [(acme, [Role::Reader, Role::Writer].into_iter().collect())].into());
        assert!(Claims::default().principal().is_none());
    }
}
