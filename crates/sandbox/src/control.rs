//! The routes under `/sandbox/` that every sandbox has: its faults, its counters, and where its webhooks go.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    counters::{Counters, Counts},
    faults::{Faults, SharedFaults},
    webhooks::Webhooks,
};

/// The handles that the control routes work on.
#[derive(Clone)]
pub struct Controls {
    /// What the server does wrong.
    pub faults: SharedFaults,
    /// What it was asked for.
    pub counters: Counters,
    /// What it sends, if its system has webhooks.
    pub webhooks: Option<Webhooks>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    url: Option<String>,
}

/// The control routes, to be merged into a sandbox's router.
pub fn router(controls: Controls) -> Router {
    let mut router = Router::new()
        .route("/sandbox/faults", get(faults).put(set_faults))
        .route("/sandbox/counters", get(counters))
        .route("/sandbox/counters/reset", post(reset));
    if controls.webhooks.is_some() {
        router = router.route("/sandbox/webhooks", get(deliveries).put(set_target));
    }
    router.with_state(controls)
}

async fn faults(State(controls): State<Controls>) -> Json<Faults> {
    Json(controls.faults.get())
}

async fn set_faults(State(controls): State<Controls>, Json(faults): Json<Faults>) -> Json<Faults> {
    controls.faults.set(faults);
    Json(controls.faults.get())
}

async fn counters(State(controls): State<Controls>) -> Json<Counts> {
    Json(controls.counters.counts())
}

async fn reset(State(controls): State<Controls>) -> StatusCode {
    controls.counters.reset();
    StatusCode::NO_CONTENT
}

async fn set_target(State(controls): State<Controls>, Json(target): Json<Target>) -> StatusCode {
    if let Some(webhooks) = &controls.webhooks {
        webhooks.set_target(target.url);
    }
    StatusCode::NO_CONTENT
}

async fn deliveries(State(controls): State<Controls>) -> Json<Value> {
    let Some(webhooks) = &controls.webhooks else {
        return Json(Value::Null);
    };
    Json(json!({
        "url": webhooks.target(),
        "pending": webhooks.pending(),
        "overflowed": webhooks.overflowed(),
        "deliveries": webhooks.deliveries(),
    }))
}
