//! Decides which rows of the history are told, in which order, so that watchers hear an item's versions one after the other.
//!
//! Pure. Knows what a batch caused, what the bus told of its items last, and what the history has since then.

use std::collections::{BTreeMap, BTreeSet};

use bus::Told;
use model::{HistoryRow, ItemId, RowKind, Timestamp, Version};

/// What may be missing on the bus: what the history has of these items after these versions, recorded since then.
pub(crate) fn missing(told: &BTreeMap<ItemId, Told>) -> Vec<(ItemId, Version, Timestamp)> {
    let after = |(item, told): (&ItemId, &Told)| match told {
        Told::UpTo(version) => Some((*item, *version, Timestamp::default())),
        Told::Nothing(since) => Some((*item, Version(0), *since)),
        Told::Unknown => None,
    };
    told.iter().filter_map(after).collect()
}

/// The rows to tell of: of the items in `told` first the versions that the bus does not have yet, of what the batch caused (`rows`)
/// and of what the history has (`missing`); then all else that the batch caused.
pub(crate) fn due<'a>(
    rows: &'a [HistoryRow],
    told: &BTreeMap<ItemId, Told>,
    missing: &'a [HistoryRow],
) -> Vec<&'a HistoryRow> {
    let asked = |row: &&HistoryRow| row.kind == RowKind::Changed && told.contains_key(&row.item);
    let is_new = |row: &&HistoryRow| match told[&row.item] {
        Told::UpTo(version) => row.version > version,
        Told::Nothing(_) | Told::Unknown => true,
    };
    let (asked, others): (Vec<_>, Vec<_>) = rows.iter().partition(asked);
    let versions: BTreeMap<(ItemId, Version), &HistoryRow> =
        asked.into_iter().filter(is_new).chain(missing).map(|row| ((row.item, row.version), row)).collect();
    versions.into_values().chain(others).collect()
}

/// The items of which a batch tells something: their versions up to now go first.
pub(crate) fn told_of<'r>(rows: impl IntoIterator<Item = &'r HistoryRow>) -> BTreeSet<ItemId> {
    let is_told = |row: &&HistoryRow| matches!(row.kind, RowKind::Changed | RowKind::Linked | RowKind::Unlinked);
    rows.into_iter().filter(is_told).map(|row| row.item).collect()
}

#[cfg(test)]
mod tests {
    use model::{Cause, Native, Reason, Status};
    use uuid::Uuid;

    use super::*;

    fn item(number: u128) -> ItemId {
        ItemId(Uuid::from_u128(number))
    }

    fn row(of: u128, version: u64, kind: RowKind) -> HistoryRow {
        HistoryRow {
            item: item(of),
            version: Version(version),
            kind,
            from: None,
            to: Status::new("todo").unwrap(),
            record: "linear/issue/1".parse().unwrap(),
            native: Native::new("Todo").unwrap(),
            position: None,
            actor: None,
            reason: Reason::Edited,
            conflict: None,
            irregular: false,
            at: Timestamp(0),
            recorded_at: Timestamp(0),
            cause: Cause { sequence: version, id: String::new() },
        }
    }

    fn changed(of: u128, version: u64) -> HistoryRow {
        row(of, version, RowKind::Changed)
    }

    fn told(of: u128, told: Told) -> BTreeMap<ItemId, Told> {
        BTreeMap::from([(item(of), told)])
    }

    fn versions(due: &[&HistoryRow]) -> Vec<(u128, u64)> {
        due.iter().map(|row| (row.item.0.as_u128(), row.version.0)).collect()
    }

    #[test]
    fn what_another_process_has_not_told_goes_first() {
        let (rows, history) = ([changed(2, 1), changed(1, 5)], [changed(1, 3), changed(1, 4), changed(1, 5)]);
        let due = due(&rows, &told(1, Told::UpTo(Version(2))), &history);
        assert_eq!(versions(&due), [(1, 3), (1, 4), (1, 5), (2, 1)]);
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let rows = [changed(1, 3), changed(1, 4), changed(1, 5)];
        assert_eq!(versions(&due(&rows, &told(1, Told::UpTo(Version(4))), &rows[2..])), [(1, 5)]);
        assert_eq!(versions(&due(&rows, &told(1, Told::UpTo(Version(5))), &[])), []);
    }

    #[test]
    fn where_nobody_knows_what_was_told_the_batch_tells_what_it_caused() {
        let rows = [changed(1, 3)];
        for unknown in [Told::Unknown, Told::Nothing(Timestamp(9))] {
            assert_eq!(versions(&due(&rows, &told(1, unknown), &[])), [(1, 3)]);
        }
        assert_eq!(missing(&told(1, Told::Unknown)), []);
        assert_eq!(missing(&told(1, Told::Nothing(Timestamp(9)))), [(item(1), Version(0), Timestamp(9))]);
        assert_eq!(missing(&told(1, Told::UpTo(Version(2)))), [(item(1), Version(2), Timestamp(0))]);
    }

    #[test]
    fn all_else_is_told_always() {
        let rows = [row(1, 4, RowKind::Linked), changed(1, 5), changed(2, 1)];
        assert_eq!(versions(&due(&rows, &told(1, Told::UpTo(Version(5))), &[])), [(1, 4), (2, 1)]);
        assert_eq!(versions(&due(&rows, &BTreeMap::new(), &[])), [(1, 4), (1, 5), (2, 1)]);
        let rows = [row(3, 1, RowKind::Linked), changed(2, 1), row(4, 1, RowKind::Stale)];
        assert_eq!(told_of(&rows), BTreeSet::from([item(2), item(3)]));
    }
}
