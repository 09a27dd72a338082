//! Items as a table: a column for each system, and what is not in step. Pure.

use std::collections::BTreeSet;

use client::{Item, Record};

use crate::output;

/// How wide a title may be.
const TITLE_MAX: usize = 36;

/// The lines of the table, its heading first; none when there are no items.
pub fn lines(items: &[Item]) -> Vec<String> {
    let systems: BTreeSet<&str> = items.iter().flat_map(|item| &item.records).map(system).collect();
    let heading = ["ITEM", "TITLE", "STATUS"].map(str::to_owned).into_iter();
    let heading = heading.chain(systems.iter().map(|system| system.to_uppercase())).chain(["IN STEP".to_owned()]);
    let mut rows: Vec<Vec<String>> = vec![heading.collect()];
    rows.extend(items.iter().map(|item| row(item, &systems)));
    output::table(&rows)
}

/// Where an item stands among the others: by its name, and by number where names end in one.
pub fn place(item: &Item) -> (String, u64, String) {
    let name = name(item);
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[word.len()..].parse().unwrap_or(0);
    (word.to_owned(), number, item.id.clone())
}

fn row(item: &Item, systems: &BTreeSet<&str>) -> Vec<String> {
    let title = item.title.as_deref().unwrap_or_default();
    let shown = |wanted: &&str| {
        let natives: Vec<String> = item
            .records
            .iter()
            .filter(|record| system(record) == *wanted)
            .map(|record| plain(&record.native))
            .collect();
        if natives.is_empty() { "-".to_owned() } else { natives.join(", ") }
    };
    [name(item), output::cut(title, TITLE_MAX), item.status.clone()]
        .into_iter()
        .chain(systems.iter().map(shown))
        .chain([step(item)])
        .collect()
}

/// A status as it can be told from others: in quotes where its spaces, or signs that turn the direction of a line, would not be seen.
fn plain(native: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if native.trim() != native || native.contains(turns) { format!("{native:?}") } else { native.to_owned() }
}

fn system(record: &Record) -> &str {
    record.record.split('/').next().unwrap_or_default()
}

/// What people call the item: its key, else its first record, else its id.
fn name(item: &Item) -> String {
    let record = item.records.first().map(|record| record.record.clone());
    item.key.clone().or(record).unwrap_or_else(|| item.id.clone())
}

/// "yes", or which records are not, and why.
fn step(item: &Item) -> String {
    let why = |record: &Record| match record.step.as_str() {
        "in_step" => None,
        "as_close" => Some(format!("{}: as close as it can be", system(record))),
        "read_only" => Some(format!("{}: read-only", system(record))),
        "failed" => {
            Some(format!("{}: failed, {}", system(record), record.last_error.as_deref().unwrap_or("see its history")))
        }
        "pending" => Some(format!(
            "{}: pending, {} is on its way",
            system(record),
            record.want.as_deref().unwrap_or("a command")
        )),
        other => Some(format!("{}: {other}", system(record))),
    };
    let reasons: Vec<String> = item.records.iter().filter_map(why).collect();
    let held = item.held.as_ref().map(|conflict| format!("held by conflict {conflict}"));
    let verdict = if item.in_step && item.held.is_none() { "yes" } else { "no" };
    let reasons: Vec<String> = held.into_iter().chain(reasons).collect();
    if reasons.is_empty() { verdict.to_owned() } else { format!("{verdict} ({})", reasons.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_seen_of_a_status_is() {
        assert_eq!(plain("In Review"), "In Review");
        assert_eq!(plain("done "), "\"done \"");
        assert_eq!(plain("\u{202e}done"), "\"\\u{202e}done\"");
    }

    fn record(record: &str, native: &str, step: &str) -> Record {
        Record {
            record: record.into(),
            native: native.into(),
            want: Some("Done".into()),
            step: step.into(),
            url: None,
            agreed: 1,
            last_error: None,
            taken: std::collections::BTreeMap::new(),
        }
    }

    fn item(key: Option<&str>, records: Vec<Record>) -> Item {
        Item {
            id: "id".into(),
            key: key.map(str::to_owned),
            title: Some("A title that is\nlonger than what fits in the column".into()),
            lifecycle: "work".into(),
            status: "done".into(),
            status_since: 0,
            version: 1,
            held: None,
            in_step: !records.iter().any(|record| record.step == "pending"),
            records,
        }
    }

    #[test]
    fn records_stand_side_by_side_in_a_column_for_each_system() {
        let one = item(
            Some("ENG-1"),
            vec![record("linear/issue/a", "Todo", "pending"), record("github/issue/w#1", "open", "in_step")],
        );
        let two = item(
            None,
            vec![record("github/pull_request/w#2", "open", "as_close"), record("github/issue/w#3", "open", "in_step")],
        );
        let lines = lines(&[one, two]);
        assert!(lines[0].starts_with("ITEM") && lines[0].contains("GITHUB") && lines[0].contains("LINEAR"));
        assert!(
            lines[1].starts_with("ENG-1") && lines[1].ends_with("no (linear: pending, Done is on its way)"),
            "{}",
            lines[1]
        );
        assert!(
            lines[2].contains("open, open") && lines[2].ends_with("yes (github: as close as it can be)"),
            "{}",
            lines[2]
        );
        assert!(lines[1].contains('…'));
        let column = lines[0].find("LINEAR").unwrap();
        assert_eq!(lines[1].chars().skip(column).take(4).collect::<String>(), "Todo");
    }

    #[test]
    fn items_stand_in_the_order_of_their_names_and_numbers() {
        let mut items = ["ENG-10", "ENG-9", "APP-11"].map(|key| item(Some(key), vec![]));
        items.sort_by_cached_key(place);
        assert_eq!(items.map(|item| item.key.unwrap()), ["APP-11", "ENG-9", "ENG-10"]);
    }

    #[test]
    fn without_items_there_is_no_table() {
        assert!(lines(&[]).is_empty());
    }
}
