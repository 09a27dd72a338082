//! What of a room is wanted.

use serde::Serialize;

/// Lets a message pass when each list that is not empty has one of its words. An empty one lets everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Filter {
    /// What must have happened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<On>,
    /// Items (id or key), agents, workflows, operations, targets, alerts or records of these names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The status that it has now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<String>,
    /// The health level that it has now: `healthy`, `degraded`, `unhealthy`, `unknown`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<String>,
    /// The system of the record whose edit or delivery it was: `linear`, `github`, …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<String>,
    /// The lifecycle of the item; `agent` and `workflow` for their telemetry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifecycles: Vec<String>,
}

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// A status is another one than before.
    StatusChange,
    /// A health level is another one than before.
    HealthChange,
    /// It became a failed or error status, became unhealthy, or is an alert of `error` or `critical`.
    ErrorState,
    /// It left such a state.
    Recovery,
}

impl Filter {
    /// Only when one of these happened.
    pub fn on(what: impl IntoIterator<Item = On>) -> Self {
        Self { on: what.into_iter().collect(), ..Self::default() }
    }

    /// Whether it lets everything pass.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lists_that_say_something_are_sent() {
        let filter = Filter { systems: vec!["github".into()], ..Filter::on([On::ErrorState]) };
        assert_eq!(serde_json::to_string(&filter).unwrap(), r#"{"on":["error_state"],"systems":["github"]}"#);
        assert_eq!(serde_json::to_string(&Filter::default()).unwrap(), "{}");
        assert!(Filter::default().is_empty() && !filter.is_empty());
    }
}
