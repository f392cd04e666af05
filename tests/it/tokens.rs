//! Bearer tokens: the published attacks on JWTs, each refused, against an issuer on this machine.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use annals::{
    access::token::{IssuerKeys, Pace, TokenError, Tokens},
    store::digest::hmac,
    testing::issuer::{Issuer, SigningKey, unsigned},
};

async fn tokens(issuer: &Issuer, pace: Pace) -> Tokens {
    let keys = IssuerKeys::new(issuer.jwks.parse().unwrap(), pace).unwrap();
    let issuers = [Issuer::ISS.to_owned(), "https://sts.windows.net/directory/".to_owned()];
    Tokens::new(&issuers, &[Issuer::AUD.to_owned()], keys)
}

/// What the two are told when a token is `change`d.
async fn refused(change: impl FnOnce(&mut Value, &mut Value)) -> &'static str {
    let issuer = Issuer::start().await.unwrap();
    let (mut header, mut payload) = (Issuer::header(), Issuer::payload("o", &["reader:acme"]));
    change(&mut header, &mut payload);
    let token = SigningKey::issuer().sign(&header, &payload);
    match tokens(&issuer, Pace::default()).await.verify(&token).await {
        Err(TokenError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_good_token_says_who_and_which_roles() {
    let issuer = Issuer::start().await.unwrap();
    let tokens = tokens(&issuer, Pace::default()).await;
    let principal = tokens.verify(&Issuer::token("o-1", &["reader:acme", "operator"])).await.unwrap();
    assert_eq!(principal.name.as_str(), "entra:directory:o-1");
    assert!(principal.operator && principal.roles.len() == 1);
    let mut old = Issuer::payload("o-1", &[]);
    old["iss"] = "https://sts.windows.net/directory/".into();
    let v1 = SigningKey::issuer().sign(&Issuer::header(), &old);
    assert_eq!(tokens.verify(&v1).await.unwrap().name.as_str(), "entra:directory:o-1");
    assert_eq!(issuer.asked(), 1, "keys are cached");
}

#[tokio::test]
async fn alg_none_is_refused_in_every_spelling() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        refused(|header, _| header["alg"] = alg.into()).await;
        let issuer = Issuer::start().await.unwrap();
        let mut header = Issuer::header();
        header["alg"] = alg.into();
        let token = format!("{}.", unsigned(&header, &Issuer::payload("o", &[])));
        assert!(tokens(&issuer, Pace::default()).await.verify(&token).await.is_err());
    }
}

#[tokio::test]
async fn the_public_key_is_no_shared_secret() {
    let issuer = Issuer::start().await.unwrap();
    let jwk = SigningKey::issuer().jwk(Issuer::KID);
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let mut header = Issuer::header();
    header["alg"] = "HS256".into();
    let signed = unsigned(&header, &Issuer::payload("o", &["operator"]));
    for secret in [modulus.as_slice(), jwk["n"].as_str().unwrap().as_bytes(), jwk.to_string().as_bytes()] {
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac(secret, signed.as_bytes())));
        let tokens = tokens(&issuer, Pace::default()).await;
        assert_eq!(tokens.verify(&token).await, Err(TokenError::Refused("another algorithm")));
    }
}

#[tokio::test]
async fn another_algorithm_of_the_same_family_is_refused() {
    for alg in ["RS384", "RS512", "PS256", "ES256", "EdDSA"] {
        assert_eq!(refused(|header, _| header["alg"] = alg.into()).await, "another algorithm");
    }
}

#[tokio::test]
async fn a_key_that_the_issuer_does_not_have_is_refused_and_asked_for_once() {
    let issuer = Issuer::start().await.unwrap();
    let tokens = tokens(&issuer, Pace::default()).await;
    for kid in ["other", "../../etc/passwd", "key-1' OR 1=1", "", "key-1 "] {
        let mut header = Issuer::header();
        header["kid"] = kid.into();
        let token = SigningKey::other().sign(&header, &Issuer::payload("o", &[]));
        assert!(matches!(tokens.verify(&token).await, Err(TokenError::Refused(_))), "{kid}");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_signature_of_somebody_else_is_refused() {
    let issuer = Issuer::start().await.unwrap();
    let tokens = tokens(&issuer, Pace::default()).await;
    let forged = SigningKey::other().sign(&Issuer::header(), &Issuer::payload("o", &[]));
    assert_eq!(tokens.verify(&forged).await, Err(TokenError::Refused("signature")));
    let good = Issuer::token("o", &["reader:acme"]);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let header = signed.split_once('.').unwrap().0;
    let more = URL_SAFE_NO_PAD.encode(Issuer::payload("o", &["operator"]).to_string());
    for altered in
        [format!("{header}.{more}.{signature}"), format!("{signed}."), signed.to_owned(), format!("{good}.x")]
    {
        assert!(tokens.verify(&altered).await.is_err(), "{altered}");
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_not_read() {
    let issuer = Issuer::start().await.unwrap();
    let evil = Issuer::start().await.unwrap();
    evil.show(vec![SigningKey::other().jwk("evil")]);
    let tokens = tokens(&issuer, Pace::default()).await;
    for kid in ["evil", Issuer::KID] {
        let mut header = Issuer::header();
        header["kid"] = kid.into();
        header["jku"] = evil.jwks.as_str().into();
        header["x5u"] = evil.jwks.as_str().into();
        header["jwk"] = SigningKey::other().jwk(kid);
        let token = SigningKey::other().sign(&header, &Issuer::payload("o", &[]));
        assert!(matches!(tokens.verify(&token).await, Err(TokenError::Refused(_))), "{kid}");
    }
    assert_eq!(evil.asked(), 0);
}

#[tokio::test]
async fn issuer_and_audience_must_be_ours_exactly() {
    for iss in [
        json!("https://login.example/other/v2.0"),
        json!(format!("{}/", Issuer::ISS)),
        json!(null),
        json!([Issuer::ISS]),
    ] {
        refused(|_, payload| payload["iss"] = iss).await;
    }
    for aud in [json!("api://other"), json!("API://annals"), json!(""), json!(null), json!(["api://other"])] {
        refused(|_, payload| payload["aud"] = aud).await;
    }
    for claim in ["iss", "aud", "exp"] {
        refused(|_, payload| drop(payload.as_object_mut().unwrap().remove(claim))).await;
    }
}

#[tokio::test]
async fn a_token_counts_in_its_time_alone() {
    let now = Issuer::payload("o", &[])["iat"].as_u64().unwrap();
    assert_eq!(refused(|_, payload| payload["exp"] = (now - 120).into()).await, "expired");
    assert_eq!(refused(|_, payload| payload["nbf"] = (now + 120).into()).await, "not yet valid");
    for (claim, value) in
        [("exp", json!("9999999999")), ("exp", json!(null)), ("nbf", json!("0")), ("exp", json!(-1))]
    {
        refused(|_, payload| payload[claim] = value).await;
    }
}

#[tokio::test]
async fn what_is_critical_and_unknown_is_refused() {
    assert_eq!(refused(|header, _| header["crit"] = json!(["exp"])).await, "a critical extension");
    let unknown = refused(|header, _| {
        header["crit"] = json!(["b64"]);
        header["b64"] = false.into();
    });
    assert_eq!(unknown.await, "a critical extension");
    assert_eq!(refused(|header, _| header["typ"] = "dpop+jwt".into()).await, "another type");
}

#[tokio::test]
async fn what_is_too_long_or_no_token_is_refused() {
    let issuer = Issuer::start().await.unwrap();
    let tokens = tokens(&issuer, Pace::default()).await;
    let mut payload = Issuer::payload("o", &[]);
    payload["padding"] = "x".repeat(20_000).into();
    let long = SigningKey::issuer().sign(&Issuer::header(), &payload);
    assert_eq!(tokens.verify(&long).await, Err(TokenError::Refused("too long")));
    for bad in ["", ".", "..", "a.b.c", "eyJhbGciOiJSUzI1NiJ9", &"a.".repeat(4_000), "\u{e9}.\u{e9}.\u{e9}"] {
        assert!(matches!(tokens.verify(bad).await, Err(TokenError::Refused(_))), "{bad:?}");
    }
    assert_eq!(issuer.asked(), 0, "nobody is asked about what is no token");
}

#[tokio::test]
async fn keys_rotate_and_outlive_an_issuer_that_is_down() {
    let issuer = Issuer::start().await.unwrap();
    let short = Duration::from_millis(300);
    let pace = Pace { fresh: short, between: short, first: Duration::ZERO, keep: Duration::from_secs(60) };
    issuer.set_down(true);
    let tokens = tokens(&issuer, pace).await;
    let good = Issuer::token("o", &[]);
    assert_eq!(tokens.verify(&good).await, Err(TokenError::Unavailable));
    issuer.set_down(false);
    assert!(tokens.verify(&good).await.is_ok(), "without any keys the issuer is asked again at once");
    issuer.set_down(true);
    tokio::time::sleep(2 * short).await;
    assert!(tokens.verify(&good).await.is_ok(), "what is known counts while the issuer is down");
    issuer.set_down(false);
    issuer.show(vec![SigningKey::other().jwk("key-2")]);
    tokio::time::sleep(2 * short).await;
    let mut header = Issuer::header();
    header["kid"] = "key-2".into();
    let rotated = SigningKey::other().sign(&header, &Issuer::payload("o", &[]));
    assert!(tokens.verify(&rotated).await.is_ok());
    assert!(tokens.verify(&good).await.is_err(), "the old key is gone with the issuer's word");
    issuer.show(Vec::new());
    tokio::time::sleep(2 * short).await;
    assert!(tokens.verify(&rotated).await.is_ok(), "an empty set is no word");
}

#[tokio::test]
async fn keys_that_are_too_old_count_no_more() {
    let issuer = Issuer::start().await.unwrap();
    let short = Duration::from_millis(200);
    let pace = Pace { fresh: short, between: short, first: short, keep: 2 * short };
    let tokens = tokens(&issuer, pace).await;
    let good = Issuer::token("o", &[]);
    assert!(tokens.verify(&good).await.is_ok());
    issuer.set_down(true);
    tokio::time::sleep(3 * short).await;
    assert_eq!(tokens.verify(&good).await, Err(TokenError::Unavailable));
}
