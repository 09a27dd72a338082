//! Where an issue or pull request is: its repository and number, and the record that they name.
//!
//! Pure.

use std::fmt;

use connector::Failure;
use model::{Key, Kind, RecordRef, System};

use crate::decode::malformed;

/// Which of the two kinds of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// An issue.
    Issue,
    /// A pull request.
    PullRequest,
}

impl Of {
    fn kind(self) -> Kind {
        let name = match self {
            Self::Issue => "issue",
            Self::PullRequest => "pull_request",
        };
        Kind::new(name).expect("a constant name is a good name")
    }
}

/// A repository and a number in it, written `acme/web#12`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// `owner/name`.
    pub repository: String,
    /// The number, which issues and pull requests share.
    pub number: u64,
}

impl Address {
    /// The address of `number` in a repository.
    pub fn new(repository: &str, number: u64) -> Result<Self, Failure> {
        if !is_repository(repository) {
            return Err(malformed(&format!("{repository:?} is not owner/name")));
        }
        Ok(Self { repository: repository.to_owned(), number })
    }

    /// What a record's id means, and which kind it is.
    pub fn of(record: &RecordRef) -> Result<(Of, Self), Failure> {
        let of = match record.kind.as_str() {
            "issue" => Of::Issue,
            "pull_request" => Of::PullRequest,
            _ => return Err(unknown(record)),
        };
        let (repository, number) = record.id().rsplit_once('#').ok_or_else(|| unknown(record))?;
        let number = number.parse().map_err(|_| unknown(record))?;
        if !is_repository(repository) {
            return Err(unknown(record));
        }
        Ok((of, Self { repository: repository.to_owned(), number }))
    }

    /// The record of that kind at this address.
    pub fn record(&self, of: Of) -> Result<RecordRef, Failure> {
        let system = System::new(crate::SYSTEM).expect("the connector's own name is a good name");
        RecordRef::new(system, of.kind(), self.to_string()).map_err(|error| malformed(&error))
    }

    /// The identifier that people and other records use for it.
    pub fn key(&self) -> Option<Key> {
        Key::new(self.to_string()).ok()
    }

    /// The repository's owner and name.
    pub fn owner_and_name(&self) -> (&str, &str) {
        self.repository.split_once('/').unwrap_or((&self.repository, ""))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repository, self.number)
    }
}

/// Whether a text is `owner/name`, of the characters that GitHub allows, and so safe in a path.
pub fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part.len() <= 100 && part.chars().all(good) && part != "." && part != ".."
    };
    matches!(text.split_once('/'), Some((owner, name)) if part(owner) && part(name))
}

fn unknown(record: &RecordRef) -> Failure {
    Failure::refused("unknown_record", format!("{record} names no issue or pull request of GitHub's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_and_its_address_are_the_same_thing() {
        let address = Address::new("acme/web.js", 12).unwrap();
        let record = address.record(Of::PullRequest).unwrap();
        assert_eq!(record.to_string(), "github/pull_request/acme/web.js#12");
        assert_eq!(Address::of(&record).unwrap(), (Of::PullRequest, address));
    }

    #[test]
    fn a_name_that_would_change_a_path_is_refused() {
        for bad in ["acme", "acme/", "/web", "acme/web/x", "acme/..", "acme/we b", "acme/web?x"] {
            assert!(!is_repository(bad), "{bad}");
        }
        let record: RecordRef = "github/issue/../x#1".parse().unwrap();
        assert!(Address::of(&record).is_err());
    }
}
