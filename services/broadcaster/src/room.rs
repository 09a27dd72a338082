//! What a client can follow: everything, one item, or one record.

use std::fmt;
use std::sync::Arc;

use model::{Key, RecordRef};
use uuid::Uuid;

/// A room, by the names that changes carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// Every item.
    All,
    /// One item, by its id or by its key.
    Item(Arc<str>),
    /// The item of one record, `system/kind/id`.
    Record(Arc<str>),
}

impl Room {
    /// The room of that name, or what is wrong with the name.
    pub fn named(name: &str) -> Result<Self, String> {
        if name == "all" {
            return Ok(Self::All);
        }
        match name.split_once(':') {
            Some(("item", item)) => {
                let id = Uuid::parse_str(item).map(|id| id.to_string());
                let item = id.or_else(|_| Key::new(item).map(String::from)).map_err(|error| error.to_string())?;
                Ok(Self::Item(item.into()))
            }
            Some(("record", record)) => {
                let record: RecordRef = record.parse().map_err(|error: model::NameError| error.to_string())?;
                Ok(Self::Record(record.to_string().into()))
            }
            _ => Err("rooms are all, item:<id or key> and record:<system>/<kind>/<id>".to_owned()),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Item(item) => write!(f, "item:{item}"),
            Self::Record(record) => write!(f, "record:{record}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_named_as_it_prints() {
        for name in ["all", "item:ENG-1", "item:acme/web#3", "record:github/issue/acme/web#3"] {
            assert_eq!(Room::named(name).unwrap().to_string(), name);
        }
        let id = Room::named("item:6C6F636B-7374-6570-8000-6974656D7300").unwrap();
        assert_eq!(id.to_string(), "item:6c6f636b-7374-6570-8000-6974656d7300");
    }

    #[test]
    fn other_names_are_refused_with_what_would_be_right() {
        for name in ["", "ALL", "item:", "item: ", "record:github", "record:GitHub/issue/1", "agent_states"] {
            assert!(Room::named(name).is_err(), "{name}");
        }
        assert!(Room::named("everything").unwrap_err().contains("item:<id or key>"));
    }
}
