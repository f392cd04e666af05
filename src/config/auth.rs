//! How callers prove who they are: `ANNALS_AUTH`.

use std::collections::BTreeSet;

use url::Url;

use super::{ConfigError, Lookup, list, value};

const AUTH: &str = "ANNALS_AUTH";
/// Set by `annals dev` for its handler; without it nobody may switch authentication off.
pub const DEV: &str = "ANNALS_DEV";
/// Settings by which a handler knows that it runs on the platform.
const PLATFORM: [&str; 4] =
    ["WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME", "WEBSITE_HOSTNAME", "WEBSITE_OWNER_NAME"];
/// What the platform sets while its own authentication stands before us.
const PLATFORM_AUTH: &str = "WEBSITE_AUTH_ENABLED";

/// Bearer tokens that are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// `iss`, exactly one of these.
    pub issuers: Vec<String>,
    /// `aud`, exactly one of these.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are. Never taken from a token.
    pub jwks: Url,
}

/// How callers prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Not at all: whoever reaches the port of `annals dev` may do everything.
    pub off: bool,
    /// By API keys.
    pub keys: bool,
    /// By bearer tokens.
    pub tokens: Option<TokenSettings>,
    /// By what the platform says of them.
    pub platform: bool,
    /// Names of callers that stand over all tenants.
    pub operators: BTreeSet<String>,
}

impl AuthSettings {
    /// No authentication, for a tool that serves nobody.
    pub(super) fn none() -> Self {
        Self { off: false, keys: false, tokens: None, platform: false, operators: BTreeSet::new() }
    }

    pub(super) fn read(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let rule = "must say how callers prove who they are: `entra`, `keys`, `entra,keys` or `platform` (`off` is \
                    for `annals dev` alone)";
        let mut auth =
            Self { operators: list(lookup, "ANNALS_OPERATORS").into_iter().collect(), ..Self::none() };
        let ways = list(lookup, AUTH);
        for way in &ways {
            match way.as_str() {
                "off" => auth.off = true,
                "keys" => auth.keys = true,
                "entra" => auth.tokens = Some(tokens(lookup)?),
                "platform" => auth.platform = true,
                _ => return Err(ConfigError::new(AUTH, rule)),
            }
        }
        let alone = auth.off || auth.platform;
        if ways.is_empty() || alone && ways.len() > 1 {
            return Err(ConfigError::new(AUTH, rule));
        }
        let on_platform = PLATFORM.iter().any(|name| value(lookup, name).is_some());
        if auth.off && (value(lookup, DEV).is_none() || on_platform) {
            return Err(ConfigError::new(
                AUTH,
                "must not be `off` but in the handler that `annals dev` starts",
            ));
        }
        let enabled = value(lookup, PLATFORM_AUTH).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if auth.platform && !enabled {
            let rule = "must be `platform` only where App Service authentication is on (WEBSITE_AUTH_ENABLED): \
                        otherwise anybody could send its headers";
            return Err(ConfigError::new(AUTH, rule));
        }
        Ok(auth)
    }
}

fn tokens(lookup: Lookup<'_>) -> Result<TokenSettings, ConfigError> {
    let some = |name: &'static str, what: &str| {
        let all = list(lookup, name);
        if all.is_empty() {
            Err(ConfigError::new(name, format!("must name {what}, joined by commas")))
        } else {
            Ok(all)
        }
    };
    const JWKS: &str = "ANNALS_JWKS_URL";
    let jwks = super::url(lookup, JWKS)?
        .ok_or_else(|| ConfigError::new(JWKS, "must be where the issuer's keys are"))?;
    if jwks.scheme() != "https" && !super::storage::is_loopback(&jwks) {
        return Err(ConfigError::new(JWKS, "must be an https URL: who can change its answer can be anybody"));
    }
    Ok(TokenSettings {
        issuers: some("ANNALS_TOKEN_ISSUERS", "the accepted issuers (`iss`)")?,
        audiences: some("ANNALS_TOKEN_AUDIENCES", "the accepted audiences (`aud`)")?,
        jwks,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<AuthSettings, String> {
        let map: HashMap<_, _> = settings.iter().copied().collect();
        AuthSettings::read(&|name| map.get(name).map(|value| (*value).to_owned())).map_err(|e| e.to_string())
    }

    #[test]
    fn a_way_must_be_named_and_off_is_for_development_alone() {
        for bad in [
            &[][..],
            &[("ANNALS_AUTH", "")],
            &[("ANNALS_AUTH", "none")],
            &[("ANNALS_AUTH", "off")],
            &[("ANNALS_AUTH", "off,keys"), ("ANNALS_DEV", "1")],
            &[("ANNALS_AUTH", "off"), ("ANNALS_DEV", "1"), ("WEBSITE_INSTANCE_ID", "x")],
            &[("ANNALS_AUTH", "platform")],
            &[("ANNALS_AUTH", "platform"), ("WEBSITE_AUTH_ENABLED", "False")],
            &[("ANNALS_AUTH", "entra")],
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.starts_with("ANNALS_"), "{bad:?}: {error}");
        }
        assert!(read(&[("ANNALS_AUTH", "off"), ("ANNALS_DEV", "1")]).unwrap().off);
        assert!(read(&[("ANNALS_AUTH", "platform"), ("WEBSITE_AUTH_ENABLED", "True")]).unwrap().platform);
        let keys = read(&[("ANNALS_AUTH", "keys"), ("ANNALS_OPERATORS", "key:1, entra:a:b")]).unwrap();
        assert_eq!(keys.operators.len(), 2);
    }

    #[test]
    fn the_issuers_keys_come_from_a_safe_place() {
        let with = |jwks| {
            read(&[
                ("ANNALS_AUTH", "entra,keys"),
                (
                    "ANNALS_TOKEN_ISSUERS",
                    "https://login.microsoftonline.com/t/v2.0,https://sts.windows.net/t/",
                ),
                ("ANNALS_TOKEN_AUDIENCES", "api://annals"),
                ("ANNALS_JWKS_URL", jwks),
            ])
        };
        assert_eq!(with("https://login.example/keys").unwrap().tokens.unwrap().issuers.len(), 2);
        assert!(with("http://login.example/keys").is_err());
        assert!(with("").is_err());
    }
}
