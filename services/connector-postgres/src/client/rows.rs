//! Rows as the driver gives them, as the plain values that `decode` takes.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::decode::{Capture, Content, Entry, Row};

pub(super) fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        key: row.try_get("key")?,
        status: row.try_get("status")?,
        capture: capture(row, "captured")?,
        content: content(row)?,
    })
}

pub(super) fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        key: row.try_get("key")?,
        operation: row.try_get("operation")?,
        previous: row.try_get("previous")?,
        is_back: row.try_get("is_back")?,
        capture: capture(row, "status")?,
        content: content(row)?,
    })
}

fn capture(row: &PgRow, status: &str) -> Result<Capture, sqlx::Error> {
    Ok(Capture {
        version: row.try_get("version")?,
        status: row.try_get(status)?,
        origin: row.try_get("origin")?,
        actor: row.try_get("actor")?,
        application: row.try_get("application")?,
        at_ms: row.try_get("at_ms")?,
    })
}

fn content(row: &PgRow) -> Result<Content, sqlx::Error> {
    Ok(Content { title: row.try_get("title")?, mentions: row.try_get("mentions")? })
}
