//! Tokens by the key that they are signed with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::jwt::{KeySet, Refusal, Rules};
use super::*;

const SECRET: &str = "the first secret, of more than thirty-two bytes";
const NEXT_SECRET: &str = "the next secret, of more than thirty-two bytes";

/// What a token entitles to by these rules and keys: `ok`, or the code of the refusal.
fn outcome(jwt: Value, keys: Option<&Value>, token: &str) -> String {
    let mut jwt = jwt;
    if keys.is_some() {
        jwt["jwks_file"] = "somewhere".into();
    }
    let rules = Rules::new(&config(&json!({"jwt": jwt})).jwt);
    let keys = keys.map(|keys| KeySet::parse(keys.to_string().as_bytes()).unwrap());
    match rules.rights(token, keys.as_ref(), NOW_MS) {
        Ok(rights) => {
            assert!(rights.rooms.covers("agent:x") && !rights.rooms.covers("all"));
            "ok".into()
        }
        Err(Refusal::Denied(denied)) => format!("{denied}"),
        Err(Refusal::UnknownKey) => "unknown key".into(),
    }
}

/// A token of these parts, unsigned or signed with whatever.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(signature))
}

#[test]
fn secrets_may_replace_one_another() {
    let both = json!({"hs256_secrets": [NEXT_SECRET, SECRET]});
    for secret in [SECRET, NEXT_SECRET] {
        assert_eq!(outcome(both.clone(), None, &Signer::secret(secret).token()), "ok");
    }
    let other = Signer::secret("another secret, of more than thirty-two bytes");
    assert!(outcome(both.clone(), None, &other.token()).contains("signature"));
    // Longer hashes of the same secret are other algorithms.
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let told = outcome(both.clone(), None, &Signer::secret(SECRET).with(algorithm).token());
        assert!(told.starts_with("auth_failed") && told.contains("alg"), "{told}");
    }
}

#[test]
fn rsa_and_ec_keys_are_taken_with_the_algorithm_they_are_for() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ec_384(), Signer::next_rsa().with(Algorithm::PS512)];
    let keys = published(&signers);
    for signer in &signers {
        assert_eq!(outcome(json!({}), Some(&keys), &signer.token()), "ok", "{:?}", signer.algorithm);
    }
    let other_hash = outcome(json!({}), Some(&keys), &Signer::rsa().with(Algorithm::RS512).token());
    assert!(other_hash.contains("not that of the key"), "{other_hash}");
    let other_padding = outcome(json!({}), Some(&keys), &Signer::rsa().with(Algorithm::PS256).token());
    assert!(other_padding.contains("not that of the key"), "{other_padding}");
    let of_other_key = outcome(json!({}), Some(&keys), &Signer::weak_rsa().named(Some("rsa")).token());
    assert!(of_other_key.contains("signature"), "{of_other_key}");
    assert_eq!(outcome(json!({}), Some(&keys), &Signer::rsa().named(Some("other")).token()), "unknown key");
}

#[test]
fn a_public_key_is_no_secret() {
    let keys = published(&[Signer::rsa(), Signer::ec()]);
    let modulus = keys["keys"][0]["n"].as_str().unwrap();
    let texts = [
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        keys["keys"][0].to_string().into_bytes(),
        keys.to_string().into_bytes(),
        Vec::new(),
    ];
    for public in texts {
        let confused = Signer { kid: Some("rsa"), algorithm: Algorithm::HS256, key: EncodingKey::from_secret(&public) };
        for jwt in [json!({}), json!({"hs256_secrets": [SECRET]})] {
            let told = outcome(jwt, Some(&keys), &confused.token());
            assert!(told.starts_with("auth_failed"), "{told}");
        }
    }
    // And a set that publishes a secret publishes nothing.
    let secret = json!({"keys": [{"kty": "oct", "kid": "s", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(SECRET)}]});
    assert!(KeySet::parse(secret.to_string().as_bytes()).is_err());
}

#[test]
fn what_is_not_signed_is_no_token() {
    let keys = published(&[Signer::rsa()]);
    let claims = json!({"exp": NOW_S + 60, "rooms": ["*"]});
    let jwt = json!({"hs256_secrets": [SECRET]});
    let good = Signer::secret(SECRET).token();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let claims_of_another = forged(&json!({"alg": "HS256"}), &claims, &URL_SAFE_NO_PAD.decode(signature).unwrap());
    let mut cases = vec![
        forged(&json!({"alg": "HS256"}), &claims, b""),
        forged(&json!({"alg": "RS256", "kid": "rsa"}), &claims, b""),
        forged(&json!({"typ": "JWT"}), &claims, b""),
        forged(&json!([]), &claims, b""),
        format!("{head}."),
        format!("{head}.{}", "A".repeat(signature.len())),
        claims_of_another,
        "..".into(),
        "a.b.c".into(),
        format!("{}.a.b", "é".repeat(10)),
        // A header may bring no key of its own, nor say where one is.
        Signer::next_rsa().named(Some("rsa")).token(),
    ];
    for none in ["none", "None", "NONE", "nOnE", ""] {
        cases.push(forged(&json!({"alg": none}), &claims, b""));
        cases.push(forged(&json!({"alg": none, "kid": "rsa"}), &claims, b"x"));
    }
    for token in cases {
        let told = outcome(jwt.clone(), Some(&keys), &token);
        assert!(told.starts_with("auth_failed") && !told.contains(&token), "{token}: {told}");
    }
    assert_eq!(outcome(jwt, Some(&keys), &good), "ok");
}

#[test]
fn a_critical_header_that_nobody_knows_is_refused() {
    let signer = Signer::secret(SECRET);
    let header = Header { crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::HS256) };
    let token = encode(&header, &json!({"exp": NOW_S + 60}), &signer.key).unwrap();
    assert!(outcome(json!({"hs256_secrets": [SECRET]}), None, &token).contains("crit"));
}

#[test]
fn a_token_without_a_name_for_its_key_must_leave_no_doubt() {
    let nameless = Signer::rsa().named(None);
    let one = published(&[Signer::rsa(), Signer::ec()]);
    assert_eq!(outcome(json!({}), Some(&one), &nameless.token()), "ok");
    let two = published(&[Signer::rsa(), Signer::next_rsa()]);
    assert!(outcome(json!({}), Some(&two), &nameless.token()).contains("kid"));
    let none = published(&[Signer::ec()]);
    assert_eq!(outcome(json!({}), Some(&none), &nameless.token()), "unknown key");
    assert_eq!(
        outcome(json!({}), Some(&published(&[Signer::rsa().named(None)])), &Signer::rsa().token()),
        "unknown key"
    );
}

#[test]
fn issuer_and_audience_must_be_ours_where_they_are_configured() {
    let told = |jwt: Value, claims: Value| {
        let mut jwt = jwt;
        jwt["hs256_secrets"] = json!([SECRET]);
        let mut all = json!({"exp": NOW_S + 60, "rooms": ["agent:*"]});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        outcome(jwt, None, &Signer::secret(SECRET).sign(&all))
    };
    let ours = json!({"issuer": "https://id.example.com", "audience": "lockstep"});
    let issuer = "https://id.example.com";
    assert_eq!(told(ours.clone(), json!({"iss": issuer, "aud": "lockstep"})), "ok");
    assert_eq!(told(ours.clone(), json!({"iss": issuer, "aud": ["other", "lockstep"]})), "ok");
    for (claims, part) in [
        (json!({"iss": issuer}), "aud"),
        (json!({"aud": "lockstep"}), "iss"),
        (json!({"iss": issuer, "aud": "other"}), "aud"),
        (json!({"iss": issuer, "aud": []}), "aud"),
        (json!({"iss": issuer, "aud": 7}), "aud"),
        (json!({"iss": "https://id.example.com/", "aud": "lockstep"}), "iss"),
        (json!({"iss": 7, "aud": "lockstep"}), "iss"),
    ] {
        let told = told(ours.clone(), claims.clone());
        assert!(told.starts_with("auth_failed") && told.contains(&format!("({part})")), "{claims}: {told}");
    }
    assert_eq!(told(json!({}), json!({"iss": "anybody"})), "ok");
    // A token for somebody else is not for us, whoever we are.
    assert!(told(json!({}), json!({"aud": "other"})).contains("(aud)"));
}

#[test]
fn keys_that_are_no_keys_for_signatures_are_left_out_of_a_set() {
    let good = Signer::rsa().public();
    let with = |changes: Value| {
        let mut key = good.clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let curve = |changes: Value| {
        let mut key = Signer::ec().public();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let mut p384 = Signer::ec_384().public();
    p384.as_object_mut().unwrap().remove("alg");
    let refused = [
        with(json!({"use": "enc"})),
        with(json!({"key_ops": ["encrypt"]})),
        with(json!({"alg": "RSA-OAEP"})),
        with(json!({"alg": "HS256"})),
        with(json!({"alg": "ES256"})),
        with(json!({"alg": "none"})),
        with(json!({"n": ""})),
        with(json!({"n": "AAAA"})),
        with(json!({"n": "not base64url!"})),
        curve(json!({"alg": "RS256"})),
        curve(json!({"alg": "ES384"})),
        curve(json!({"crv": "P-521"})),
        curve(json!({"crv": "secp256k1"})),
        curve(json!({"x": "AAAA"})),
        p384,
        Signer::weak_rsa().public(),
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([1; 32])}),
        json!({"kty": "AKP"}),
        json!("key"),
    ];
    for key in &refused {
        assert!(KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).is_err(), "{key}");
    }
    // And cost the good ones nothing.
    let all: Vec<Value> = refused.into_iter().chain([good.clone()]).collect();
    assert_eq!(outcome(json!({}), Some(&json!({"keys": all})), &Signer::rsa().token()), "ok");
    // A key that does not say its algorithm is for the usual one.
    let mut unsaid = good;
    unsaid.as_object_mut().unwrap().remove("alg");
    let unsaid = json!({"keys": [unsaid]});
    assert_eq!(outcome(json!({}), Some(&unsaid), &Signer::rsa().token()), "ok");
    assert!(outcome(json!({}), Some(&unsaid), &Signer::rsa().with(Algorithm::RS384).token()).contains("alg"));
    for nothing in ["", "{}", "[]", r#"{"keys": []}"#, r#"{"keys": 7}"#] {
        assert!(KeySet::parse(nothing.as_bytes()).is_err(), "{nothing}");
    }
}
