//! Lines for people and scripts: results on stdout, complaints on stderr.
//!
//! Titles and words are other people's: what would steer a terminal, or turn a line round, is written out as `\u001b`. In JSON that is
//! the same text.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What could not be written is missed by somebody.
static CUT: AtomicBool = AtomicBool::new(false);

/// Writes one line. False where it could not be: whoever reads may have gone, as `head` does, which is no error; all else is complained of
/// once, and makes the output [cut](is_cut).
pub fn line(text: &str) -> bool {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", harmless(text)).and_then(|()| out.flush()) {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe && !CUT.swap(true, Ordering::Relaxed) {
                complain(&format!("the output cannot be written: {error}"));
            }
            false
        }
    }
}

/// Whether something could not be written though somebody wants to read it.
pub fn is_cut() -> bool {
    CUT.load(Ordering::Relaxed)
}

/// A text that stays on its line: what breaks it would let others' words pass for a line of ours.
pub fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'], " ")
}

/// Writes one complaint.
pub fn complain(text: &str) {
    // There is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "lockstep: {}", harmless(text));
}

/// The lines of a table, whose first row is its heading; none where there is nothing else.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    if rows.len() < 2 {
        return Vec::new();
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        on_one_line(cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A text as it stands in a table: on one line, for two would make two rows, and so long at most.
pub fn cut(text: &str, chars_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars_max {
        return line;
    }
    line.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

/// Who did something, and where: by which record, unless an operator set the item itself.
pub fn place(actor: &Value, record: &str) -> String {
    let automation = if actor["automation"] == true { "automation " } else { "" };
    let who = actor["name"].as_str().map(|name| format!("{automation}{name}"));
    if record.starts_with("lockstep/operator/") {
        return who.unwrap_or_else(|| "an operator".into());
    }
    who.map_or_else(|| record.to_owned(), |who| format!("{who} in {record}"))
}

/// A record as people call it: an id that only programs read gives way to the identifier, where one is known.
pub fn record<'a>(record: &'a str, identifier: Option<&str>) -> Cow<'a, str> {
    match (record.rsplit_once('/'), identifier) {
        (Some((kind, id)), Some(identifier)) if uuid::Uuid::try_parse(id).is_ok() => {
            Cow::Owned(format!("{kind} {identifier}").trim_end().to_owned())
        }
        _ => Cow::Borrowed(record),
    }
}

/// A moment in UTC, to the second, as `--since` takes it.
pub fn moment(at_ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1_000)).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| "?".to_owned())
}

fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let written = text.chars().map(|c| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() });
    Cow::Owned(written.collect())
}

/// Control characters, and those by which Unicode sets the direction of what follows.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_columns_as_wide_as_what_stands_in_them() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["ITEM", "WHY"]), row(["Größe-1", "a"]), row(["i", ""])];
        assert_eq!(table(&rows), ["ITEM     WHY", "Größe-1  a", "i"]);
        assert!(table(&rows[..1]).is_empty());
    }

    #[test]
    fn what_is_long_is_cut_and_stays_on_its_line() {
        assert_eq!(cut("one\n  two", 7), "one two");
        assert_eq!(cut("one two three", 7), "one tw…");
    }

    #[test]
    fn a_moment_is_told_to_the_second() {
        assert_eq!(moment(61_999), "1970-01-01T00:01:01Z");
        assert_eq!(moment(-1), "1969-12-31T23:59:59Z");
        assert_eq!(moment(i64::MAX), "?");
    }

    #[test]
    fn other_peoples_words_do_not_steer_the_terminal_and_json_stays_what_it_is() {
        assert_eq!(harmless("Fix \u{1b}[31mit\u{7} \u{202e}now\u{9b}"), "Fix \\u001b[31mit\\u0007 \\u202enow\\u009b");
        assert_eq!(harmless("Größe – ok\n  2"), "Größe – ok\n  2");
        let json = serde_json::json!({"title": "a\u{202e}b\u{9b}\u{1b}"});
        let read: serde_json::Value = serde_json::from_str(&harmless(&json.to_string())).unwrap();
        assert_eq!(read, json);
    }
}
