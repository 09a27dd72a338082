//! Linear's GraphQL schema: the text, and the parsed form that everything here is checked against.

use std::sync::LazyLock;

use apollo_compiler::{Schema, ast::Type, schema::ExtendedType, validation::Valid};
use serde_json::{Value, json};

use crate::linear::world::KEPT;

/// Linear's schema in GraphQL's own language, as the package `linear-schema` carries it.
pub const SDL: &str = include_str!(concat!(env!("OUT_DIR"), "/linear.graphql"));

/// What Linear has added since, as far as its SDK cannot do without an answer.
const NEWER: &str = "
    extend type Issue {
      inheritsSharedAccess: Boolean!
      sharedAccess: IssueSharedAccess!
    }
    type IssueSharedAccess {
      disallowedIssueFields: [String!]!
      isShared: Boolean!
      sharedWithCount: Int!
      sharedWithUsers: [User!]!
      viewerHasOnlySharedAccess: Boolean!
    }
";

static SCHEMA: LazyLock<Valid<Schema>> = LazyLock::new(|| {
    let extended = Schema::builder().parse(SDL, "linear.graphql").parse(NEWER, "newer.graphql").build();
    let extended = extended.ok().and_then(|schema| schema.validate().ok());
    // A newer package may have the additions already.
    extended.unwrap_or_else(|| match Schema::parse_and_validate(SDL, "linear.graphql") {
        Ok(schema) => schema,
        // The text is fixed when this is compiled, and a test parses it.
        Err(invalid) => panic!("the packaged schema of Linear is not valid: {}", invalid.errors),
    })
});

/// The parsed schema.
pub fn schema() -> &'static Valid<Schema> {
    &SCHEMA
}

/// Whether `name` is a type whose values have fields of their own.
pub fn is_composite(name: &str) -> bool {
    matches!(
        schema().types.get(name),
        Some(ExtendedType::Object(_) | ExtendedType::Interface(_) | ExtendedType::Union(_))
    )
}

/// The type that a connection's nodes have, if `name` is a connection.
pub fn node_type(name: &str) -> Option<&'static str> {
    let connection = schema().get_object(name)?;
    if !connection.fields.contains_key("pageInfo") {
        return None;
    }
    Some(connection.fields.get("nodes")?.ty.inner_named_type().as_str())
}

/// Whether a value of the concrete type `object` is also one of type `condition`.
pub fn applies(object: &str, condition: &str) -> bool {
    if object == condition {
        return true;
    }
    match schema().types.get(condition) {
        Some(ExtendedType::Interface(_)) => schema()
            .get_object(object)
            .is_some_and(|object| object.implements_interfaces.iter().any(|name| name.as_str() == condition)),
        Some(ExtendedType::Union(union)) => union.members.iter().any(|member| member.as_str() == object),
        _ => false,
    }
}

/// What a required field without a value of its own is answered with: nothing, in the words of its type.
///
/// An entity that is kept has no such value: it is there or it is not.
pub fn nothing(ty: &Type) -> Option<Value> {
    if ty.is_list() {
        return Some(json!([]));
    }
    let name = ty.inner_named_type().as_str();
    match (name, schema().types.get(name)?) {
        ("Boolean", _) => Some(json!(false)),
        ("Int" | "Float", _) => Some(json!(0)),
        ("DateTime" | "TimelessDate", _) => Some(json!("1970-01-01T00:00:00.000Z")),
        ("JSON" | "JSONObject", _) => Some(json!({})),
        (_, ExtendedType::Scalar(_)) => Some(json!("")),
        (_, ExtendedType::Enum(values)) => values.values.keys().next().map(|value| json!(value.as_str())),
        (_, ExtendedType::Object(_)) if !KEPT.contains(&name) => Some(json!({})),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_additions_fit_the_packaged_schema() {
        let extended = Schema::builder().parse(SDL, "linear.graphql").parse(NEWER, "newer.graphql").build().unwrap();
        assert!(extended.validate().is_ok());
        assert!(schema().type_field("Issue", "sharedAccess").is_ok());
    }
}
