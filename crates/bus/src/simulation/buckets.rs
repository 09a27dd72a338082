//! Key-value buckets: a value for each key, its revision, and its end.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// What somebody asks of a key.
pub(crate) enum Change {
    Create(Bytes),
    Update(Bytes, u64),
    Put(Bytes),
    Delete(u64),
    Purge,
}

pub(super) struct Bucket {
    values: BTreeMap<String, (Bytes, u64, Instant)>,
    revision: u64,
    expires: Option<Duration>,
}

impl Bucket {
    pub(super) fn new(expires: Option<Duration>) -> Self {
        Self { values: BTreeMap::new(), revision: 0, expires }
    }

    /// It was kept in memory only, and the server began again.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.expires);
    }

    fn expire(&mut self) {
        let expires = self.expires;
        self.values.retain(|_, (_, _, at)| expires.is_none_or(|expires| at.elapsed() < expires));
    }

    pub(super) fn value(&mut self, key: &str) -> Option<(Bytes, u64)> {
        self.expire();
        self.values.get(key).map(|(value, revision, _)| (value.clone(), *revision))
    }

    /// How many keys `<prefix>.<one word>` there are.
    pub(super) fn count(&mut self, prefix: &str) -> usize {
        self.expire();
        self.values.keys().filter(|key| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))).count()
    }

    pub(super) fn names(&mut self) -> Vec<String> {
        self.expire();
        self.values.keys().cloned().collect()
    }

    /// The new revision.
    pub(super) fn change(&mut self, key: &str, change: Change) -> Result<u64, String> {
        let known = self.value(key).map(|(_, revision)| revision);
        let value = match change {
            Change::Create(value) if known.is_none() => Some(value),
            Change::Update(value, revision) if known == Some(revision) => Some(value),
            Change::Put(value) => Some(value),
            Change::Purge => None,
            Change::Delete(revision) if known == Some(revision) => None,
            _ => return Err(format!("wrong last sequence: {known:?}")),
        };
        self.revision += 1;
        match value {
            Some(value) => drop(self.values.insert(key.to_owned(), (value, self.revision, Instant::now()))),
            None => drop(self.values.remove(key)),
        }
        Ok(self.revision)
    }
}
