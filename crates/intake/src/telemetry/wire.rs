//! Reads telemetry back from the bus, where any client may have put it: nothing is believed that was not checked.

use model::Lifecycles;
use proto::{JSON, PROTOBUF};
use serde_json::Value;

use super::{Telemetry, Terms};
use crate::refused::Wrong;

/// The kind that has subjects of its own.
const ALERT: &str = "system_alert";

/// A message of `lockstep.live.<type>.<key>` or `lockstep.alert.<severity>.<id>`; the subject as it is stored under, the content
/// type as in the header. What it does not say is as in the subject, and when it was made is when the bus stored it, `stored_ms`.
pub fn from_bus(
    subject: &str,
    content_type: Option<&str>,
    bytes: &[u8],
    stored_ms: i64,
    lifecycles: &Lifecycles,
) -> Result<Telemetry, Wrong> {
    read(subject, content_type, bytes, Terms { now_ms: stored_ms, lifecycles }).map_err(Wrong::shortened)
}

fn read(subject: &str, content_type: Option<&str>, bytes: &[u8], terms: Terms<'_>) -> Result<Telemetry, Wrong> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let (kind, severity, key) = match tokens.as_slice() {
        ["lockstep", "live", ALERT, _] => {
            return Err(Wrong::new("subject", "of an alert is lockstep.alert.<severity>.<id>"));
        }
        ["lockstep", "live", kind, key] => (*kind, None, key),
        ["lockstep", "alert", severity, id] => (ALERT, Some(*severity), id),
        _ => return Err(Wrong::new("subject", format!("{subject:?} is none of telemetry"))),
    };
    let mut telemetry = match content_type {
        None | Some(PROTOBUF) => Telemetry::from_protobuf(kind, bytes)?,
        Some(JSON) => from_json(kind, bytes)?,
        Some(other) => {
            return Err(Wrong::new("Content-Type", format!("{other:?} is neither {PROTOBUF} nor {JSON}")));
        }
    };
    if let (Telemetry::SystemAlert(alert), Some(severity)) = (&mut telemetry, severity) {
        as_in_subject("severity", &mut alert.severity, severity)?;
    }
    let (field, value) = telemetry.key_field();
    as_in_subject(field, value, key)?;
    telemetry.check(terms)?;
    Ok(telemetry)
}

/// The newest of a subject counts: a message that says to be about something else would take the place of another.
fn as_in_subject(field: &str, value: &mut String, token: &str) -> Result<(), Wrong> {
    let named = proto::untoken(token).unwrap_or_else(|| token.to_owned());
    if value.is_empty() {
        *value = named;
    } else if *value != named {
        return Err(Wrong::new(field, format!("is {value:?}, and the subject says {named:?}")));
    }
    Ok(())
}

fn from_json(kind: &str, bytes: &[u8]) -> Result<Telemetry, Wrong> {
    let Value::Object(mut object) = serde_json::from_slice(bytes).map_err(|error| Wrong::new("", error.to_string()))?
    else {
        return Err(Wrong::new("", "must be an object"));
    };
    match object.remove("type") {
        Some(named) if named != kind => Err(Wrong::new("type", format!("is {named}, and the subject says {kind}"))),
        _ => Telemetry::from_json(kind, object),
    }
}
