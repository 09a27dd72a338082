//! What the address of a watcher asks for: `?room=item:ENG-1&on=error_state&position=…`. Pure.

use runtime::Problem;

use crate::filter::Filter;
use crate::position::Position;
use crate::room::Room;

/// What an address asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Asked {
    /// The rooms.
    pub rooms: Vec<Room>,
    /// What of them.
    pub filter: Filter,
    /// Where to go on.
    pub position: Option<Position>,
    /// A ticket.
    pub ticket: Option<String>,
}

impl Asked {
    /// Reads the parts of an address, of which at most `rooms_max` may name rooms.
    pub fn read(parts: Vec<(String, String)>, rooms_max: usize) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in parts {
            let list = match name.as_str() {
                "room" => {
                    let room = Room::named(&value)
                        .map_err(|why| Problem::bad_request("bad_room", format!("{value}: {why}")))?;
                    if !asked.rooms.contains(&room) {
                        asked.rooms.push(room);
                    }
                    continue;
                }
                "position" => {
                    asked.position = Some(position(&value)?);
                    continue;
                }
                "ticket" => {
                    asked.ticket = Some(value);
                    continue;
                }
                "on" => &mut asked.filter.on,
                "id" => &mut asked.filter.ids,
                "status" => &mut asked.filter.statuses,
                "health" => &mut asked.filter.health,
                "system" => &mut asked.filter.systems,
                "lifecycle" => &mut asked.filter.lifecycles,
                _ => {
                    let known = "room, position, ticket, on, id, status, health, system and lifecycle";
                    return Err(Problem::bad_request(
                        "bad_query",
                        format!("there is no {name:?} here; known are {known}"),
                    ));
                }
            };
            list.insert(value);
        }
        if asked.rooms.len() > rooms_max {
            return Err(Problem::bad_request("too_many_rooms", format!("name at most {rooms_max} rooms")));
        }
        asked.filter.check().map_err(|why| Problem::bad_request("bad_filter", why))?;
        Ok(asked)
    }
}

/// A position as a client sends it.
pub fn position(text: &str) -> Result<Position, Problem> {
    let wrong = "the position is none that a broadcaster gave out; leave it out to begin with a snapshot";
    text.parse().map_err(|_| Problem::bad_request("bad_position", wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[(&str, &str)]) -> Result<Asked, Problem> {
        Asked::read(parts.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(), 2)
    }

    #[test]
    fn rooms_and_filters_stand_in_the_address() {
        let asked =
            read(&[("room", "all"), ("room", "agent:*"), ("room", "all"), ("on", "recovery"), ("status", "done")])
                .unwrap();
        assert_eq!((asked.rooms.len(), asked.filter.on.len(), asked.filter.statuses.len()), (2, 1, 1));
    }

    #[test]
    fn each_part_is_a_list_of_the_filter_by_itself() {
        let given = |name: &str, word: &str| read(&[(name, word), (name, word)]).unwrap().filter;
        let only = |word: &str| [word.to_owned()].into();
        let expected = [
            ("on", "recovery", Filter { on: only("recovery"), ..Filter::default() }),
            ("id", "healthy", Filter { ids: only("healthy"), ..Filter::default() }),
            ("status", "healthy", Filter { statuses: only("healthy"), ..Filter::default() }),
            ("health", "healthy", Filter { health: only("healthy"), ..Filter::default() }),
            ("system", "healthy", Filter { systems: only("healthy"), ..Filter::default() }),
            ("lifecycle", "healthy", Filter { lifecycles: only("healthy"), ..Filter::default() }),
        ];
        for (name, word, filter) in expected {
            assert_eq!(given(name, word), filter, "{name}");
        }
        let both = read(&[("status", "done"), ("status", "failed")]).unwrap().filter.statuses;
        assert_eq!(both, ["done".to_owned(), "failed".to_owned()].into(), "each may stand several times");
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        let code = |parts: &[(&str, &str)]| read(parts).unwrap_err().code;
        assert_eq!(code(&[("room", "nonsense")]), "bad_room");
        assert_eq!(code(&[("rooms", "all")]), "bad_query");
        assert_eq!(code(&[("on", "nonsense")]), "bad_filter");
        assert_eq!(code(&[("position", "7")]), "bad_position");
        assert_eq!(code(&[("room", "all"), ("room", "health"), ("room", "conflicts")]), "too_many_rooms");
    }
}
