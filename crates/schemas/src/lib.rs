//! Makes the JSON Schema of every message: of those that cross the bus, from `proto/`, and of those that watchers get.
//!
//! Knows the JSON form that `crates/proto` gives the messages; a test holds the two together.

mod comments;
mod event;
mod message;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost_types::FileDescriptorSet;
use serde_json::{Map, Value, json};

use comments::Comments;

/// The package whose messages are told of.
const PACKAGE: &str = "lockstep.v1";

/// The document, as the `.proto` files say it now.
pub fn document() -> anyhow::Result<Value> {
    let folder = root().join("proto");
    let files = protox::compile(["lockstep/v1/watch.proto"], [&folder])
        .with_context(|| format!("{} cannot be compiled", folder.display()))?;
    of(&files)
}

/// Where the document lies in the repository.
pub fn path() -> PathBuf {
    root().join("docs/schemas/lockstep.v1.json")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn of(files: &FileDescriptorSet) -> anyhow::Result<Value> {
    let mut messages = Vec::new();
    for file in files.file.iter().filter(|file| file.package() == PACKAGE) {
        let comments = Comments::of(file);
        for (index, message) in file.message_type.iter().enumerate() {
            messages.push(message::read(message, index, &comments)?);
        }
    }
    let mut defs: Map<String, Value> = Map::new();
    for message in messages.iter().filter(|message| message.name != event::ENVELOPE) {
        defs.insert(message.name.clone(), message.schema());
    }
    defs.extend(event::all(&messages)?);
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lockstep.v1",
        "description": "The JSON form of every message of proto/lockstep/v1, and the events that watchers get (Event). A field that is \
                        left out is zero, empty or false; what we write has every field. Times are milliseconds since 1970, UTC. \
                        Made by `cargo xtask schemas`.",
        "$ref": "#/$defs/Event",
        "$defs": defs,
    }))
}
