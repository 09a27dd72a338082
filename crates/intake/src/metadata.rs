//! What stands beside a thing: names and texts, plain values written out, nothing nested.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::refused::Wrong;

/// PostgreSQL keeps no such text.
pub(crate) const NO_NUL: &str = "must not contain the character U+0000";

/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// How long a text may be, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// The texts; `field` is where they stand.
pub(crate) fn read(
    field: &str,
    given: impl IntoIterator<Item = (String, Value)>,
) -> Result<BTreeMap<String, String>, Wrong> {
    let mut kept = BTreeMap::new();
    for (key, value) in given {
        let text = match value {
            Value::String(text) => text,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => {
                check(field, &key, "")?;
                return Err(Wrong::new(&format!("{field}.{key}"), "must be a text, a number, true or false"));
            }
        };
        check(field, &key, &text)?;
        kept.insert(key, text);
    }
    Ok(kept)
}

/// Whether a name and its text are short enough.
pub(crate) fn check(field: &str, key: &str, text: &str) -> Result<(), Wrong> {
    if !(1..=NAME_BYTES_MAX).contains(&key.len()) {
        return Err(Wrong::new(field, format!("must have keys of 1 to {NAME_BYTES_MAX} bytes")));
    }
    if key.contains('\0') || text.contains('\0') {
        return Err(Wrong::new(field, NO_NUL));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Wrong::new(&format!("{field}.{key}"), format!("is over {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}
