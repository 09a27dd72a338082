//! How we show GitHub who we are: a token, or the signed claim of a GitHub App that it exchanges for a token.
//!
//! Pure. The clock is an argument, and whoever calls does the exchange.

use std::borrow::Cow;
use std::path::Path;

use connector::{Token, moment};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use runtime::config::Secret;
use serde::{Deserialize, Serialize};

use crate::Config;

/// Clocks differ: a claim was made a little earlier than now, and ends well before the ten minutes that are allowed.
const ISSUED_AGO_S: i64 = 60;
const CLAIM_S: i64 = 8 * 60;

/// What we have to show.
pub enum Credential {
    /// A token, of a person or of a bot.
    Token(Secret),
    /// A GitHub App's key.
    App(App),
}

/// A GitHub App, installed somewhere.
pub struct App {
    id: u64,
    /// The installation whose repositories we work on.
    pub installation: u64,
    key: EncodingKey,
}

#[derive(Serialize)]
struct Claim {
    iat: i64,
    exp: i64,
    iss: String,
}

#[derive(Deserialize)]
struct Exchanged {
    token: String,
    expires_at: String,
}

impl Credential {
    /// The credential that the configuration names; `file` reads one that it points to.
    pub fn of(config: &Config, file: impl Fn(&Path) -> std::io::Result<Vec<u8>>) -> Result<Self, String> {
        let given = |secret: &Option<Secret>| secret.as_ref().is_some_and(|secret| !secret.is_empty());
        match (&config.token, config.app_id, config.installation_id) {
            (Some(token), None, _) if !token.is_empty() => Ok(Self::Token(token.clone())),
            (token, Some(id), Some(installation)) if !given(token) => {
                let key = pem(config, file)?;
                let key = EncodingKey::from_rsa_pem(&key)
                    .map_err(|error| format!("private_key: not an RSA private key in PEM form: {error}"))?;
                Ok(Self::App(App { id, installation, key }))
            }
            (token, Some(_), _) if given(token) => Err("token: give either token or app_id, not both".to_owned()),
            (_, Some(_), None) => Err("installation_id: a GitHub App needs the id of its installation".to_owned()),
            _ => Err("token: missing (or give app_id, installation_id and private_key)".to_owned()),
        }
    }

    /// What tells it from others: everybody with the same one shares its limits. As secret as the credential itself.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Token(token) => token.expose().into(),
            Self::App(app) => format!("{}/{}", app.id, app.installation).into(),
        }
    }
}

/// The app's key, given in the configuration or in a file that it names.
fn pem(config: &Config, file: impl Fn(&Path) -> std::io::Result<Vec<u8>>) -> Result<Vec<u8>, String> {
    match (&config.private_key, &config.private_key_path) {
        // Environment variables often carry the lines of a key with `\n` written out.
        (Some(key), _) if !key.is_empty() => Ok(key.expose().replace("\\n", "\n").into_bytes()),
        (_, Some(path)) => {
            file(path).map_err(|error| format!("private_key_path: cannot read {}: {error}", path.display()))
        }
        _ => Err("private_key: a GitHub App needs its private key, or private_key_path".to_owned()),
    }
}

impl App {
    /// The claim to be this app, signed, good for a few minutes.
    pub fn claim(&self, now_ms: i64) -> Result<String, String> {
        let now = now_ms / 1_000;
        let claim = Claim { iat: now - ISSUED_AGO_S, exp: now + CLAIM_S, iss: self.id.to_string() };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claim, &self.key).map_err(|error| error.to_string())
    }
}

/// The token for an installation that an app's claim was exchanged for.
pub fn exchanged(body: &[u8]) -> Option<Token> {
    let exchanged: Exchanged = serde_json::from_slice(body).ok()?;
    Some(Token::new(exchanged.token, moment::rfc3339_ms(&exchanged.expires_at).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(settings: serde_json::Value) -> Config {
        serde_json::from_value(settings).unwrap()
    }

    fn refusal(settings: serde_json::Value) -> String {
        Credential::of(&config(settings), |_| Err(std::io::ErrorKind::NotFound.into())).err().unwrap()
    }

    #[test]
    fn a_missing_or_doubled_credential_is_one_clear_sentence() {
        assert!(refusal(json!({})).starts_with("token: missing"));
        assert!(refusal(json!({"token": ""})).starts_with("token: missing"));
        assert!(refusal(json!({"token": "t", "app_id": 1, "installation_id": 2})).contains("not both"));
        assert!(refusal(json!({"app_id": 1})).starts_with("installation_id"));
        assert!(refusal(json!({"app_id": 1, "installation_id": 2})).starts_with("private_key"));
        assert!(refusal(json!({"app_id": 1, "installation_id": 2, "private_key": "no"})).contains("PEM"));
        assert!(
            refusal(json!({"app_id": 1, "installation_id": 2, "private_key_path": "/nowhere.pem"}))
                .contains("cannot read")
        );
    }

    #[test]
    fn a_token_says_when_it_ends() {
        let token = exchanged(br#"{"token": "ghs_x", "expires_at": "1970-01-01T01:00:00Z"}"#).unwrap();
        assert_eq!(token.good(50 * 60_000), Some("ghs_x"));
        assert_eq!(token.good(60 * 60_000), None);
    }
}
