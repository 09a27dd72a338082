//! Lines for people and scripts: results on stdout, complaints on stderr.
//!
//! Titles and words are other people's: what would steer a terminal, or turn a line round, is written out as `\u001b`. In JSON that is
//! the same text.

use std::borrow::Cow;
use std::io::{self, Write};

/// Writes one line. Whoever reads it may have gone, as `head` does: that is no error, and false.
pub fn line(text: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", harmless(text)).and_then(|()| out.flush()).is_ok()
}

/// Writes one complaint.
pub fn complain(text: &str) {
    // There is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "lockstep: {}", harmless(text));
}

fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let written = text.chars().map(|c| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() });
    Cow::Owned(written.collect())
}

/// Control characters, and those by which Unicode sets the direction of what follows.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_words_do_not_steer_the_terminal_and_json_stays_what_it_is() {
        assert_eq!(harmless("Fix \u{1b}[31mit\u{7} \u{202e}now\u{9b}"), "Fix \\u001b[31mit\\u0007 \\u202enow\\u009b");
        assert_eq!(harmless("Größe – ok\n  2"), "Größe – ok\n  2");
        let json = serde_json::json!({"title": "a\u{202e}b\u{9b}\u{1b}"});
        let read: serde_json::Value = serde_json::from_str(&harmless(&json.to_string())).unwrap();
        assert_eq!(read, json);
    }
}
