//! `lockstep status`: items with each record's status side by side.

mod table;

use std::process::ExitCode;

use client::{Item, Items, Query};
use serde_json::Value;

use crate::cli::Status;
use crate::{output, places};

/// Whoever asks right after a start must not think that this is how it stays.
const NO_ITEMS: &str = "no items yet: after a start the systems are read first, which takes some seconds; \
                        if this lasts, `/health` of the monitor says which of them cannot be read";

/// Prints the items, or one.
pub async fn run(status: Status) -> anyhow::Result<ExitCode> {
    let (client, at) = places::client(&status.at)?;
    let path: Vec<&str> = ["v1", "items"].into_iter().chain(status.item.as_deref()).collect();
    let query = match status.item {
        Some(_) => Query::default(),
        None => Query { limit: Some(usize::from(status.limit)), ..Query::default() },
    };
    let answer = client.json(&path, &query).await.map_err(|error| places::hint(&at, error))?;
    if status.json {
        output::line(&format!("{answer:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = page(answer, status.item.is_some())?;
    page.items.sort_by_cached_key(table::place);
    for line in table::lines(&page.items) {
        if !output::line(&line) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if page.items.is_empty() {
        output::line(NO_ITEMS);
    } else if page.next.is_some() {
        output::complain("there are more; see --limit");
    }
    Ok(ExitCode::SUCCESS)
}

fn page(answer: Value, one: bool) -> Result<Items, client::Error> {
    let unexpected = |error: serde_json::Error| client::Error::Unexpected { why: error.to_string() };
    if one {
        let item: Item = serde_json::from_value(answer).map_err(unexpected)?;
        return Ok(Items { items: vec![item], next: None });
    }
    serde_json::from_value(answer).map_err(unexpected)
}
