//! A lane's consumer, replaced by a new generation of it each time that somebody begins to read.
//!
//! The observations of a record must be handled in order, because what is below a record's last sequence counts as handled. A
//! consumer that lives on gives what a dead reader had in hand to the next one late, after what follows it. A new consumer that
//! begins after the old one's acknowledgement floor gives everything once more, at once and in order; and a reader whose
//! consumer has been replaced learns that it is no longer the reader.

use model::Lane;

use super::open::OpenError;
use crate::server::Messages;
use crate::{Bus, Stream, topology};

/// How many messages of a lane wait in this process, at most one and a half times this.
const PREFETCH: usize = 1_000;

/// Which of a lane's consumers, and after which sequence it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generation {
    pub number: u64,
    pub floor: u64,
}

/// A consumer's name without its generation, and the generation; 0 for a consumer that has none.
pub(crate) fn generation_of(name: &str) -> (&str, u64) {
    let parsed = name.rsplit_once("-g").and_then(|(lane, number)| Some((lane, number.parse().ok()?)));
    parsed.unwrap_or((name, 0))
}

/// Makes the next generation of a lane's consumer and opens it; says which life of the stream it reads. `mine` is the one that this
/// reader had, with its own floor, and the life that it read.
pub(super) async fn replace(
    bus: &Bus,
    partition: u32,
    lane: Lane,
    mine: Option<(Generation, String)>,
) -> Result<(Messages, Generation, String), OpenError> {
    let name = topology::lane_consumer(partition, lane);
    let about = bus.server.about(Stream::Observations).await;
    let about = about.map_err(|error| OpenError::Unavailable(error.to_string()))?;
    if mine.as_ref().is_some_and(|(mine, epoch)| *epoch != about.epoch || mine.floor > about.last) {
        return Err(OpenError::MadeAnew(name));
    }
    let mine = mine.map(|(mine, _)| mine);
    let known = bus.server.consumers(Stream::Observations).await.map_err(OpenError::Unavailable)?;
    let mut older: Vec<Generation> = known
        .iter()
        .filter_map(|info| match generation_of(&info.name) {
            (lane, number) if lane == name => Some(Generation { number, floor: info.floor }),
            _ => None,
        })
        .collect();
    older.sort_unstable_by_key(|generation| generation.number);
    let newest = older.last().copied();
    if let (Some(mine), Some(newest)) = (mine, newest)
        && newest.number > mine.number
    {
        return Err(OpenError::TakenOver(name));
    }
    // What the server knows counts: an acknowledgement of ours may not have arrived, and what comes again because of that is known to
    // be a copy; and the server may have lost the end of the stream, and what it was told of it.
    let floor = newest.or(mine).map_or(0, |known| known.floor);
    // A consumer may have been made to begin after the end of a stream that had just been made anew: it would wait for ever.
    let floor = if floor > about.last { 0 } else { floor };
    let number = newest.map_or(0, |newest| newest.number).max(mine.map_or(0, |mine| mine.number)) + 1;
    // The description differs for each attempt, so that two readers cannot make the same generation both.
    let owner = format!("{name}, read by {}", runtime::unique());
    let config = topology::ordered(format!("{name}-g{number}"), owner, partition, lane, floor + 1);
    let opened = bus.server.open_new(Stream::Observations, config, PREFETCH).await.map_err(OpenError::Unavailable)?;
    for old in older {
        // One that cannot be deleted now is deleted by the next reader; nobody reads it.
        let _ = bus.server.delete_consumer(Stream::Observations, &format!("{name}-g{}", old.number)).await;
    }
    Ok((opened, Generation { number, floor }, about.epoch))
}

#[cfg(test)]
mod tests {
    use super::generation_of;

    #[test]
    fn a_generation_is_read_from_a_name() {
        assert_eq!(generation_of("observe-3-high-g17"), ("observe-3-high", 17));
        assert_eq!(generation_of("webhooks-github"), ("webhooks-github", 0));
    }
}
