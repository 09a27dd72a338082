//! What agents are told: the configured messages that a change sends, and whether one was said already.
//!
//! Pure.

use model::RecordRef;
use proto::v1::Change;
use serde::Serialize;

use crate::config::{Message, MessageKind};
use crate::decode::{Conversation, moment};

/// By how much an agent's clock may be behind ours before a message of before is taken for one of after.
const SKEW_MS: i64 = 1_000;

/// The body of `POST /message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Body {
    /// The text.
    pub content: String,
    /// `user` or `raw`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// The messages that a change of its item sends to an agent.
pub fn messages(configured: &[Message], change: &Change, agent: &RecordRef) -> Vec<Body> {
    // What the agent did itself it knows; told of it, it would do it again.
    let is_news = change.kind == "status_changed" && change.from != change.to && change.record != agent.to_string();
    let chosen =
        configured.iter().filter(|message| is_news && message.on.iter().any(|status| status.as_str() == change.to));
    chosen.map(|message| body(message, change, agent)).filter(|body| !body.content.is_empty()).collect()
}

fn body(message: &Message, change: &Change, agent: &RecordRef) -> Body {
    let text = filled(&message.text, change, agent);
    match message.kind {
        // agentapi refuses spaces around it, which a missing title leaves.
        MessageKind::User => Body { content: text.trim().to_owned(), kind: "user" },
        MessageKind::Raw => Body { content: text, kind: "raw" },
    }
}

/// Fills in once from left to right: a title that holds `{key}` is left as it is.
fn filled(text: &str, change: &Change, agent: &RecordRef) -> String {
    let values = [
        ("{key}", if change.key.is_empty() { change.item.as_str() } else { change.key.as_str() }),
        ("{title}", change.title.as_str()),
        ("{from}", change.from.as_str()),
        ("{to}", change.to.as_str()),
        ("{agent}", agent.id()),
    ];
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, value)) = values.iter().find(|(name, _)| rest.starts_with(name)) {
            out.push_str(value);
            rest = &rest[name.len()..];
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Whether a message stands in the conversation since a change was recorded: then a crash came between saying it and noting so.
pub fn is_said(conversation: &Conversation, body: &Body, change: &Change) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // The terminal breaks lines where it likes, so only the words count.
    let wanted = words(&body.content);
    conversation.messages.iter().rev().any(|said| {
        let is_after = moment(&said.time).is_some_and(|at| at >= change.recorded_at - SKEW_MS);
        said.role == "user" && is_after && words(&said.content) == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, record};
    use crate::decode::Said;

    fn configured() -> Vec<Message> {
        let text = "[[messages]]\non = [\"canceled\"]\ntext = \"{key} ({title}) was {to}, {agent}. {what}\"\n\
                    [[messages]]\non = [\"canceled\"]\ntext = \"\\u001b\"\ntype = \"raw\"";
        toml::from_str::<Config>(text).unwrap().messages
    }

    fn change() -> Change {
        Change {
            id: "i:4".into(),
            kind: "status_changed".into(),
            key: "ENG-1".into(),
            title: "the {key} roof".into(),
            from: "in_progress".into(),
            to: "canceled".into(),
            record: "linear/issue/1".into(),
            recorded_at: 1_790_000_000_000,
            ..Change::default()
        }
    }

    #[test]
    fn a_chosen_change_sends_its_messages_filled_in() {
        let agent = record("ada").unwrap();
        let bodies = messages(&configured(), &change(), &agent);
        let text = "ENG-1 (the {key} roof) was canceled, ada. {what}";
        assert_eq!(
            bodies,
            [Body { content: text.into(), kind: "user" }, Body { content: "\u{1b}".into(), kind: "raw" }]
        );
    }

    #[test]
    fn other_changes_and_the_agents_own_send_none() {
        let agent = record("ada").unwrap();
        let own = Change { record: agent.to_string(), ..change() };
        let done = Change { to: "done".into(), ..change() };
        let linked = Change { kind: "linked".into(), ..change() };
        for change in [own, done, linked] {
            assert_eq!(messages(&configured(), &change, &agent), [], "{change:?}");
        }
    }

    #[test]
    fn a_message_is_said_when_its_words_stand_there_since_the_change() {
        let body = Body { content: "stop it now".into(), kind: "user" };
        let said = |role: &str, content: &str, time: &str| Conversation {
            messages: vec![Said { role: role.into(), content: content.into(), time: time.into() }],
        };
        let after = "2026-09-21T14:13:20Z";
        assert!(is_said(&said("user", "stop it\n now", after), &body, &change()));
        assert!(!is_said(&said("agent", "stop it now", after), &body, &change()));
        assert!(
            !is_said(&said("user", "stop it now", "2026-09-21T14:13:10Z"), &body, &change()),
            "for an earlier change"
        );
    }
}
