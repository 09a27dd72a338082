//! Settings before their types are known: what TOML and JSON say, and texts that may turn out to be numbers.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Unexpected, Visitor};

/// What is said of a key that nobody knows; the known ones follow.
pub const UNKNOWN: &str = "unknown key; known here are";

/// One setting, or a table of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Table(BTreeMap<String, Tree>),
}

impl Tree {
    pub(super) fn empty() -> Self {
        Self::Table(BTreeMap::new())
    }

    pub(super) fn from_toml(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::Text(text),
            toml::Value::Integer(number) => Self::Int(number),
            toml::Value::Float(number) => Self::Float(number),
            toml::Value::Boolean(value) => Self::Bool(value),
            toml::Value::Datetime(moment) => Self::Text(moment.to_string()),
            toml::Value::Array(values) => Self::List(values.into_iter().map(Self::from_toml).collect()),
            toml::Value::Table(table) => {
                Self::Table(table.into_iter().map(|(key, value)| (key, Self::from_toml(value))).collect())
            }
        }
    }

    pub(super) fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(number)) => Self::Float(number),
                (None, None) => Self::Text(number.to_string()),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(values) => Self::List(values.iter().map(Self::from_json).collect()),
            Value::Object(table) => {
                Self::Table(table.iter().map(|(key, value)| (key.clone(), Self::from_json(value))).collect())
            }
        }
    }

    /// The value of an environment variable: a list or table of TOML or JSON when it is one, else a text.
    pub(super) fn from_text(text: &str) -> Self {
        let toml =
            || toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?.remove("value").map(Self::from_toml);
        let json = || serde_json::from_str(text).ok().map(|value| Self::from_json(&value));
        let looks = text.starts_with(['[', '{']);
        looks.then(|| toml().or_else(json)).flatten().unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// Puts a value at a key with dots, making the tables on the way.
    pub(super) fn set(&mut self, key: &str, value: Tree) -> Result<(), String> {
        let mut at = self;
        for part in key.split('.') {
            if part.is_empty() {
                return Err("is not a key: it has an empty part".into());
            }
            let Tree::Table(table) = at else {
                return Err("lies under a key that is not a table".into());
            };
            at = table.entry(part.to_owned()).or_insert_with(Tree::empty);
        }
        *at = value;
        Ok(())
    }

    /// Whether anything is at a key with dots.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut at = self;
        key.split('.').all(|part| match at {
            Self::Table(table) => table.get(part).is_some_and(|next| {
                at = next;
                true
            }),
            _ => false,
        })
    }
}

/// Why a tree is not of the type wanted. Never repeats a text that was given: it may be a secret.
#[derive(Debug)]
pub(super) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn quiet(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Str(_) => "this text".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}

/// What a type is called by people who write configurations.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 up",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("must be {}, not {}", in_words(&expected.to_string()), quiet(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("{UNKNOWN} {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("the key {field} is missing"))
    }
}

impl IntoDeserializer<'_, Wrong> for Tree {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! from_text {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            self.typed().deserialize_any(visitor)
        })*
    };
}

impl Tree {
    /// A text that reads as a number or a truth value, as that.
    fn typed(self) -> Self {
        let Self::Text(text) = self else { return self };
        match text.trim() {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            other => {
                let whole = other.parse().ok().map(Self::Int);
                whole.or_else(|| other.parse().ok().map(Self::Float)).unwrap_or(Self::Text(text))
            }
        }
    }
}

impl<'de> Deserializer<'de> for Tree {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Nothing => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Int(number) => visitor.visit_i64(number),
            Self::Float(number) => visitor.visit_f64(number),
            Self::Text(text) => visitor.visit_string(text),
            Self::List(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter())),
            Self::Table(table) => visitor.visit_map(MapDeserializer::new(table.into_iter())),
        }
    }

    from_text!(
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    );

    /// One text where a list is wanted is a list of one.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Text(text) if text.starts_with('[') && text.ends_with(']') => {
                Err(Wrong("looks like a list, and cannot be read as one, neither as TOML nor as JSON".into()))
            }
            Self::Text(_) => Self::List(vec![self]).deserialize_any(visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self {
            Self::Nothing => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self {
            Self::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Self::Table(table) => {
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(table.into_iter())))
            }
            _ => Err(Wrong("must be one of the names that are known here".into())),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}
