//! How conflicts read on a terminal.

use serde_json::Value;

use crate::output;

/// One line for each conflict, under a heading.
pub fn table(conflicts: &[Value]) -> Vec<String> {
    let heading = ["ITEM", "SINCE", "WHO WANTS WHAT (the numbers are those of --pick)"].map(str::to_owned);
    let row = |conflict: &Value| {
        let item = conflict["key"].as_str().unwrap_or_else(|| text(conflict, "item"));
        let sides = candidates(conflict).iter().enumerate();
        let sides: Vec<String> = sides.map(|(number, candidate)| format!("{number}: {}", side(candidate))).collect();
        let end = if conflict["resolved_at"].is_null() { "" } else { ", resolved" };
        let why = if conflict["escalated"] == true { " (taken back again and again)" } else { "" };
        vec![item.to_owned(), moment(&conflict["opened_at"]), format!("{}{why}{end}", sides.join(" | "))]
    };
    let rows: Vec<Vec<String>> = std::iter::once(heading.to_vec()).chain(conflicts.iter().map(row)).collect();
    output::table(&rows)
}

/// A conflict with all its candidates, and how to end it.
pub fn whole(conflict: &Value, name: &str) -> Vec<String> {
    let is_over = !conflict["resolved_at"].is_null();
    let why = match (is_over, conflict["escalated"] == true) {
        (true, true) => "the same change was taken back again and again",
        (true, false) => "two had changed it without having seen each other's edit",
        (false, true) => "the same change is taken back again and again; a person must decide",
        (false, false) => "a person must decide",
    };
    let mut lines = vec![format!("{name}: {why}, since {}", moment(&conflict["opened_at"]))];
    for (number, candidate) in candidates(conflict).iter().enumerate() {
        let winner = if conflict["winner"] == number { "  <- won" } else { "" };
        let at = moment(&candidate["at"]);
        lines.push(format!("  {number}  {}, shown as {:?}, {at}{winner}", side(candidate), text(candidate, "native")));
    }
    lines.push(if is_over {
        format!("resolved {}", moment(&conflict["resolved_at"]))
    } else {
        format!("end it with: lockstep conflicts resolve {name} --status STATUS, or --pick N for what N wants by then")
    });
    lines
}

fn candidates(conflict: &Value) -> &[Value] {
    conflict["candidates"].as_array().map_or(&[], Vec::as_slice)
}

/// What somebody wants, who, and by which record.
fn side(candidate: &Value) -> String {
    format!("{} ({})", text(candidate, "status"), output::place(&candidate["actor"], text(candidate, "record")))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("?")
}

fn moment(ms: &Value) -> String {
    ms.as_i64().map_or_else(|| "?".to_owned(), output::moment)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conflict_tells_who_wants_what_by_number_and_how_it_ends() {
        let mut conflict = json!({
            "id": "c", "item": "i", "escalated": true, "opened_at": 1_795_167_000_125_i64, "resolved_at": null, "winner": null,
            "candidates": [
                {"record": "linear/issue/a", "native": "In Progress", "status": "in_progress", "at": 1, "actor": {"name": "github", "automation": true}},
                {"record": "postgres/task/1", "native": "in_review", "status": "in_review", "at": 1, "actor": null},
            ],
        });
        let lines = whole(&conflict, "ENG-1").join("\n");
        for part in [
            "ENG-1: the same change is taken back",
            "0  in_progress (automation github in linear/issue/a)",
            "1  in_review (postgres/task/1), shown as \"in_review\"",
            "lockstep conflicts resolve ENG-1 --status STATUS, or --pick N",
        ] {
            assert!(lines.contains(part), "{part:?} is not in\n{lines}");
        }
        conflict["resolved_at"] = json!(1_795_167_000_125_i64);
        conflict["winner"] = json!(1);
        let lines = whole(&conflict, "ENG-1").join("\n");
        assert!(lines.contains("<- won") && lines.contains("resolved 2026"), "{lines}");
        assert!(lines.contains("was taken back again and again, since") && !lines.contains("must decide"), "{lines}");
        let mut conflicts = [conflict.clone(), conflict];
        conflicts[1]["key"] = json!("ENG-1");
        let lines = table(&conflicts);
        assert!(lines[1].contains("0: in_progress (auto") && lines[1].contains(" | 1: in_review"), "{lines:?}");
        assert!(lines[1].ends_with("(taken back again and again), resolved"), "{lines:?}");
        assert!(lines[1].starts_with("i ") && lines[2].starts_with("ENG-1 "), "{lines:?}");
    }
}
