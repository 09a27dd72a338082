//! How a history reads on a terminal. Pure.

use serde_json::Value;

use crate::output;

/// One line for each thing that happened to the item, under a heading; then which other items' histories belong to it.
pub fn lines(answer: &Value, item: &Value) -> Vec<String> {
    let heading = ["VERSION", "WHEN", "WHAT", "WHY", "WHERE"].map(str::to_owned).to_vec();
    let happened = answer["history"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = std::iter::once(heading).chain(happened.iter().map(|happened| row(happened, item))).collect();
    let mut lines = output::table(&rows);
    let took_over: Vec<_> = answer["took_over"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match took_over.as_slice() {
        [] => {}
        [one] => {
            lines.push(format!("it took over another item's records; what was before: lockstep history {one}"));
        }
        [first, others @ ..] => {
            let others = others.join(", ");
            lines.push(format!(
                "it took over other items' records; what was before: lockstep history {first}, and of {others}"
            ));
        }
    }
    if let Some(item) = answer["ended_into"].as_str() {
        lines.push(format!("its records were taken over by another item; what came after: lockstep history {item}"));
    }
    lines
}

fn row(happened: &Value, item: &Value) -> Vec<String> {
    let version = happened["version"].as_u64().map(|version| version.to_string()).unwrap_or_default();
    let when = happened["at"].as_i64().map(output::moment).unwrap_or_default();
    let irregular = if happened["irregular"] == true { ", irregular" } else { "" };
    // As it stands in the documentation, to be found there.
    let why = format!("{}{irregular}", text(happened, "reason"));
    vec![version, when, what(happened), why, place(happened, item)]
}

/// A change has no other word than where from and where to.
fn what(happened: &Value) -> String {
    match (text(happened, "kind"), text(happened, "from"), text(happened, "to")) {
        ("changed", "", to) => format!("new, {to}"),
        ("changed", from, to) => format!("{from} → {to}"),
        (kind @ ("linked" | "unlinked"), ..) | (kind, _, "") => kind.to_owned(),
        (kind, _, to) => format!("{kind}: {to}"),
    }
}

/// Who did it, by which record, and what that showed.
fn place(happened: &Value, item: &Value) -> String {
    let native = happened["native"].as_str().map(|native| format!(" ({native})")).unwrap_or_default();
    let record = text(happened, "record");
    let of_item = item["records"].as_array().into_iter().flatten().find(|known| text(known, "record") == record);
    let identifier = of_item.and_then(|known| known["keys"][0].as_str());
    format!("{}{native}", output::place(&happened["actor"], &output::record(record, identifier)))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_history_tells_what_happened_why_and_who_did_it_where() {
        let answer = json!({
            "history": [
                {"version": 5, "at": 63_000, "kind": "changed", "from": "done", "to": "todo", "reason": "rolled_back", "irregular": false,
                 "record": "lockstep/operator/github/issue/a#1", "native": null, "actor": null},
                {"version": 4, "at": 62_000, "kind": "changed", "from": "done", "to": "done", "reason": "forced", "irregular": false,
                 "record": "lockstep/operator/github/issue/a#1", "native": "done", "actor": {"name": "ada", "automation": false}},
                {"version": 3, "at": 61_000, "kind": "changed", "from": "todo", "to": "done", "reason": "edited", "irregular": true,
                 "record": "github/issue/a#1", "native": "closed", "actor": {"name": "ada", "automation": false}},
                {"version": 2, "at": 60_000, "kind": "stale", "from": null, "to": "todo", "reason": "older_position", "irregular": false,
                 "record": "github/issue/a#1", "native": "open", "actor": {"name": "bot", "automation": true}},
                {"version": 1, "at": 59_000, "kind": "linked", "from": null, "to": "todo", "reason": "adopted", "irregular": false,
                 "record": "postgres/task/1", "native": null, "actor": null},
                {"version": 1, "at": 58_000, "kind": "changed", "from": null, "to": "todo", "reason": "first_seen", "irregular": false,
                 "record": "github/issue/a#1", "native": "open", "actor": null},
            ],
            "took_over": ["b"], "ended_into": "c",
        });
        let lines = lines(&answer, &Value::Null);
        let expected = [
            "VERSION  WHEN                  WHAT         WHY                WHERE",
            "5        1970-01-01T00:01:03Z  done → todo  rolled_back        an operator",
            "4        1970-01-01T00:01:02Z  done → done  forced             ada (done)",
            "3        1970-01-01T00:01:01Z  todo → done  edited, irregular  ada in github/issue/a#1 (closed)",
            "2        1970-01-01T00:01:00Z  stale: todo  older_position     automation bot in github/issue/a#1 (open)",
            "1        1970-01-01T00:00:59Z  linked       adopted            postgres/task/1",
            "1        1970-01-01T00:00:58Z  new, todo    first_seen         github/issue/a#1 (open)",
            "it took over another item's records; what was before: lockstep history b",
            "its records were taken over by another item; what came after: lockstep history c",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_answer_without_lines_has_no_heading() {
        assert!(lines(&json!({"history": [], "took_over": [], "ended_into": null}), &Value::Null).is_empty());
    }

    #[test]
    fn a_record_is_called_what_people_call_it_and_other_histories_share_a_line() {
        let record = "linear/issue/ab9e2088-483c-437c-9fee-e6cab39f3857";
        let row =
            json!({"version": 1, "at": 0, "kind": "changed", "to": "todo", "reason": "first_seen", "record": record});
        let answer = json!({"history": [row], "took_over": ["a", "b", "c"], "ended_into": null});
        let item = json!({"records": [{"record": "github/issue/a#1", "keys": ["a#1"]}, {"record": record, "keys": ["ENG-1"]}]});
        let lines = lines(&answer, &item);
        assert!(lines[1].ends_with("linear/issue ENG-1"), "{lines:?}");
        assert_eq!(lines[2..], ["it took over other items' records; what was before: lockstep history a, and of b, c"]);
    }
}
