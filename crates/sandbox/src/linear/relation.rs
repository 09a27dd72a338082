//! How entities hang together: which ones a field of another lists, and which one it names.

use serde_json::{Value, json};

use crate::linear::{
    paging::reference,
    schema::{node_type, schema},
    seed,
    world::{Actor, KEPT, Row, World, list, text},
};

/// The entities that a list field has, before any filter. Of a type that is not kept there are none.
pub fn listed<'w>(world: &'w World, owner_type: &str, owner: &Row, field: &str, kind: &str) -> Vec<(u64, &'w Row)> {
    let owner_id = text(owner, "id").unwrap_or_default();
    let by =
        |column: &'static str| world.rows(kind).filter(move |(_, row)| text(row, column) == Some(owner_id)).collect();
    let among = |column: &str| {
        let ids: Vec<_> = list(owner, column).collect();
        world.rows(kind).filter(|(_, row)| text(row, "id").is_some_and(|id| ids.contains(&id))).collect()
    };
    match (owner_type, field) {
        ("Team", "issues" | "states" | "webhooks" | "gitAutomationStates") => by("teamId"),
        ("Team", "labels") => {
            world.rows(kind).filter(|(_, row)| text(row, "teamId").is_none_or(|team| team == owner_id)).collect()
        }
        ("WorkflowState", "issues") => by("stateId"),
        ("Issue", "comments" | "history") => by("issueId"),
        ("Issue" | "Comment" | "IssueLabel", "children") => by("parentId"),
        ("Issue", "labels") => among("labelIds"),
        ("Issue", "subscribers") => among("subscriberIds"),
        ("User", "assignedIssues") => by("assigneeId"),
        ("User", "createdIssues") => by("creatorId"),
        ("User", "delegatedIssues") => by("delegateId"),
        ("IssueLabel", "issues") => {
            world.rows(kind).filter(|(_, row)| list(row, "labelIds").any(|label| label == owner_id)).collect()
        }
        ("Query" | "Organization", _) | ("Team", "members") | ("User", "teams") => world.rows(kind).collect(),
        _ => Vec::new(),
    }
}

/// The value of a field that is no list: the entity's own, or a reference to the one its id names.
pub fn value(world: &World, actor: Actor, owner_type: &str, owner: &Row, field: &str, inner: &str) -> Option<Value> {
    if let Some(value) = owner.get(field) {
        return Some(value.clone());
    }
    let owner_id = text(owner, "id").unwrap_or_default();
    let count = |kind: &str, column: &str| {
        json!(world.rows(kind).filter(|(_, row)| text(row, column) == Some(owner_id)).count())
    };
    match (owner_type, field) {
        ("User", "isMe") => Some(json!(owner_id == seed::user(actor))),
        ("User", "createdIssueCount") => Some(count("Issue", "creatorId")),
        ("Team", "issueCount") => Some(count("Issue", "teamId")),
        ("Organization", "userCount") => Some(json!(world.rows("User").count())),
        ("Organization", "createdIssueCount") => Some(json!(world.rows("Issue").count())),
        (_, "organization") if inner == "Organization" => {
            Some(reference("Organization", &json!(seed::id("organization"))))
        }
        _ if KEPT.contains(&inner) => {
            let id = owner.get(&format!("{field}Id")).filter(|id| !id.is_null())?;
            Some(reference(inner, id))
        }
        _ => None,
    }
}

/// The type whose rows stand behind a type: search results are issues under another name.
pub fn stored_as(type_name: &str) -> &str {
    if type_name == "IssueSearchResult" { "Issue" } else { type_name }
}

/// The type of the entities a connection field lists, if it is one.
pub fn connection(owner_type: &str, field: &str) -> Option<&'static str> {
    let definition = schema().type_field(owner_type, field).ok()?;
    node_type(definition.ty.inner_named_type())
}
