//! An operator's word. It goes the way of every observation, so that the one log holds it, too: the answer says that it
//! was stored; the item follows within moments.

use axum::Json;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use bus::Outgoing;
use model::{
    Actor, ConflictId, Group, Intent, Lane, Native, Observation, Origin, RecordRef, Source, Status, Timestamp, Version,
};
use runtime::Problem;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Shared, State, find, unavailable};

type Accepted = Result<(StatusCode, Json<Value>), Problem>;

/// Who speaks, as in what is told to ingest.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a name, or an object of name, id and automation")]
enum Who {
    Name(String),
    Known(Known),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    name: String,
    id: Option<String>,
    #[serde(default)]
    automation: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Force {
    status: String,
    actor: Option<Who>,
}

/// `POST /v1/items/{item}/status`: the item takes this status, whatever held it.
pub(super) async fn force(state: Shared, Path(name): Path<String>, Json(body): Json<Force>) -> Accepted {
    let group = find(&state, &name).await?;
    let lifecycle = state.policy.lifecycles.get(&group.item.lifecycle);
    let status = lifecycle.and_then(|lifecycle| lifecycle.status(&body.status)).cloned().ok_or_else(|| {
        let known = lifecycle.map(|lifecycle| lifecycle.statuses().iter().map(Status::as_str).collect::<Vec<_>>());
        let known = known.unwrap_or_default().join(", ");
        let detail = format!("{:?} is not a status of {}: {known}", body.status, group.item.lifecycle);
        Problem::unprocessable("status_unknown", detail)
    })?;
    say(&state, &group, None, Intent::Force(status), body.actor).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBack {
    version: u64,
    actor: Option<Who>,
}

/// `POST /v1/items/{item}/rollback`: the item takes the status that it had at a version.
pub(super) async fn roll_back(state: Shared, Path(name): Path<String>, Json(body): Json<RollBack>) -> Accepted {
    let group = find(&state, &name).await?;
    let version = Version(body.version);
    if version < Version(1) || version >= group.item.version {
        let detail = format!("{version} is not an earlier version of an item that is at {}", group.item.version);
        return Err(Problem::unprocessable("version_unknown", detail));
    }
    if state.store.status_at(group.item.id, version).await.map_err(unavailable)?.is_none() {
        let detail = format!("the history of version {version} is not kept any more (`database.history_months`)");
        return Err(Problem::unprocessable("version_unknown", detail));
    }
    say(&state, &group, None, Intent::Rollback(version), body.actor).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    record: RecordRef,
    actor: Option<Who>,
}

/// `POST /v1/items/{item}/links`: ties a record to the item.
pub(super) async fn link(state: Shared, Path(name): Path<String>, Json(body): Json<Link>) -> Accepted {
    let group = find(&state, &name).await?;
    let record = body.record;
    let Some(incoming) = state.store.item(&record.to_string()).await.map_err(unavailable)? else {
        let detail = format!("{record} was never seen: it can be tied once it showed a status");
        return Err(Problem::not_found("record_unknown", detail));
    };
    if let Some(stranger) = state.policy.stranger(&incoming, &group.item.lifecycle) {
        let lifecycle = &group.item.lifecycle;
        let detail =
            format!("no mapping says what the statuses of {stranger} mean in the lifecycle {lifecycle} of that item");
        return Err(Problem::unprocessable("other_lifecycle", detail));
    }
    say(&state, &group, None, Intent::Link(record), body.actor).await
}

/// Who asks for something that has no body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asker {
    actor: Option<String>,
}

/// `DELETE /v1/items/{item}/links/{record}?actor=…`: gives a record an item of its own again.
pub(super) async fn unlink(
    state: Shared,
    Path((name, record)): Path<(String, String)>,
    Query(asker): Query<Asker>,
) -> Accepted {
    let group = find(&state, &name).await?;
    let record: RecordRef =
        record.parse().map_err(|error: model::NameError| Problem::bad_request("record_bad", error.to_string()))?;
    if group.link(&record).is_none() {
        return Err(Problem::not_found("link_unknown", format!("{record} is not tied to this item")));
    }
    if group.links.len() < 2 {
        return Err(Problem::conflict("link_last", format!("{record} is the item's only record")));
    }
    say(&state, &group, Some(record), Intent::Unlink, asker.actor.map(Who::Name)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pick {
    candidate: usize,
    actor: Option<Who>,
}

/// `POST /v1/conflicts/{conflict}/pick`: the item takes a candidate's status, and the hold ends. Of a conflict that was resolved the losing
/// side is restored so.
pub(super) async fn pick(state: Shared, Path(id): Path<Uuid>, Json(body): Json<Pick>) -> Accepted {
    let found = state.store.conflict(ConflictId(id)).await.map_err(unavailable)?;
    let found = found.ok_or_else(|| Problem::not_found("conflict_unknown", format!("there is no conflict {id}")))?;
    let conflict = found.conflict;
    let candidate = conflict.candidates.get(body.candidate).ok_or_else(|| {
        let detail = format!("the conflict has candidates 0 to {}", conflict.candidates.len().saturating_sub(1));
        Problem::unprocessable("candidate_unknown", detail)
    })?;
    let group = find(&state, &conflict.item.to_string()).await?;
    let intent = match conflict.resolved_at {
        None => Intent::Pick(ConflictId(id), body.candidate),
        Some(_) => Intent::Force(candidate.status.clone()),
    };
    say(&state, &group, None, intent, body.actor).await
}

/// How long the name of who speaks may be, and the id.
const ACTOR_BYTES_MAX: usize = 256;

fn actor(who: Who) -> Result<Actor, Problem> {
    let (name, id, automation) = match who {
        Who::Name(name) => (name, None, false),
        Who::Known(known) => (known.name, known.id, known.automation),
    };
    let is_bad = |text: &String| text.len() > ACTOR_BYTES_MAX || text.chars().any(char::is_control);
    if is_bad(&name) || id.as_ref().is_some_and(is_bad) {
        let detail = format!("an actor has at most {ACTOR_BYTES_MAX} bytes and no control characters");
        return Err(Problem::unprocessable("actor_bad", detail));
    }
    Ok(Actor { name, id, automation })
}

/// Publishes an operator's word about an item, by way of one of its records.
async fn say(state: &State, group: &Group, about: Option<RecordRef>, intent: Intent, who: Option<Who>) -> Accepted {
    let actor = who.map(actor).transpose()?;
    let first = group.links.first().map(|link| link.record.clone());
    let record = about.or(first).ok_or_else(|| Problem::conflict("item_empty", "the item has no records"))?;
    let native = match &intent {
        Intent::Force(status) => Native::new(status.as_str()).unwrap_or_else(|_| Native::none()),
        _ => Native::none(),
    };
    let observation = Observation {
        actor,
        origin: Origin::Other,
        item: Some(group.item.id),
        intent,
        ..Observation::new(
            format!("operator:{}", Uuid::now_v7()),
            record,
            native,
            Source::Api,
            Timestamp(state.process.now_ms()),
        )
    };
    let stored = state.bus.publish(Outgoing::observation(Lane::High, &observation)).await;
    let sequence = stored.map_err(|error| {
        tracing::warn!(%error, "JetStream did not store an operator's word");
        Problem::unavailable("bus_unavailable", "JetStream did not store it; nothing was done, try again")
    })?;
    let body = json!({ "id": observation.id, "item": group.item.id, "sequence": sequence });
    Ok((StatusCode::ACCEPTED, Json(body)))
}
