//! Keeps what a sandbox has acknowledged: a file of JSON lines, each one whole entity, the newest of a key being its state.
//!
//! It does not know what an entity means. A line is written to the operating system before the caller goes on, so that
//! killing the process loses nothing that was answered; it is not synced, so a power cut may.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entity as it was last written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What sort of thing it is (`issue`).
    pub kind: String,
    /// Which one of its kind.
    pub key: String,
    /// The whole entity.
    pub value: Value,
}

/// An open journal; without a path it takes everything and keeps nothing.
#[derive(Debug, Default)]
pub struct Journal {
    file: Option<Mutex<File>>,
}

impl Journal {
    /// Opens the journal at `path`, compacts it, and answers what it holds: the newest of each entity, in first-seen order.
    ///
    /// A last line that was cut off in the middle of a write is dropped: its change was never acknowledged.
    pub fn open(path: Option<&Path>) -> anyhow::Result<(Journal, Vec<Entry>)> {
        let Some(path) = path else {
            return Ok((Journal::default(), Vec::new()));
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let text = if path.exists() {
            fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
        } else {
            Vec::new()
        };
        let entries = replay(&text).with_context(|| format!("{} is not a sandbox journal", path.display()))?;
        compact(path, &entries).with_context(|| format!("cannot rewrite {}", path.display()))?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .with_context(|| format!("cannot append to {}", path.display()))?;
        Ok((Journal { file: Some(Mutex::new(file)) }, entries))
    }

    /// Writes the entity's new state; once this returns, a killed process does not lose it.
    pub fn append(&self, kind: &str, key: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let entry = Entry { kind: kind.to_owned(), key: key.to_owned(), value: serde_json::to_value(value)? };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        // One write per line: a cut-off line can only be the last one.
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)?;
        Ok(())
    }

    /// Writes that the entity is gone.
    pub fn remove(&self, kind: &str, key: &str) -> anyhow::Result<()> {
        self.append(kind, key, &Value::Null)
    }
}

fn replay(text: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for (number, line) in text[..complete].split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let entry: Entry = serde_json::from_slice(line).with_context(|| format!("line {}", number + 1))?;
        if let Some(place) = places.get(&(entry.kind.clone(), entry.key.clone())) {
            entries[*place] = entry;
        } else {
            places.insert((entry.kind.clone(), entry.key.clone()), entries.len());
            entries.push(entry);
        }
    }
    entries.retain(|entry| !entry.value.is_null());
    Ok(entries)
}

fn compact(path: &Path, entries: &[Entry]) -> anyhow::Result<()> {
    let fresh = path.with_extension("compacting");
    let mut file = BufWriter::new(File::create(&fresh)?);
    for entry in entries {
        serde_json::to_writer(&mut file, entry)?;
        file.write_all(b"\n")?;
    }
    file.into_inner()?.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reopened_journal_holds_the_newest_of_each_entity_in_first_seen_order() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("deep/journal.jsonl");
        let (journal, entries) = Journal::open(Some(&path))?;
        assert!(entries.is_empty());
        journal.append("issue", "1", &json!({"n": 1}))?;
        journal.append("issue", "2", &json!({"n": 1}))?;
        journal.append("hook", "1", &json!({}))?;
        journal.append("issue", "1", &json!({"n": 2}))?;
        journal.remove("hook", "1")?;
        drop(journal);
        fs::OpenOptions::new().append(true).open(&path)?.write_all(b"{\"kind\":\"iss")?;
        let (journal, entries) = Journal::open(Some(&path))?;
        assert_eq!(
            entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect::<Vec<_>>(),
            [("1", &json!({"n": 2})), ("2", &json!({"n": 1}))]
        );
        journal.append("issue", "3", &json!({}))?;
        assert_eq!(Journal::open(Some(&path))?.1.len(), 3);
        Ok(())
    }
}
