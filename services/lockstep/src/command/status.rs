//! `lockstep status`: items with each record's status side by side, and the systems that do not answer.

mod failing;
mod table;

use std::process::ExitCode;

use client::{Client, Item, Items, Query};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::cli::Status;
use crate::{output, places};

/// How many items one answer holds at most.
const PAGE: usize = 1_000;

/// Whoever asks right after a start must not think that this is how it stays.
const NO_ITEMS: &str = "no items yet: after a start the systems are read first, which takes some seconds; \
                        if this lasts, `/health` of the monitor says which of them cannot be read";

/// Prints the items, or one.
pub async fn run(status: Status) -> anyhow::Result<ExitCode> {
    let (client, at) = places::client(&status.at)?;
    let is_one = status.item.is_some();
    let asked = async {
        match &status.item {
            Some(item) => client.json(&["v1", "items", item], &Query::default()).await,
            None => listed(&client, &status).await,
        }
    };
    let (answer, health) = tokio::join!(asked, failing::health(status.monitor.as_deref().unwrap_or(&at.url)));
    let mut answer = answer.map_err(|error| places::hint(&at, error))?;
    let mut page = page(&answer, is_one)?;
    let failing = health.map(|health| failing::failing(&health, &page.items, is_one));
    if let (None, Some(monitor)) = (&failing, &status.monitor) {
        output::complain(&format!("{monitor}/health does not answer as a monitor: which systems fail is not known"));
    }
    if status.json {
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("failing".to_owned(), json!(failing));
        }
        output::line(&format!("{answer:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    page.items.sort_by_cached_key(table::place);
    let is_empty = page.items.is_empty();
    let nothing = is_empty.then(|| if status.not_in_step { "every item is in step" } else { NO_ITEMS }.to_owned());
    let failing = failing.iter().flatten().map(failing::line);
    for line in table::lines(&page.items).into_iter().chain(nothing).chain(failing) {
        if !output::line(&line) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !is_empty && page.next.is_some() {
        output::complain("there are more; see --limit and --all");
    }
    Ok(ExitCode::SUCCESS)
}

/// As many items as are wanted, page by page, as one answer.
async fn listed(client: &Client, status: &Status) -> Result<Value, client::Error> {
    let most = if status.all { usize::MAX } else { usize::from(status.limit) };
    let in_step = status.not_in_step.then_some(false);
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let limit = Some(PAGE.min(most - items.len()));
        let query = Query { limit, after: after.clone(), in_step, ..Query::default() };
        let mut answer = client.json(&["v1", "items"], &query).await?;
        items.extend(answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
        let next = answer["next"].as_str().map(str::to_owned);
        if next.is_none() || next == after || items.len() >= most {
            return Ok(json!({ "items": items, "next": next }));
        }
        after = next;
    }
}

fn page(answer: &Value, one: bool) -> Result<Items, client::Error> {
    let unexpected = |error: serde_json::Error| client::Error::Unexpected { why: error.to_string() };
    if one {
        let item = Item::deserialize(answer).map_err(unexpected)?;
        return Ok(Items { items: vec![item], next: None });
    }
    Items::deserialize(answer).map_err(unexpected)
}
