//! Reads dead letters, publishes their messages once more, and takes them away.

use anyhow::{Context, anyhow, bail};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::TryStreamExt;

use super::letter::{Filter, Letter};
use crate::{Bus, Outgoing, PublishError, Received, Stream, headers, topology};

/// What became of a letter whose message was to be published once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// Its message is on its stream again, and the letter is gone.
    Published,
    /// It was a command, and a newer one for its record stands for it. The letter is gone.
    Overtaken,
    /// Somebody else took the letter away meanwhile.
    Gone,
}

/// How many letters are asked for at once.
const BATCH: usize = 200;

impl Bus {
    /// Up to `max` of the letters from this sequence on that are meant, oldest first, without their bytes: the server keeps
    /// those back. [`Bus::letter`] brings them.
    pub async fn letters(&self, filter: &Filter, from: u64, max: usize) -> anyhow::Result<Vec<Letter>> {
        let mut found = Vec::new();
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            filter_subject: filter.subject(),
            headers_only: true,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self.server.nats()?.create_consumer_on_stream(config, Stream::DeadLetters.name()).await?;
        while found.len() < max {
            let mut batch = consumer.fetch().max_messages(BATCH).messages().await?;
            let mut came = false;
            while let Some(message) = batch.try_next().await.map_err(|error| anyhow!("{error}"))? {
                came = true;
                let letter = Letter::of(Received::seen(message).context("a dead letter is not JetStream's")?);
                if filter.takes(&letter) && found.len() < max {
                    found.push(letter);
                }
            }
            if !came {
                break;
            }
        }
        Ok(found)
    }

    /// The letter of that sequence, if it is there.
    pub async fn letter(&self, sequence: u64) -> anyhow::Result<Option<Letter>> {
        Ok(self.peek(Stream::DeadLetters, sequence).await?.map(Letter::of))
    }

    /// Publishes a letter's message where it was, and takes the letter away once it is stored.
    ///
    /// Interrupted between the two, it does no harm to do it again: JetStream knows the second copy by its id, and after that
    /// time whoever reads it finds nothing new in it.
    pub async fn replay(&self, sequence: u64) -> anyhow::Result<Replayed> {
        let Some(letter) = self.letter(sequence).await? else { return Ok(Replayed::Gone) };
        let letter = self.made_whole(letter).await?;
        let mut message = again(&letter)?;
        if letter.subject.starts_with("lockstep.command.") {
            // The record's newest command says what it should show; an older one would be obeyed after it.
            if self.newest_command(&letter).await? > letter.original_sequence || self.item_moved_on(&letter).await? {
                return self.overtaken(sequence).await;
            }
            // And should one come in this very moment, this one is refused.
            let last = self.last_message(Stream::Commands, &letter.subject).await?.map_or(0, |last| last.sequence);
            message = message.only_after(last);
        }
        match self.publish(message).await {
            Ok(_) => {}
            Err(PublishError::Overtaken { .. }) => return self.overtaken(sequence).await,
            Err(error) => return Err(error).with_context(|| format!("dead letter {sequence} was not replayed")),
        }
        self.discard(sequence).await?;
        Ok(Replayed::Published)
    }

    async fn overtaken(&self, sequence: u64) -> anyhow::Result<Replayed> {
        self.discard(sequence).await?;
        Ok(Replayed::Overtaken)
    }

    /// Takes a letter away for good; `false` when it was not there.
    pub async fn discard(&self, sequence: u64) -> anyhow::Result<bool> {
        let stream = self.server.nats()?.get_stream_no_info(Stream::DeadLetters.name()).await?;
        match stream.delete_message(sequence).await {
            Ok(deleted) => Ok(deleted),
            // The server's word for "not there" is an error.
            Err(_) if self.letter(sequence).await?.is_none() => Ok(false),
            Err(error) => Err(error).with_context(|| format!("dead letter {sequence} cannot be taken away")),
        }
    }

    /// A letter that was too large to be kept whole, with the bytes from the stream that its message came from.
    async fn made_whole(&self, letter: Letter) -> anyhow::Result<Letter> {
        let Some(length) = letter.cut else { return Ok(letter) };
        let stream = Stream::of_subject(&letter.subject);
        let original = match stream {
            // One that was never stored has no sequence.
            Some(stream) if letter.original_sequence > 0 => self.peek(stream, letter.original_sequence).await?,
            _ => None,
        };
        let original = original
            .filter(|found| {
                [&found.subject, &found.published_on()].contains(&&letter.subject) && found.payload.len() == length
            })
            .with_context(|| {
                format!(
                    "the message of dead letter {} was too large to be kept, and its stream no longer has it",
                    letter.sequence
                )
            })?;
        Ok(Letter { payload: original.payload, cut: None, ..letter })
    }

    /// The sequence of the newest command for a letter's record, in whatever partition; 0 where there is none.
    async fn newest_command(&self, letter: &Letter) -> anyhow::Result<u64> {
        let mut tokens: Vec<&str> = letter.subject.split('.').collect();
        if let Some(partition) = tokens.get_mut(3) {
            *partition = "*";
        }
        let newest = self.last_message(Stream::Commands, &tokens.join(".")).await?;
        Ok(newest.map_or(0, |newest| newest.sequence))
    }

    /// Whether the item of a command has got a newer version since. A record that went there by itself was sent no command.
    async fn item_moved_on(&self, letter: &Letter) -> anyhow::Result<bool> {
        let Ok(command) = letter.decode::<proto::v1::Command>() else {
            return Ok(false);
        };
        let subject = format!("lockstep.change.*.{}", topology::token(&command.item));
        let Some(last) = self.last_message(Stream::Changes, &subject).await? else { return Ok(false) };
        Ok(last.decode::<proto::v1::Change>().is_ok_and(|change| change.version > command.version))
    }
}

/// The letter's message as it was, and what tells its readers when it came first.
fn again(letter: &Letter) -> anyhow::Result<Outgoing> {
    let subject = topology::published(&letter.subject, letter.record().as_ref());
    if letter.subject.starts_with("lockstep.sweep.") {
        bail!("dead letter {} was read by a sweep: run `lockstep sync`, then discard it", letter.sequence);
    }
    if !subject.starts_with("lockstep.") || Stream::of_subject(&letter.subject).is_none() {
        bail!("dead letter {} was on {subject:?}, which is no subject of ours", letter.sequence);
    }
    let id = format!("replay:{}:{}", letter.sequence, letter.last_at_ms);
    let mut message = Outgoing::new(subject, id, letter.payload.clone());
    message.headers.extend(letter.headers.iter().map(|(name, value)| (name.clone().into(), value.clone())));
    let mut with = |name: &'static str, value: String| message.headers.push((name.into(), value));
    with(headers::REPLAY_OF, letter.sequence.to_string());
    with(headers::FIRST_AT, letter.first_at_ms.to_string());
    with(headers::ATTEMPTS, letter.attempts.to_string());
    with(headers::ORIGINAL_SEQUENCE, letter.original_sequence.to_string());
    if !letter.original_id.is_empty() {
        with(headers::ORIGINAL_ID, letter.original_id.clone());
    }
    if letter.subject.starts_with("lockstep.change.") {
        // Of those who are told of changes, only one did not take it.
        with(headers::ONLY_FOR, letter.service.clone());
    }
    Ok(message)
}
