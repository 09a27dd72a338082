//! Decides whether a request for the status API brings one of the keys.

use http::{HeaderMap, header};
use runtime::{Problem, Secret};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The digests of the keys: equally long, so that comparing them tells nothing of their lengths.
pub(crate) struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub(crate) fn new(keys: &[Secret]) -> Self {
        Self(keys.iter().map(|key| Sha256::digest(key.expose()).into()).collect())
    }

    /// Lets the request pass, or says what it lacks. Without keys everyone passes.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
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
