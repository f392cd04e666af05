//! What App Service authentication says of a caller: `X-MS-CLIENT-PRINCIPAL`.
//!
//! Believed only where the platform says that its authentication is on: it then takes the header
//! off whatever a client sends.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::principal::{Claims, Principal};

const OBJECT: [&str; 2] = ["oid", "http://schemas.microsoft.com/identity/claims/objectidentifier"];
const DIRECTORY: [&str; 2] = ["tid", "http://schemas.microsoft.com/identity/claims/tenantid"];
const SUBJECT: [&str; 2] = ["sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"];
/// Largest header read.
const MAX: usize = 64 * 1024;

#[derive(Deserialize)]
struct Header {
    claims: Vec<Claim>,
    #[serde(default)]
    role_typ: Option<String>,
}

#[derive(Deserialize)]
struct Claim {
    typ: String,
    val: String,
}

/// Who the platform vouches for; `None` when the header names nobody or is not what it should be.
pub fn principal(header: &str) -> Option<Principal> {
    if header.len() > MAX {
        return None;
    }
    let Header { claims, role_typ } = serde_json::from_slice(&STANDARD.decode(header).ok()?).ok()?;
    // A claim that comes twice could be read in two ways.
    let one = |names: &[&str]| {
        let mut found =
            claims.iter().filter(|claim| names.contains(&claim.typ.as_str())).map(|claim| &claim.val);
        let first = found.next()?;
        found.all(|other| other == first).then(|| first.clone())
    };
    let roles = claims
        .iter()
        .filter(|claim| claim.typ == "roles" || role_typ.as_deref() == Some(claim.typ.as_str()))
        .map(|claim| claim.val.clone());
    Claims {
        directory: one(&DIRECTORY),
        object: one(&OBJECT),
        subject: one(&SUBJECT),
        is_application: one(&["idtyp"]).as_deref() == Some("app"),
        roles: roles.collect(),
    }
    .principal()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_principal_is_read_and_an_ambiguous_one_is_nobody() {
        let header = |claims: serde_json::Value| {
            STANDARD.encode(json!({ "auth_typ": "aad", "claims": claims, "role_typ": "r" }).to_string())
        };
        let claim = |typ: &str, val: &str| json!({ "typ": typ, "val": val });
        let good = header(json!([
            claim(OBJECT[1], "o"),
            claim("tid", "d"),
            claim("r", "reader:acme"),
            claim("roles", "operator")
        ]));
        let principal_of_good = principal(&good).unwrap();
        assert_eq!(principal_of_good.name.as_str(), "entra:d:o");
        assert!(principal_of_good.operator && principal_of_good.roles.len() == 1);
        let two = header(json!([claim("oid", "o"), claim(OBJECT[1], "other"), claim("tid", "d")]));
        for bad in
            [two.as_str(), "", "x", &STANDARD.encode("{}"), &STANDARD.encode("not json"), &header(json!([]))]
        {
            assert!(principal(bad).is_none(), "{bad}");
        }
    }
}
