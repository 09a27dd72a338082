//! The names of things in PostgreSQL: how configuration writes them, and how SQL must.
//!
//! Pure. Whether a name exists is not known here; see `client::catalog`.

use std::fmt;

use serde::Deserialize;

/// The longest name that PostgreSQL keeps whole, in bytes.
const LENGTH_MAX: usize = 63;
/// The tag of the dollar quotes around the function that is installed; a name that held it would end the quotes.
pub(crate) const QUOTES: &str = "$lockstep$";

/// The name of one column, table or schema, exactly as PostgreSQL keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self, String> {
        let name = name.into();
        let wrong = match &name {
            name if name.is_empty() => "must not be empty",
            name if name.len() > LENGTH_MAX => "is longer than the 63 bytes that PostgreSQL keeps",
            name if name.chars().any(char::is_control) => "must not hold control characters",
            name if name.contains(QUOTES) => "must not hold $lockstep$",
            _ => return Ok(Self(name)),
        };
        Err(format!("the name {name:?} {wrong}"))
    }

    /// The name as PostgreSQL keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as an identifier in SQL.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// The name as a string in SQL.
    pub fn literal(&self) -> String {
        literal(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        Self::new(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text as a string in SQL, whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A table with its schema: `public.tasks`, `tasks`, or `"My Schema"."My.Table"`. Letters keep their case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TableName {
    /// Its schema; `public` where none is given.
    pub schema: Name,
    /// Its own name.
    pub table: Name,
}

impl TableName {
    /// The name in SQL.
    pub fn quoted(&self) -> String {
        format!("{}.{}", self.schema.quoted(), self.table.quoted())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl TryFrom<String> for TableName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let shape =
            || format!("the table {text:?} must be written as schema.table, with \"…\" around a name that holds a dot");
        let parts = parts(&text).ok_or_else(shape)?;
        match <[String; 2]>::try_from(parts) {
            Ok([schema, table]) => Ok(Self { schema: Name::new(schema)?, table: Name::new(table)? }),
            Err(mut parts) => match parts.pop() {
                Some(table) if parts.is_empty() => Ok(Self { schema: Name::new("public")?, table: Name::new(table)? }),
                _ => Err(shape()),
            },
        }
    }
}

/// The dotted parts of a name, of which each may stand in double quotes; `None` when a quote is not closed.
fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                parts.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            letter => parts.last_mut()?.push(letter),
        }
    }
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<String, String> {
        TableName::try_from(text.to_owned()).map(|name| name.quoted())
    }

    #[test]
    fn a_table_has_a_schema_and_any_name_is_quoted() {
        let cases = [
            ("tasks", r#""public"."tasks""#),
            ("work.tasks", r#""work"."tasks""#),
            ("Work.Tasks", r#""Work"."Tasks""#),
            (r#""my.schema"."a ""b"" c""#, r#""my.schema"."a ""b"" c""#),
            ("public.x; drop table y", r#""public"."x; drop table y""#),
        ];
        for (text, quoted) in cases {
            assert_eq!(table(text).as_deref(), Ok(quoted), "{text}");
        }
    }

    #[test]
    fn a_name_that_postgres_cannot_have_is_refused_in_a_sentence() {
        for text in ["", "a.b.c", "\"open", "a.", "x$lockstep$y", &"n".repeat(64), "a\nb"] {
            let refused = table(text).expect_err(text);
            assert!(refused.contains("must") || refused.contains("longer"), "{refused}");
        }
    }

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"back\'s"), r"E'back\\''s'");
    }
}
