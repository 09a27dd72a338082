//! The broadcaster's other faces: tickets, how it stands, and a message to see whether it works.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bus::Outgoing;
use http::{HeaderMap, StatusCode};
use proto::v1;
use runtime::Problem;
use serde_json::{Map, Value, json};

use crate::Broadcaster;
use crate::auth::{Credential, Denied, Rights};
use crate::hub::TRANSPORTS;
use crate::message::Message;
use crate::requests;
use crate::room::Kind;

/// How long a test message may take from here to the bus and back.
const TEST: Duration = Duration::from_secs(5);
/// The id of the alert by which it is tested.
const TEST_ALERT: &str = "broadcast-test";

/// `POST /v1/tickets`: a ticket that stands for whoever asks, once, for a short time.
pub async fn ticket(State(broadcaster): State<Broadcaster>, headers: HeaderMap) -> Response {
    let made = async {
        broadcaster.process.http().admit_origin(&headers)?;
        let rights = known(&broadcaster, &headers).await?;
        broadcaster.access.ticket(&rights, broadcaster.process.now_ms()).await.map_err(Problem::from)
    };
    match made.await {
        Ok(ticket) => (StatusCode::CREATED, Json(json!({"ticket": ticket.ticket, "expires_at": ticket.expires_at})))
            .into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// `GET /api/v1/websocket/status`: connections, rooms, queues, rates.
pub async fn status(State(broadcaster): State<Broadcaster>, headers: HeaderMap) -> Response {
    if let Err(problem) = everything(&broadcaster, &headers).await {
        return problem.into_response();
    }
    let standing = broadcaster.hub.standing();
    let sum = |of: fn(&crate::hub::Standing) -> usize| standing.iter().map(of).sum::<usize>();
    let by_transport = |of: &dyn Fn(&crate::hub::Standing, usize) -> u64| -> Map<String, Value> {
        let counts = TRANSPORTS.iter().enumerate();
        counts
            .map(|(index, name)| ((*name).to_owned(), standing.iter().map(|one| of(one, index)).sum::<u64>().into()))
            .collect()
    };
    let rooms: Map<String, Value> = Kind::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), standing.iter().map(|one| one.rooms[kind.index()]).sum::<usize>().into()))
        .collect();
    let (events, bytes) = broadcaster.history.size();
    Json(json!({
        "connections": by_transport(&|one, index| one.clients[index] as u64),
        "connections_max": broadcaster.config.clients_max,
        "subscriptions": rooms,
        "clients_behind": sum(|one| one.behind),
        "clients_blocked": sum(|one| one.blocked),
        "messages": by_transport(&|one, index| one.told[index]),
        "messages_per_second": standing.iter().map(|one| one.per_second).sum::<u64>(),
        "history": {"events": events, "bytes": bytes, "events_max": broadcaster.config.history_max},
        "position": broadcaster.history.position().to_string(),
        "threads": standing.len(),
        "instance": broadcaster.process.instance(),
        "draining": broadcaster.process.shutdown().is_cancelled(),
    }))
    .into_response()
}

/// `POST /api/v1/websocket/broadcast/test`: sends an `info` alert through the bus to everyone who follows alerts, and says how long
/// it took to come by here.
pub async fn test(State(broadcaster): State<Broadcaster>, headers: HeaderMap) -> Response {
    match tested(&broadcaster, &headers).await {
        Ok(answer) => Json(answer).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn tested(broadcaster: &Broadcaster, headers: &HeaderMap) -> Result<Value, Problem> {
    broadcaster.process.http().admit_origin(headers)?;
    let rights = everything(broadcaster, headers).await?;
    let now = broadcaster.process.now_ms();
    let alert = v1::SystemAlert {
        id: TEST_ALERT.into(),
        severity: "info".into(),
        component: "broadcaster".into(),
        message: format!("a test of the broadcast, asked for by {}", rights.subject),
        at: now,
        ..v1::SystemAlert::default()
    };
    let id = format!("{TEST_ALERT}:{}", uuid::Uuid::now_v7());
    let (mut newest, began) = (broadcaster.history.watch(), Instant::now());
    let mut seen = broadcaster.history.last();
    let away = |why: String| Problem::unavailable("not_broadcast", why);
    let coming = async {
        broadcaster
            .bus
            .publish(Outgoing::alert(&alert.severity, &alert.id, id, proto::encode(&alert)))
            .await
            .map_err(|error| away(error.to_string()))?;
        loop {
            let events = broadcaster.history.from(seen + 1, usize::MAX).unwrap_or_default();
            let ours = |message: &Message| matches!(message, Message::SystemAlert(told) if told.id == alert.id && told.at == now);
            if let Some(event) = events.iter().find(|event| ours(&event.message)) {
                return Ok::<_, Problem>(event.position.to_string());
            }
            seen = events.last().map_or(seen, |event| event.number);
            newest.changed().await.map_err(|error| away(error.to_string()))?;
        }
    };
    let late = |_| away(format!("it did not come back from the bus within {} ms", TEST.as_millis()));
    let position = tokio::time::timeout(TEST, coming).await.map_err(late)??;
    Ok(json!({
        "position": position,
        "took_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "clients": broadcaster.admission.clients(),
    }))
}

/// `GET /api/v1/health`: whether watchers are served well.
pub async fn health(State(broadcaster): State<Broadcaster>) -> Response {
    let readiness = broadcaster.process.readiness();
    let faults: Map<String, Value> =
        readiness.into_iter().filter_map(|(part, state)| Some((part, state.err()?.into()))).collect();
    let stopping = broadcaster.process.shutdown().is_cancelled();
    let health = if stopping || !faults.is_empty() { "degraded" } else { "healthy" };
    let status = if health == "healthy" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body =
        json!({"health": health, "stopping": stopping, "faults": faults, "clients": broadcaster.admission.clients()});
    (status, Json(body)).into_response()
}

async fn known(broadcaster: &Broadcaster, headers: &HeaderMap) -> Result<std::sync::Arc<Rights>, Problem> {
    let rights = requests::rights(broadcaster, headers, Credential::of(headers, None)).await?;
    rights.ok_or_else(|| Problem::from(Denied::missing()))
}

/// For whoever may see everything.
async fn everything(broadcaster: &Broadcaster, headers: &HeaderMap) -> Result<std::sync::Arc<Rights>, Problem> {
    let rights = known(broadcaster, headers).await?;
    if rights.rooms.covers("*") {
        return Ok(rights);
    }
    Err(Problem::forbidden("forbidden", "this is for keys and tokens that grant all rooms"))
}
