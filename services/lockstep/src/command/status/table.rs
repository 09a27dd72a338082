//! Items as a table: a column for each system, and what is not in step. Pure.

use std::collections::{BTreeMap, BTreeSet};

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
        let records = item.records.iter().filter(|record| system(record) == *wanted);
        let native = |record: &Record| {
            let which = which(record, item).map(|which| format!("{which} ")).unwrap_or_default();
            format!("{which}{}", plain(&record.native))
        };
        let natives: Vec<String> = records.map(native).collect();
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

/// Which system a record is of.
pub fn system(record: &Record) -> &str {
    record.record.split('/').next().unwrap_or_default()
}

/// The system and the kind, by which records of one item are read together.
fn kind(record: &Record) -> (&str, &str) {
    let mut parts = record.record.splitn(3, '/');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Which record of its system it is, where the item has several: by its kind, and by its name where that does not tell.
fn which(record: &Record, item: &Item) -> Option<String> {
    let of_kind = item.records.iter().filter(|other| kind(other) == kind(record)).count();
    let of_system = item.records.iter().filter(|other| system(other) == system(record)).count();
    let id = record.record.splitn(3, '/').nth(2).unwrap_or_default();
    match (of_kind, of_system) {
        (_, 0 | 1) => None,
        (0 | 1, _) => Some(kind(record).1.to_owned()),
        _ => Some(format!("{} {}", kind(record).1, record.keys.first().map_or(id, String::as_str))),
    }
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
        "as_close" => Some("as close as it can be".to_owned()),
        "read_only" => Some("read-only".to_owned()),
        "failed" => Some(format!("failed, {}", record.last_error.as_deref().unwrap_or("see its history"))),
        "pending" => Some(format!("pending, {} is on its way", record.want.as_deref().unwrap_or("a command"))),
        other => Some(other.to_owned()),
    };
    // Of one system, what several have in common is said once.
    let mut reasons: Vec<(&str, String, Vec<String>)> = Vec::new();
    for record in &item.records {
        let Some(why) = why(record) else { continue };
        match reasons.iter_mut().find(|(of, known, _)| *of == system(record) && *known == why) {
            Some((_, _, records)) => records.extend(which(record, item)),
            None => reasons.push((system(record), why, which(record, item).into_iter().collect())),
        }
    }
    let said = |(system, why, records): (&str, String, Vec<String>)| {
        format!("{} {}", system, records.join(", ")).trim_end().to_owned() + ": " + &why
    };
    let held = item.held.as_ref().map(|conflict| format!("held by conflict {conflict}"));
    let verdict = if item.in_step && item.held.is_none() { "yes" } else { "no" };
    let reasons: Vec<String> = held.into_iter().chain(reasons.into_iter().map(said)).chain(folded(item)).collect();
    if reasons.is_empty() { verdict.to_owned() } else { format!("{verdict} ({})", reasons.join("; ")) }
}

/// The kinds of which the item has several records that show different things: one of them may differ from an item that is in step.
fn folded(item: &Item) -> Vec<String> {
    let mut kinds: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for record in item.records.iter().filter(|record| record.step != "deleted") {
        kinds.entry(kind(record)).or_default().push(&record.native);
    }
    let differ = |natives: &[&str]| natives.iter().any(|native| *native != natives[0]);
    let several = kinds.into_iter().filter(|(_, natives)| differ(natives));
    several.map(|((system, kind), natives)| format!("{system} {kind}: {} speak together", natives.len())).collect()
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
            keys: Vec::new(),
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
            lines[2].contains("pull_request open, issue open")
                && lines[2].ends_with("yes (github pull_request: as close as it can be)"),
            "{}",
            lines[2]
        );
        assert!(lines[1].contains('…'));
        let column = lines[0].find("LINEAR").unwrap();
        assert_eq!(lines[1].chars().skip(column).take(4).collect::<String>(), "Todo");
    }

    #[test]
    fn what_records_of_one_system_have_in_common_is_said_once_and_of_which_it_is() {
        let issue = |id: &str, key: &str| Record { keys: vec![key.into()], ..record(id, "Todo", "failed") };
        let records = vec![
            record("github/issue/w#3", "open", "as_close"),
            record("github/pull_request/w#2", "draft", "as_close"),
            record("agentapi/agent/a", "stable", "read_only"),
            issue("linear/issue/6f1c", "ENG-7"),
            issue("linear/issue/8a2d", "ENG-8"),
        ];
        let lines = lines(&[item(Some("ENG-7"), records)]);
        for part in [
            "issue open, pull_request draft",
            "issue ENG-7 Todo, issue ENG-8 Todo",
            "  stable  ",
            "(github issue, pull_request: as close as it can be; agentapi: read-only; \
             linear issue ENG-7, issue ENG-8: failed, see its history)",
        ] {
            assert!(lines[1].contains(part), "{part:?} is not in {:?}", lines[1]);
        }
    }

    #[test]
    fn records_that_speak_together_are_told_of_where_they_differ() {
        let pulls = |natives: [&str; 2]| {
            let one =
                |(number, native): (usize, &str)| record(&format!("github/pull_request/w#{number}"), native, "in_step");
            item(Some("ENG-1"), natives.into_iter().enumerate().map(one).collect())
        };
        assert_eq!(step(&pulls(["open", "merged"])), "yes (github pull_request: 2 speak together)");
        assert_eq!(step(&pulls(["open", "open"])), "yes");
        let mut gone = pulls(["open", "(deleted)"]);
        gone.records[1].step = "deleted".into();
        assert_eq!(step(&gone), "yes (github pull_request w#1: deleted)");
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
