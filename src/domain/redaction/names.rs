//! Names of secrets, by their words.
//!
//! A name is split where its case or its separators say that a word ends, and judged by its last
//! words: `dbPassword` and `client_secret` are secrets, `tokenCount` and `secretary` are not.

use std::collections::BTreeSet;

/// What secrets are called, words joined, in the singular.
const SECRETS: [&str; 66] = [
    "accesskey",
    "accesstoken",
    "accountkey",
    "adminkey",
    "apikey",
    "apisecret",
    "apitoken",
    "appsecret",
    "authkey",
    "authorization",
    "authtoken",
    "bearertoken",
    "clientassertion",
    "clientsecret",
    "connectionstring",
    "connstr",
    "connstring",
    "consumersecret",
    "cookie",
    "credential",
    "csrftoken",
    "cvc",
    "cvv",
    "encryptionkey",
    "functionkey",
    "functionskey",
    "hostkey",
    "idtoken",
    "jwt",
    "masterkey",
    "otp",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwordagain",
    "passwordconfirm",
    "passwordconfirmation",
    "passwordhash",
    "passwordrepeat",
    "passwordsalt",
    "passwort",
    "pgpkey",
    "presharedkey",
    "privatekey",
    "proxyauthorization",
    "pwd",
    "refreshtoken",
    "sastoken",
    "secret",
    "secretkey",
    "secretvalue",
    "servicekey",
    "sessionkey",
    "sessiontoken",
    "setcookie",
    "sharedaccesskey",
    "sharedaccesssignature",
    "sharedkey",
    "sharedsecret",
    "signingkey",
    "sshkey",
    "storagekey",
    "subscriptionkey",
    "token",
    "tokenvalue",
];
/// What a single word ends in when nobody marked where its parts begin.
const ENDINGS: [&str; 6] = ["password", "passwd", "passphrase", "apikey", "connectionstring", "clientsecret"];

/// Longest name that is judged, in bytes.
const MAX_NAME: usize = 512;

/// Whether a name can be one of the above at all: what most names are told by, without looking for their
/// words. Every name above holds one of these, and it stands in a member's name with at most other
/// characters than letters in between.
fn may_be(name: &str) -> bool {
    if !name.is_ascii() {
        return true;
    }
    let mut letters = [0; MAX_NAME];
    let mut count = 0;
    for byte in name.bytes().filter(u8::is_ascii_alphabetic) {
        letters[count] = byte.to_ascii_lowercase();
        count += 1;
    }
    let letters = &letters[..count];
    (0..count).any(|at| {
        let stems: &[&[u8]] = match letters[at] {
            b'a' => &[b"auth"],
            b'c' => &[b"clientassertion", b"conn", b"cookie", b"credential", b"cvc", b"cvv"],
            b'j' => &[b"jwt"],
            b'k' => &[b"key"],
            b'o' => &[b"otp"],
            b'p' => &[b"pass", b"pwd"],
            b's' => &[b"secret", b"signature"],
            b't' => &[b"token"],
            _ => &[],
        };
        stems.iter().any(|stem| letters[at..].starts_with(stem))
    })
}

/// The names that a tenant's events are searched for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Names {
    added: BTreeSet<String>,
}

impl Names {
    pub(super) fn with(added: &[String]) -> Self {
        Self { added: added.iter().map(|name| words(name).concat()).collect() }
    }

    /// Whether a member of this name holds a secret.
    pub(super) fn secret(&self, name: &str) -> bool {
        // Longer names are no names, and would make this slow.
        if name.len() > MAX_NAME || self.added.is_empty() && !may_be(name) {
            return false;
        }
        self.judged(name)
    }

    fn judged(&self, name: &str) -> bool {
        let words = words(name);
        let Some(last) = words.last() else { return false };
        let ends = |joined: &str| ENDINGS.iter().any(|ending| joined.ends_with(ending));
        let known = |joined: &str| SECRETS.binary_search(&joined).is_ok();
        let listed = |joined: &str| known(joined) || joined.strip_suffix('s').is_some_and(known);
        if listed(last) || ends(last.strip_suffix('s').unwrap_or(last)) {
            return true;
        }
        if words.len() > 1 && listed(&words[words.len() - 2..].concat()) {
            return true;
        }
        !self.added.is_empty() && (0..words.len()).any(|from| self.added.contains(&words[from..].concat()))
    }
}

/// Whether a number under this name is a count and no secret: `tokens: 812`.
pub(super) fn counts(name: &str) -> bool {
    words(name).last().is_some_and(|last| last == "tokens" || last == "cookies" || last == "secrets")
}

/// The words of a name, in lower case; words of digits alone are left out (`password2`).
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1);
        // `dbPassword`, and the last capital of `APIKey`.
        let begins = c.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || before.is_uppercase() && after.is_some_and(|after| after.is_lowercase())
            });
        if (begins || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    words.push(word);
    for word in &mut words {
        word.truncate(word.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_for_its_search() {
        assert!(SECRETS.is_sorted(), "{:?}", SECRETS.windows(2).find(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn no_name_of_a_secret_is_passed_over() {
        for name in SECRETS.iter().chain(&ENDINGS) {
            assert!(may_be(name), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_passed_over_quickly_would_not_have_been_judged_a_secret(
            parts in proptest::collection::vec((0..SECRETS.len(), 0..20_usize, "[A-Za-z0-9_. éK-]{0,3}"), 1..4),
        ) {
            let mut name = String::new();
            for (secret, cut, other) in &parts {
                let secret = SECRETS[*secret];
                let cut = *cut % (secret.len() + 1);
                name.push_str(&secret[..cut]);
                name.push_str(other);
                name.push_str(&secret[cut..]);
            }
            let names = Names::with(&[]);
            for name in [name.clone(), name.to_uppercase()] {
                proptest::prop_assert_eq!(names.secret(&name), names.judged(&name), "{}", name);
            }
        }
    }

    #[test]
    fn names_are_judged_by_their_last_words() {
        let names = Names::with(&[]);
        for secret in [
            "password",
            "PASSWORD",
            "Password",
            "dbPassword",
            "db_password",
            "DB-PASSWORD",
            "password_confirmation",
            "passwordConfirmation",
            "client_secret",
            "clientSecret",
            "secrets",
            "token",
            "accessToken",
            "access_token",
            "accesstoken",
            "apiKey",
            "API_KEY",
            "APIKey",
            "apikey",
            "x-api-key",
            "X-Functions-Key",
            "authorization",
            "Proxy-Authorization",
            "connectionString",
            "ConnectionStrings",
            "AzureWebJobsStorageConnectionString",
            "credentials",
            "passWord",
            "password2",
            "user[password]",
            "newpassword",
            "set-cookie",
            "privateKey",
            "AWS_SECRET_ACCESS_KEY",
            "Ocp-Apim-Subscription-Key",
            "AccountKey",
        ] {
            assert!(names.secret(secret), "{secret} was let through");
        }
        for plain in [
            "tokenCount",
            "secretary",
            "key",
            "keyboard",
            "passwordless",
            "isPasswordSet",
            "tokenizer",
            "primaryKey",
            "partitionKey",
            "authorized",
            "secretName",
            "password_reset_url",
            "",
            "__",
            "cookieConsent",
            "tokenType",
        ] {
            assert!(!names.secret(plain), "{plain} was taken for a secret");
        }
    }

    #[test]
    fn a_tenant_adds_names_and_loses_none() {
        let names = Names::with(&["nationalInsuranceNumber".to_owned(), "IBAN".to_owned()]);
        for secret in
            ["national_insurance_number", "customerIban", "password", "my-national-insurance-number"]
        {
            assert!(names.secret(secret), "{secret}");
        }
        assert!(!names.secret("number") && !names.secret("insuranceNumber"));
    }
}
