//! How intake says no: what is wrong, where, and what would be right.

use serde_json::{Value, json};

/// Why nothing of a request was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// What kind of fault it is.
    pub fault: Fault,
    /// One word for programs; it never changes its meaning.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
    /// What is wrong, each as `{"index", "field", "detail"}`; empty where the fault is the whole request's.
    pub errors: Vec<Value>,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has not the form of a request.
    Form,
    /// It brings more than one request may.
    Count,
    /// The form is right, and something in it is not.
    Content,
}

impl Refused {
    pub(crate) fn malformed(detail: String) -> Self {
        Self { fault: Fault::Form, code: "body_malformed", detail, errors: Vec::new() }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

/// What is wrong with one of the things that were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which field, with dots to what lies within; empty for the whole.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() { write!(f, "{}", self.why) } else { write!(f, "{} {}", self.field, self.why) }
    }
}

impl std::error::Error for Wrong {}

impl Wrong {
    pub(crate) fn new(field: &str, why: impl Into<String>) -> Self {
        Self { field: field.to_owned(), why: why.into() }
    }

    /// What serde found, with its place.
    pub(crate) fn of(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let (path, why) = (error.path().to_string(), error.into_inner().to_string());
        let place = if path == "." { String::new() } else { path };
        // What is missing has no place of its own in serde's account.
        let missing = why.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let field = match missing {
            Some(missing) if place.is_empty() => missing.to_owned(),
            Some(missing) => format!("{place}.{missing}"),
            None => place,
        };
        Self { field, why }
    }

    /// A word that is none of those that can stand there.
    pub(crate) fn not_one_of(field: &str, word: &str, known: &[&str]) -> Self {
        let word: String = word.chars().take(80).collect();
        Self::new(field, format!("{word:?} is not one of {}", known.join(", ")))
    }

    /// The same in few words: a field's name and what was in it come from whoever sent it.
    pub(crate) fn shortened(self) -> Self {
        let short = |text: String, chars: usize| text.chars().take(chars).collect();
        Self { field: short(self.field, 200), why: short(self.why, 600) }
    }

    pub(crate) fn at(self, index: usize) -> Value {
        json!({"index": index, "field": self.field, "detail": self.why})
    }
}
