//! What a change to an issue means: its times, its history, who is told. Nothing changes by being set to what it was.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    linear::{
        error::ApiError,
        hooks::announce,
        seed,
        world::{Actor, Row, World, list, row, text},
    },
};

/// An issue to be made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewIssue {
    /// The key of the team (`ENG`).
    pub team: String,
    /// The title.
    pub title: String,
    /// The name of the state; the team's default without it.
    #[serde(default)]
    pub state: Option<String>,
    /// The description, in Markdown.
    #[serde(default)]
    pub description: Option<String>,
    /// The branch name; made of identifier and title without it.
    #[serde(default)]
    pub branch: Option<String>,
}

/// Makes an issue, the team and state being given by name.
pub fn create_by_name(world: &mut World, new: &NewIssue, actor: Actor, tell: bool) -> Result<Row, ApiError> {
    let team = world.find("Team", "key", &new.team).ok_or_else(|| ApiError::not_found("Team"))?;
    let team_id = text(team, "id").unwrap_or_default().to_owned();
    let mut fields = row(json!({"teamId": team_id, "title": new.title}));
    if let Some(name) = &new.state {
        let state = world.state(&team_id, name).ok_or_else(|| ApiError::not_found("WorkflowState"))?;
        fields.insert("stateId".to_owned(), state["id"].clone());
    }
    for (field, value) in [("description", &new.description), ("branchName", &new.branch)] {
        if let Some(value) = value {
            fields.insert(field.to_owned(), json!(value));
        }
    }
    create(world, fields, actor, tell)
}

/// Makes an issue of `fields`, which name at least the team; what is not given gets its default.
pub fn create(world: &mut World, fields: Row, actor: Actor, tell: bool) -> Result<Row, ApiError> {
    let team =
        text(&fields, "teamId").and_then(|id| world.get("Team", id)).ok_or_else(|| ApiError::not_found("Team"))?;
    let (team_id, key) =
        (text(team, "id").unwrap_or_default().to_owned(), text(team, "key").unwrap_or_default().to_owned());
    let default_state = team.get("defaultIssueStateId").cloned().unwrap_or_default();
    let state_id = fields.get("stateId").filter(|id| !id.is_null()).cloned().unwrap_or(default_state);
    let state = state_of_team(world, &state_id, &team_id)?;
    let number = next_number(world, &key);
    let identifier = format!("{key}-{number}");
    let now = world.stamp(None);
    let title = text(&fields, "title").unwrap_or_default().to_owned();
    let slug = slug(&title);
    let mut issue = row(json!({
        "id": Uuid::new_v4().to_string(), "number": number, "identifier": identifier, "previousIdentifiers": [],
        "title": title, "priority": 0, "priorityLabel": "No priority", "sortOrder": 0.0, "boardOrder": 0.0, "prioritySortOrder": 0.0,
        "createdAt": clock::iso(now), "updatedAt": clock::iso(now),
        "startedAt": null, "completedAt": null, "canceledAt": null, "archivedAt": null,
        "teamId": team_id, "stateId": state_id, "creatorId": seed::user(actor), "assigneeId": null, "labelIds": [],
        "subscriberIds": [seed::user(actor)], "description": null, "reactionData": {}, "trashed": null,
        "branchName": format!("{}-{slug}", identifier.to_lowercase()),
        "url": format!("https://linear.app/sandbox/issue/{identifier}/{slug}"),
    }));
    issue.extend(fields);
    issue.insert("stateId".to_owned(), state_id);
    label_priority(&mut issue);
    enter_state(&mut issue, text(&state, "type").unwrap_or_default(), now);
    world.put("Issue", issue.clone())?;
    if tell {
        announce(world, "Issue", "create", &issue, None, actor);
    }
    Ok(issue)
}

/// Sets fields of an issue. Answers the issue, and whether anything was different: if not, nobody is told.
pub fn update(world: &mut World, id: &str, mut fields: Row, actor: Actor) -> Result<(Row, bool), ApiError> {
    let old = world.get("Issue", id).ok_or_else(|| ApiError::not_found("Issue"))?.clone();
    let mut issue = old.clone();
    if text(&fields, "teamId").is_some_and(|team| Some(team) != text(&old, "teamId")) {
        move_team(world, &mut issue, &mut fields)?;
    }
    let now = world.stamp(text(&old, "updatedAt"));
    if let Some(state_id) = fields.get("stateId").filter(|id| Some(*id) != old.get("stateId")) {
        let team = text(&issue, "teamId").unwrap_or_default();
        let state = state_of_team(world, state_id, team)?;
        enter_state(&mut issue, text(&state, "type").unwrap_or_default(), now);
    }
    issue.extend(fields);
    label_priority(&mut issue);
    let before = differences(&old, &issue);
    if before.is_empty() {
        return Ok((old, false));
    }
    finish(world, &old, issue, before, now, actor, "update").map(|issue| (issue, true))
}

/// Puts an issue in the archive, or with `trash` in the trash; or takes it out again.
pub fn archive(world: &mut World, id: &str, archived: bool, trash: bool, actor: Actor) -> Result<Row, ApiError> {
    let old = world.get("Issue", id).ok_or_else(|| ApiError::not_found("Issue"))?.clone();
    let now = world.stamp(text(&old, "updatedAt"));
    let mut issue = old.clone();
    issue.insert("archivedAt".to_owned(), if archived { json!(clock::iso(now)) } else { Value::Null });
    issue.insert("trashed".to_owned(), if archived && trash { json!(true) } else { Value::Null });
    let before = differences(&old, &issue);
    if before.is_empty() || archived && text(&old, "archivedAt").is_some() && old["trashed"] == issue["trashed"] {
        return Ok(old);
    }
    finish(world, &old, issue, before, now, actor, if archived && trash { "remove" } else { "update" })
}

/// Adds a comment to an issue.
pub fn comment(world: &mut World, mut fields: Row, actor: Actor) -> Result<Row, ApiError> {
    let issue =
        text(&fields, "issueId").and_then(|key| world.issue(key)).ok_or_else(|| ApiError::not_found("Issue"))?;
    let now = clock::iso(world.stamp(None));
    let id = text(&fields, "id").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let url = format!("{}#comment-{}", text(issue, "url").unwrap_or_default(), &id[..id.len().min(8)]);
    let issue_id = issue["id"].clone();
    let mut comment = row(json!({
        "createdAt": now, "updatedAt": now, "archivedAt": null, "userId": seed::user(actor), "url": url, "reactionData": {},
    }));
    fields.insert("issueId".to_owned(), issue_id);
    fields.insert("id".to_owned(), json!(id));
    comment.extend(fields);
    world.put("Comment", comment.clone())?;
    announce(world, "Comment", "create", &comment, None, actor);
    Ok(comment)
}

fn finish(
    world: &mut World,
    old: &Row,
    mut issue: Row,
    mut before: Row,
    now: i64,
    actor: Actor,
    action: &str,
) -> Result<Row, ApiError> {
    before.insert("updatedAt".to_owned(), old["updatedAt"].clone());
    issue.insert("updatedAt".to_owned(), json!(clock::iso(now)));
    if before.contains_key("stateId") {
        world.put("IssueHistory", history(old, &issue, actor))?;
    }
    world.put("Issue", issue.clone())?;
    let before = (action == "update").then_some(&before);
    announce(world, "Issue", action, &issue, before, actor);
    Ok(issue)
}

fn history(old: &Row, issue: &Row, actor: Actor) -> Row {
    let mut entry = row(json!({
        "id": Uuid::new_v4().to_string(), "createdAt": issue["updatedAt"], "updatedAt": issue["updatedAt"], "issueId": issue["id"],
        "actorId": seed::user(actor), "fromStateId": old["stateId"], "toStateId": issue["stateId"],
    }));
    if old["teamId"] != issue["teamId"] {
        entry.insert("fromTeamId".to_owned(), old["teamId"].clone());
        entry.insert("toTeamId".to_owned(), issue["teamId"].clone());
    }
    entry
}

/// The times that an issue's state sets: one of them says when it got where it is.
fn enter_state(issue: &mut Row, kind: &str, now: i64) {
    let now = json!(clock::iso(now));
    let started = issue.get("startedAt").filter(|at| !at.is_null()).cloned();
    let mut set = |field: &str, value: Value| issue.insert(field.to_owned(), value);
    match kind {
        "started" => {
            set("startedAt", started.unwrap_or(now));
            set("completedAt", Value::Null);
            set("canceledAt", Value::Null);
        }
        "completed" => {
            set("completedAt", now);
            set("canceledAt", Value::Null);
        }
        "canceled" | "duplicate" => {
            set("canceledAt", now);
            set("completedAt", Value::Null);
        }
        _ => {
            for field in ["startedAt", "completedAt", "canceledAt"] {
                set(field, Value::Null);
            }
        }
    }
}

/// A new team means a new identifier, and the state given or else the team's default.
fn move_team(world: &World, issue: &mut Row, fields: &mut Row) -> Result<(), ApiError> {
    let team =
        text(fields, "teamId").and_then(|id| world.get("Team", id)).ok_or_else(|| ApiError::not_found("Team"))?;
    let team_id = text(team, "id").unwrap_or_default();
    let key = text(team, "key").unwrap_or_default();
    let number = next_number(world, key);
    let mut former: Vec<_> = list(issue, "previousIdentifiers").map(str::to_owned).collect();
    former.extend(text(issue, "identifier").map(str::to_owned));
    issue.insert("previousIdentifiers".to_owned(), json!(former));
    issue.insert("number".to_owned(), json!(number));
    issue.insert("identifier".to_owned(), json!(format!("{key}-{number}")));
    issue.insert("teamId".to_owned(), json!(team_id));
    if fields.get("stateId").is_none_or(Value::is_null) {
        fields.insert("stateId".to_owned(), team["defaultIssueStateId"].clone());
    }
    Ok(())
}

fn state_of_team(world: &World, state: &Value, team: &str) -> Result<Row, ApiError> {
    let state = state
        .as_str()
        .and_then(|id| world.get("WorkflowState", id))
        .ok_or_else(|| ApiError::not_found("WorkflowState"))?;
    if text(state, "teamId") == Some(team) {
        Ok(state.clone())
    } else {
        Err(ApiError::input("The workflow state belongs to another team than the issue"))
    }
}

/// One more than the highest number the team has given, to issues that have left it as well.
fn next_number(world: &World, key: &str) -> u64 {
    let given = world
        .rows("Issue")
        .flat_map(|(_, row)| text(row, "identifier").into_iter().chain(list(row, "previousIdentifiers")));
    let numbers = given.filter_map(|identifier| identifier.strip_prefix(key)?.strip_prefix('-')?.parse().ok());
    numbers.max().unwrap_or(0) + 1
}

/// The old values of the fields that differ.
fn differences(old: &Row, new: &Row) -> Row {
    let changed = new.iter().filter(|(field, value)| old.get(*field).unwrap_or(&Value::Null) != *value);
    changed.map(|(field, _)| (field.clone(), old.get(field).cloned().unwrap_or(Value::Null))).collect()
}

fn label_priority(issue: &mut Row) {
    let names = ["No priority", "Urgent", "High", "Medium", "Low"];
    let priority = issue.get("priority").and_then(Value::as_u64).and_then(|priority| usize::try_from(priority).ok());
    let name = priority.and_then(|priority| names.get(priority)).unwrap_or(&names[0]);
    issue.insert("priorityLabel".to_owned(), json!(name));
}

fn slug(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).take(8).collect::<Vec<_>>().join("-")
}
