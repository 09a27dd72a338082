//! What an agent's event tells without saying it: a status by its name, an issue by what is known beside it.

use serde_json::{Map, Value};

/// The status of the lifecycle `agent` that an event's name stands for, where it is clear: `agent:start` and `agent_started`.
pub(super) fn status(event: &str) -> Option<&'static str> {
    let event = event.to_ascii_lowercase();
    let words: Vec<&str> = event.split([':', '_', '.', '-']).collect();
    match *words.as_slice() {
        [.., "error" | "failed"] => Some("error"),
        // After a tool the agent goes on with what it found.
        ["agent", "start" | "started"] | ["resumed"] | ["tool", "success" | "complete" | "completed"] => {
            Some("working")
        }
        ["agent", "success" | "complete" | "completed"] => Some("completed"),
        ["tool", "start" | "started" | "execution"] => Some("tool_calling"),
        _ => None,
    }
}

/// The places where runtimes keep the issue that an agent works on.
const ISSUES: [&str; 3] = ["/linearIssueId", "/linear/issueId", "/issueId"];

/// The identifiers of the issues that are named beside an event, each once. Ids that are no identifiers tie nothing.
pub(super) fn mentions(data: &Map<String, Value>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for place in ISSUES {
        let mut path = place.split('/').skip(1);
        let first = path.next().and_then(|name| data.get(name));
        let named = path.try_fold(first, |value, name| value.map(|value| value.get(name)));
        let Some(key) = named.flatten().and_then(Value::as_str).and_then(identifier) else { continue };
        if !found.contains(&key) {
            found.push(key);
        }
    }
    found
}

/// `ENG-123`, in capitals, or `owner/name#12`; `None` for anything else.
fn identifier(text: &str) -> Option<String> {
    let text = text.trim();
    let number = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((team, count)) = text.split_once('-')
        && (1..=10).contains(&team.len())
        && team.starts_with(|first: char| first.is_ascii_alphabetic())
        && team.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && number(count)
    {
        return Some(text.to_ascii_uppercase());
    }
    let (repository, count) = text.split_once('#')?;
    let (owner, name) = repository.split_once('/')?;
    let word = |text: &str| {
        (1..=100).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    (word(owner) && word(name) && number(count)).then(|| text.to_owned())
}
