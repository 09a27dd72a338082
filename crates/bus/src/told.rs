//! What the stream of changes told of an item last: what was published of it before, in its order, is there up to this.

use futures_util::{StreamExt, TryStreamExt, stream};
use model::{ItemId, LifecycleName, Timestamp, Version};
use proto::v1;

use crate::{Bus, Received, Stream, headers, topology};

/// What watchers were told of an item's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// All up to this one.
    UpTo(Version),
    /// None that was to be told since then. Of what came before, the stream may have let go.
    Nothing(Timestamp),
    /// Nobody knows: the stream was emptied.
    Unknown,
}

/// How many items are asked for at once.
const AT_ONCE: usize = 64;
/// How far before the last message of an item a change of its version is looked for first, and how much further each time.
const BACK: u64 = 1_024;
const FURTHER: u64 = 16;

impl Bus {
    /// What was told of each of these items, in their order. An item is asked for with its lifecycle: for a pattern the server
    /// looks through the whole stream, for a subject it knows the place.
    pub async fn told(&self, items: &[(LifecycleName, ItemId)]) -> anyhow::Result<Vec<Told>> {
        let subject = |(lifecycle, item): &(LifecycleName, ItemId)| topology::change(lifecycle, *item);
        let asked: Vec<_> = items.iter().map(|item| self.version_told(subject(item))).collect();
        let versions: Vec<Option<Version>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let nothing = if versions.contains(&None) { self.nothing_told().await? } else { Told::Unknown };
        Ok(versions.into_iter().map(|version| version.map_or(nothing, Told::UpTo)).collect())
    }

    async fn version_told(&self, subject: String) -> anyhow::Result<Option<Version>> {
        let Some(last) = self.last_message(Stream::Changes, &subject).await? else { return Ok(None) };
        if let Some(version) = version_of(&last) {
            return Ok(Some(version));
        }
        // Something else was told last: a link, a conflict, a change once more for one who had missed it.
        let mut back = BACK;
        loop {
            let from = last.sequence.saturating_sub(back).max(1);
            let told = self.version_told_between(&subject, from, last.sequence).await?;
            if told.is_some() || from == 1 {
                return Ok(told);
            }
            back = back.saturating_mul(FURTHER);
        }
    }

    async fn version_told_between(&self, subject: &str, from: u64, to: u64) -> anyhow::Result<Option<Version>> {
        let (mut next, mut told) = (from, None);
        while next < to {
            let Some(message) = self.server.next(Stream::Changes, subject, next).await? else { break };
            told = told.max(version_of(&message));
            next = message.sequence + 1;
        }
        Ok(told)
    }

    /// What it means when the stream has no version of an item.
    async fn nothing_told(&self) -> anyhow::Result<Told> {
        let about = self.server.about(Stream::Changes).await?;
        Ok(match (about.last, about.messages, about.first) {
            // All that it was ever told is there. What is older than the stream itself was told in an earlier life of it.
            (0, ..) | (.., 1) => Told::Nothing(Timestamp(about.created_ms)),
            (_, 0, _) => Told::Unknown,
            _ => Told::Nothing(Timestamp(about.first_at_ms)),
        })
    }
}

/// The version that a message tells of for the first time.
fn version_of(message: &Received) -> Option<Version> {
    if message.header(headers::REPLAY_OF).is_some() {
        return None;
    }
    // Whoever publishes something else there tells of no version.
    let change: v1::Change = message.decode().ok()?;
    (change.kind == "status_changed").then_some(Version(change.version))
}
