//! The first level of a query: the lists, and the entities by id.

use apollo_compiler::ast::Type;
use serde_json::{Value, json};

use crate::linear::{
    error::ApiError,
    execute::filtered_page,
    paging::reference,
    relation::{listed, stored_as},
    schema::node_type,
    seed,
    world::{Actor, KEPT, Row, World, text},
};

/// The value of a field of `Query`.
pub fn resolve(
    world: &World,
    actor: Actor,
    field: &str,
    ty: &Type,
    arguments: &Row,
    limits: &Value,
) -> Result<Value, ApiError> {
    let inner = ty.inner_named_type().as_str();
    if let Some(element) = node_type(inner) {
        let mut rows = listed(world, "Query", &Row::new(), field, stored_as(element));
        if let Some(term) = text(arguments, "term").or(text(arguments, "query")) {
            rows.retain(|(_, row)| found(row, term));
        }
        return filtered_page(world, actor, element, rows, arguments);
    }
    match field {
        "viewer" => Ok(reference("User", &json!(seed::user(actor)))),
        "organization" => Ok(reference("Organization", &json!(seed::id("organization")))),
        "rateLimitStatus" => Ok(limits.clone()),
        "applicationInfo" => {
            let client_id = text(arguments, "clientId").unwrap_or_default();
            let found = world.find(inner, "clientId", client_id).ok_or_else(|| ApiError::not_found(inner))?;
            Ok(reference(inner, &found["id"]))
        }
        "issueVcsBranchSearch" => Ok(branch(world, text(arguments, "branchName").unwrap_or_default())),
        _ if KEPT.contains(&inner) => entity(world, inner, arguments),
        _ => Err(ApiError::input(format!("This sandbox does not answer \"{field}\""))),
    }
}

fn entity(world: &World, kind: &str, arguments: &Row) -> Result<Value, ApiError> {
    let key = text(arguments, "id").unwrap_or_default();
    let found = match kind {
        "Issue" => world.issue(key),
        "Team" => world.get(kind, key).or_else(|| world.find(kind, "key", key)),
        _ => world.get(kind, key),
    };
    found.map(|row| reference(kind, &row["id"])).ok_or_else(|| ApiError::not_found(kind))
}

fn found(issue: &Row, term: &str) -> bool {
    let term = term.to_lowercase();
    let fields = ["identifier", "title", "description"];
    fields.iter().filter_map(|field| text(issue, field)).any(|text| text.to_lowercase().contains(&term))
}

/// The issue whose branch this is: by its branch name, or by an identifier in it.
pub fn branch(world: &World, name: &str) -> Value {
    let lower = name.to_lowercase();
    let words: Vec<_> = lower.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let identifiers: Vec<_> = words.windows(2).map(|pair| format!("{}-{}", pair[0], pair[1])).collect();
    let issue = world
        .find("Issue", "branchName", name)
        .or_else(|| identifiers.iter().find_map(|identifier| world.issue(identifier)));
    issue.map_or(Value::Null, |issue| reference("Issue", &issue["id"]))
}
