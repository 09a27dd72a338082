//! Decides whether a request brings one of the keys of an API, and whether an API may go without.

use std::net::SocketAddr;

use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::config::ConfigError;
use crate::{HttpConfig, Problem, Process, Secret};

/// The digests of the keys: equally long, so that comparing them tells nothing of their lengths.
#[derive(Clone)]
pub struct Keys {
    digests: Vec<[u8; 32]>,
    http: HttpConfig,
}

impl Keys {
    /// Those that are taken; where there are none, `http` says under which names the API may be called.
    pub fn new(keys: &[Secret], http: &HttpConfig) -> Self {
        let digests = keys.iter().map(|key| Sha256::digest(key.expose()).into()).collect();
        Self { digests, http: http.clone() }
    }

    /// Lets the request pass, or says what it lacks. Without keys everyone passes who calls us by a name of ours.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.digests.is_empty() {
            return self.http.admit_host(headers);
        }
        let Some(given) = given(headers) else {
            return Err(Problem::unauthorized("key_missing", "send a key as Authorization: Bearer … or X-API-Key"));
        };
        let known = self.position(given);
        known.map(drop).ok_or_else(|| Problem::unauthorized("key_unknown", "the key is not one of ours"))
    }

    /// Which of the keys this is, in the order of [`new`](Self::new). Takes equally long whichever it is, or none.
    pub fn position(&self, given: &[u8]) -> Option<usize> {
        let given: [u8; 32] = Sha256::digest(given).into();
        let mut found = 0;
        for (at, key) in (1_u64..).zip(&self.digests) {
            found.conditional_assign(&at, key.ct_eq(&given));
        }
        usize::try_from(found).ok()?.checked_sub(1)
    }
}

/// Says at the start, of an API that no key guards, where other machines reach it at `listen` or the gateway and nobody said by which
/// names: who has called it so for long would look for the reason elsewhere.
pub fn tell_names(process: &Process, listen: SocketAddr) {
    if let Some(address) = process.http().unnamed([Some(listen), process.gateway()].into_iter().flatten()) {
        tracing::warn!(
            service = process.service(), %address,
            "no key guards this API, so it is served under IP addresses, localhost and names without a dot only; where others call it by a \
             name with dots, as through a proxy or in Kubernetes, set http.hosts"
        );
    }
}

/// Refuses a section whose API would be open by accident: without keys it is served to this machine alone, unless
/// `allow_anonymous` says otherwise. `addresses` are all that serve it.
pub fn check(
    section: &str,
    api_keys: &[Secret],
    allow_anonymous: bool,
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<(), ConfigError> {
    if api_keys.iter().any(Secret::is_empty) {
        let why = "holds an empty entry, which anybody could guess; leave it out";
        return Err(ConfigError::new(format!("{section}.api_keys"), why));
    }
    let guard = (!api_keys.is_empty()).then_some("api_keys has keys");
    check_open(section, guard, allow_anonymous, addresses)
}

/// The rule of [`check`] for a section that may be guarded by other means than `api_keys` too. `guard` is what guards it, to be
/// read after the section's name and a dot.
pub fn check_open(
    section: &str,
    guard: Option<&str>,
    allow_anonymous: bool,
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<(), ConfigError> {
    let refused = |key: &str, why: String| Err(ConfigError::new(format!("{section}.{key}"), why));
    match (guard, addresses.into_iter().find(|address| !address.ip().is_loopback())) {
        (Some(guard), _) if allow_anonymous => {
            refused("allow_anonymous", format!("is true while {section}.{guard}; choose one"))
        }
        (None, Some(address)) if !allow_anonymous => refused(
            "api_keys",
            format!(
                "is empty while {address} can be reached from other machines; set a key, or {section}.allow_anonymous = true"
            ),
        ),
        _ => Ok(()),
    }
}

/// The key that a request brings, as `X-API-Key` or `Authorization: Bearer`. It may be empty.
pub fn given(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(keys: &[&str], name: &'static str, value: &str) -> u16 {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::from(*key)).collect();
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Keys::new(&keys, &HttpConfig::default())
            .admit(&headers)
            .map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_a_key_of_ours_is_a_key() {
        let keys = ["one", "two"];
        assert_eq!(answer(&keys, "authorization", "Bearer two"), 200);
        assert_eq!(answer(&keys, "authorization", "bearer one"), 200);
        assert_eq!(answer(&keys, "x-api-key", "one"), 200);
        for wrong in ["Bearer three", "Bearer ", "Bearer", "Basic one", "one"] {
            assert_eq!(answer(&keys, "authorization", wrong), 401, "{wrong}");
        }
        assert_eq!(answer(&keys, "x-api-key", "tw"), 401);
        assert_eq!(answer(&[], "accept", "*/*"), 200);
        assert_eq!((answer(&[], "host", "localhost"), answer(&[], "host", "evil.example")), (200, 403));
        assert_eq!(answer(&keys, "host", "evil.example"), 401, "where keys guard, any name will do");
    }

    #[test]
    fn a_key_is_told_from_the_others() {
        let keys = Keys::new(&["one".into(), "two".into(), "three".into()], &HttpConfig::default());
        let found: Vec<_> =
            ["three", "one", "two", "four", ""].iter().map(|key| keys.position(key.as_bytes())).collect();
        assert_eq!(found, [Some(2), Some(0), Some(1), None, None]);
        assert_eq!(Keys::new(&[], &HttpConfig::default()).position(b"one"), None);
    }
}
