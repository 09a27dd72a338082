//! What docs/words.md says of statuses, of what records show and of defaults is so.

use model::{Lifecycle, Native, RecordRef, Status};

use super::*;

const WORDS: &str = include_str!("../../../../../docs/words.md");

/// The rows of the table below a heading, each cell without its marks.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, after) = WORDS.split_once(&format!("## {heading}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let cells =
        |line: &'static str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
    lines.map(cells).collect()
}

#[test]
fn each_word_for_a_status_means_what_the_table_says() {
    let policy = load("", &[]).unwrap().policy().unwrap();
    let rows = rows("Statuses");
    assert!(rows.len() > 20, "only {} words", rows.len());
    for row in rows {
        let [lifecycle, word, here] = row.as_slice() else { panic!("{row:?}") };
        let lifecycle: &Lifecycle = policy.lifecycles.get(&LifecycleName::new(lifecycle).unwrap()).unwrap();
        assert_eq!(lifecycle.status(word).map(Status::as_str), Some(*here), "{word}");
    }
}

#[test]
fn what_a_record_shows_makes_of_its_item_what_the_table_says() {
    let policy = load("", &[]).unwrap().policy().unwrap();
    let lifecycle = LifecycleName::new("work").unwrap();
    let lens = |kind: &str| {
        let record: RecordRef = format!("{kind}/1").parse().unwrap();
        let mapping = policy.mappings.get(&record.system, &record.kind, &lifecycle).unwrap();
        mapping.lens(policy.lifecycles.get(&lifecycle).unwrap(), None).unwrap()
    };
    let rows = rows("What a record shows");
    assert!(rows.len() > 15, "only {} words", rows.len());
    for row in rows {
        let [kind, word, here] = row.as_slice() else { panic!("{row:?}") };
        let lens = lens(kind);
        let normal = lens.normal(&Native::new(*word).unwrap());
        let becomes = normal.and_then(|normal| lens.preferred(normal));
        assert_eq!(becomes.map(Status::as_str), Some(*here), "{kind} {word}");
    }
    let agent = lens("agentapi/agent");
    assert!(["idle", "error"].iter().all(|word| agent.is_silent(&Native::new(*word).unwrap())));
}

#[test]
fn each_default_is_that_of_the_example() {
    let known = defaults::keys();
    let rows = rows("Defaults");
    assert!(rows.len() > 10, "only {} defaults", rows.len());
    for row in rows {
        let [_, _, setting, value] = row.as_slice() else { panic!("{row:?}") };
        let found = known.iter().find(|(table, key, _)| format!("{table}.{key}") == *setting);
        assert_eq!(found.map(|(_, _, value)| *value), Some(*value), "{setting}");
    }
}
