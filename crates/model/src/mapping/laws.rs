//! Makes a lens of a mapping, and refuses one that breaks a law, with the statuses that show it.

use std::collections::BTreeMap;

use super::{Lens, Mapping, Vocabulary};
use crate::{Lifecycle, LifecycleName, NameError, Native, Status};

/// A mapping that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// It is not TOML of the right shape.
    #[error("mapping: {0}")]
    Shape(String),
    /// Its lifecycle does not exist.
    #[error("mapping {mapping}: there is no lifecycle {lifecycle}")]
    NoLifecycle {
        /// Which mapping.
        mapping: String,
        /// The missing lifecycle.
        lifecycle: LifecycleName,
    },
    /// It speaks of a status that the lifecycle does not have.
    #[error("mapping {mapping}: {word:?} is not a status of its lifecycle")]
    UnknownStatus {
        /// Which mapping.
        mapping: String,
        /// The word.
        word: Status,
    },
    /// A canonical status has no native.
    #[error("mapping {mapping}: `get` has no native for {status:?} (GetPut needs one for every status)")]
    NotTotal {
        /// Which mapping.
        mapping: String,
        /// The status.
        status: Status,
    },
    /// A native has no preferred status.
    #[error("mapping {mapping}: `put` has no status for {native:?}")]
    NoPut {
        /// Which mapping.
        mapping: String,
        /// The native.
        native: Native,
    },
    /// get(put(c, n)) is not n.
    #[error(
        "mapping {mapping} breaks PutGet: {native:?} makes {from:?} into {to:?}, which shows as {shown:?}; make {native:?} an alias of {shown:?}, or give {to:?} the native {native:?}"
    )]
    PutGet {
        /// Which mapping.
        mapping: String,
        /// c.
        from: Status,
        /// n.
        native: Native,
        /// put(c, n).
        to: Status,
        /// get(put(c, n)).
        shown: Native,
    },
    /// An alias or a writable status is not a native of the mapping.
    #[error("mapping {mapping}: {place} names {native:?}, which no status is shown as")]
    UnknownNative {
        /// Which mapping.
        mapping: String,
        /// Where.
        place: &'static str,
        /// The native.
        native: Native,
    },
    /// A word is not usable as a native status.
    #[error("mapping {mapping}: {error}")]
    BadNative {
        /// Which mapping.
        mapping: String,
        /// Why.
        error: NameError,
    },
}

const BY_CLASS: &str = "type:";

/// The lens of a mapping for one vocabulary. Without one the first name of each status is taken, and classes mean nothing.
pub(super) fn lens(
    mapping: &Mapping,
    lifecycle: &Lifecycle,
    vocabulary: Option<&Vocabulary>,
) -> Result<Lens, MappingError> {
    let name = mapping.to_string();
    let unknown_status = |word: &Status| MappingError::UnknownStatus { mapping: name.clone(), word: word.clone() };
    for word in mapping.get.keys().chain(mapping.put.values()) {
        if !lifecycle.statuses().contains(word) {
            return Err(unknown_status(word));
        }
    }
    let mut named = BTreeMap::new();
    for status in lifecycle.statuses() {
        let native = native_for(mapping, status, vocabulary)
            .map_err(|error| MappingError::BadNative { mapping: name.clone(), error })?;
        named.extend(native.map(|native| (status, native)));
    }
    // `get` must be total.
    let first = vocabulary.and_then(|vocabulary| vocabulary.0.first()).map(|word| &word.native);
    let nearest = |status| vocabulary.and_then(|_| nearest(lifecycle, status, &named).or(first));
    let (mut get, mut missing) = (BTreeMap::new(), vec![]);
    for status in lifecycle.statuses() {
        let native = named.get(status).or_else(|| nearest(status));
        let native = native.ok_or_else(|| MappingError::NotTotal { mapping: name.clone(), status: status.clone() })?;
        get.insert(status.clone(), native.clone());
        if !named.contains_key(status) {
            missing.push(status.clone());
        }
    }
    let mut normal: BTreeMap<Native, Native> = get.values().map(|native| (native.clone(), native.clone())).collect();
    let mut put = BTreeMap::new();
    for native in get.values() {
        put.insert(native.clone(), preferred(mapping, lifecycle, &get, native, vocabulary));
    }
    for word in vocabulary.iter().flat_map(|vocabulary| vocabulary.0.iter()) {
        // A word that stands for no status of its own means what its preferred status shows as.
        if !normal.contains_key(&word.native)
            && let Some(status) = named_or_classed(mapping, &word.native, Some(&word.class))
        {
            normal.insert(word.native.clone(), get[status].clone());
        }
    }
    if vocabulary.is_none() {
        for native in mapping.put.keys().filter(|native| !native.starts_with(BY_CLASS)) {
            let native =
                Native::new(native).map_err(|error| MappingError::BadNative { mapping: name.clone(), error })?;
            let status = &mapping.put[native.as_str()];
            if !normal.contains_key(&native) && mapping.get.values().flatten().any(|known| known == native.as_str()) {
                normal.insert(native, get[status].clone());
            } else if !normal.contains_key(&native) {
                normal.insert(native.clone(), native.clone());
                put.insert(native, status.clone());
            }
        }
    }
    for (alias, native) in &mapping.alias {
        match normal.get(native).cloned() {
            Some(representative) => {
                normal.entry(alias.clone()).or_insert(representative);
            }
            // With a vocabulary, an alias of a word that the team does not use means nothing.
            None if vocabulary.is_some() => {}
            None => {
                return Err(MappingError::UnknownNative { mapping: name, place: "alias", native: native.clone() });
            }
        }
    }
    let writable = mapping.writable.iter().flatten().map(|native| ("writable", native));
    for (place, native) in writable.chain(mapping.ends.iter().map(|native| ("ends", native))) {
        if vocabulary.is_none() && !normal.contains_key(native) {
            return Err(MappingError::UnknownNative { mapping: name, place, native: native.clone() });
        }
    }
    Ok(Lens {
        get,
        missing,
        put,
        normal,
        silent: mapping.silent.clone(),
        writable: mapping.writable.clone(),
        ends: mapping.ends.clone(),
        shows: mapping.shows,
        reopen: mapping.reopen,
        fold: mapping.fold,
    })
}

/// The first candidate that the vocabulary has: by name, then by class in the system's own order.
fn native_for(
    mapping: &Mapping,
    status: &Status,
    vocabulary: Option<&Vocabulary>,
) -> Result<Option<Native>, NameError> {
    let candidates = mapping.get.get(status).map_or(&[][..], Vec::as_slice);
    let Some(vocabulary) = vocabulary else {
        return candidates.iter().find(|name| !name.starts_with(BY_CLASS)).map(Native::new).transpose();
    };
    let words = vocabulary.0.iter();
    let found = candidates.iter().find_map(|candidate| match candidate.strip_prefix(BY_CLASS) {
        Some(class) => words.clone().find(|word| &*word.class == class),
        None => words.clone().find(|word| word.native.as_str() == candidate),
    });
    Ok(found.map(|word| word.native.clone()))
}

/// What a status is shown as for which the vocabulary has nothing: as the next lower one, else the next higher, of those that end the
/// work if it does, and of the others if not.
fn nearest<'n>(lifecycle: &Lifecycle, status: &Status, named: &'n BTreeMap<&Status, Native>) -> Option<&'n Native> {
    let rank = lifecycle.rank(status);
    let alike = named.iter().filter(|(other, _)| lifecycle.is_terminal(other) == lifecycle.is_terminal(status));
    // No two have one rank.
    let apart = |other: &Status| (lifecycle.rank(other) > rank, lifecycle.rank(other).abs_diff(rank));
    alike.min_by_key(|(other, _)| apart(other)).map(|(_, native)| native)
}

fn named_or_classed<'a>(mapping: &'a Mapping, native: &Native, class: Option<&str>) -> Option<&'a Status> {
    let named = mapping.put.get(native.as_str());
    named.or_else(|| class.and_then(|class| mapping.put.get(&format!("{BY_CLASS}{class}"))))
}

/// The status that a representative stands for: what `put` says if that shows as it, else the first status that does.
fn preferred(
    mapping: &Mapping,
    lifecycle: &Lifecycle,
    get: &BTreeMap<Status, Native>,
    native: &Native,
    vocabulary: Option<&Vocabulary>,
) -> Status {
    let class = vocabulary
        .and_then(|vocabulary| vocabulary.0.iter().find(|word| word.native == *native))
        .map(|word| &*word.class);
    let said = named_or_classed(mapping, native, class);
    // With a vocabulary a class may put a word where another word stands; the word's own status is then the honest one.
    let fits = |status: &&Status| vocabulary.is_none() || get[*status] == *native;
    let own = || lifecycle.statuses().iter().find(|status| get[*status] == *native);
    said.filter(fits).or_else(own).unwrap_or(lifecycle.initial()).clone()
}

/// Checks the laws for every status and every native that is known.
pub(super) fn check(lens: &Lens, lifecycle: &Lifecycle, mapping: &str) -> Result<(), MappingError> {
    for from in lifecycle.statuses() {
        for (native, normal) in lens.natives() {
            let to = lens
                .put(lifecycle, from, native, None)
                .ok_or_else(|| MappingError::NoPut { mapping: mapping.to_owned(), native: native.clone() })?;
            let shown = lens.get(&to);
            if shown != normal {
                return Err(MappingError::PutGet {
                    mapping: mapping.to_owned(),
                    from: from.clone(),
                    native: native.clone(),
                    to,
                    shown: shown.clone(),
                });
            }
        }
    }
    Ok(())
}
