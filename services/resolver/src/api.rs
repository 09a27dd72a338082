//! The resolver's HTTP face: items, history and conflicts to read, and an operator's word to say.

mod list;
mod operate;
mod show;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use bus::Bus;
use model::{ConflictId, Group, ItemId, Policy};
use runtime::access::Keys;
use runtime::{Problem, Process};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Store;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) policy: Arc<Policy>,
    pub(crate) process: Process,
    /// The turns of those who ask for lists.
    lists: Arc<Semaphore>,
}

impl State {
    pub(crate) fn new(bus: Bus, store: Store, policy: Arc<Policy>, process: Process) -> Self {
        Self { bus, store, policy, process, lists: Arc::new(Semaphore::new(list::LISTS_MAX)) }
    }
}

type Shared = axum::extract::State<State>;
type Answer = Result<axum::Json<Value>, Problem>;

/// How many items or lines one answer holds at most.
const PAGE_MAX: u32 = 1_000;

/// All routes; each wants one of the keys, if there are any.
pub(crate) fn router(state: State, keys: Keys) -> Router {
    let keys = Arc::new(keys);
    let admit = middleware::from_fn(move |request: Request, next: Next| {
        let admitted = keys.admit(request.headers());
        async move {
            match admitted {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            }
        }
    });
    Router::new()
        .route("/v1/items", get(list::items))
        .route("/v1/items/{item}", get(item))
        .route("/v1/items/{item}/history", get(history))
        .route("/v1/items/{item}/links", post(operate::link))
        .route("/v1/items/{item}/links/{*record}", delete(operate::unlink))
        .route("/v1/items/{item}/status", post(operate::force))
        .route("/v1/items/{item}/rollback", post(operate::roll_back))
        .route("/v1/conflicts", get(conflicts))
        .route("/v1/conflicts/{conflict}", get(conflict))
        .route("/v1/conflicts/{conflict}/pick", post(operate::pick))
        .route_layer(admit)
        .with_state(state)
}

/// PostgreSQL did not answer.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn unavailable(error: sqlx::Error) -> Problem {
    tracing::warn!(%error, "PostgreSQL did not answer");
    Problem::unavailable("store_unavailable", "PostgreSQL did not answer; try again")
}

/// PostgreSQL keeps no text with U+0000, and so finds none.
fn findable(text: &str) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(Problem::bad_request("text_bad", "what is looked for must not contain the character U+0000"));
    }
    Ok(())
}

async fn find(state: &State, name: &str) -> Result<Group, Problem> {
    let found = state.store.item(name).await.map_err(unavailable)?;
    found.ok_or_else(|| {
        let detail = format!("no item has the id or identifier {name:?}, and no record of that name was seen");
        Problem::not_found("item_unknown", detail)
    })
}

async fn item(state: Shared, Path(name): Path<String>) -> Answer {
    let group = find(&state, &name).await?;
    Ok(axum::Json(show::item(&group, &state.policy)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    limit: Option<u32>,
    before: Option<u64>,
    after: Option<String>,
}

async fn history(state: Shared, Path(name): Path<String>, Query(lines): Query<Lines>) -> Answer {
    let now = find(&state, &name).await?.item.id;
    // By its id an item that ended is asked for itself; all else is answered by the one that took its records over.
    let item = Uuid::parse_str(&name).map_or(now, ItemId);
    let limit = lines.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let after = lines.after.map(|after| after.parse()).transpose();
    let after = after.map_err(|why| Problem::bad_request("after_bad", format!("after: {why}")))?;
    let _turn = list::turn(&state).await?;
    let (rows, next) = state.store.history(item, lines.before, after, limit).await.map_err(unavailable)?;
    let next = next.map(|next| next.to_string());
    let took_over = state.store.ended_into(item).await.map_err(unavailable)?;
    let ended_into = (item != now).then_some(now);
    Ok(axum::Json(
        json!({ "item": item, "history": rows, "next": next, "took_over": took_over, "ended_into": ended_into }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conflicts {
    all: Option<bool>,
    limit: Option<u32>,
    after: Option<Uuid>,
}

async fn conflicts(state: Shared, Query(query): Query<Conflicts>) -> Answer {
    let limit = query.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let open_only = !query.all.unwrap_or(false);
    let _turn = list::turn(&state).await?;
    let rows = state.store.conflicts(open_only, query.after.map(ConflictId), limit).await.map_err(unavailable)?;
    let next = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.conflict.id);
    Ok(axum::Json(json!({ "conflicts": rows, "next": next })))
}

async fn conflict(state: Shared, Path(id): Path<Uuid>) -> Answer {
    let found = state.store.conflict(ConflictId(id)).await.map_err(unavailable)?;
    let found = found.ok_or_else(|| Problem::not_found("conflict_unknown", format!("there is no conflict {id}")))?;
    Ok(axum::Json(json!(found)))
}
