//! What Linear's webhooks say, and how they are signed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    clock,
    linear::{
        seed,
        world::{Actor, Row, World, list, text},
    },
    webhooks::{Delivery, Signed, Signer},
};

/// The signing secret of each webhook, shared by the world and the signer.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<Mutex<HashMap<String, String>>>);

impl Secrets {
    /// Sets a webhook's secret.
    pub fn set(&self, hook: &str, secret: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hook.to_owned(), secret.to_owned());
    }

    fn get(&self, hook: &str) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hook).cloned().unwrap_or_default()
    }
}

/// The lower-case hex HMAC-SHA256 of `body`.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Stamps a delivery with the time of sending and signs it.
pub fn signer(secrets: Secrets) -> Signer {
    Arc::new(move |delivery: &Delivery| {
        let mut payload = delivery.payload.clone();
        let now = clock::now_ms();
        payload["webhookTimestamp"] = json!(now);
        let body = payload.to_string().into_bytes();
        let headers = [
            ("user-agent", "Linear-Webhook".to_owned()),
            ("linear-delivery", delivery.guid.clone()),
            ("linear-event", delivery.event.clone()),
            ("linear-signature", signature(&secrets.get(&delivery.hook), &body)),
            ("linear-timestamp", now.to_string()),
        ];
        Signed { headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(), body }
    })
}

/// Tells every webhook that wants to know of it what happened to an entity; `before` holds the old values of what changed.
pub fn announce(world: &World, kind: &str, action: &str, entity: &Row, before: Option<&Row>, actor: Actor) {
    let data = match kind {
        "Issue" => issue(world, entity),
        "Comment" => comment(world, entity),
        _ => return,
    };
    let team = team_of(world, kind, entity);
    for (_, hook) in world.rows("Webhook") {
        let wanted = hook.get("enabled").and_then(Value::as_bool).unwrap_or(false)
            && list(hook, "resourceTypes").any(|resource| resource == kind)
            && text(hook, "teamId").is_none_or(|only| Some(only) == team.as_deref());
        if !wanted {
            continue;
        }
        let id = text(hook, "id").unwrap_or_default();
        let mut payload = json!({
            "action": action,
            "actor": sender(world, actor),
            "createdAt": text(entity, "updatedAt"),
            "data": data,
            "organizationId": seed::id("organization"),
            "type": kind,
            "url": text(entity, "url"),
            "webhookId": id,
        });
        if let Some(before) = before {
            payload["updatedFrom"] = Value::Object(before.clone());
        }
        let configured = id == seed::id("webhook");
        world.webhooks.send(&Delivery {
            guid: uuid::Uuid::new_v4().to_string(),
            hook: id.to_owned(),
            event: kind.to_owned(),
            action: Some(action.to_owned()),
            target: if configured { None } else { text(hook, "url").map(str::to_owned) },
            payload,
        });
    }
}

fn team_of(world: &World, kind: &str, entity: &Row) -> Option<String> {
    let issue = if kind == "Issue" { Some(entity) } else { world.get("Issue", text(entity, "issueId")?) };
    text(issue?, "teamId").map(str::to_owned)
}

fn sender(world: &World, actor: Actor) -> Value {
    let id = seed::user(actor);
    let user = world.get("User", &id);
    match (actor, user) {
        (Actor::Github, _) => json!({"id": id, "service": "github", "type": "integration"}),
        (_, None) => Value::Null,
        // By the id of its OAuth client, which is not that of the user that it acts as.
        (Actor::App, Some(user)) => json!({"id": seed::id(seed::CLIENT), "name": user["name"], "type": "oauthClient"}),
        (Actor::Person, Some(user)) => {
            let mut person = pick(user, &["id", "name", "email", "url"]);
            person["type"] = json!("user");
            person
        }
    }
}

fn issue(world: &World, entity: &Row) -> Value {
    let mut data = entity.clone();
    let mut child = |field: &str, kind: &str, fields: &[&str]| {
        if let Some(other) = text(entity, &format!("{field}Id")).and_then(|id| world.get(kind, id)) {
            data.insert(field.to_owned(), pick(other, fields));
        }
    };
    child("state", "WorkflowState", &["id", "color", "name", "type"]);
    child("team", "Team", &["id", "key", "name"]);
    for person in ["assignee", "creator", "delegate"] {
        child(person, "User", &["id", "name", "email", "url"]);
    }
    let labels: Vec<_> = list(entity, "labelIds")
        .filter_map(|id| world.get("IssueLabel", id))
        .map(|label| pick(label, &["id", "color", "name", "parentId"]))
        .collect();
    data.insert("labels".to_owned(), json!(labels));
    Value::Object(data)
}

fn comment(world: &World, entity: &Row) -> Value {
    let mut data = entity.clone();
    if let Some(issue) = text(entity, "issueId").and_then(|id| world.get("Issue", id)) {
        data.insert("issue".to_owned(), pick(issue, &["id", "identifier", "teamId", "title", "url"]));
    }
    if let Some(user) = text(entity, "userId").and_then(|id| world.get("User", id)) {
        data.insert("user".to_owned(), pick(user, &["id", "name", "email", "url"]));
    }
    Value::Object(data)
}

fn pick(row: &Row, fields: &[&str]) -> Value {
    fields.iter().filter_map(|field| Some(((*field).to_owned(), row.get(*field)?.clone()))).collect::<Row>().into()
}
