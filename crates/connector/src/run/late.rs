//! What is told of an edit whose webhook came so late that a later edit may share its position.
//!
//! Pure. What the record shows now decides; the edit keeps its place in the history, with who made it.

use model::{Observation, Origin, Position};

use crate::observation_id;

/// The late edit, and what its record shows now; `None` where that is gone. `delivery` tells one edit from another that looks like it.
pub(super) fn told(seen: &Observation, delivery: &str, reading: Option<&Observation>) -> Vec<Observation> {
    let Some(reading) = reading else { return vec![below(seen, delivery)] };
    let is_still_shown = reading.position == seen.position && reading.native == seen.native;
    if is_still_shown && seen.origin == Origin::Unknown {
        // It may be our own write: nothing is told but who made what the record shows.
        return vec![Observation { actor: seen.actor.clone(), ..reading.clone() }];
    }
    vec![below(seen, delivery), reading.clone()]
}

/// The edit as one that is older than all that shares its position, whatever came first.
fn below(seen: &Observation, delivery: &str) -> Observation {
    let position = seen.position.map(|Position(position)| Position(position.saturating_sub(1)));
    let id = observation_id(&seen.record, &seen.native, position.map_or(0, |position| position.0));
    Observation { id: format!("{id}~{delivery}"), position, ..seen.clone() }
}

#[cfg(test)]
mod tests {
    use model::{Actor, Kind, Native, RecordRef, Source, System, Timestamp};

    use super::*;

    fn shows(native: &str, position: u64, source: Source) -> Observation {
        let record = RecordRef::new(System::new("fake").unwrap(), Kind::new("thing").unwrap(), "one").unwrap();
        let native = Native::new(native).unwrap();
        let id = observation_id(&record, &native, position);
        Observation {
            position: Some(Position(position)),
            ..Observation::new(id, record, native, source, Timestamp(i64::try_from(position).unwrap()))
        }
    }

    fn edit(origin: Origin) -> Observation {
        let actor = Some(Actor { name: "ada".to_owned(), id: None, automation: false });
        Observation { actor, origin, ..shows("closed", 3_000, Source::Webhook) }
    }

    #[test]
    fn a_late_edit_keeps_its_time_and_its_actor_and_is_below_all_that_shares_its_position() {
        let (edit, now) = (edit(Origin::Other), shows("open", 3_000, Source::Poll));
        let told = told(&edit, "d1", Some(&now));
        assert_eq!(told[0].position, Some(Position(2_999)));
        assert_eq!(
            (&told[0].native, told[0].occurred_at, &told[0].actor),
            (&edit.native, edit.occurred_at, &edit.actor)
        );
        assert_eq!(told[1..], [now]);
    }

    #[test]
    fn two_edits_that_look_alike_are_two_and_one_that_comes_again_is_one() {
        let id = |delivery| told(&edit(Origin::Other), delivery, None)[0].id.clone();
        assert_eq!(id("d1"), id("d1"));
        assert_ne!(id("d1"), id("d2"));
    }

    #[test]
    fn what_may_be_our_own_write_and_is_still_shown_is_told_once_where_it_is() {
        let (edit, now) = (edit(Origin::Unknown), shows("closed", 3_000, Source::Poll));
        assert_eq!(told(&edit, "d1", Some(&now)), [Observation { actor: edit.actor.clone(), ..now }]);
        let further = shows("closed", 4_000, Source::Poll);
        assert_eq!(told(&edit, "d1", Some(&further)).len(), 2, "it was shown again since");
    }
}
