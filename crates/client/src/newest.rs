//! The newest of each thing by its name; bounded, the least recently told goes first. Pure.

use std::collections::{BTreeMap, HashMap};

/// How many things are remembered.
pub(crate) const MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Newest<T> {
    max: usize,
    /// By name, with when it was told.
    all: HashMap<String, (u64, T)>,
    /// The names by when they were told.
    told: BTreeMap<u64, String>,
    count: u64,
}

impl<T> Newest<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, all: HashMap::new(), told: BTreeMap::new(), count: 0 }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.all.get(name).map(|(_, value)| value)
    }

    /// All of them, the least recently told first.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.told.values().filter_map(|name| self.get(name))
    }

    pub(crate) fn set(&mut self, name: &str, value: T) {
        self.remove(name);
        self.count += 1;
        self.all.insert(name.to_owned(), (self.count, value));
        self.told.insert(self.count, name.to_owned());
        if self.all.len() > self.max
            && let Some((_, oldest)) = self.told.pop_first()
        {
            self.all.remove(&oldest);
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some((told, _)) = self.all.remove(name) {
            self.told.remove(&told);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.told.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_told_goes_first() {
        let mut newest = Newest::new(2);
        for (name, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            newest.set(name, value);
        }
        assert!(newest.values().eq([&3, &4]) && newest.get("b").is_none());
        newest.remove("a");
        assert_eq!(newest.values().collect::<Vec<_>>(), [&4]);
        newest.clear();
        assert_eq!((newest.values().count(), newest.told.len()), (0, 0));
    }
}
