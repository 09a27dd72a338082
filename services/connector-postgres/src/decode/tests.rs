use model::Version;

use super::*;

fn table() -> Table {
    let text =
        "table = \"public.tasks\"\nkind = \"task\"\ntitle = \"title\"\nmentions = [\"linear_issue\", \"github_ref\"]";
    toml::from_str(text).unwrap()
}

/// The entries and rows under `fixtures/`, as the outbox and the table answered them.
fn fixture<T>(text: &str, make: impl Fn(&serde_json::Value) -> T) -> Vec<T> {
    let values: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    values.iter().map(make).collect()
}

fn text(value: &serde_json::Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}

fn capture(value: &serde_json::Value, status: &str) -> Capture {
    Capture {
        version: value["version"].as_i64().unwrap(),
        status: text(value, status),
        origin: text(value, "origin"),
        actor: text(value, "actor"),
        application: text(value, "application"),
        at_ms: value["at_ms"].as_i64().unwrap(),
    }
}

fn content(value: &serde_json::Value) -> Content {
    Content { title: text(value, "title"), mentions: text(value, "mentions") }
}

fn entries() -> Vec<Entry> {
    fixture(include_str!("../../fixtures/entries.json"), |value| Entry {
        id: value["id"].as_i64().unwrap(),
        kind: text(value, "kind").unwrap(),
        key: text(value, "key").unwrap(),
        operation: text(value, "operation").unwrap(),
        previous: text(value, "previous"),
        is_back: false,
        capture: capture(value, "status"),
        content: content(value),
    })
}

fn rows() -> Vec<Row> {
    fixture(include_str!("../../fixtures/rows.json"), |value| Row {
        key: text(value, "key").unwrap(),
        status: text(value, "status"),
        capture: capture(value, "captured"),
        content: content(value),
    })
}

#[test]
fn an_edit_is_somebody_elses_and_says_whose() {
    let seen = entry(&table(), &entries()[0]).unwrap();
    assert_eq!(seen.record.to_string(), "postgres/task/7");
    assert_eq!(seen.native.as_str(), "in_progress");
    assert_eq!(seen.position, Some(Position(2)));
    assert_eq!(seen.origin, Origin::Other);
    let person = Actor { name: "ada (psql)".to_owned(), id: Some("ada".to_owned()), automation: false };
    assert_eq!(seen.actor, Some(person));
    assert_eq!(seen.title.as_deref(), Some("Mend the roof"));
    let mentions: Vec<_> = seen.mentions.iter().map(Key::as_str).collect();
    assert_eq!(mentions, ["ENG-1", "acme/web#7", "acme/web#8"]);
}

#[test]
fn a_title_of_any_size_is_told_in_part() {
    let title = |title: String| {
        let content = Content { title: Some(title), mentions: None };
        let row = Row { key: "7".into(), status: Some("todo".into()), content, ..Row::default() };
        super::row(&table(), &row, Source::Sweep, Timestamp(9)).unwrap().title
    };
    assert_eq!(title("é".repeat(2_000_000)), Some("é".repeat(500)));
    assert_eq!(title(format!("  {}", "é".repeat(500))), Some("é".repeat(500)));
    assert_eq!(title(" \n".into()), None);
}

#[test]
fn our_own_write_is_known_by_its_tag() {
    let seen = entry(&table(), &entries()[1]).unwrap();
    assert_eq!(seen.origin, Origin::Own(Some(Version(4))));
}

#[test]
fn a_row_that_was_deleted_says_so_and_one_without_a_status_nothing() {
    let all = entries();
    let deleted = entry(&table(), &all[2]).unwrap();
    assert_eq!((deleted.record.to_string().as_str(), &deleted.native), ("postgres/task/7", &Native::deleted()));
    assert_eq!((deleted.position, deleted.origin), (Some(position(3)), Origin::Other));
    assert_eq!(entry(&table(), &all[3]), Err("no_status"));
}

#[test]
fn a_status_that_is_none_is_shown_in_quotes() {
    let shown = |status: &str| {
        let row = Row { key: "7".into(), status: Some(status.into()), ..Row::default() };
        super::row(&table(), &row, Source::Sweep, Timestamp(9)).unwrap().native.to_string()
    };
    assert_eq!(shown("done"), "done");
    assert_eq!(shown(" done "), " done ", "a word of its own");
    assert_eq!([shown("(deleted)"), shown("(null)")], ["\"(deleted)\"", "\"(null)\""], "it is there, and has a status");
    assert_eq!([shown(""), shown("  "), shown("a\u{7}b\n")], ["\"\"", "\"  \"", "\"a\\u{7}b\\n\""]);
    let long = shown(&"é".repeat(200));
    assert!(long.len() <= 128 && long.ends_with("é…\" and 161 more"), "{long}");
    assert_eq!(shown(&"\u{1}".repeat(60)).len(), "\"".len() + 15 * "\\u{1}".len() + "…\" and 45 more".len());
}

#[test]
fn a_row_and_its_entry_are_the_same_observation() {
    let (from_entry, from_row) =
        (entry(&table(), &entries()[1]).unwrap(), row(&table(), &rows()[0], Source::Sweep, Timestamp(9)).unwrap());
    assert_eq!(Observation { source: Source::Stream, ..from_row }, from_entry);
}

#[test]
fn a_row_that_no_trigger_saw_stands_before_its_first_captured_change() {
    let untouched = row(&table(), &rows()[1], Source::Sweep, Timestamp(9)).unwrap();
    assert_eq!(untouched.position, Some(position(0)));
    assert_eq!((untouched.origin, untouched.occurred_at), (Origin::Unknown, Timestamp(9)));
    assert!(untouched.position < Some(position(1)));
}

#[test]
fn a_status_set_past_the_trigger_is_not_taken_for_our_write() {
    let bypassed = row(&table(), &rows()[2], Source::Sweep, Timestamp(9)).unwrap();
    assert_eq!((bypassed.native.as_str(), bypassed.origin), ("blocked", Origin::Unknown));
    assert_eq!(bypassed.position, Some(position(2)), "equal positions with another status count as newer");
    assert_eq!(bypassed.actor, None);
}
