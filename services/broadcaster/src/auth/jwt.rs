//! Decides whether a JWT is what it says, and what it entitles to.
//!
//! Pure: the keys and the time are arguments. Where the keys come from it does not ask.

mod claims;
mod keys;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::{Denied, JwtConfig, Rights};

pub(super) use keys::{Found, KeySet};

/// What every token is measured by.
pub(super) struct Rules {
    secrets: Vec<DecodingKey>,
    /// For any algorithm: which one it is stands in the key.
    validation: Validation,
    leeway_ms: i64,
}

/// Why a token entitles to nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is refused, and will be.
    Denied(Denied),
    /// It is signed with a key that is not known here, or not yet.
    UnknownKey,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// Whether this has the form of a JWT: three parts between dots.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.split('.').count() == 3
}

impl Rules {
    pub(super) fn new(config: &JwtConfig) -> Self {
        // The library asks the operating system's clock; `claims` takes the time as an argument.
        let mut validation = Validation { validate_exp: false, validate_nbf: false, ..Validation::default() };
        // A claim that is not required is checked only where a token has it.
        validation.required_spec_claims.clear();
        if let Some(issuer) = &config.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        if let Some(audience) = &config.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".into());
        }
        Self {
            secrets: config
                .hs256_secrets
                .iter()
                .map(|secret| DecodingKey::from_secret(secret.expose().as_bytes()))
                .collect(),
            validation,
            leeway_ms: i64::from(config.leeway_s) * 1_000,
        }
    }

    /// What a token entitles to. `keys` are those that its issuer publishes, where one is configured.
    pub(super) fn rights(&self, token: &str, keys: Option<&KeySet>, now_ms: i64) -> Result<Rights, Refusal> {
        let header = decode_header(token).map_err(|error| denied(&error))?;
        if header.crit.is_some() {
            return Err(
                Denied::failed("the token's header has a critical member (crit), and none is known here").into()
            );
        }
        // A key is only ever tried with the one algorithm that it is for, whatever the token asks for: a public key is no
        // secret of HS256.
        let claims = match (header.alg, keys) {
            (Algorithm::HS256, _) if !self.secrets.is_empty() => self.signed_by_a_secret(token)?,
            (Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512, _) | (_, None) => {
                return Err(Denied::failed("tokens signed in this way (alg) are not taken here").into());
            }
            (algorithm, Some(keys)) => match keys.find(header.kid.as_deref(), algorithm) {
                Found::Key(key) => self.signed_by(key, algorithm, token).map_err(|error| denied(&error))?,
                Found::None => return Err(Refusal::UnknownKey),
                Found::OfOtherAlgorithm => {
                    return Err(
                        Denied::failed("the token's algorithm (alg) is not that of the key that it names").into()
                    );
                }
                Found::Several => {
                    return Err(
                        Denied::failed("the token's header must name the key that it is signed with (kid)").into()
                    );
                }
            },
        };
        Ok(claims::rights(&claims, self.leeway_ms, now_ms)?)
    }

    fn signed_by_a_secret(&self, token: &str) -> Result<Map<String, Value>, Denied> {
        let mut refused = ErrorKind::InvalidSignature.into();
        for secret in &self.secrets {
            match self.signed_by(secret, Algorithm::HS256, token) {
                Ok(claims) => return Ok(claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => refused = error,
                // Signed by this one, and wrong in another way.
                Err(error) => return Err(denied(&error)),
            }
        }
        Err(denied(&refused))
    }

    fn signed_by(&self, key: &DecodingKey, algorithm: Algorithm, token: &str) -> Result<Map<String, Value>, Error> {
        let validation = Validation { algorithms: vec![algorithm], ..self.validation.clone() };
        Ok(decode(token, key, &validation)?.claims)
    }
}

/// The library's errors, as sentences that hold nothing of the token.
fn denied(error: &Error) -> Denied {
    Denied::failed(match error.kind() {
        ErrorKind::InvalidSignature => "the token's signature is not right",
        ErrorKind::InvalidIssuer => "the token's issuer (iss) is not the one whose tokens are taken here",
        ErrorKind::InvalidAudience => {
            "the token is for another audience (aud) than is served here; broadcaster.auth.jwt.audience says which is"
        }
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => "the token does not say who made it (iss)",
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => "the token does not say for whom it is (aud)",
        _ => {
            "the token cannot be read: it takes a header that names a known algorithm (alg), and claims, both JSON in base64url"
        }
    })
}
