//! The connector's section of the configuration.

use std::collections::BTreeSet;

use model::{Key, Kind, RecordRef, Status, System};
use serde::Deserialize;

/// Which agents, how they are watched, and what they are told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address of one agent, for short; empty for none.
    pub url: String,
    /// The name of that agent.
    pub name: String,
    /// What that agent works on; see [`Agent::item`].
    pub item: Option<Key>,
    /// The agents.
    pub agents: Vec<Agent>,
    /// How often an agent is asked for its status beside its event stream, in seconds.
    pub poll_s: u64,
    /// How long an agent must have stood still before that is told, in milliseconds.
    pub stable_ms: u64,
    /// How long an agent may be out of reach before it counts as offline, in seconds.
    pub offline_after_s: u64,
    /// After how long what an agent shows is told once more, in seconds, though nothing is new.
    pub repeat_s: u64,
    /// What agents are told when the item they work on changes.
    pub messages: Vec<Message>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            name: "agent-1".into(),
            item: None,
            agents: Vec::new(),
            poll_s: 5,
            stable_ms: 2_000,
            offline_after_s: 30,
            repeat_s: 60,
            messages: Vec::new(),
        }
    }
}

/// One agent behind its server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// What it is called: `agentapi/agent/<name>`.
    pub name: String,
    /// Where its server listens: `http://localhost:3284`.
    pub url: String,
    /// The identifier of what it works on, such as `ENG-1`: it ties the agent to that item.
    #[serde(default)]
    pub item: Option<Key>,
}

impl Agent {
    /// The address of one of its server's own paths.
    pub fn address(&self, path: &str) -> String {
        let Ok(mut url) = reqwest::Url::parse(&self.url) else { return self.url.clone() };
        // An http address always has segments. A query stays behind the path: a proxy may want it.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(path);
        }
        url.to_string()
    }

    /// The address that people may see: without a user, a password and a query, which may be secret.
    pub fn shown_url(&self) -> Option<String> {
        let mut url = reqwest::Url::parse(&self.url).ok()?;
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        // An address without a path is shown as people write it.
        let shown = url.as_str();
        Some(if url.path() == "/" { shown.trim_end_matches('/') } else { shown }.to_owned())
    }
}

/// A message that goes out on chosen changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The statuses whose arrival sends it.
    pub on: BTreeSet<Status>,
    /// The text, in which `{key}`, `{title}`, `{from}`, `{to}` and `{agent}` are filled in.
    pub text: String,
    /// How it is sent.
    #[serde(default, rename = "type")]
    pub kind: MessageKind,
}

/// The two kinds of message that agentapi knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A line of the conversation. It waits until the agent stands still.
    #[default]
    User,
    /// Keystrokes, at once: `\u001b` interrupts most agents. They leave no trace, so a crash can send them twice.
    Raw,
}

impl Config {
    /// All agents, the one named for short among them.
    pub fn all(&self) -> Vec<Agent> {
        let mut all = self.agents.clone();
        if !self.url.is_empty() && !all.iter().any(|agent| agent.name == self.name) {
            all.insert(0, Agent { name: self.name.clone(), url: self.url.clone(), item: self.item.clone() });
        }
        all
    }

    /// Refuses what cannot work, with the key's name.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("poll_s", self.poll_s, 1, 3_600),
            ("stable_ms", self.stable_ms, 0, 600_000),
            ("offline_after_s", self.offline_after_s, 1, 86_400),
            ("repeat_s", self.repeat_s, 1, 86_400),
        ];
        for (key, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                return Err(format!("{key}: is {value}; it must be from {least} to {most}"));
            }
        }
        let mut names = BTreeSet::new();
        for agent in self.all() {
            record(&agent.name).map_err(|error| format!("agents: {error}"))?;
            let is_http = reqwest::Url::parse(&agent.url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
            if !is_http {
                return Err(format!("agents: the url of {:?} must be http://host:port", agent.name));
            }
            if !names.insert(agent.name.clone()) {
                return Err(format!("agents: the name {:?} stands there twice", agent.name));
            }
        }
        for message in &self.messages {
            if message.on.is_empty() || message.text.is_empty() {
                return Err("messages: each needs a text, and statuses in `on`".into());
            }
            if message.kind == MessageKind::User && message.text.trim() != message.text {
                return Err("messages: agentapi refuses a text with spaces around it".into());
            }
        }
        Ok(())
    }
}

/// What is filled in.
const WORDS: [&str; 5] = ["{key}", "{title}", "{from}", "{to}", "{agent}"];

/// The words in braces of these settings' messages for which nothing is filled in, each once: they are sent as they are, as a slip or
/// because they should be.
pub fn left_as_they_are(settings: &serde_json::Value) -> BTreeSet<String> {
    let messages = settings["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let texts = messages.iter().filter_map(|message| message["text"].as_str());
    let words = texts.flat_map(|text| text.match_indices('{').map(|(at, _)| &text[at..]));
    let words = words.filter_map(|rest| Some(&rest[..=rest.find('}')?]));
    let is_word = |word: &&str| {
        let inner = &word[1..word.len() - 1];
        !inner.is_empty() && inner.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !WORDS.contains(word)
    };
    words.filter(is_word).map(str::to_owned).collect()
}

/// The record of an agent.
#[expect(clippy::expect_used, reason = "constants that the names take, as a test shows")]
pub(crate) fn record(name: &str) -> Result<RecordRef, String> {
    let system = System::new("agentapi").expect("a usable name");
    let kind = Kind::new("agent").expect("a usable name");
    RecordRef::new(system, kind, name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn one_address_is_one_agent() {
        let all = config("url = \"http://localhost:3284\"\nitem = \"ENG-1\"").unwrap().all();
        assert_eq!(all.len(), 1);
        assert_eq!(record(&all[0].name).unwrap().to_string(), "agentapi/agent/agent-1");
        assert_eq!(all[0].item.as_ref().map(Key::as_str), Some("ENG-1"));
        assert!(config("").unwrap().all().is_empty());
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        for (url, shown) in [
            ("http://localhost:3284", "http://localhost:3284"),
            ("https://ada:hush@agent.example/a/?token=hush#hush", "https://agent.example/a/"),
            ("https://hush@agent.example:8443/", "https://agent.example:8443"),
        ] {
            let agent = &config(&format!("url = \"{url}\"")).unwrap().all()[0];
            assert_eq!(agent.shown_url().as_deref(), Some(shown));
            assert_eq!(agent.url, url, "it is called with all of it");
        }
    }

    #[test]
    fn an_agent_is_called_below_its_address_with_its_query() {
        for (url, address) in [
            ("http://localhost:3284", "http://localhost:3284/status"),
            ("http://localhost:3284/", "http://localhost:3284/status"),
            ("https://agent.example/a", "https://agent.example/a/status"),
            ("https://ada:hush@agent.example/a/?token=hush", "https://ada:hush@agent.example/a/status?token=hush"),
        ] {
            let agent = &config(&format!("url = \"{url}\"")).unwrap().all()[0];
            assert_eq!(agent.address("status"), address);
        }
    }

    #[test]
    fn a_wrong_setting_is_refused_by_its_key() {
        let cases = [
            ("poll_s = 0", "poll_s"),
            ("url = \"localhost:3284\"", "http://"),
            ("[[agents]]\nname = \"a\"\nurl = \"http://h\"\n[[agents]]\nname = \"a\"\nurl = \"http://i\"", "twice"),
            ("[[messages]]\non = []\ntext = \"x\"", "on"),
            ("[[messages]]\non = [\"canceled\"]\ntext = \" x\"", "spaces"),
            ("colour = 1", "colour"),
        ];
        for (text, named) in cases {
            let refused = config(text).expect_err(text);
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }

    #[test]
    fn words_for_which_nothing_is_filled_in_are_known() {
        let messages = serde_json::json!({"messages": [{"text": "{key}: {titel} {} {a b} {"}, {"text": "{titel} {to} {summary}"}]});
        assert_eq!(left_as_they_are(&messages), ["{summary}", "{titel}"].map(str::to_owned).into());
        assert!(left_as_they_are(&serde_json::Value::Null).is_empty());
    }
}
