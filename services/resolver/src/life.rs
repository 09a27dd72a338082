//! The lives of a resolver process: each version of an item is marked with the life that made it.
//!
//! A life ends when something that was committed in it, or may have been, was not published. While it lasts, all that was committed
//! under its name is published, or will be, in the order of the commits. Up to which of its batches that is done is noted in
//! PostgreSQL from time to time. Of an item whose version another life made later than that, of this process or another, nobody
//! knows it: whoever follows asks the bus what was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::Maker;

/// The current life of this process.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    instance: Arc<str>,
    ended: Arc<AtomicU64>,
    batches: Arc<AtomicU64>,
}

/// Something that is committed, or may be, and must be published. If it is dropped before, the life ends.
#[derive(Debug)]
pub(crate) struct Unpublished {
    life: Life,
    by: Maker,
    published: bool,
}

impl Life {
    /// The first life of the process of this name.
    pub(crate) fn of(instance: &str) -> Self {
        Self { instance: instance.into(), ended: Arc::default(), batches: Arc::default() }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.instance, self.ended.load(Ordering::SeqCst))
    }

    /// Who makes the versions of the next batch.
    pub(crate) fn next_batch(&self) -> Maker {
        Maker { life: self.name(), batch: self.batches.fetch_add(1, Ordering::SeqCst) + 1 }
    }

    /// From now on something must be published.
    pub(crate) fn unpublished(&self, by: Maker) -> Unpublished {
        Unpublished { life: self.clone(), by, published: false }
    }
}

impl Unpublished {
    /// It is. So is all that its life made before, unless that has ended.
    pub(crate) fn published(mut self) -> Option<Maker> {
        self.published = true;
        (self.by.life == self.life.name()).then(|| std::mem::take(&mut self.by))
    }

    /// It was not committed after all: there is nothing to publish.
    pub(crate) fn never_was(mut self) {
        self.published = true;
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if !self.published {
            self.life.ended.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker(life: &str, batch: u64) -> Maker {
        Maker { life: life.into(), batch }
    }

    #[test]
    fn a_life_ends_with_what_was_committed_and_not_published() {
        let life = Life::of("one");
        assert_eq!(life.unpublished(life.next_batch()).published(), Some(maker("one.0", 1)));
        let (second, third) = (life.unpublished(life.next_batch()), life.unpublished(life.next_batch()));
        assert_eq!(life.name(), "one.0");
        drop(second);
        assert_eq!(life.name(), "one.1");
        assert_eq!(third.published(), None, "not all that this life made before is");
    }

    #[test]
    fn a_life_goes_on_after_what_was_not_committed() {
        let life = Life::of("one");
        life.unpublished(life.next_batch()).never_was();
        assert_eq!(life.name(), "one.0");
    }

    #[test]
    fn batches_are_counted_on_from_one_life_to_the_next() {
        let life = Life::of("one");
        assert_eq!(life.next_batch(), maker("one.0", 1));
        drop(life.unpublished(Maker::default()));
        assert_eq!(life.next_batch(), maker("one.1", 2));
    }
}
