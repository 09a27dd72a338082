//! The systems that do not answer, as the monitor judges: what is on its way to their records waits for them.

use std::time::Duration;

use bus::topology::{AS_SYSTEM, WEBHOOKS_OF};
use client::Item;
use serde::Serialize;
use serde_json::Value;

use crate::output;

/// Items are shown without it where the monitor does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A system that does not answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Failing {
    /// Which.
    pub system: String,
    /// What comes of calls to it.
    pub reason: String,
    /// When one succeeded last, in milliseconds since 1970.
    pub last_success: Option<i64>,
    /// How many records of the items that are shown wait for it.
    pub waiting: usize,
}

/// What the monitor says of everything, if it answers: with 503 as well, when something is wrong.
pub async fn health(monitor: &str) -> Option<Value> {
    let http = reqwest::Client::builder().timeout(PATIENCE).build().ok()?;
    let answer = http.get(format!("{}/health", monitor.trim_end_matches('/'))).send().await.ok()?;
    let health: Value = answer.json().await.ok()?;
    health["components"]["systems"].is_object().then_some(health)
}

/// The systems that do not answer: of one item, those of its records.
pub fn failing(health: &Value, items: &[Item], is_one: bool) -> Vec<Failing> {
    let of = |system: &str| {
        let records = items.iter().flat_map(|item| &item.records);
        records.filter(|record| super::table::system(record) == system).collect::<Vec<_>>()
    };
    let systems = health["components"]["systems"].as_object().into_iter().flatten();
    let systems = systems.filter(|(name, _)| !name.starts_with(AS_SYSTEM) && !name.starts_with(WEBHOOKS_OF));
    let ill = systems.filter(|(name, part)| part["status"] != "healthy" && !(is_one && of(name).is_empty()));
    ill.map(|(name, part)| Failing {
        system: name.clone(),
        reason: part["reason"].as_str().unwrap_or("it is not well").to_owned(),
        last_success: health["at"].as_i64().zip(part["age_ms"].as_i64()).map(|(at, age)| at.saturating_sub(age)),
        waiting: of(name).iter().filter(|record| record.step == "pending").count(),
    })
    .collect()
}

/// One line.
pub fn line(failing: &Failing) -> String {
    let Failing { system, reason, last_success, waiting } = failing;
    let last = last_success.map(|at| format!("; it answered last at {}", output::moment(at))).unwrap_or_default();
    let waits = match waiting {
        0 => String::new(),
        1 => "; 1 of these records waits for it".to_owned(),
        many => format!("; {many} of these records wait for it"),
    };
    output::on_one_line(&format!("{system} does not answer: {reason}{last}{waits}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(records: &[(&str, &str)]) -> Item {
        let record = |(record, step): &(&str, &str)| json!({"record": record, "native": "open", "step": step});
        let records: Vec<Value> = records.iter().map(record).collect();
        let item = json!({"id": "i", "lifecycle": "work", "status": "done", "status_since": 0, "version": 1, "records": records});
        serde_json::from_value(item).unwrap()
    }

    fn sick() -> Value {
        json!({"status": "degraded", "at": 100_000, "components": {"systems": {
            "github": {"status": "degraded", "reason": "calls to it fail: 502", "age_ms": 39_000},
            "linear": {"status": "degraded", "reason": "no call to it has succeeded yet"},
            "postgres": {"status": "healthy", "age_ms": 5},
            "nats:WEBHOOKS": {"status": "degraded", "reason": "full"},
            "webhooks:github": {"status": "degraded", "reason": "refused: forged"},
        }}})
    }

    #[test]
    fn a_system_that_does_not_answer_is_one_line_with_why_since_when_and_what_waits() {
        let items = [
            item(&[("github/issue/a#1", "pending"), ("linear/issue/a", "in_step")]),
            item(&[("github/issue/a#2", "pending"), ("github/issue/a#3", "in_step")]),
        ];
        let lines: Vec<String> = failing(&sick(), &items, false).iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "github does not answer: calls to it fail: 502; it answered last at 1970-01-01T00:01:01Z; \
                 2 of these records wait for it",
                "linear does not answer: no call to it has succeeded yet",
            ]
        );
    }

    #[test]
    fn of_one_item_only_the_systems_of_its_records_are_told() {
        let told = failing(&sick(), &[item(&[("linear/issue/a", "pending")])], true);
        assert!(matches!(&told[..], [one] if one.system == "linear" && one.waiting == 1), "{told:?}");
    }

    #[tokio::test]
    async fn a_monitor_that_is_away_or_something_else_says_nothing() {
        use axum::{Json, Router, routing::get};
        use reqwest::StatusCode;

        runtime::install_crypto();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = |path: &str| format!("http://{}{path}", listener.local_addr().unwrap());
        let (ill, other, none) = (url("/ill/"), url("/other"), url("/none"));
        let router = Router::new()
            .route("/ill/health", get(async || (StatusCode::SERVICE_UNAVAILABLE, Json(sick()))))
            .route("/other/health", get(async || "ok"));
        let served = tokio::spawn(async move { axum::serve(listener, router).await });
        assert_eq!(health(&ill).await, Some(sick()), "that something is wrong is no reason to say nothing");
        assert_eq!((health(&other).await, health(&none).await), (None, None));
        served.abort();
        assert!(served.await.unwrap_err().is_cancelled());
        assert_eq!(health(&ill).await, None);
    }
}
