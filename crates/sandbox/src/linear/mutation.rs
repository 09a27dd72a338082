//! The first level of a mutation: what may be changed through the API.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    linear::{
        change,
        error::ApiError,
        paging::reference,
        relation::stored_as,
        schema::{is_composite, schema},
        seed,
        world::{Actor, KEPT, Row, World, list, row, text},
    },
};

/// The most issues that one batch may change.
const BATCH_MAX: usize = 50;

/// Carries out a field of `Mutation`, and adds the records it wrote to `written`.
pub fn carry_out(
    world: &mut World,
    actor: Actor,
    field: &str,
    arguments: &Row,
    written: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let input = arguments.get("input").and_then(Value::as_object).cloned().unwrap_or_default();
    let id = text(arguments, "id").unwrap_or_default();
    let payload = match field {
        "issueUpdate" => json!({"issue": update(world, actor, id, input, written)?}),
        "issueBatchUpdate" => {
            let ids: Vec<_> = list(arguments, "ids").map(str::to_owned).collect();
            json!({"issues": batch(world, actor, &ids, &input, written)?})
        }
        "issueAddLabel" | "issueRemoveLabel" => {
            let change = if field == "issueAddLabel" { "addedLabelIds" } else { "removedLabelIds" };
            let input = row(json!({change: [arguments.get("labelId")]}));
            json!({"issue": update(world, actor, id, input, written)?})
        }
        "issueCreate" => json!({"issue": create(world, actor, input, written)?}),
        "issueDelete" => json!({"entity": archive(world, actor, id, true, true, written)?}),
        "issueArchive" => {
            let trash = arguments.get("trash").and_then(Value::as_bool).unwrap_or(false);
            json!({"entity": archive(world, actor, id, true, trash, written)?})
        }
        "issueUnarchive" => json!({"entity": archive(world, actor, id, false, false, written)?}),
        "commentCreate" => json!({"comment": comment(world, actor, &input, written)?}),
        "webhookCreate" => json!({"webhook": create_webhook(world, actor, input, written)?}),
        "webhookUpdate" => json!({"webhook": update_webhook(world, id, input, written)?}),
        "webhookDelete" => {
            known(world, "Webhook", id)?;
            world.remove("Webhook", id)?;
            written.push("webhook".to_owned());
            json!({"entityId": id})
        }
        _ => return Err(ApiError::input(format!("This sandbox does not carry out \"{field}\""))),
    };
    let mut payload = row(payload);
    payload.insert("success".to_owned(), json!(true));
    payload.insert("lastSyncId".to_owned(), json!(world.sync_id));
    Ok(Value::Object(payload))
}

fn update(
    world: &mut World,
    actor: Actor,
    key: &str,
    input: Row,
    written: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let issue = world.issue(key).ok_or_else(|| ApiError::not_found("Issue"))?.clone();
    let fields = issue_fields(world, &issue, input)?;
    let id = text(&issue, "id").unwrap_or_default();
    let (issue, _) = change::update(world, id, fields, actor)?;
    Ok(note("Issue", &issue, written))
}

fn batch(
    world: &mut World,
    actor: Actor,
    ids: &[String],
    input: &Row,
    written: &mut Vec<String>,
) -> Result<Vec<Value>, ApiError> {
    if ids.is_empty() || ids.len() > BATCH_MAX {
        return Err(ApiError::input(format!(
            "Argument Validation Error: ids must have between 1 and {BATCH_MAX} entries"
        )));
    }
    // All or none: what one of them cannot take, none of them gets.
    for id in ids {
        let issue = world.issue(id).ok_or_else(|| ApiError::not_found("Issue"))?;
        issue_fields(world, issue, input.clone())?;
        let (team, state) =
            (text(issue, "teamId"), text(input, "stateId").and_then(|state| world.get("WorkflowState", state)));
        if text(input, "teamId").is_none() && state.is_some_and(|state| text(state, "teamId") != team) {
            return Err(ApiError::input("The workflow state belongs to another team than one of the issues"));
        }
    }
    ids.iter().map(|id| update(world, actor, id, input.clone(), written)).collect()
}

fn create(world: &mut World, actor: Actor, input: Row, written: &mut Vec<String>) -> Result<Value, ApiError> {
    if let Some(issue) = text(&input, "id").and_then(|id| world.get("Issue", id)) {
        return Ok(note("Issue", &issue.clone(), written));
    }
    if text(&input, "title").is_none_or(str::is_empty) {
        return Err(ApiError::input("Argument Validation Error: title must not be empty"));
    }
    checked_id(&input)?;
    let fields = issue_fields(world, &Row::new(), input)?;
    let issue = change::create(world, fields, actor, true)?;
    Ok(note("Issue", &issue, written))
}

fn archive(
    world: &mut World,
    actor: Actor,
    key: &str,
    archived: bool,
    trash: bool,
    written: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let id = known_issue(world, key)?;
    let issue = change::archive(world, &id, archived, trash, actor)?;
    Ok(note("Issue", &issue, written))
}

fn comment(world: &mut World, actor: Actor, input: &Row, written: &mut Vec<String>) -> Result<Value, ApiError> {
    if let Some(comment) = text(input, "id").and_then(|id| world.get("Comment", id)) {
        return Ok(reference("Comment", &comment["id"]));
    }
    checked_id(input)?;
    if text(input, "body").is_none_or(str::is_empty) {
        return Err(ApiError::input("Argument Validation Error: body must not be empty"));
    }
    let id = known_issue(world, text(input, "issueId").unwrap_or_default())?;
    let mut fields = row(json!({"body": input["body"], "bodyData": "{}", "issueId": id}));
    for field in ["id", "parentId", "createdAt", "quotedText"] {
        if let Some(value) = input.get(field).filter(|value| !value.is_null()) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    let comment = change::comment(world, fields, actor)?;
    let identifier = world.get("Issue", &id).and_then(|issue| text(issue, "identifier")).unwrap_or_default();
    written.push(identifier.to_owned());
    Ok(reference("Comment", &comment["id"]))
}

fn create_webhook(world: &mut World, actor: Actor, input: Row, written: &mut Vec<String>) -> Result<Value, ApiError> {
    if let Some(webhook) = text(&input, "id").and_then(|id| world.get("Webhook", id)) {
        return Ok(reference("Webhook", &webhook["id"]));
    }
    checked_id(&input)?;
    let url = text(&input, "url").unwrap_or_default();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(ApiError::input("Argument Validation Error: url must be an http(s) address"));
    }
    if let Some(team) = text(&input, "teamId") {
        known(world, "Team", team)?;
    }
    let now = clock::iso(clock::now_ms());
    let mut webhook = row(json!({
        "id": Uuid::new_v4().to_string(), "createdAt": now, "updatedAt": now, "archivedAt": null, "enabled": true,
        "allPublicTeams": false, "secret": format!("lin_wh_{}", Uuid::new_v4().simple()), "creatorId": seed::user(actor),
    }));
    webhook.extend(input.into_iter().filter(|(_, value)| !value.is_null()));
    world.put("Webhook", webhook.clone())?;
    written.push("webhook".to_owned());
    Ok(reference("Webhook", &webhook["id"]))
}

fn update_webhook(world: &mut World, id: &str, input: Row, written: &mut Vec<String>) -> Result<Value, ApiError> {
    let mut webhook = world.get("Webhook", id).ok_or_else(|| ApiError::not_found("Webhook"))?.clone();
    webhook.extend(input.into_iter().filter(|(_, value)| !value.is_null()));
    webhook.insert("updatedAt".to_owned(), json!(clock::iso(clock::now_ms())));
    world.put("Webhook", webhook.clone())?;
    written.push("webhook".to_owned());
    Ok(reference("Webhook", &webhook["id"]))
}

/// The input as fields of the issue: labels put together, references checked, and what is not kept refused.
pub fn issue_fields(world: &World, issue: &Row, input: Row) -> Result<Row, ApiError> {
    let mut fields = Row::new();
    let mut labels: Vec<String> =
        list(if input.get("labelIds").is_some_and(Value::is_array) { &input } else { issue }, "labelIds")
            .map(str::to_owned)
            .collect();
    for added in list(&input, "addedLabelIds") {
        if !labels.iter().any(|label| label == added) {
            labels.push(added.to_owned());
        }
    }
    labels.retain(|label| !list(&input, "removedLabelIds").any(|removed| removed == label));
    for label in &labels {
        known(world, "IssueLabel", label)?;
    }
    if input.keys().any(|field| field.ends_with("abelIds")) {
        fields.insert("labelIds".to_owned(), json!(labels));
    }
    for (field, value) in input {
        match field.as_str() {
            "labelIds" | "addedLabelIds" | "removedLabelIds" => {}
            // Required in an issue, so null means to leave it.
            "stateId" | "teamId" | "title" | "priority" | "sortOrder" if value.is_null() => {}
            "id" => {
                fields.insert(field, value);
            }
            "subscriberIds" => {
                for user in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    known(world, "User", user)?;
                }
                fields.insert(field, value);
            }
            "useDefaultTemplate" | "preserveSortOrderOnCreate" if value != json!(true) => {}
            _ => {
                check(world, &field, &value)?;
                fields.insert(field, value);
            }
        }
    }
    Ok(fields)
}

/// A field may be set if an issue has it as a value, or if it names an entity that is kept.
fn check(world: &World, field: &str, value: &Value) -> Result<(), ApiError> {
    let plain =
        schema().type_field("Issue", field).is_ok_and(|definition| !is_composite(definition.ty.inner_named_type()));
    if plain {
        return Ok(());
    }
    let named = field.strip_suffix("Id").and_then(|name| schema().type_field("Issue", name).ok());
    let Some(named) = named else {
        return Err(ApiError::input(format!("This sandbox does not keep \"{field}\" of an issue")));
    };
    let kind = named.ty.inner_named_type().as_str();
    match value.as_str() {
        None => Ok(()),
        Some(id) if KEPT.contains(&kind) => known(world, kind, id),
        Some(_) => Err(ApiError::not_found(kind)),
    }
}

fn known(world: &World, kind: &str, id: &str) -> Result<(), ApiError> {
    world.get(stored_as(kind), id).map(|_| ()).ok_or_else(|| ApiError::not_found(kind))
}

fn known_issue(world: &World, key: &str) -> Result<String, ApiError> {
    let issue = world.issue(key).ok_or_else(|| ApiError::not_found("Issue"))?;
    Ok(text(issue, "id").unwrap_or_default().to_owned())
}

fn checked_id(input: &Row) -> Result<(), ApiError> {
    match text(input, "id").map(Uuid::parse_str) {
        Some(Err(_)) => Err(ApiError::input("Argument Validation Error: id must be a UUID")),
        _ => Ok(()),
    }
}

fn note(kind: &str, entity: &Row, written: &mut Vec<String>) -> Value {
    written.extend(text(entity, "identifier").map(str::to_owned));
    reference(kind, &entity["id"])
}
