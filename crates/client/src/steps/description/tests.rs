use serde_json::Value;

use super::*;

/// What both clients say; the test of the other reads it too.
const SENTENCES: &str = include_str!("../../../../../web/client/test/descriptions.json");

type Describe = fn(&str) -> Description;

#[test]
fn the_predefined_sentences_are_those_of_the_typescript_client() {
    let sentences: Value = serde_json::from_str(SENTENCES).unwrap();
    let all: [(&str, Describe); 6] = [
        ("query", Description::query),
        ("model_call", Description::model_call),
        ("tool", Description::tool),
        ("web_search", Description::web_search),
        ("api_call", Description::api_call),
        ("database_lookup", Description::database_lookup),
    ];
    assert_eq!(sentences.as_object().unwrap().len(), all.len());
    for (kind, describe) in all {
        let Description { executing, completed, failed } = describe("x");
        let said = [("executing", executing), ("completed", completed), ("failed", failed)];
        for (state, sentence) in said {
            assert_eq!(sentences[kind][state], sentence, "{kind}, {state}");
        }
    }
}

#[test]
fn what_is_worked_on_is_told_in_one_short_line() {
    assert_eq!(Description::query("open\n  orders ").executing, "Working on the query: open orders");
    let long = Description::tool(&"ü".repeat(500)).executing;
    assert_eq!(long.chars().count(), "Using the tool ".len() + LONGEST);
    assert!(long.ends_with("ü…"));
}
