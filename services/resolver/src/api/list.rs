//! Lists of items, page by page. Bounds what one answer holds, and how many are made at once: an item may have many kilobytes of
//! metadata, and who asks for many of those must not take the memory of whoever resolves beside it.

use std::time::Duration;

use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use model::{Group, ItemId, LifecycleName};
use runtime::Problem;
use serde::Deserialize;
use serde_json::json;
use store::ItemFilter;
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use super::{PAGE_MAX, Shared, State, findable, show, unavailable};

/// How many lists are made at once, and how long the next one waits for its turn.
pub(super) const LISTS_MAX: usize = 4;
const TURN: Duration = Duration::from_secs(5);
/// Where a page has so many bytes it ends.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many items one answer looks through for those that are in step, or not: that is decided here, not by PostgreSQL.
const LOOKED_MAX: usize = 5_000;
/// How many items are read first, when nobody knows yet how large they are, and how many later at most.
const READ_FIRST: usize = 16;
const READ_MAX: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    limit: Option<u32>,
    after: Option<Uuid>,
    q: Option<String>,
    lifecycle: Option<String>,
    in_step: Option<bool>,
}

/// The turn of whoever asks for a list of anything.
pub(super) async fn turn(state: &State) -> Result<SemaphorePermit<'_>, Problem> {
    let turn = tokio::time::timeout(TURN, state.lists.acquire()).await.ok().and_then(Result::ok);
    turn.ok_or_else(|| {
        let detail = format!("{LISTS_MAX} lists are being made already; ask again in a moment");
        Problem::unavailable("too_many_lists", detail).retry_after(Duration::from_secs(1))
    })
}

/// `GET /v1/items`.
pub(super) async fn items(state: Shared, Query(listing): Query<Listing>) -> Result<Response, Problem> {
    let lifecycle = listing.lifecycle.map(LifecycleName::new).transpose();
    let lifecycle = lifecycle.map_err(|error| Problem::bad_request("lifecycle_bad", error.to_string()))?;
    findable(listing.q.as_deref().unwrap_or_default())?;
    let mut filter =
        ItemFilter { after: listing.after.map(ItemId), text: listing.q, lifecycle, ..ItemFilter::default() };
    let limit = listing.limit.unwrap_or(100).clamp(1, PAGE_MAX) as usize;
    let _turn = turn(&state).await?;
    let (mut page, mut looked, mut read) = (Page::default(), 0, READ_FIRST);
    let next = 'page: loop {
        if listing.in_step.is_none() {
            read = read.min(limit - page.items);
        }
        let groups = state.store.items(&filter, u32::try_from(read).unwrap_or(PAGE_MAX)).await.map_err(unavailable)?;
        for group in &groups {
            filter.after = Some(group.item.id);
            if listing.in_step.is_none_or(|in_step| group.in_step(&state.policy) == in_step) {
                page.add(&show::item(group, &state.policy).to_string());
            }
            if page.items == limit || page.text.len() >= BYTES_MAX {
                break 'page filter.after;
            }
        }
        looked += groups.len();
        if groups.len() < read {
            break None;
        }
        if looked >= LOOKED_MAX {
            break filter.after;
        }
        read = as_many(&groups).min(LOOKED_MAX - looked);
    };
    Ok(([(CONTENT_TYPE, "application/json")], page.ended(next)).into_response())
}

/// How many items like these are read at once.
fn as_many(groups: &[Group]) -> usize {
    let metadata =
        |group: &Group| group.item.metadata.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>();
    let weight = groups.iter().map(|group| 1_024 * (1 + group.links.len()) + metadata(group)).sum::<usize>();
    (BYTES_MAX * groups.len()).checked_div(weight).unwrap_or(READ_MAX).clamp(READ_FIRST, READ_MAX)
}

/// Items as they are written.
#[derive(Default)]
struct Page {
    text: String,
    items: usize,
}

impl Page {
    fn add(&mut self, item: &str) {
        if self.items > 0 {
            self.text.push(',');
        }
        self.text.push_str(item);
        self.items += 1;
    }

    fn ended(self, next: Option<ItemId>) -> String {
        format!("{{\"items\":[{}],\"next\":{}}}", self.text, json!(next))
    }
}
