//! Decides whether a request brings one of the keys of an API, and whether an API may go without.

use std::net::SocketAddr;

use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::ConfigError;
use crate::{Problem, Secret};

/// The digests of the keys: equally long, so that comparing them tells nothing of their lengths.
#[derive(Clone)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Those that are taken.
    pub fn new(keys: &[Secret]) -> Self {
        Self(keys.iter().map(|key| Sha256::digest(key.expose()).into()).collect())
    }

    /// Lets the request pass, or says what it lacks. Without keys everyone passes.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some(given) = given(headers) else {
            return Err(Problem::unauthorized("key_missing", "send a key as Authorization: Bearer … or X-API-Key"));
        };
        let given: [u8; 32] = Sha256::digest(given).into();
        let known = self.0.iter().fold(Choice::from(0), |known, key| known | key.ct_eq(&given));
        if bool::from(known) { Ok(()) } else { Err(Problem::unauthorized("key_unknown", "the key is not one of ours")) }
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
    let refused = |key: &str, why: String| Err(ConfigError::new(format!("{section}.{key}"), why));
    if api_keys.iter().any(Secret::is_empty) {
        return refused("api_keys", "holds an empty entry, which anybody could guess; leave it out".into());
    }
    if !api_keys.is_empty() && allow_anonymous {
        return refused("allow_anonymous", format!("is true while {section}.api_keys has keys; choose one"));
    }
    let open = addresses.into_iter().find(|address| !address.ip().is_loopback());
    match open {
        Some(address) if api_keys.is_empty() && !allow_anonymous => refused(
            "api_keys",
            format!(
                "is empty while {address} can be reached from other machines; set a key, or {section}.allow_anonymous = true"
            ),
        ),
        _ => Ok(()),
    }
}

fn given(headers: &HeaderMap) -> Option<&[u8]> {
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
        Keys::new(&keys).admit(&headers).map_or_else(|problem| problem.status.as_u16(), |()| 200)
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
    }
}
