//! Linear: webhooks and an updatedAt sweep in, issueUpdate out.
//!
//! A record's id is the UUID, which it keeps when it moves to another team; what it shows is its workflow state's
//! name, and its team's states are the words it can show.

use runtime::config::Secret;
use serde::Deserialize;

pub mod answer;
mod client;
mod credential;
pub mod decode;
pub mod encode;
pub mod examine;
pub mod scope;
mod sweep;
pub mod vocabulary;

pub use client::Linear;

/// The system's name.
pub const SYSTEM: &str = "linear";

/// The built-in mapping of issues.
pub const MAPPING: &str = include_str!("../mapping.toml");

/// The connector, as the list of connectors has it.
pub const REGISTRATION: connector::Registration = connector::registration::<Linear>(MAPPING);

/// The settings under `[connector.linear]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the GraphQL API is.
    pub api_url: String,
    /// A personal key (`lin_api_…`) or an OAuth token.
    pub api_key: Secret,
    /// An OAuth app's client id, in place of a key.
    pub client_id: Option<String>,
    /// The app's client secret.
    pub client_secret: Option<Secret>,
    /// The OAuth client's id, by which webhooks name the app that an OAuth token belongs to. Where `client_id` is given it is asked for.
    pub app_id: Option<String>,
    /// The keys (`ENG`) of the only teams whose issues count; empty for all. One that is moved to another team counts as deleted.
    pub teams: Vec<String>,
    /// How long it is at most from one sweep to the next.
    pub sweep_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            api_url: "https://api.linear.app/graphql".to_owned(),
            api_key: Secret::default(),
            client_id: None,
            client_secret: None,
            app_id: None,
            teams: Vec::new(),
            sweep_s: 300,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Kind, Lens, Lifecycle, LifecycleName, Lifecycles, Mappings, Native, Status, System, Vocabulary};

    use crate::vocabulary::{State, vocabulary};

    const ENG: [(&str, &str); 8] = [
        ("Triage", "triage"),
        ("Backlog", "backlog"),
        ("Todo", "unstarted"),
        ("In Progress", "started"),
        ("In Review", "started"),
        ("Done", "completed"),
        ("Canceled", "canceled"),
        ("Duplicate", "duplicate"),
    ];
    const OPS: [(&str, &str); 6] = [
        ("Inbox", "triage"),
        ("Later", "backlog"),
        ("Next", "unstarted"),
        ("Doing", "started"),
        ("Shipped", "completed"),
        ("Dropped", "canceled"),
    ];

    fn words(states: &[(&str, &str)]) -> Vocabulary {
        let state = |(name, class): &(&str, &str)| State {
            id: String::new(),
            name: (*name).to_owned(),
            class: (*class).to_owned(),
            position: 0.0,
        };
        vocabulary(&states.iter().map(state).collect::<Vec<_>>())
    }

    fn lens(words: Option<&Vocabulary>) -> (Lens, Lifecycle) {
        let lifecycles = Lifecycles::built_in().unwrap();
        let mut mappings = Mappings::default();
        mappings.add_toml(crate::MAPPING, &lifecycles).unwrap();
        let (system, kind, work) =
            (System::new("linear").unwrap(), Kind::new("issue").unwrap(), LifecycleName::new("work").unwrap());
        let lifecycle = lifecycles.get(&work).unwrap().clone();
        (mappings.get(&system, &kind, &work).unwrap().lens(&lifecycle, words).unwrap(), lifecycle)
    }

    fn put(states: &[(&str, &str)], from: &str, native: &str) -> String {
        let (lens, lifecycle) = lens(Some(&words(states)));
        let (from, native) = (Status::new(from).unwrap(), Native::new(native).unwrap());
        lens.put(&lifecycle, &from, &native, None).unwrap().to_string()
    }

    fn get(states: &[(&str, &str)], canonical: &str) -> String {
        lens(Some(&words(states))).0.get(&Status::new(canonical).unwrap()).to_string()
    }

    #[test]
    fn the_mapping_keeps_its_laws_without_words_and_with_those_of_any_team() {
        for words in [None, Some(words(&ENG)), Some(words(&OPS)), Some(words(&ENG[2..6])), Some(words(&OPS[3..]))] {
            let (lens, lifecycle) = lens(words.as_ref());
            for from in lifecycle.statuses() {
                assert_eq!(lens.put(&lifecycle, from, lens.get(from), None).as_ref(), Some(from), "GetPut");
                for (native, normal) in lens.natives() {
                    let to = lens.put(&lifecycle, from, native, None).unwrap();
                    assert_eq!(lens.get(&to), normal, "PutGet: {from} {native}");
                }
            }
        }
    }

    #[test]
    fn a_state_is_found_by_its_name() {
        assert_eq!(get(&ENG, "in_review"), "In Review");
        assert_eq!(get(&ENG, "blocked"), "In Progress", "the team has no such state");
        assert_eq!(put(&ENG, "todo", "In Review"), "in_review");
        assert_eq!(put(&ENG, "todo", "Duplicate"), "canceled");
        assert_eq!(put(&ENG, "in_progress", "Triage"), "backlog");
    }

    #[test]
    fn a_state_of_another_name_is_found_by_its_type() {
        assert_eq!(get(&OPS, "todo"), "Next");
        assert_eq!(get(&OPS, "in_review"), "Doing");
        assert_eq!(get(&OPS, "failed"), "Dropped");
        assert_eq!(put(&OPS, "todo", "Shipped"), "done");
        assert_eq!(put(&OPS, "in_progress", "Inbox"), "backlog");
        assert_eq!(put(&OPS, "in_review", "Doing"), "in_review", "a coarser state moves nothing");
    }

    #[test]
    fn what_failed_stays_apart_from_what_was_canceled() {
        assert_eq!(put(&ENG, "failed", "Canceled"), "failed");
        assert_eq!(put(&ENG, "done", "Canceled"), "canceled");
    }
}
