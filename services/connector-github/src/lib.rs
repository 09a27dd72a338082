//! GitHub: webhooks and a sweep in; issue state, pull request draft state and commit statuses out.
//!
//! A record's id is `owner/name#number`. Issues show `open`, `closed/completed` or `closed/not_planned`; pull requests `draft`,
//! `open`, `approved`, `changes_requested`, `queued`, `merged` or `closed`.

use std::path::PathBuf;

use runtime::config::Secret;
use serde::Deserialize;

mod address;
pub mod answer;
mod client;
mod credential;
pub mod decode;
pub mod encode;
pub mod examine;
mod heads;
pub mod mention;
pub mod pull;
pub mod redelivery;
pub mod sights;
mod walk;

pub use address::{Address, Of};
pub use client::Github;

/// The system's name.
pub const SYSTEM: &str = "github";

/// The built-in mappings of issues and pull requests.
pub const MAPPING: &str = include_str!("../mapping.toml");

/// The connector, as the list of connectors has it.
pub const REGISTRATION: connector::Registration = connector::registration::<Github>(MAPPING);

/// The settings under `[connector.github]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the API is; an Enterprise Server's ends in `/api/v3`.
    pub api_url: String,
    /// A token of a person or a bot.
    pub token: Option<Secret>,
    /// A GitHub App's id, instead of a token.
    pub app_id: Option<u64>,
    /// The app's installation.
    pub installation_id: Option<u64>,
    /// The app's private key in PEM form.
    pub private_key: Option<Secret>,
    /// A file with the app's private key, instead.
    pub private_key_path: Option<PathBuf>,
    /// The repositories that are swept, as `owner/name`; with any given, what belongs to another counts as deleted.
    pub repositories: Vec<String>,
    /// How long it is at most from one sweep of them to the next.
    pub sweep_s: u64,
    /// How often GitHub is asked to send webhooks again that it could not deliver.
    pub redeliver_s: u64,
    /// The prefixes of the only identifiers (`ENG`) that are looked for in branches, titles and bodies; empty for any.
    pub team_prefixes: Vec<String>,
    /// The account that our writes are made by, where it is a bot's or a machine's alone. An app's is found out.
    pub bot_login: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            api_url: "https://api.github.com".to_owned(),
            token: None,
            app_id: None,
            installation_id: None,
            private_key: None,
            private_key_path: None,
            repositories: Vec::new(),
            sweep_s: 300,
            redeliver_s: 300,
            team_prefixes: Vec::new(),
            bot_login: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Kind, Lens, Lifecycle, LifecycleName, Lifecycles, Mappings, Native, Status, System};

    fn lens(kind: &str) -> (Lens, Lifecycle) {
        let lifecycles = Lifecycles::built_in().unwrap();
        let mut mappings = Mappings::default();
        mappings.add_toml(crate::MAPPING, &lifecycles).unwrap();
        let (system, kind, work) =
            (System::new("github").unwrap(), Kind::new(kind).unwrap(), LifecycleName::new("work").unwrap());
        let lifecycle = lifecycles.get(&work).unwrap().clone();
        (mappings.get(&system, &kind, &work).unwrap().lens(&lifecycle, None).unwrap(), lifecycle)
    }

    fn put(kind: &str, from: &str, native: &str, last_open: Option<&str>) -> String {
        let (lens, lifecycle) = lens(kind);
        let last_open = last_open.map(|status| Status::new(status).unwrap());
        let (from, native) = (Status::new(from).unwrap(), Native::new(native).unwrap());
        lens.put(&lifecycle, &from, &native, last_open.as_ref()).unwrap().to_string()
    }

    #[test]
    fn an_open_issue_moves_nothing_and_a_closed_one_ends_the_item() {
        for status in ["backlog", "todo", "in_progress", "blocked", "in_review"] {
            assert_eq!(put("issue", status, "open", None), status);
        }
        assert_eq!(put("issue", "in_review", "closed/completed", None), "done");
        assert_eq!(put("issue", "in_review", "closed/not_planned", None), "canceled");
        assert_eq!(put("issue", "failed", "closed/duplicate", None), "failed");
    }

    #[test]
    fn a_reopened_issue_goes_back_to_where_it_was() {
        assert_eq!(put("issue", "done", "open", Some("in_review")), "in_review");
        assert_eq!(put("issue", "done", "open", None), "todo");
    }

    #[test]
    fn a_judged_pull_request_is_in_review_as_any_open_one() {
        for native in ["open", "approved", "changes_requested", "queued"] {
            assert_eq!(put("pull_request", "in_progress", native, None), "in_review");
            assert_eq!(put("pull_request", "in_review", native, None), "in_review");
        }
        assert_eq!(put("pull_request", "in_review", "merged", None), "done");
        assert_eq!(put("pull_request", "blocked", "draft", None), "blocked");
    }

    #[test]
    fn a_pull_request_is_told_only_whether_it_is_a_draft() {
        let (lens, _) = lens("pull_request");
        let can = |native: &str| lens.can_tell(&Native::new("draft").unwrap(), &Native::new(native).unwrap());
        assert!(can("draft") && can("open"));
        assert!(!can("merged") && !can("closed"));
        assert!(!lens.can_tell(&Native::new("merged").unwrap(), &Native::new("draft").unwrap()), "a merge stays");
        assert!(lens.shows());
    }
}
