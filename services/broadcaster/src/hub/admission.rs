//! How many clients are here: in all, and of each key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::close::Close;

/// Of so many places one may be had by who has not said who it is.
const NAMELESS: usize = 4;

/// Counts those who are here.
#[derive(Debug)]
pub struct Admission {
    counts: Mutex<Counts>,
    max: usize,
    max_of_key: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    nameless: usize,
    by_key: HashMap<Arc<str>, usize>,
}

/// A client's place; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    key: Option<Arc<str>>,
}

impl Admission {
    /// Room for so many.
    pub fn new(max: usize, max_of_key: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), max, max_of_key })
    }

    /// A place for one more client, of nobody's key yet. Those who have not said who they are have a share of the places only: anybody
    /// can come so, and stay until it is late.
    pub fn admit(self: &Arc<Self>) -> Result<Permit, Close> {
        self.admit_within(self.max.div_ceil(NAMELESS))
    }

    /// A place for one more client of a key.
    pub fn admit_of(self: &Arc<Self>, key: &Arc<str>) -> Result<Permit, Close> {
        let mut permit = self.admit_within(usize::MAX)?;
        permit.is_of(key)?;
        Ok(permit)
    }

    fn admit_within(self: &Arc<Self>, nameless_max: usize) -> Result<Permit, Close> {
        let mut counts = self.counts();
        if counts.all >= self.max || counts.nameless >= nameless_max {
            return Err(Close::TOO_MANY_CLIENTS);
        }
        counts.all += 1;
        counts.nameless += 1;
        Ok(Permit { admission: Arc::clone(self), key: None })
    }

    /// How many are here.
    pub fn clients(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere leaves numbers that are still good.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Says whose it is, unless as many of that key as may are here.
    pub fn is_of(&mut self, key: &Arc<str>) -> Result<(), Close> {
        if self.key.as_ref() == Some(key) {
            return Ok(());
        }
        let mut counts = self.admission.counts();
        let count = counts.by_key.entry(Arc::clone(key)).or_default();
        if *count >= self.admission.max_of_key {
            return Err(Close::TOO_MANY_OF_KEY);
        }
        *count += 1;
        let before = self.key.replace(Arc::clone(key));
        counts.leave(before);
        Ok(())
    }
}

impl Counts {
    fn leave(&mut self, key: Option<Arc<str>>) {
        let Some(key) = key else {
            self.nameless -= 1;
            return;
        };
        if let Some(count) = self.by_key.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(&key);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all -= 1;
        counts.leave(self.key.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_key_and_given_back() {
        let admission = Admission::new(3, 2);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut places: Vec<Permit> = Vec::new();
        for _ in 0..2 {
            places.push(admission.admit().unwrap());
            assert!(places.last_mut().unwrap().is_of(&a).is_ok());
        }
        places.push(admission.admit().unwrap());
        assert_eq!(admission.admit().unwrap_err(), Close::TOO_MANY_CLIENTS);
        assert!(places[1].is_of(&a).is_ok());
        assert_eq!(places[2].is_of(&a), Err(Close::TOO_MANY_OF_KEY));
        // A new token of another key frees the old one's place.
        assert!(places[1].is_of(&b).is_ok() && places[2].is_of(&a).is_ok());
        places.clear();
        assert_eq!(admission.clients(), 0);
        assert!(admission.counts().by_key.is_empty() && admission.counts().nameless == 0);
    }

    #[test]
    fn those_who_have_not_said_who_they_are_leave_places_for_the_others() {
        let admission = Admission::new(10, 10);
        let mut places: Vec<Permit> = (0..3).map(|_| admission.admit().unwrap()).collect();
        assert_eq!(admission.admit().unwrap_err(), Close::TOO_MANY_CLIENTS);
        places[0].is_of(&"a".into()).unwrap();
        assert!(admission.admit_of(&"b".into()).is_ok());
        places.push(admission.admit().unwrap());
        assert!(admission.admit_of(&"b".into()).is_ok(), "whoever has said who it is finds a place");
        places.clear();
        assert_eq!((admission.clients(), admission.counts().nameless), (0, 0));
    }
}
