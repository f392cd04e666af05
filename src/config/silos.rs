//! Accounts that tenants have of their own, and the rules that an address must obey before our token
//! is sent to it.

use url::Url;

use super::{AzureStorage, ConfigError, Lookup, value};
use crate::store::registry::Place;

/// Prefix of the settings that hold connections of tenants' accounts.
const PREFIX: &str = "AnnalsSilos__";

/// Which addresses may be a tenant's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiloRules {
    /// Endpoint suffix of the cloud: `core.windows.net`.
    suffix: String,
    /// Hosts of private endpoints.
    hosts: Vec<String>,
}

impl SiloRules {
    pub(super) fn read(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        const SUFFIX: &str = "ANNALS_STORAGE_SUFFIX";
        let suffix =
            value(lookup, SUFFIX).unwrap_or_else(|| "core.windows.net".to_owned()).to_ascii_lowercase();
        let fits = suffix.contains('.') && is_host(&suffix);
        if !fits {
            return Err(ConfigError::new(
                SUFFIX,
                "must be the suffix of storage endpoints, such as core.windows.net",
            ));
        }
        const HOSTS: &str = "ANNALS_STORAGE_HOSTS";
        let hosts: Vec<_> = super::list(lookup, HOSTS).iter().map(|host| host.to_ascii_lowercase()).collect();
        if !hosts.iter().all(|host| is_host(host)) {
            return Err(ConfigError::new(HOSTS, "must be host names joined by commas"));
        }
        Ok(Self { suffix, hosts })
    }

    /// Checks an address that an operator gave. The account is the first label of its host.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, address: &str) -> Result<Url, String> {
        let rule = || {
            format!(
                "must be https://{{account}}.table.{} or a host of ANNALS_STORAGE_HOSTS, and nothing more",
                self.suffix
            )
        };
        let url = Url::parse(address).map_err(|_| rule())?;
        let host = url.host_str().unwrap_or_default();
        let bare = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        let of_cloud = host.strip_suffix(&format!(".table.{}", self.suffix)).is_some_and(is_account);
        if bare && (of_cloud || self.hosts.iter().any(|allowed| allowed == host)) {
            Ok(url)
        } else {
            Err(rule())
        }
    }
}

/// The name of a storage account.
fn is_account(name: &str) -> bool {
    (3..=24).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

/// The account of a place that is not the shared one.
///
/// # Errors
/// [`ConfigError`] for a connection that no setting holds, or an address that the rules refuse.
pub fn silo(lookup: Lookup<'_>, rules: &SiloRules, place: &Place) -> Result<AzureStorage, String> {
    let address = match place {
        Place::Shared => return Err("the shared account is not a silo".to_owned()),
        Place::Connection(name) => {
            check_connection(name)?;
            let setting = format!("{PREFIX}{name}");
            if let Some(text) = value(lookup, &setting) {
                return AzureStorage::from_connection_string(&text).map_err(|error| error.rule_of(&setting));
            }
            let endpoint = format!("{setting}__tableServiceUri");
            value(lookup, &endpoint).ok_or_else(|| format!("neither {setting} nor {endpoint} is set"))?
        }
        Place::TableServiceUri(address) => address.clone(),
    };
    let url = rules.check(&address).map_err(|rule| format!("tableServiceUri {rule}"))?;
    AzureStorage::with_identity(lookup, &url).map_err(|error| error.to_string())
}

/// Checks the name of a connection: it becomes part of the name of a setting.
///
/// # Errors
/// The rule that it breaks.
pub fn check_connection(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.contains("__");
    match fits {
        true => Ok(()),
        false => Err("a connection's name must be 1 to 64 letters, digits and single underscores".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> SiloRules {
        SiloRules {
            suffix: "core.windows.net".to_owned(),
            hosts: vec!["acme.privatelink.example".to_owned()],
        }
    }

    #[test]
    fn only_an_account_of_our_cloud_is_a_silo() {
        for good in [
            "https://acme.table.core.windows.net",
            "https://acme.table.core.windows.net/",
            "https://acme.privatelink.example/",
        ] {
            assert!(rules().check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://acme.table.core.windows.net",
            "https://acme.table.core.windows.net:444",
            "https://acme.table.core.windows.net.evil.example",
            "https://evil.example/acme.table.core.windows.net",
            "https://user@acme.table.core.windows.net",
            "https://acme.table.core.windows.net@evil.example",
            "https://a.b.table.core.windows.net",
            "https://ACME_.table.core.windows.net",
            "https://127.0.0.1",
            "https://acme.blob.core.windows.net",
            "https://acme.table.core.windows.net/x",
            "https://acme.table.core.windows.net?sig=1",
            "https://evil\\@acme.table.core.windows.net",
            "ftp://acme.table.core.windows.net",
            "",
            "acme",
        ] {
            assert!(rules().check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_connection_stands_in_a_setting_of_its_own_prefix() {
        let lookup =
            |name: &str| (name == "AnnalsSilos__acme").then(|| "AccountName=acme;AccountKey=a2V5".to_owned());
        let open = |name: &str| silo(&lookup, &rules(), &Place::Connection(name.to_owned()));
        assert_eq!(open("acme").unwrap().account, "acme");
        for bad in ["other", "", "../x", "a__b", "PATH="] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }
}
