//! `POST /graphql`: the part of GitHub's GraphQL that a status connector asks for, checked against its own small schema.
//!
//! Parsing, validation and execution are apollo-compiler's; this file only says what the fields are.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema, ast};
use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Actor;
use super::edits::Patch;
use super::gate::Caller;
use super::hub::Hub;
use super::rate::Resource;
use super::record::Thread;
use super::refusal::{Outcome, Refusal};
use super::shape::{instant, instant_or_null, joined, node_id};
use super::state::{State as Held, repo_key};

static SCHEMA: LazyLock<Valid<Schema>> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the schema is a file of this crate, and a test parses it")]
    Schema::parse_and_validate(include_str!("schema.graphql"), "schema.graphql")
        .expect("the sandbox's GitHub schema is valid")
});

/// `/graphql`.
pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new().route("/graphql", post(answer))
}

#[derive(Deserialize)]
struct Asked {
    query: String,
    #[serde(default)]
    variables: Option<JsonMap>,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
}

/// Whether a request's body asks for a mutation.
pub(super) fn mutates(body: &[u8]) -> bool {
    let Ok(asked) = serde_json::from_slice::<Asked>(body) else { return false };
    let Ok(document) = ast::Document::parse(asked.query, "query.graphql") else { return false };
    let meant = |operation: &ast::OperationDefinition| {
        let is_named = |name: &String| operation.name.as_ref().is_some_and(|own| own.as_str() == name);
        operation.operation_type.is_mutation() && asked.operation_name.as_ref().is_none_or(is_named)
    };
    document.definitions.iter().any(|one| one.as_operation_definition().is_some_and(|operation| meant(operation)))
}

async fn answer(State(hub): State<Arc<Hub>>, Extension(actor): Caller, body: Bytes) -> Outcome<Json<Value>> {
    let asked: Asked = serde_json::from_slice(&body).map_err(|_| Refusal::not_json())?;
    let document = match ExecutableDocument::parse_and_validate(&SCHEMA, asked.query, "query.graphql") {
        Ok(document) => document,
        Err(refused) => {
            let errors: Vec<Value> =
                refused.errors.iter().map(|error| json!({"message": error.error.to_string()})).collect();
            return Ok(Json(json!({"errors": errors})));
        }
    };
    let writes = RefCell::new(Vec::new());
    let answered = hub.edit(|held| {
        let held = RefCell::new(held);
        let variables = asked.variables.unwrap_or_default();
        let named = Execution::new(&SCHEMA, &document).operation_name(asked.operation_name.as_deref());
        let execution = match named {
            Ok(execution) => execution.raw_variable_values(&variables),
            Err(error) => return Ok(json!({"errors": [{"message": error.message().to_string()}]})),
        };
        let mutates =
            document.operations.get(asked.operation_name.as_deref()).is_ok_and(|operation| operation.is_mutation());
        let root = Root { held: &held, hub: &hub, actor: &actor, writes: &writes, mutates };
        match execution.execute_sync(&root) {
            Ok(response) => serde_json::to_value(response).map_err(|error| Refusal::broken(&error.into())),
            Err(error) => Ok(json!({"errors": [{"message": error.message().to_string()}]})),
        }
    })?;
    let writes = writes.into_inner();
    if writes.is_empty() {
        hub.counters.read();
    }
    for record in writes {
        hub.counters.write(&record);
    }
    Ok(Json(typed(answered)))
}

/// GitHub names the type of each error beside its message.
fn typed(mut answer: Value) -> Value {
    for error in answer["errors"].as_array_mut().into_iter().flatten() {
        let said = error["message"].as_str().unwrap_or_default();
        // The library's own words before ours are not GitHub's.
        let said = said.strip_prefix("resolver error: ").unwrap_or(said).to_owned();
        let absent = said.starts_with("Could not resolve");
        error["message"] = json!(said);
        error["type"] = json!(if absent { "NOT_FOUND" } else { "UNPROCESSABLE" });
    }
    if answer["errors"].is_null()
        && let Some(fields) = answer.as_object_mut()
    {
        fields.remove("errors");
    }
    answer
}

struct Root<'s> {
    held: &'s RefCell<&'s mut Held>,
    hub: &'s Hub,
    actor: &'s Actor,
    writes: &'s RefCell<Vec<String>>,
    mutates: bool,
}

fn failed(message: impl Into<String>) -> FieldError {
    FieldError { message: message.into() }
}

fn argument<'a>(info: &'a ResolveInfo<'a>, name: &str) -> &'a str {
    info.arguments().get(name).and_then(|value| value.as_str()).unwrap_or_default()
}

impl ObjectValue for Root<'_> {
    fn type_name(&self) -> &str {
        if self.mutates { "Mutation" } else { "Query" }
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "repository" => {
                let (owner, name) = (argument(info, "owner"), argument(info, "name"));
                let key = repo_key(owner, name);
                if !self.held.borrow().repos.contains_key(&key) {
                    return Err(failed(format!("Could not resolve to a Repository with the name '{owner}/{name}'.")));
                }
                Ok(ResolvedValue::object(Repository { held: self.held, key }))
            }
            "node" => {
                let id = argument(info, "id");
                let held = self.held.borrow();
                let thread = by_node_id(&held, id).ok_or_else(|| unresolved(id))?;
                Ok(ResolvedValue::object(Plain(thread_fields(&held, thread))))
            }
            "viewer" => Ok(ResolvedValue::object(Plain(account(&self.actor.login)))),
            "rateLimit" => {
                let budget = self.hub.limits.budget(&self.actor.credential, Resource::Graphql);
                let Some(standing) = budget.map(|budget| budget.standing()) else { return Ok(ResolvedValue::null()) };
                let (limit, remaining) = (standing.limit, standing.remaining);
                let fields = json!({
                    "__typename": "RateLimit", "limit": limit, "cost": 1, "remaining": remaining,
                    "used": limit - remaining, "resetAt": instant(standing.reset_seconds()),
                });
                Ok(ResolvedValue::object(Plain(fields)))
            }
            "markPullRequestReadyForReview" => self.set_draft(info, false, "MarkPullRequestReadyForReviewPayload"),
            "convertPullRequestToDraft" => self.set_draft(info, true, "ConvertPullRequestToDraftPayload"),
            "reopenIssue" => self.set_open(info, true, "ReopenIssuePayload"),
            "closeIssue" => self.set_open(info, false, "CloseIssuePayload"),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

impl Root<'_> {
    fn set_open<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
        open: bool,
        payload: &str,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let input = info.arguments().get("input").and_then(|input| input.as_object());
        let text = |name: &str| input.and_then(|input| input.get(name)).and_then(|value| value.as_str());
        let id = text("issueId").unwrap_or_default();
        let mut held = self.held.borrow_mut();
        let found = by_node_id(&held, id).filter(|thread| thread.pull.is_none());
        let (repo, number) = found.map(|thread| (thread.repo.clone(), thread.number)).ok_or_else(|| unresolved(id))?;
        let patch =
            Patch { open: Some(open), state_reason: text("stateReason").map(str::to_lowercase), ..Patch::default() };
        held.patch(&repo, number, patch, &self.actor.login).map_err(|refusal| failed(refusal.message))?;
        self.writes.borrow_mut().push(format!("{repo}#{number}"));
        let thread = held.thread(&repo, number).map_err(|refusal| failed(refusal.message))?;
        let fields = json!({
            "__typename": payload, "clientMutationId": text("clientMutationId"), "issue": thread_fields(&held, thread),
        });
        Ok(ResolvedValue::object(Plain(fields)))
    }

    fn set_draft<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
        draft: bool,
        payload: &str,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let input = info.arguments().get("input").and_then(|input| input.as_object());
        let text = |name: &str| input.and_then(|input| input.get(name)).and_then(|value| value.as_str());
        let id = text("pullRequestId").unwrap_or_default();
        let mut held = self.held.borrow_mut();
        let found = by_node_id(&held, id).filter(|thread| thread.pull.is_some());
        let (repo, number) = found.map(|thread| (thread.repo.clone(), thread.number)).ok_or_else(|| unresolved(id))?;
        held.set_draft(&repo, number, draft, &self.actor.login).map_err(|refusal| failed(refusal.message))?;
        self.writes.borrow_mut().push(format!("{repo}#{number}"));
        let thread = held.thread(&repo, number).map_err(|refusal| failed(refusal.message))?;
        let fields = json!({
            "__typename": payload, "clientMutationId": text("clientMutationId"), "pullRequest": thread_fields(&held, thread),
        });
        Ok(ResolvedValue::object(Plain(fields)))
    }
}

fn unresolved(id: &str) -> FieldError {
    failed(format!("Could not resolve to a node with the global id of '{id}'."))
}

fn by_node_id<'h>(held: &'h Held, id: &str) -> Option<&'h Thread> {
    held.threads.values().find(|thread| match &thread.pull {
        Some(pull) => node_id("PR", pull.id) == id,
        None => node_id("I", thread.id) == id,
    })
}

struct Repository<'s> {
    held: &'s RefCell<&'s mut Held>,
    key: String,
}

impl ObjectValue for Repository<'_> {
    fn type_name(&self) -> &'static str {
        "Repository"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let held = self.held.borrow();
        let repo = held.repo(&self.key).map_err(|refusal| failed(refusal.message))?;
        let what = match info.field_name() {
            "id" => return Ok(ResolvedValue::leaf(node_id("R", repo.id))),
            "name" => return Ok(ResolvedValue::leaf(repo.name.clone())),
            "nameWithOwner" => return Ok(ResolvedValue::leaf(repo.full_name())),
            "pullRequest" => "PullRequest",
            "issue" => "Issue",
            _ => "issue or pull request",
        };
        let number = info.arguments().get("number").and_then(apollo_compiler::response::JsonValue::as_u64).unwrap_or(0);
        let fits = |thread: &&Thread| match what {
            "PullRequest" => thread.pull.is_some(),
            "Issue" => thread.pull.is_none(),
            _ => true,
        };
        let thread = held.thread(&self.key, number).ok().filter(fits);
        let thread =
            thread.ok_or_else(|| failed(format!("Could not resolve to an {what} with the number of {number}.")))?;
        Ok(ResolvedValue::object(Plain(thread_fields(&held, thread))))
    }
}

/// An object whose fields are all known beforehand; `__typename` is among them.
struct Plain(Value);

impl ObjectValue for Plain {
    fn type_name(&self) -> &str {
        self.0["__typename"].as_str().unwrap_or_default()
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match self.0.get(info.field_name()) {
            Some(inner) if inner.is_object() => Ok(ResolvedValue::object(Plain(inner.clone()))),
            Some(leaf) => Ok(ResolvedValue::leaf(leaf.clone())),
            None => Err(self.unknown_field_error(info)),
        }
    }
}

fn account(login: &str) -> Value {
    json!({"__typename": if login.ends_with("[bot]") { "Bot" } else { "User" }, "login": login.trim_end_matches("[bot]")})
}

fn thread_fields(held: &Held, thread: &Thread) -> Value {
    let full_name = held.repos.get(&thread.repo).map_or_else(|| thread.repo.clone(), super::record::Repo::full_name);
    let kind = if thread.pull.is_some() { "pull" } else { "issues" };
    let mut fields = json!({
        "__typename": "Issue", "id": node_id("I", thread.id), "number": thread.number, "title": thread.title,
        "body": thread.body.clone().unwrap_or_default(), "url": format!("{}/{full_name}/{kind}/{}", held.shape.base, thread.number),
        "state": thread.state().to_uppercase(), "stateReason": thread.state_reason.as_ref().map(|reason| reason.to_uppercase()),
        "closed": !thread.open, "createdAt": instant(thread.created_at), "updatedAt": instant(thread.updated_at),
        "closedAt": instant_or_null(thread.closed_at), "author": account(&thread.author),
    });
    if let Some(pull) = &thread.pull {
        let merged = pull.merged_at.is_some();
        let entry =
            json!({"__typename": "MergeQueueEntry", "id": node_id("MQE", pull.id), "state": "QUEUED", "position": 1});
        let own = json!({
            "__typename": "PullRequest", "id": node_id("PR", pull.id), "isDraft": pull.draft, "merged": merged,
            "mergedAt": instant_or_null(pull.merged_at), "reviewDecision": pull.review_decision(),
            "mergeQueueEntry": if pull.queued { entry } else { Value::Null }, "headRefOid": pull.head_sha(),
            "headRefName": pull.head_ref, "baseRefName": pull.base_ref,
        });
        fields = joined(fields, own);
        if merged {
            fields["state"] = json!("MERGED");
        }
    }
    fields
}
