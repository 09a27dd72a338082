//! What the claims of a token that is signed rightly entitle to, and until when.

use serde_json::{Map, Value};

use super::super::{Denied, Patterns, Rights};

/// The most characters of a `sub`: it is counted by, and logged.
const SUBJECT_CHARS_MAX: usize = 256;
/// The subject of tokens without a `sub`.
const NAMELESS: &str = "token";

/// The rights. They count until the leeway after `exp` is over, as long as the token itself is taken.
pub(super) fn rights(claims: &Map<String, Value>, leeway_ms: i64, now_ms: i64) -> Result<Rights, Denied> {
    let ends = moment(claims, "exp")?.ok_or_else(|| Denied::failed("the token says no end (exp), and must"))?;
    let expires_at = ends.saturating_add(leeway_ms);
    if expires_at <= now_ms {
        let ago = now_ms.saturating_sub(ends) / 1_000;
        return Err(Denied::expired(format!("the token expired {ago} s ago (exp); get a new one")));
    }
    if moment(claims, "nbf")?.is_some_and(|begins| begins.saturating_sub(leeway_ms) > now_ms) {
        return Err(Denied::failed("the token does not count yet (nbf)"));
    }
    Ok(Rights {
        subject: subject(claims)?.into(),
        rooms: patterns(claims, "rooms")?,
        publish: patterns(claims, "publish")?,
        acknowledge: match claims.get("acknowledge") {
            None => false,
            Some(Value::Bool(acknowledge)) => *acknowledge,
            Some(_) => return Err(malformed("acknowledge", "must be true or false")),
        },
        expires_at: Some(expires_at),
    })
}

/// A claim's moment, in milliseconds since 1970: the token has seconds, whole or not.
#[expect(clippy::cast_possible_truncation, reason = "a time beyond all times is the last one")]
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Denied> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_i64().map(|seconds| seconds.saturating_mul(1_000));
    let moment = whole.or_else(|| value.as_f64().map(|seconds| (seconds * 1_000.0) as i64));
    moment.map(Some).ok_or_else(|| malformed(name, "must be a number: seconds since 1970"))
}

fn subject(claims: &Map<String, Value>) -> Result<&str, Denied> {
    match claims.get("sub") {
        None => Ok(NAMELESS),
        Some(Value::String(subject)) => {
            let fits = (1..=SUBJECT_CHARS_MAX).contains(&subject.chars().count());
            if fits && !subject.chars().any(char::is_control) {
                return Ok(subject);
            }
            Err(malformed("sub", &format!("must be of 1 to {SUBJECT_CHARS_MAX} characters that can be printed")))
        }
        Some(_) => Err(malformed("sub", "must be a text")),
    }
}

fn patterns(claims: &Map<String, Value>, name: &str) -> Result<Patterns, Denied> {
    let wrong = || malformed(name, "must be a list of texts, such as [\"agent:*\"]; [\"*\"] is everything");
    let list = match claims.get(name) {
        None => return Ok(Patterns::default()),
        Some(value) => value.as_array().ok_or_else(wrong)?,
    };
    let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    Patterns::parse(&texts.ok_or_else(wrong)?).map_err(|why| malformed(name, &why))
}

fn malformed(claim: &str, why: &str) -> Denied {
    Denied::failed(format!("the token's claim {claim} {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn read(claims: &Value) -> Result<Rights, Denied> {
        rights(claims.as_object().unwrap(), 30_000, NOW_MS)
    }

    #[test]
    fn a_token_entitles_to_what_it_claims_and_to_no_more() {
        let bare = read(&json!({"exp": 1_800_000_060})).unwrap();
        assert_eq!(bare.expires_at, Some(NOW_MS + 90_000));
        assert_eq!((&*bare.subject, bare.acknowledge), ("token", false));
        assert_eq!((bare.rooms.iter().count(), bare.publish.iter().count()), (0, 0));
        let full = json!({
            "exp": 1_800_000_060, "sub": "ana", "rooms": ["agent:*", "all"], "publish": ["agentapi/agent/*"],
            "acknowledge": true, "scope": "something else", "iat": "no matter"
        });
        let full = read(&full).unwrap();
        assert!(full.rooms.covers("agent:x") && full.rooms.covers("all") && !full.rooms.covers("*"));
        assert!(full.publish.covers("agentapi/agent/a") && !full.publish.covers("linear/issue/a"));
        assert_eq!((&*full.subject, full.acknowledge), ("ana", true));
    }

    #[test]
    fn a_token_counts_from_its_beginning_to_its_end_give_or_take_the_leeway() {
        let code = |claims: &Value| read(claims).map_or_else(|denied| denied.code, |_| "ok");
        let cases = [
            (json!({"exp": 1_799_999_971}), "ok"),
            (json!({"exp": 1_799_999_970}), "token_expired"),
            (json!({"exp": 1_799_999_970.5}), "ok"),
            (json!({"exp": 0}), "token_expired"),
            (json!({"exp": -1}), "token_expired"),
            (json!({"exp": i64::MIN}), "token_expired"),
            (json!({"exp": u64::MAX}), "ok"),
            (json!({"exp": 1e300}), "ok"),
            (json!({"exp": 1e300, "nbf": 1_800_000_030}), "ok"),
            (json!({"exp": 1e300, "nbf": 1_800_000_031}), "auth_failed"),
            (json!({"exp": 1e300, "nbf": -1e300}), "ok"),
        ];
        for (claims, expected) in cases {
            assert_eq!(code(&claims), expected, "{claims}");
        }
    }

    #[test]
    fn a_malformed_claim_is_named_and_not_repeated() {
        let cases = [
            (json!({}), "exp"),
            (json!({"exp": null}), "exp"),
            (json!({"exp": "hidden"}), "exp"),
            (json!({"exp": 1e300, "nbf": "hidden"}), "nbf"),
            (json!({"exp": 1e300, "sub": 7}), "sub"),
            (json!({"exp": 1e300, "sub": ""}), "sub"),
            (json!({"exp": 1e300, "sub": "hidden\nline"}), "sub"),
            (json!({"exp": 1e300, "sub": "hidden".repeat(50)}), "sub"),
            (json!({"exp": 1e300, "rooms": "hidden"}), "rooms"),
            (json!({"exp": 1e300, "rooms": null}), "rooms"),
            (json!({"exp": 1e300, "rooms": ["hidden", 7]}), "rooms"),
            (json!({"exp": 1e300, "rooms": ["hid*den"]}), "rooms"),
            (json!({"exp": 1e300, "publish": {"hidden": true}}), "publish"),
            (json!({"exp": 1e300, "acknowledge": "hidden"}), "acknowledge"),
        ];
        for (claims, claim) in cases {
            let denied = read(&claims).unwrap_err();
            assert_eq!(denied.code, "auth_failed", "{claims}");
            assert!(denied.reason.contains(claim) && !denied.reason.contains("hid"), "{denied}");
        }
    }
}
