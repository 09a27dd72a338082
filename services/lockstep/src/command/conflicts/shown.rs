//! How conflicts read on a terminal.

use serde_json::Value;

use crate::output;

/// One line for each conflict, under a heading.
pub fn table(conflicts: &[Value]) -> Vec<String> {
    let heading = ["ITEM", "SINCE", "WHO WANTS WHAT (the numbers are those of --pick)"].map(str::to_owned);
    let row = |conflict: &Value| {
        let item = conflict["key"].as_str().unwrap_or_else(|| text(conflict, "item"));
        let sides = candidates(conflict).iter().enumerate();
        let sides: Vec<String> =
            sides.map(|(number, candidate)| format!("{number}: {}", side(candidate, conflict))).collect();
        let end = decision(conflict).map(|decision| format!(" → {decision}")).unwrap_or_default();
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
        let side = side(candidate, conflict);
        lines.push(format!("  {number}  {side}, shown as {:?}, {at}{winner}", text(candidate, "native")));
    }
    lines.push(match decision(conflict) {
        Some(decision) => format!("resolved {}: {decision}", moment(&conflict["resolved_at"])),
        None => format!(
            "end it with: lockstep conflicts resolve {name} --status STATUS, or --pick N for what N wants by then"
        ),
    });
    lines
}

/// What came of a conflict that is over, and who or what decided it.
fn decision(conflict: &Value) -> Option<String> {
    if conflict["resolved_at"].is_null() {
        return None;
    }
    let winner = conflict["winner"].as_u64().and_then(|winner| usize::try_from(winner).ok());
    let won = winner.and_then(|winner| Some((winner, candidates(conflict).get(winner)?)));
    let by = |word: &Value| word["actor"]["name"].as_str().unwrap_or("an operator").to_owned();
    let was_held = conflict["opened_at"] != conflict["resolved_at"];
    Some(match (won, &conflict["ended_by"]) {
        (Some((number, winner)), Value::Null) => {
            let by = if was_held { "an operator" } else { text(conflict, "strategy") };
            format!("{}, {number} by {by}", text(winner, "status"))
        }
        (Some((number, _)), word) => format!("{}, {number} by {}", text(word, "status"), by(word)),
        // An item that another took over ends with what held it; of what is long ago the history has no word any more.
        (None, Value::Null) => "resolved".to_owned(),
        (None, word) => format!("{} by {}", text(word, "status"), by(word)),
    })
}

fn candidates(conflict: &Value) -> &[Value] {
    conflict["candidates"].as_array().map_or(&[], Vec::as_slice)
}

/// What somebody wants, who, and by which record.
fn side(candidate: &Value, conflict: &Value) -> String {
    let record = text(candidate, "record");
    let record = output::record(record, conflict["names"][record].as_str());
    format!("{} ({})", text(candidate, "status"), output::place(&candidate["actor"], &record))
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
            "id": "c", "item": "i", "escalated": true, "opened_at": 1_795_167_000_125_i64, "resolved_at": null, "strategy": "merge", "winner": null,
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
        assert!(
            lines.contains("<- won") && lines.contains("resolved 2026") && lines.ends_with(": in_review, 1 by merge"),
            "{lines}"
        );
        assert!(lines.contains("was taken back again and again, since") && !lines.contains("must decide"), "{lines}");
        let mut conflicts = [conflict.clone(), conflict];
        conflicts[1]["key"] = json!("ENG-1");
        let lines = table(&conflicts);
        assert!(lines[1].contains("0: in_progress (auto") && lines[1].contains(" | 1: in_review"), "{lines:?}");
        assert!(lines[1].ends_with("(taken back again and again) → in_review, 1 by merge"), "{lines:?}");
        assert!(lines[1].starts_with("i ") && lines[2].starts_with("ENG-1 "), "{lines:?}");
    }

    #[test]
    fn a_conflict_that_is_over_tells_what_was_decided_and_by_whom() {
        let candidate =
            |status: &str| json!({"record": "ci/build/1", "native": "x", "status": status, "at": 1, "actor": null});
        let of = |winner: Value, resolved_at: i64, ended_by: Value| {
            let candidates = [candidate("todo"), candidate("done")];
            let conflict = json!({"opened_at": 1, "resolved_at": resolved_at, "winner": winner, "strategy": "priority_based",
                "candidates": candidates, "ended_by": ended_by});
            decision(&conflict)
        };
        let word = |status: &str, actor: Value| json!({"status": status, "reason": "forced", "actor": actor});
        let cases = [
            (of(json!(0), 1, Value::Null), "todo, 0 by priority_based"),
            (of(json!(1), 2, word("done", json!({"name": "ada"}))), "done, 1 by ada"),
            (of(Value::Null, 2, word("canceled", json!({"name": "ada"}))), "canceled by ada"),
            (of(Value::Null, 2, word("canceled", Value::Null)), "canceled by an operator"),
            (of(json!(1), 2, Value::Null), "done, 1 by an operator"),
            (of(Value::Null, 2, Value::Null), "resolved"),
        ];
        for (told, wanted) in cases {
            assert_eq!(told.as_deref(), Some(wanted));
        }
        assert_eq!(decision(&json!({"resolved_at": null, "winner": null})), None);
    }

    #[test]
    fn a_side_names_its_record_as_people_do() {
        let record = "linear/issue/ab9e2088-483c-437c-9fee-e6cab39f3857";
        let candidate = json!({"record": record, "status": "done", "actor": {"name": "ada"}});
        assert_eq!(side(&candidate, &json!({"names": {record: "ENG-7"}})), "done (ada in linear/issue ENG-7)");
        assert_eq!(side(&candidate, &json!({})), format!("done (ada in {record})"), "an older release told no names");
    }
}
