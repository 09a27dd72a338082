//! Dead letters as people and programs read them. Pure.

use bus::{Content, Letter};
use serde_json::{Value, json};

use crate::output;

/// How wide the last column may be.
const DETAIL_MAX: usize = 80;
/// How many bytes are shown of what is no text.
const BYTES_MAX: usize = 512;

/// The lines of a table, its heading first; none when there are no letters.
pub fn table(letters: &[Letter]) -> Vec<String> {
    let heading = ["NUMBER", "GIVEN UP", "REASON", "SERVICE", "TRIES", "ABOUT", "DETAIL"].map(str::to_owned);
    let rows: Vec<Vec<String>> = std::iter::once(heading.to_vec()).chain(letters.iter().map(row)).collect();
    output::table(&rows)
}

fn row(letter: &Letter) -> Vec<String> {
    vec![
        letter.sequence.to_string(),
        output::moment(letter.last_at_ms),
        letter.reason.clone(),
        letter.service.clone(),
        letter.attempts.to_string(),
        about(letter),
        output::cut(&letter.detail, DETAIL_MAX),
    ]
}

/// A letter in a few words.
pub fn in_short(letter: &Letter) -> String {
    format!("{} {} {}", letter.reason, letter.service, about(letter))
}

fn about(letter: &Letter) -> String {
    let record = letter.record().map(|record| record.to_string());
    let webhook = letter.subject.starts_with("lockstep.webhook.");
    let system = || letter.system().filter(|_| webhook).map(|system| format!("{system}, a webhook"));
    record.or_else(system).unwrap_or_else(|| letter.subject.clone())
}

/// A letter with all that is known of it.
pub fn whole(letter: &Letter) -> String {
    let (means, to_do) = advice(letter);
    let mut lines = vec![
        format!("dead letter {}: {} ({means})", letter.sequence, letter.reason),
        format!("  detail      {}", letter.detail),
        format!("  to do       {to_do}"),
        format!("  about       {}", about(letter)),
        format!(
            "  given up by {}, after {} {}",
            letter.service,
            letter.attempts,
            if letter.attempts == 1 { "try" } else { "tries" }
        ),
        format!("  first seen  {}", output::moment(letter.first_at_ms)),
        format!("  given up    {}", output::moment(letter.last_at_ms)),
        format!("  subject     {} at {}", letter.subject, letter.original_sequence),
        format!("  id          {}", letter.original_id),
    ];
    lines.extend(letter.headers.iter().map(|(name, value)| format!("  header      {name}: {value}")));
    if let Some(length) = letter.cut {
        let kept = letter.payload.len();
        lines
            .push(format!("  cut         {kept} of {length} bytes are kept here; a replay takes them from the stream"));
    }
    lines.push(String::new());
    lines.push(match letter.content() {
        Content::Json(value) => format!("{value:#}"),
        Content::Text(text) => text,
        Content::Bytes => {
            let shown = &letter.payload[..letter.payload.len().min(BYTES_MAX)];
            format!("{} bytes that are no text: {}", letter.payload.len(), hex::encode(shown))
        }
    });
    lines.join("\n")
}

/// The same for programs; the bytes, too, as hexadecimal digits.
pub fn whole_as_json(letter: &Letter) -> Value {
    let (means, to_do) = advice(letter);
    let mut whole = letter.facts();
    whole["means"] = means.into();
    whole["to_do"] = to_do.into();
    whole["content"] = match letter.content() {
        Content::Json(value) => value,
        Content::Text(text) => text.into(),
        Content::Bytes => Value::Null,
    };
    whole["bytes"] = hex::encode(&letter.payload).into();
    whole["cut"] = json!(letter.cut);
    whole
}

fn advice(letter: &Letter) -> (&'static str, &'static str) {
    let unknown = ("a reason of another version", "see its documentation; the detail says why");
    bus::reason(&letter.reason).map_or(unknown, |reason| (reason.means, reason.to_do))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(subject: &str, payload: &[u8]) -> Letter {
        Letter {
            sequence: 7,
            service: "resolver".into(),
            reason: "malformed".into(),
            detail: "native: must\nnot be empty".into(),
            subject: subject.into(),
            original_sequence: 3,
            original_id: "o:1".into(),
            attempts: 2,
            first_at_ms: 1_000,
            last_at_ms: 61_000,
            headers: vec![("Content-Type".into(), "application/json".into())],
            cut: None,
            payload: payload.to_vec().into(),
        }
    }

    #[test]
    fn a_letter_is_one_line_and_says_what_it_is_about() {
        let letter = letter("lockstep.observe.3.high.github.issue.acme/web#7", b"{}");
        let lines = table(&[letter]);
        assert_eq!(lines.len(), 2);
        for part in ["7 ", "1970-01-01T00:01:01Z", "malformed", "github/issue/acme/web#7", "native: must not be empty"]
        {
            assert!(lines[1].contains(part), "{part} is not in {}", lines[1]);
        }
        assert!(table(&[]).is_empty());
        let stored = "lockstep.observe.3.high.ci.build";
        assert_eq!(about(&self::letter(stored, b"")), stored, "it is no webhook");
    }

    #[test]
    fn a_whole_letter_says_what_to_do_and_what_the_message_says() {
        let observed = "lockstep.observe.3.high.github.issue.acme/web#7";
        let json = whole(&letter(observed, br#"{"record": "github/issue/acme/web#7", "native": ""}"#));
        assert!(json.contains("to do") && json.contains("mend the publisher"), "{json}");
        assert!(json.contains("\"record\": \"github/issue/acme/web#7\""), "{json}");
        assert!(whole(&letter("lockstep.webhook.github", b"no json")).ends_with("no json"));
        let bytes = letter("lockstep.webhook.github", &[0xff, 0]);
        assert!(whole(&bytes).ends_with("2 bytes that are no text: ff00"));
        assert_eq!(whole_as_json(&bytes)["bytes"], "ff00");
    }
}
