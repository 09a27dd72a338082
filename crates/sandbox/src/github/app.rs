//! The GitHub App: its signed tokens are checked, and exchanged for tokens of its installation.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::call::Actor;
use super::hub::{Hub, bearer};
use super::record::InstallationToken;
use super::refusal::{Outcome, Refusal};
use super::shape::{BOT, instant, node_id};
use super::state::{now, repo_key};

/// A GitHub App that the sandbox knows.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// The app's id: the `iss` of its tokens.
    pub id: u64,
    /// The public half, as PEM, of the key that the app signs its tokens with.
    pub public_key_pem: String,
    /// The id of its one installation, on every repository.
    pub installation: u64,
}

/// The app, ready to check tokens.
pub(super) struct App {
    pub(super) id: u64,
    pub(super) installation: u64,
    key: DecodingKey,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: Value,
}

/// An app's token may not live longer than this.
const TOKEN_SECONDS_MAX: i64 = 600;
/// Clocks may differ by this much.
const SKEW_SECONDS: i64 = 5;

impl App {
    /// Reads the key.
    pub(super) fn new(options: &AppOptions) -> anyhow::Result<Self> {
        let key = DecodingKey::from_rsa_pem(options.public_key_pem.as_bytes())
            .map_err(|error| anyhow::anyhow!("the app's public key is not an RSA key in PEM form: {error}"))?;
        Ok(Self { id: options.id, installation: options.installation, key })
    }

    /// The app as a caller, if it shows a token that it signed.
    pub(super) fn verified(&self, headers: &HeaderMap) -> Outcome<Actor> {
        let refuse = |said: &str| Refusal::new(StatusCode::UNAUTHORIZED, said);
        let token = bearer(headers).ok_or_else(|| refuse("Requires authentication"))?;
        let mut rules = Validation::new(Algorithm::RS256);
        // Times are judged below, with GitHub's own sentences.
        rules.validate_exp = false;
        rules.set_required_spec_claims::<&str>(&[]);
        let claims = decode::<Claims>(token, &self.key, &rules)
            .map_err(|_| refuse("A JSON web token could not be decoded"))?
            .claims;
        let issuer = claims.iss.as_str().map_or_else(|| claims.iss.to_string(), str::to_owned);
        if issuer != self.id.to_string() {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "Integration not found"));
        }
        let at = now();
        if claims.iat > at + SKEW_SECONDS {
            return Err(refuse(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            ));
        }
        if claims.exp <= at {
            return Err(refuse(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
            ));
        }
        if claims.exp > at + TOKEN_SECONDS_MAX + SKEW_SECONDS {
            return Err(refuse("'Expiration time' claim ('exp') is too far in the future"));
        }
        Ok(Actor { login: BOT.to_owned(), is_person: false, credential: "app".to_owned() })
    }
}

/// `/app`, its installations and their tokens.
pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/app", get(show))
        .route("/app/installations", get(installations))
        .route("/app/installations/{id}", get(installation))
        .route("/app/installations/{id}/access_tokens", post(access_token))
        .route("/repos/{owner}/{repo}/installation", get(repo_installation))
}

type Hubbed = State<Arc<Hub>>;

fn permissions() -> Value {
    json!({"metadata": "read", "issues": "write", "pull_requests": "write", "statuses": "write"})
}

const EVENTS: [&str; 5] = ["issues", "issue_comment", "pull_request", "pull_request_review", "status"];

fn known(hub: &Hub) -> Outcome<&App> {
    hub.app.as_ref().ok_or_else(Refusal::not_found)
}

async fn show(State(hub): Hubbed) -> Outcome<Json<Value>> {
    let app = known(&hub)?;
    let (owner, base) = hub.read(|held| Ok((held.shape.user("acme"), held.shape.base.clone())))?;
    Ok(Json(json!({
        "id": app.id, "slug": "lockstep", "node_id": node_id("A", app.id), "client_id": format!("Iv1.{:016x}", app.id), "owner": owner,
        "name": "lockstep", "description": "", "external_url": base, "html_url": format!("{base}/apps/lockstep"),
        "created_at": instant(0), "updated_at": instant(0), "permissions": permissions(), "events": EVENTS, "installations_count": 1,
    })))
}

fn installation_json(hub: &Hub) -> Outcome<Value> {
    let app = known(hub)?;
    hub.read(|held| {
        let base = &held.shape.base;
        let url = format!("{base}/app/installations/{}", app.installation);
        Ok(json!({
            "id": app.installation, "account": held.shape.user("acme"), "repository_selection": "all",
            "access_tokens_url": format!("{url}/access_tokens"), "repositories_url": format!("{base}/installation/repositories"),
            "html_url": format!("{base}/organizations/acme/settings/installations/{}", app.installation),
            "app_id": app.id, "app_slug": "lockstep", "target_id": 1, "target_type": "Organization",
            "permissions": permissions(), "events": EVENTS, "created_at": instant(0), "updated_at": instant(0),
            "single_file_name": null, "suspended_by": null, "suspended_at": null,
        }))
    })
}

async fn installations(State(hub): Hubbed) -> Outcome<Json<Value>> {
    Ok(Json(json!([installation_json(&hub)?])))
}

async fn installation(State(hub): Hubbed, Path(id): Path<u64>) -> Outcome<Json<Value>> {
    if known(&hub)?.installation != id {
        return Err(Refusal::not_found());
    }
    installation_json(&hub).map(Json)
}

async fn repo_installation(State(hub): Hubbed, Path((owner, repo)): Path<(String, String)>) -> Outcome<Json<Value>> {
    hub.read(|held| held.repo(&repo_key(&owner, &repo)).map(|_| ()))?;
    installation_json(&hub).map(Json)
}

async fn access_token(State(hub): Hubbed, Path(id): Path<u64>) -> Outcome<Response> {
    if known(&hub)?.installation != id {
        return Err(Refusal::not_found());
    }
    // Longer than the forty characters that they once were: a token has no length that can be relied on.
    let token = format!("ghs_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let expires_at = now() + 3600;
    hub.edit(|held| held.keep_token(InstallationToken { token: token.clone(), expires_at }))?;
    let answer = json!({"token": token, "expires_at": instant(expires_at), "permissions": permissions(), "repository_selection": "all"});
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}
