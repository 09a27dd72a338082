//! Cuts a page out of a list: newest first, by the time of creation or of the last change, from a cursor on.
//!
//! A cursor is an entity's id. Where it stands is looked up when it is used: an entity that changed since has moved.

use std::cmp::Reverse;

use serde_json::{Value, json};

use crate::linear::{
    error::ApiError,
    world::{Row, World, text},
};

const DEFAULT_FIRST: usize = 50;
const FIRST_MAX: u64 = 250;

/// The page of `rows` that the arguments ask for, as a connection whose nodes are references.
pub fn page(
    world: &World,
    kind: &str,
    shown_as: &str,
    rows: Vec<(u64, &Row)>,
    arguments: &Row,
) -> Result<Value, ApiError> {
    let (field, ascending) = order(arguments)?;
    let key = |place: u64, row: &Row| (text(row, field).unwrap_or_default().to_owned(), place);
    let mut rows: Vec<_> = rows
        .into_iter()
        .filter(|(_, row)| flag(arguments, "includeArchived") || text(row, "archivedAt").is_none())
        .map(|(place, row)| (key(place, row), row))
        .collect();
    if ascending {
        rows.sort_by(|one, other| one.0.cmp(&other.0));
    } else {
        rows.sort_by_key(|(key, _)| Reverse(key.clone()));
    }
    let position = |name: &str| -> Result<Option<_>, ApiError> {
        let Some(cursor) = text(arguments, name) else {
            return Ok(None);
        };
        let found = world.get(kind, cursor).zip(world.place(kind, cursor));
        let (row, place) = found.ok_or_else(|| ApiError::input(format!("The cursor in \"{name}\" is not valid")))?;
        Ok(Some(key(place, row)))
    };
    let beyond = |one: &(String, u64), other: &(String, u64)| if ascending { one > other } else { one < other };
    let total = rows.len();
    let start = match position("after")? {
        Some(cursor) => rows.iter().position(|(key, _)| beyond(key, &cursor)).unwrap_or(total),
        None => 0,
    };
    let end = match position("before")? {
        Some(cursor) => rows.iter().position(|(key, _)| !beyond(&cursor, key)).unwrap_or(total),
        None => total,
    };
    let end = end.max(start);
    let (start, end) = match (amount(arguments, "first")?, amount(arguments, "last")?) {
        (Some(_), Some(_)) => return Err(ApiError::input("\"first\" and \"last\" cannot be used together")),
        (first, None) => (start, end.min(start + first.unwrap_or(DEFAULT_FIRST))),
        (None, Some(last)) => (start.max(end.saturating_sub(last)), end),
    };
    let ids: Vec<_> = rows[start..end].iter().map(|(_, row)| row["id"].clone()).collect();
    let node = |id: &Value| reference_as(kind, shown_as, id);
    Ok(json!({
        "nodes": ids.iter().map(node).collect::<Vec<_>>(),
        "edges": ids.iter().map(|id| json!({"node": node(id), "cursor": id})).collect::<Vec<_>>(),
        "pageInfo": {
            "hasNextPage": end < total,
            "hasPreviousPage": start > 0,
            "startCursor": ids.first(),
            "endCursor": ids.last(),
        },
        "totalCount": total,
        "archivePayload": {},
    }))
}

/// A reference to an entity, which is looked up when its fields are asked for.
pub fn reference(kind: &str, id: &Value) -> Value {
    reference_as(kind, kind, id)
}

fn reference_as(kind: &str, shown_as: &str, id: &Value) -> Value {
    json!({"$ref": [kind, id, shown_as]})
}

fn order(arguments: &Row) -> Result<(&'static str, bool), ApiError> {
    if let Some(sort) = arguments.get("sort").filter(|sort| !sort.is_null()) {
        for field in ["createdAt", "updatedAt"] {
            let by = if sort.is_array() { &sort[0][field] } else { &sort[field] };
            if by.is_object() {
                return Ok((field, by["order"] == "Ascending"));
            }
        }
        return Err(ApiError::input("This sandbox sorts by createdAt and updatedAt only"));
    }
    match text(arguments, "orderBy") {
        Some("updatedAt") => Ok(("updatedAt", false)),
        _ => Ok(("createdAt", false)),
    }
}

fn amount(arguments: &Row, name: &str) -> Result<Option<usize>, ApiError> {
    let Some(value) = arguments.get(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match value.as_u64() {
        Some(amount @ 1..=FIRST_MAX) => Ok(usize::try_from(amount).ok()),
        _ => Err(ApiError::input(format!("Argument Validation Error: \"{name}\" must be between 1 and {FIRST_MAX}"))),
    }
}

fn flag(arguments: &Row, name: &str) -> bool {
    arguments.get(name).and_then(Value::as_bool).unwrap_or(false)
}
