//! How we show Linear who we are: a key or token, or an OAuth app's id and secret, which are exchanged for a token.
//!
//! Pure. The clock is an argument, and whoever calls does the exchange.

use std::borrow::Cow;

use connector::{Failure, Token};
use http::StatusCode;
use reqwest::Url;
use runtime::config::Secret;
use serde::Deserialize;
use serde_json::Value;

use crate::Config;

/// What the token may do: move issues, and read all that is needed for it.
const SCOPE: &str = "read,write";

/// What we have to show.
pub enum Credential {
    /// A personal key or an OAuth token.
    Key(Secret),
    /// An OAuth app.
    App(App),
}

/// An OAuth app that gets tokens for itself.
pub struct App {
    id: String,
    secret: Secret,
    /// Where it gets them.
    pub url: Url,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    /// In seconds.
    expires_in: i64,
}

impl Credential {
    /// The credential that the configuration names, for the API at an address.
    pub fn of(config: &Config, api: &Url) -> Result<Self, String> {
        let id = config.client_id.as_ref().filter(|id| !id.is_empty());
        let secret = config.client_secret.as_ref().filter(|secret| !secret.is_empty());
        match (!config.api_key.is_empty(), id, secret) {
            (true, None, None) => Ok(Self::Key(config.api_key.clone())),
            (true, ..) => Err("api_key: give either api_key or client_id, not both".to_owned()),
            (false, Some(id), Some(secret)) => {
                let url = api.join("/oauth/token").map_err(|error| format!("api_url: not a URL: {error}"))?;
                Ok(Self::App(App { id: id.clone(), secret: secret.clone(), url }))
            }
            (false, Some(_), None) => Err("client_secret: missing, and client_id is given".to_owned()),
            (false, None, Some(_)) => Err("client_id: missing, and client_secret is given".to_owned()),
            (false, None, None) => Err(
                "api_key: missing; give a personal key (lin_api_…) or an OAuth token, or client_id and client_secret"
                    .to_owned(),
            ),
        }
    }

    /// What tells it from others: everybody with the same one shares its limits. As secret as the credential itself.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Key(key) => key.expose().into(),
            Self::App(app) => format!("app/{}", app.id).into(),
        }
    }

    /// An OAuth app's client id, where it is known.
    pub fn client_id(&self) -> Option<&str> {
        if let Self::App(app) = self { Some(&app.id) } else { None }
    }

    /// Whether it is a person's own: those keys go bare, tokens do not.
    pub fn is_personal(&self) -> bool {
        matches!(self, Self::Key(key) if key.expose().starts_with("lin_api_"))
    }
}

impl App {
    /// The form by which it asks for a token.
    pub fn claim(&self) -> [(&'static str, &str); 4] {
        [
            ("grant_type", "client_credentials"),
            ("scope", SCOPE),
            ("client_id", &self.id),
            ("client_secret", self.secret.expose()),
        ]
    }
}

/// The token that an app was given.
pub fn given(status: StatusCode, body: &[u8], now_ms: i64) -> Result<Token, Failure> {
    if !status.is_success() {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let why = said["error_description"].as_str().or(said["error"].as_str()).unwrap_or("no message");
        let what = "Linear gives the OAuth app no token";
        let todo =
            "check connector.linear.client_id and client_secret, and that the app has client credentials turned on";
        return Err(Failure::refused("unauthorized", format!("{what} ({status}: {why}); {todo}")));
    }
    let given: Exchanged = serde_json::from_slice(body)
        .map_err(|error| Failure::refused("malformed", format!("an OAuth app's token cannot be read: {error}")))?;
    let expires_ms = now_ms.saturating_add(given.expires_in.saturating_mul(1_000));
    Ok(Token::new(given.access_token, expires_ms))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn credential(settings: serde_json::Value) -> Result<Credential, String> {
        let config: Config = serde_json::from_value(settings).unwrap();
        Credential::of(&config, &Url::parse(&config.api_url).unwrap())
    }

    fn refusal(settings: serde_json::Value) -> String {
        credential(settings).err().unwrap()
    }

    #[test]
    fn a_missing_or_doubled_credential_is_one_clear_sentence() {
        assert!(refusal(json!({})).starts_with("api_key: missing"));
        assert!(refusal(json!({"client_id": "i"})).starts_with("client_secret: missing"));
        assert!(refusal(json!({"client_secret": "s"})).starts_with("client_id: missing"));
        let doubled = json!({"api_key": "k", "client_id": "i", "client_secret": "s"});
        assert!(refusal(doubled).contains("not both"));
        // As a container's environment has what is not set.
        assert!(credential(json!({"api_key": "k", "client_id": "", "client_secret": ""})).is_ok());
    }

    #[test]
    fn an_app_asks_where_the_api_is() {
        let Ok(Credential::App(app)) = credential(json!({"client_id": "i", "client_secret": "s"})) else { panic!() };
        assert_eq!(app.url.as_str(), "https://api.linear.app/oauth/token");
    }

    #[test]
    fn a_token_says_in_seconds_how_long_it_is_good() {
        let body = br#"{"access_token": "t", "token_type": "Bearer", "expires_in": 3600, "scope": "read write"}"#;
        let token = given(StatusCode::OK, body, 0).unwrap();
        assert_eq!(token.good(50 * 60_000), Some("t"));
        assert_eq!(token.good(60 * 60_000), None);
    }

    #[test]
    fn an_app_that_gets_none_is_told_why() {
        let said =
            br#"{"error": "Error", "error_description": "Client does not support the client_credentials grant type"}"#;
        let refused = given(StatusCode::BAD_REQUEST, said, 0).err().unwrap();
        assert!(
            matches!(&refused, Failure::Refused { code: "unauthorized", why } if why.contains("grant type")),
            "{refused}"
        );
    }
}
