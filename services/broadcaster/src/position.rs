//! Where a watcher is: for each feed the last sequence it has been told, in which life of the feed's stream. Pure.
//!
//! To clients it is an opaque text. Feeds are told in their own order by every broadcaster, though not in the same order
//! among each other; so a place in each of them is what any broadcaster can go on from.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// What events are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feed {
    /// Changes of items.
    Changes,
    /// What became of commands.
    Deliveries,
    /// What a person should know.
    Alerts,
    /// Telemetry, but for measurements.
    Live,
    /// Measurements. They are told in batches, so they have a place of their own.
    Metrics,
}

impl Feed {
    /// All of them, in the order of a position's text.
    pub const ALL: [Self; 5] = [Self::Changes, Self::Deliveries, Self::Alerts, Self::Live, Self::Metrics];

    fn index(self) -> usize {
        match self {
            Self::Changes => 0,
            Self::Deliveries => 1,
            Self::Alerts => 2,
            Self::Live => 3,
            Self::Metrics => 4,
        }
    }
}

/// A place in one feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Which life of the stream: a short digest of when it was made; 0 before the feed was ever opened.
    pub epoch: u32,
    /// The last sequence; 0 for none.
    pub sequence: u64,
}

/// A place in every feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position([Place; Feed::ALL.len()]);

impl Position {
    /// The place in one feed.
    pub fn at(&self, feed: Feed) -> Place {
        self.0[feed.index()]
    }

    /// The same with another place in one feed.
    #[must_use]
    pub fn with(mut self, feed: Feed, place: Place) -> Self {
        self.0[feed.index()] = place;
        self
    }

    /// Whether what is at `place` of a feed comes after this position, as far as one can tell. Of another life of the stream than
    /// the position knows everything is new, unless `now` says that the position's is the present one and the other the past.
    pub fn is_before(&self, feed: Feed, place: Place, now: &Self) -> bool {
        let known = self.at(feed);
        if known.epoch == place.epoch { place.sequence > known.sequence } else { known.epoch != now.at(feed).epoch }
    }

    /// In each feed the later of two places. Of two lives of a stream the one that `now` does not know is the earlier.
    #[must_use]
    pub fn latest(&self, other: &Self, now: &Self) -> Self {
        self.each(other, |feed, own, place| if is_later(place, own, now.at(feed)) { place } else { own })
    }

    /// In each feed the earlier of two places.
    #[must_use]
    pub fn earliest(&self, other: &Self, now: &Self) -> Self {
        self.each(other, |feed, own, place| if is_later(own, place, now.at(feed)) { place } else { own })
    }

    fn each(&self, other: &Self, choose: impl Fn(Feed, Place, Place) -> Place) -> Self {
        Feed::ALL.iter().fold(*self, |all, feed| all.with(*feed, choose(*feed, self.at(*feed), other.at(*feed))))
    }
}

/// Whether a place comes after another, as far as one can tell who is at `now`.
fn is_later(place: Place, other: Place, now: Place) -> bool {
    if place.epoch == other.epoch {
        place.sequence > other.sequence
    } else {
        // Any life comes after none.
        place.epoch != 0 && other.epoch != now.epoch
    }
}

/// A short digest of what a stream says of its life.
pub fn epoch(life: &str) -> u32 {
    // FNV-1a: the same in every process and version, which the standard library's hashers do not promise.
    let hash = life
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // 0 means that a feed was never opened.
    u32::try_from(hash >> 40).unwrap_or(u32::MAX).max(1)
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A number in base 36.
struct Short(u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; 13];
        let (mut rest, mut start) = (self.0, digits.len());
        loop {
            start -= 1;
            digits[start] = DIGITS[usize::try_from(rest % 36).unwrap_or(0)];
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        f.write_str(std::str::from_utf8(&digits[start..]).unwrap_or_default())
    }
}

/// `<epoch>.<sequence>` of each feed, with `-` between them; feeds of one stream and life share the epoch, which is then left out.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for place in self.0 {
            if before.is_some() {
                f.write_char('-')?;
            }
            if before != Some(place.epoch) {
                write!(f, "{}.", Short(place.epoch.into()))?;
            }
            write!(f, "{}", Short(place.sequence))?;
            before = Some(place.epoch);
        }
        Ok(())
    }
}

/// A text that no broadcaster gave out.
#[derive(Debug, PartialEq, Eq)]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let number = |digits: &str| {
            let plain = (1..=13).contains(&digits.len()) && digits.bytes().all(|digit| DIGITS.contains(&digit));
            plain.then(|| u64::from_str_radix(digits, 36).ok()).flatten().ok_or(NoPosition)
        };
        let mut position = Self::default();
        let mut parts = text.split('-');
        let mut before = None;
        for place in &mut position.0 {
            let part = parts.next().ok_or(NoPosition)?;
            let (epoch, sequence) = match (part.split_once('.'), before) {
                (Some((epoch, sequence)), _) => (u32::try_from(number(epoch)?).map_err(|_| NoPosition)?, sequence),
                (None, Some(epoch)) => (epoch, part),
                (None, None) => return Err(NoPosition),
            };
            *place = Place { epoch, sequence: number(sequence)? };
            before = Some(epoch);
        }
        if parts.next().is_some() { Err(NoPosition) } else { Ok(position) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(places: [(u32, u64); 5]) -> Position {
        Position(places.map(|(epoch, sequence)| Place { epoch, sequence }))
    }

    #[test]
    fn a_position_comes_back_from_its_text() {
        let positions = [
            Position::default(),
            position([(1, 1), (2, 36), (3, u64::MAX), (u32::MAX, 0), (u32::MAX, 9)]),
            position([(7, 1), (7, 2), (7, 3), (8, 4), (8, 5)]),
        ];
        for position in positions {
            assert_eq!(position.to_string().parse(), Ok(position), "{position}");
        }
        assert_eq!(position([(36, 35), (36, 1), (36, 2), (1, 3), (1, 4)]).to_string(), "10.z-1-2-1.3-4");
    }

    #[test]
    fn other_texts_are_no_positions() {
        for text in [
            "",
            "1",
            "1.1",
            "1.1-1-1-1",
            "1.1-1-1-1-1-1",
            "1.1-1-1-1-",
            "1.1-1-1-1-+1",
            "1.1-1-1-1-A",
            "zzzzzzz.1-1-1-1-1",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
        assert!(format!("1.1-1-1-1-{}", "z".repeat(14)).parse::<Position>().is_err());
    }

    #[test]
    fn what_comes_after_a_position_is_told_by_each_feeds_own_sequence() {
        let now = position([(5, 10), (5, 10), (5, 10), (5, 10), (5, 10)]);
        let place = |epoch, sequence| Place { epoch, sequence };
        let known = position([(5, 4), (5, 9), (5, 0), (3, 900), (5, 10)]);
        assert!(known.is_before(Feed::Changes, place(5, 5), &now));
        assert!(!known.is_before(Feed::Changes, place(5, 4), &now));
        assert!(!known.is_before(Feed::Deliveries, place(5, 9), &now));
        // The stream of telemetry was made again: all in it is new.
        assert!(known.is_before(Feed::Live, place(5, 1), &now));
        // What is left of its life before that the watcher has been told or will not be.
        assert!(!known.is_before(Feed::Metrics, place(3, 999), &now));
    }

    #[test]
    fn of_two_positions_each_feed_has_an_earlier_and_a_later_place() {
        let now = position([(5, 90), (5, 90), (5, 90), (5, 90), (5, 90)]);
        let one = position([(5, 7), (5, 8), (3, 70), (5, 1), (0, 0)]);
        let other = position([(5, 8), (5, 7), (5, 1), (3, 70), (3, 2)]);
        let (earlier, later) =
            (position([(5, 7), (5, 7), (3, 70), (3, 70), (0, 0)]), position([(5, 8), (5, 8), (5, 1), (5, 1), (3, 2)]));
        for (one, other) in [(&one, &other), (&other, &one)] {
            assert_eq!((one.earliest(other, &now), one.latest(other, &now)), (earlier, later));
        }
    }

    #[test]
    fn an_epoch_is_short_and_never_nothing() {
        assert_ne!(epoch("1700000000000000000"), epoch("1700000000000000001"));
        assert!(epoch("") > 0 && epoch("x") < 1 << 24);
    }
}
