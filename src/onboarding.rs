//! What somebody asks for when a tenant is added or changed, over HTTP and on the command line alike.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    config::{SiloRules, check_connection},
    domain::{
        ids::{Invalid, Status},
        position::PartitionId,
        redaction::Rules,
    },
    links::PublicUrl,
    store::registry::{ChangeFeed, Place, ReadAudit, Settings},
};

/// Longest display name, in bytes.
const MAX_NAME: usize = 256;
/// Most type filters, and the longest of them.
const MAX_FILTERS: (usize, usize) = (64, 512);
/// Most statuses that want attention.
const MAX_ATTENTION: usize = 32;
/// Longest time that a rotated secret goes on counting: a week.
const MAX_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest settings, in bytes of JSON: a change is kept beside the settings until the tenant's audit stream
/// tells of it, before and after, in one property of 64 KiB.
const MAX_SETTINGS: usize = 16 * 1024;
/// Longest retention, in days: 100 years.
const MAX_RETENTION: u32 = 36_525;

/// Settings as they are asked for. What is left out is as if nothing had been said, but for what is
/// fixed, which stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// A name for people.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Where the tenant's table lies: `"shared"`, `{"connection": …}` or `{"tableServiceUri": …}`.
    #[serde(default)]
    pub storage: Option<Place>,
    /// How many partitions.
    #[serde(default)]
    pub partitions: Option<u8>,
    /// What leaves the silo.
    #[serde(default)]
    pub change_feed: ChangeFeed,
    /// What is redacted, besides what always is.
    #[serde(default)]
    pub redaction: Rules,
    /// How long events are kept, in days.
    #[serde(default)]
    pub retention_days: Option<u32>,
    /// Statuses that want attention, besides those that always do.
    #[serde(default)]
    pub attention: Option<Vec<String>>,
    /// Which reads are audited.
    #[serde(default)]
    pub read_audit: ReadAudit,
}

impl Wanted {
    /// What is asked for, as a change to these settings.
    pub fn change_to(was: &Settings) -> Self {
        Self {
            display_name: was.display_name.clone(),
            storage: None,
            partitions: None,
            change_feed: was.change_feed.clone(),
            redaction: was.redaction.clone(),
            retention_days: was.retention_days,
            attention: None,
            read_audit: was.read_audit,
        }
    }

    /// The settings, checked. `was` is what the tenant has, if it exists.
    ///
    /// # Errors
    /// [`Invalid`] for the first that breaks its rule.
    pub fn settings(self, was: Option<&Settings>) -> Result<Settings, Invalid> {
        let settings = Settings {
            display_name: self.display_name,
            storage: self.storage.or_else(|| was.map(|was| was.storage.clone())).unwrap_or_default(),
            partitions: self.partitions.or_else(|| was.map(|was| was.partitions)).unwrap_or(1),
            change_feed: self.change_feed,
            redaction: self.redaction,
            retention_days: self.retention_days,
            attention: self.attention.or_else(|| was.map(|was| was.attention.clone())).unwrap_or_default(),
            read_audit: self.read_audit,
        };
        check(&settings)?;
        Ok(settings)
    }
}

fn check(settings: &Settings) -> Result<(), Invalid> {
    if !(1..=PartitionId::MAX).contains(&settings.partitions) {
        return Err(Invalid::new("partitions", format!("must be a number from 1 to {}", PartitionId::MAX)));
    }
    let name_fits =
        |name: &String| !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    if !settings.display_name.as_ref().is_none_or(name_fits) {
        let rule = format!("must be 1 to {MAX_NAME} bytes without control characters");
        return Err(Invalid::new("displayName", rule));
    }
    let (most, longest) = MAX_FILTERS;
    let filters = &settings.change_feed.types;
    if filters.len() > most || filters.iter().any(|filter| filter.is_empty() || filter.len() > longest) {
        let rule = format!("must be at most {most} event types of 1 to {longest} bytes");
        return Err(Invalid::new("changeFeed.types", rule));
    }
    settings.redaction.check()?;
    if settings.retention_days.is_some_and(|days| !(1..=MAX_RETENTION).contains(&days)) {
        return Err(Invalid::new("retentionDays", format!("must be a number from 1 to {MAX_RETENTION}")));
    }
    let statuses = settings.attention.iter().all(|status| Status::parse(status.as_str()).is_ok());
    if settings.attention.len() > MAX_ATTENTION || !statuses {
        return Err(Invalid::new("attention", format!("must be at most {MAX_ATTENTION} statuses")));
    }
    check_length(settings)
}

/// Refuses settings that could be stored, and never again changed. Names the longest list in them.
fn check_length(settings: &Settings) -> Result<(), Invalid> {
    fn length(value: &impl Serialize) -> usize {
        serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
    }
    let whole = length(settings);
    if whole <= MAX_SETTINGS {
        return Ok(());
    }
    let lists = [
        ("changeFeed.types", length(&settings.change_feed.types)),
        ("redaction.names", length(&settings.redaction.names)),
        ("redaction.pointers", length(&settings.redaction.pointers)),
        ("attention", length(&settings.attention)),
        ("storage", length(&settings.storage)),
    ];
    let longest =
        lists.into_iter().max_by_key(|(_, length)| *length).map_or("changeFeed.types", |(name, _)| name);
    let rule = format!("must be shorter: all settings are at most {MAX_SETTINGS} bytes of JSON, got {whole}");
    Err(Invalid::new(longest, rule))
}

/// A change feed is asked for where nobody knows where its links are to lead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a change feed carries links: ANNALS_PUBLIC_URL must be set before one is switched on")]
pub struct NoPublicUrl;

/// Checks that what a change feed would carry can be made.
///
/// # Errors
/// [`NoPublicUrl`].
pub fn check_feed(public_url: Option<&PublicUrl>, settings: &Settings) -> Result<(), NoPublicUrl> {
    if settings.change_feed.enabled && public_url.is_none() { Err(NoPublicUrl) } else { Ok(()) }
}

/// Checks for how long the secret of a key is to count on when it has another.
///
/// # Errors
/// [`Invalid`] for more than a week.
pub fn check_grace(grace: Duration) -> Result<(), Invalid> {
    if grace > MAX_GRACE { Err(Invalid::new("graceSeconds", "must be at most a week")) } else { Ok(()) }
}

/// Checks where a tenant's table is to lie, before anything is sent there.
///
/// # Errors
/// [`Invalid`] for an address that is not an account of our cloud, or a name that no setting can have.
pub fn check_place(rules: &SiloRules, place: &Place) -> Result<(), Invalid> {
    match place {
        Place::Shared => Ok(()),
        Place::Connection(name) => {
            check_connection(name).map_err(|rule| Invalid::new("storage.connection", rule))
        }
        Place::TableServiceUri(uri) => match rules.check(uri) {
            Ok(_) => Ok(()),
            Err(rule) => Err(Invalid::new("storage.tableServiceUri", rule)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_could_never_be_changed_again_are_refused_by_their_longest_list() {
        let filters = |count: usize| ChangeFeed { enabled: true, types: vec!["x".repeat(500); count] };
        let pointers = |count: usize| Rules {
            pointers: vec![format!("/data/{}", "x".repeat(240)); count],
            ..Rules::default()
        };
        let asked = |types: usize, rules: usize| {
            let wanted =
                Wanted { change_feed: filters(types), redaction: pointers(rules), ..Wanted::default() };
            wanted.settings(None).map(drop).map_err(|invalid| (invalid.field, invalid.rule))
        };
        assert_eq!(asked(20, 20), Ok(()));
        for (types, rules, field) in [(64, 0, "changeFeed.types"), (10, 64, "redaction.pointers")] {
            let (named, rule) = asked(types, rules).unwrap_err();
            assert_eq!(named, field);
            assert!(rule.contains("16384 bytes of JSON"), "{rule}");
        }
    }
}
