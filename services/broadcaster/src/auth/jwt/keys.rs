//! The keys that an issuer publishes: which of them are for signatures, and with which algorithm each.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyAlgorithm, KeyOperations,
    PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are taken from one set.
const KEYS_MAX: usize = 100;
/// Shorter ones can be broken, and the library takes no longer ones.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;

/// The keys of one issuer.
#[derive(Default)]
pub(in super::super) struct KeySet(Vec<Key>);

struct Key {
    kid: Option<String>,
    /// The only one with which it is ever tried.
    algorithm: Algorithm,
    public: DecodingKey,
}

/// What a set has for a token.
pub(in super::super) enum Found<'a> {
    Key(&'a DecodingKey),
    /// No key of that name, or without a name none that fits.
    None,
    /// Keys of that name, but for other algorithms.
    OfOtherAlgorithm,
    /// More than one that the token could mean.
    Several,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl KeySet {
    /// The usable keys of a JSON Web Key Set. An error where there is none, with the reasons.
    pub(in super::super) fn parse(json: &[u8]) -> Result<Self, String> {
        let published: Published =
            serde_json::from_slice(json).map_err(|error| format!("is no JSON Web Key Set ({error})"))?;
        let mut keys = Vec::new();
        let mut refused = Vec::new();
        for (number, value) in (1..).zip(published.keys.into_iter().take(KEYS_MAX)) {
            // Each by itself: a kind of key that is not known must not cost the others.
            match Jwk::deserialize(value).map_err(|error| error.to_string()).and_then(|jwk| Key::of(&jwk)) {
                Ok(key) => keys.push(key),
                Err(why) => refused.push(format!("key {number} {why}")),
            }
        }
        if !refused.is_empty() {
            tracing::debug!(refused = refused.join("; "), "keys of the set are not used");
        }
        if keys.is_empty() {
            refused.truncate(3);
            return Err(format!("holds no key for signatures with RSA or EC: {}", refused.join("; ")));
        }
        Ok(Self(keys))
    }

    /// Whether there is none.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of this name for this algorithm. Without a name the only one that is for the algorithm.
    pub(in super::super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let mut named = self.0.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid).peekable();
        let is_there = kid.is_some() && named.peek().is_some();
        let mut fitting = named.filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(&key.public),
            (Some(_), Some(_)) => Found::Several,
            (None, _) if is_there => Found::OfOtherAlgorithm,
            (None, _) => Found::None,
        }
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Result<Self, String> {
        is_for_signatures(&jwk.common)?;
        let named = jwk.common.key_algorithm;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => of_rsa(rsa, named)?,
            AlgorithmParameters::EllipticCurve(curve) => of_curve(curve, named)?,
            _ => return Err("is neither RSA nor EC".into()),
        };
        let public = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        Ok(Self { kid: jwk.common.key_id.clone(), algorithm, public })
    }
}

fn is_for_signatures(common: &CommonParameters) -> Result<(), String> {
    if common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return Err("is not for signatures (use)".into());
    }
    if common.key_operations.as_ref().is_some_and(|of| !of.contains(&KeyOperations::Verify)) {
        return Err("is not for verifying (key_ops)".into());
    }
    Ok(())
}

fn of_rsa(rsa: &RSAKeyParameters, named: Option<KeyAlgorithm>) -> Result<Algorithm, String> {
    let modulus = bytes(&rsa.n)?;
    let leading = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
    let bits = (modulus.len() - leading) * 8 - modulus.get(leading).map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(format!("has {bits} bits, and {} to {} are taken", RSA_BITS.start(), RSA_BITS.end()));
    }
    match named {
        None | Some(KeyAlgorithm::RS256) => Ok(Algorithm::RS256),
        Some(KeyAlgorithm::RS384) => Ok(Algorithm::RS384),
        Some(KeyAlgorithm::RS512) => Ok(Algorithm::RS512),
        Some(KeyAlgorithm::PS256) => Ok(Algorithm::PS256),
        Some(KeyAlgorithm::PS384) => Ok(Algorithm::PS384),
        Some(KeyAlgorithm::PS512) => Ok(Algorithm::PS512),
        Some(_) => Err("is an RSA key for an algorithm (alg) that does not sign with RSA".into()),
    }
}

fn of_curve(key: &EllipticCurveKeyParameters, named: Option<KeyAlgorithm>) -> Result<Algorithm, String> {
    let (algorithm, length) = match (&key.curve, named) {
        (EllipticCurve::P256, None | Some(KeyAlgorithm::ES256)) => (Algorithm::ES256, 32),
        (EllipticCurve::P384, Some(KeyAlgorithm::ES384)) => (Algorithm::ES384, 48),
        (EllipticCurve::P384, None) => return Err("is on P-384 and does not say its algorithm (alg)".into()),
        _ => return Err("is on a curve (crv) that its algorithm (alg) is not for".into()),
    };
    if bytes(&key.x)?.len() != length || bytes(&key.y)?.len() != length {
        return Err(format!("has coordinates (x, y) that are not of {length} bytes"));
    }
    Ok(algorithm)
}

fn bytes(base64url: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(base64url).map_err(|_| "has a number that is not base64url".into())
}
