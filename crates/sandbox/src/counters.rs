//! Counts what a sandbox was asked for, so that a test can say "exactly one write".

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

/// The counts so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// API calls that only read.
    pub reads: u64,
    /// Mutations through the system's API, whatever the credential.
    pub writes: u64,
    /// Rate-limit errors sent.
    pub limited: u64,
    /// A person's edits, made through `/sandbox/` or the handle's methods.
    pub edits: u64,
    /// Mutations through the system's API by record (`ENG-1`, `acme/web#3`).
    pub writes_by_record: BTreeMap<String, u64>,
}

/// The running counts of one server.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    inner: Arc<Mutex<Counts>>,
}

impl Counters {
    /// Counts an API call that only reads.
    pub fn read(&self) {
        self.lock().reads += 1;
    }

    /// Counts a mutation of `record` through the system's API.
    pub fn write(&self, record: &str) {
        let mut counts = self.lock();
        counts.writes += 1;
        *counts.writes_by_record.entry(record.to_owned()).or_default() += 1;
    }

    /// Counts a rate-limit error sent.
    pub fn limited(&self) {
        self.lock().limited += 1;
    }

    /// Counts a person's edit.
    pub fn edit(&self) {
        self.lock().edits += 1;
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Starts over at zero.
    pub fn reset(&self) {
        *self.lock() = Counts::default();
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
