//! What is sent: an event of ours, and a text of the same size for the others.

use anyhow::Result;
use bus::Outgoing;
use proto::v1;
use uuid::Uuid;

/// So many agents take turns: few, because whoever comes is shown the newest state of each; and so many that the stream, which keeps
/// 100 of each, keeps all that is on its way.
const AGENTS: u64 = 64;

/// Which of our events is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `agent_state`: telemetry of about 200 bytes
    AgentState,
    /// A change of an item: about 450 bytes
    Change,
}

/// The event of a number, to be published on the bus. Its stamp is in it, see [`super::load::frames::stamp`].
pub fn event(kind: Kind, number: u64, stamp: u64) -> Result<Outgoing> {
    let at = i64::try_from(stamp / 1000)?;
    match kind {
        Kind::AgentState => {
            let agent = format!("agent-{:02}", number % AGENTS);
            let state = v1::AgentState {
                agent: agent.clone(),
                status: "working".into(),
                task: format!("@{stamp}"),
                at,
                ..v1::AgentState::default()
            };
            Ok(Outgoing::live("agent_state", &agent, format!("bench:{number}"), proto::encode(&state)))
        }
        Kind::Change => {
            let item = Uuid::from_u128(u128::from(number) + 1);
            let change = v1::Change {
                id: format!("{item}:2"),
                kind: "status_changed".into(),
                item: item.to_string(),
                version: 2,
                lifecycle: "work".into(),
                title: format!("@{stamp}"),
                from: "todo".into(),
                to: "in_progress".into(),
                record: "linear/issue/x".into(),
                at,
                ..v1::Change::default()
            };
            Ok(Outgoing::change(&change)?)
        }
    }
}

/// A JSON text of `size` bytes with a stamp, for servers that do not care what they carry.
pub fn text(size: usize, number: u64, stamp: u64) -> String {
    let mut text = format!("{{\"type\":\"agent_state\",\"position\":\"{number}\",\"task\":\"@{stamp}\",\"pad\":\"");
    text.extend(std::iter::repeat_n('x', size.saturating_sub(text.len() + 2)));
    text.push_str("\"}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::load::frames;

    #[test]
    fn a_text_has_the_size_and_the_stamp_that_it_should() {
        let text = text(200, 12_345, 1_700_000_000_000_001);
        assert_eq!((text.len(), frames::stamp(text.as_bytes())), (200, Some(1_700_000_000_000_001)));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn an_event_carries_its_stamp() {
        for kind in [Kind::AgentState, Kind::Change] {
            let event = event(kind, 7, 1_700_000_000_000_001).unwrap();
            assert_eq!(frames::stamp(&event.payload), Some(1_700_000_000_000_001), "{kind:?}");
        }
    }
}
