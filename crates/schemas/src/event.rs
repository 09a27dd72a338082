//! The events that watchers get: the fields of a message, with its type and position beside them.

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use crate::message::Message;

/// The message that says which events there are.
pub(crate) const ENVELOPE: &str = "Told";
/// The field of it that stands for several types, and those.
const CHANGE: &str = "change";
const CHANGES: [&str; 5] = ["status_changed", "linked", "unlinked", "conflict_opened", "conflict_resolved"];
/// The watcher's position. A record's own, which a delivery has, is told under another name.
const POSITION: &str = "position";
const RECORD_POSITION: &str = "record_position";

/// A definition for each event, and `Event`, which is one of them.
pub(crate) fn all(messages: &[Message]) -> anyhow::Result<Map<String, Value>> {
    let of = |name: &str| messages.iter().find(|message| message.name == name);
    let envelope = of(ENVELOPE).context("there is no message Told")?;
    let mut defs = Map::new();
    let mut one_of = Vec::new();
    for choice in envelope.fields.iter().filter(|field| field.is_choice) {
        let message = choice.of.as_deref().and_then(of).with_context(|| format!("{} is no message", choice.name))?;
        let types: &[&str] = if choice.name == CHANGE { &CHANGES } else { &[choice.name.as_str()] };
        for event in types {
            let name = format!("{}Event", camel(event));
            one_of.push(json!({"$ref": format!("#/$defs/{name}")}));
            defs.insert(name, schema(event, message, envelope)?);
        }
    }
    let description =
        "What watchers are told, by its `type`. Types and fields may be added: pass over what you do not know.";
    defs.insert("Event".into(), json!({"description": description, "oneOf": one_of}));
    Ok(defs)
}

/// One event. It has every field of its message.
fn schema(event: &str, message: &Message, envelope: &Message) -> anyhow::Result<Value> {
    let mut properties: Map<String, Value> = message
        .fields
        .iter()
        .map(|field| if field.name == POSITION { (RECORD_POSITION, field) } else { (field.name.as_str(), field) })
        .map(|(name, field)| (name.to_owned(), field.schema.clone()))
        .collect();
    let mut required: Vec<String> = properties.keys().cloned().collect();
    for field in envelope.fields.iter().filter(|field| !field.is_choice) {
        ensure!(!properties.contains_key(&field.name), "{} has {} twice", message.name, field.name);
        properties.insert(field.name.clone(), field.schema.clone());
    }
    ensure!(!properties.contains_key("type"), "{} has a type of its own", message.name);
    properties.insert("type".into(), json!({"const": event}));
    required.extend(["type", POSITION].map(str::to_owned));
    required.sort_unstable();
    let mut schema = json!({"type": "object", "properties": properties, "required": required});
    if let Some(description) = &message.description {
        schema["description"] = json!(description);
    }
    Ok(schema)
}

fn camel(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty()).map(capital).collect()
}
