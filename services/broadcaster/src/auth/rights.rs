//! What somebody may do: whom they may hear, of what they may speak, and until when.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The most patterns in one list.
const PATTERNS_MAX: usize = 1_000;
/// The most bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 512;

/// What a credential entitles to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Whose they are: a key's name, or a token's `sub`.
    pub subject: Arc<str>,
    /// The rooms that may be joined.
    pub rooms: Patterns,
    /// The records whose status may be told, as `<system>/<kind>/<id>`.
    pub publish: Patterns,
    /// Whether alerts may be acknowledged.
    pub acknowledge: bool,
    /// From when on they count no longer, in milliseconds since 1970; never, where there is none.
    pub expires_at: Option<i64>,
}

impl Rights {
    /// All there are, for ever.
    pub fn all(subject: &str) -> Self {
        Self {
            subject: subject.into(),
            rooms: Patterns::everything(),
            publish: Patterns::everything(),
            acknowledge: true,
            expires_at: None,
        }
    }
}

/// Names, each of which may end with `*` and then stands for all that begin so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(Vec<Box<str>>);

impl Patterns {
    /// The one that covers every name.
    pub fn everything() -> Self {
        Self(vec!["*".into()])
    }

    /// These, or a sentence that says which of them is none.
    pub fn parse(patterns: &[impl AsRef<str>]) -> Result<Self, String> {
        if patterns.len() > PATTERNS_MAX {
            return Err(format!("has {} entries, and {PATTERNS_MAX} are taken", patterns.len()));
        }
        let parsed = (1..).zip(patterns).map(|(number, pattern)| {
            let pattern = pattern.as_ref();
            let stem = pattern.strip_suffix('*').unwrap_or(pattern);
            let wrong = if pattern.is_empty() {
                "is empty; \"*\" is everything"
            } else if pattern.len() > PATTERN_BYTES_MAX {
                "is too long"
            } else if stem.contains('*') {
                "has a * before its end, and only there it stands for something"
            } else if pattern.chars().any(char::is_control) {
                "holds control characters"
            } else {
                return Ok(pattern.into());
            };
            Err(format!("entry {number} {wrong}"))
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a name is among them. One that ends with `*` is every name that begins so, and all of those must be.
    pub fn covers(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            // A prefix holds no `*`, so that a name's own never counts as part of it.
            Some(prefix) => name.starts_with(prefix),
            None => **pattern == *name,
        })
    }

    /// Each, as it was written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|pattern| &**pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_a_name_or_all_that_begin_so() {
        let cases: [(&[&str], &str, bool); 20] = [
            (&["agent:*"], "agent:x", true),
            (&["agent:*"], "agent:a*", true),
            (&["agent:*"], "agent:*", true),
            (&["agent:*"], "agent:", true),
            (&["agent:*"], "agent", false),
            (&["agent:*"], "agen*", false),
            (&["agent:*"], "*", false),
            (&["agent:*"], "agents:x", false),
            (&["*"], "*", true),
            (&["*"], "all", true),
            (&["*"], "", true),
            (&["all"], "all", true),
            (&["all"], "all*", false),
            (&["all"], "al*", false),
            (&["all"], "*", false),
            (&["all"], "ALL", false),
            (&["all", "item:ENG-*"], "item:ENG-1", true),
            (&["all", "item:ENG-*"], "item:EN*", false),
            // Two grants together cover no more than each by itself.
            (&["agent:a*", "agent:b*"], "agent:*", false),
            (&[], "all", false),
        ];
        for (grants, name, covers) in cases {
            assert_eq!(Patterns::parse(grants).unwrap().covers(name), covers, "{grants:?} and {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_its_number() {
        for wrong in ["", "a*b", "**", "*a", "a\nb", &"x".repeat(513)] {
            let error = Patterns::parse(&["fine", wrong]).unwrap_err();
            assert!(error.starts_with("entry 2 "), "{error}");
        }
        assert!(Patterns::parse(&vec!["a"; 1_001]).is_err());
        let read = Patterns::parse(&["*", "a/b/c*"]).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), ["*", "a/b/c*"]);
    }
}
