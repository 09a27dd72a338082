//! The lives of a resolver process: each version of an item is marked with the life that made it.
//!
//! A life ends when something that was committed in it, or may have been, was not published. While it lasts, all that was committed
//! under its name is published, or will be, in the order of the commits. Of an item whose version another life made, of this
//! process or another, nobody knows that: whoever follows asks the bus what was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The current life of this process.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    instance: Arc<str>,
    ended: Arc<AtomicU64>,
}

/// Something that is committed, or may be, and must be published. If it is dropped before, the life ends.
#[derive(Debug)]
pub(crate) struct Unpublished {
    ended: Arc<AtomicU64>,
    published: bool,
}

impl Life {
    /// The first life of the process of this name.
    pub(crate) fn of(instance: &str) -> Self {
        Self { instance: instance.into(), ended: Arc::default() }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.instance, self.ended.load(Ordering::SeqCst))
    }

    /// From now on something must be published.
    pub(crate) fn unpublished(&self) -> Unpublished {
        Unpublished { ended: Arc::clone(&self.ended), published: false }
    }
}

impl Unpublished {
    /// It is.
    pub(crate) fn published(mut self) {
        self.published = true;
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if !self.published {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_ends_with_what_was_committed_and_not_published() {
        let life = Life::of("one");
        life.unpublished().published();
        assert_eq!(life.name(), "one.0");
        let one = life.unpublished();
        assert_eq!(life.name(), "one.0");
        drop(one);
        assert_eq!(life.name(), "one.1");
    }
}
