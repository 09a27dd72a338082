//! An OAuth app's tokens by its client credentials. It has one at a time: another makes the one before it useless.

use std::sync::Arc;

use axum::{
    Form, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::linear::shared::Shared;

/// Thirty days, as Linear's.
const SECONDS: u64 = 2_591_999;

#[derive(Deserialize)]
pub struct Asked {
    grant_type: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    client_secret: String,
}

/// `POST /oauth/token`.
pub async fn token(State(shared): State<Arc<Shared>>, Form(asked): Form<Asked>) -> Response {
    if asked.grant_type != "client_credentials" || asked.scope.is_empty() {
        return refused(StatusCode::BAD_REQUEST, "invalid_request");
    }
    if (asked.client_id, asked.client_secret) != shared.client {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let token = Uuid::new_v4().simple().to_string();
    *shared.client_token() = Some(token.clone());
    let scope = asked.scope.replace(',', " ");
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": SECONDS, "scope": scope})).into_response()
}

fn refused(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error, "error_description": error}))).into_response()
}
