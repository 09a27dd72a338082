//! What clients ask for that must be waited for: rights, statuses to publish, alerts to acknowledge.

use std::sync::Arc;
use std::time::Duration;

use bus::{Outgoing, PublishError, Received, Stream, topology};
use http::HeaderMap;
use intake::telemetry::NAME_BYTES_MAX;
use proto::v1;
use runtime::Problem;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Shared;
use crate::auth::{Credential, Rights};
use crate::frame::{Refusal, with_reference};
use crate::message::CRITICAL;

/// How long storing something may take.
const STORED: Duration = Duration::from_secs(3);
/// The severities under which an alert may be kept, the gravest first.
const SEVERITIES: [&str; 4] = [CRITICAL, "error", "warning", "info"];

/// What a credential entitles to; without one, what everybody may who calls us by a name of ours, or `None`.
pub async fn rights(
    shared: &Shared,
    headers: &HeaderMap,
    credential: Option<Credential>,
) -> Result<Option<Arc<Rights>>, Problem> {
    let anonymous = shared.access.anonymous();
    // Whatever is shown: where nothing guards, any key is taken for none.
    if anonymous.is_some() {
        shared.process.http().admit_host(headers)?;
    }
    let Some(credential) = credential else { return Ok(anonymous) };
    let now = shared.process.now_ms();
    let rights = match shared.access.admit_now(&credential, now) {
        Some(rights) => rights,
        None => shared.access.admit(&credential, now).await,
    };
    rights.map(Some).map_err(Problem::from)
}

/// Publishes statuses, as `POST /v1/status` does.
pub async fn status_update(shared: &Shared, rights: &Rights, statuses: Value, reference: Option<String>) -> Value {
    let answer = publish(shared, rights, statuses).await.unwrap_or_else(|refusal| refusal.message(None));
    with_reference(answer, reference.as_deref())
}

async fn publish(shared: &Shared, rights: &Rights, statuses: Value) -> Result<Value, Refusal> {
    let context = intake::Context {
        now_ms: shared.process.now_ms(),
        request_key: None,
        lifecycles: &shared.policy.lifecycles,
        fresh_id: Uuid::now_v7,
    };
    let ready = intake::statuses(statuses).and_then(|list| intake::ready(list, &context));
    let ready = ready.map_err(|refused| Refusal {
        errors: (!refused.errors.is_empty()).then(|| Value::Array(refused.errors.clone())),
        ..Refusal::new(refused.code, refused.detail)
    })?;
    let may = |record: &str| rights.publish.covers(record);
    if let Some(other) = ready.iter().find(|ready| !may(&ready.observation.record.to_string())) {
        let reason = format!("your key or token does not let you publish {}", other.observation.record);
        return Err(Refusal::new("forbidden", reason));
    }
    let messages: Vec<_> = ready.iter().map(|ready| Outgoing::observation(ready.lane, &ready.observation)).collect();
    let wait = bus::time_in_order(&messages, STORED);
    let sequences = stored(wait, shared.bus.publish_in_order(&messages, Instant::now() + wait)).await?;
    let accepted: Vec<Value> = ready
        .iter()
        .zip(sequences)
        .map(|(ready, sequence)| json!({"id": ready.id, "record": ready.observation.record, "sequence": sequence}))
        .collect();
    Ok(json!({"type": "status_accepted", "accepted": accepted}))
}

async fn stored<T>(wait: Duration, publishing: impl Future<Output = Result<T, PublishError>>) -> Result<T, Refusal> {
    let why = match tokio::time::timeout(wait, publishing).await {
        Ok(Ok(stored)) => return Ok(stored),
        Ok(Err(PublishError::Overtaken { .. })) => {
            let reason = "the alert was raised again, or acknowledged, just now; look at it, and acknowledge it again";
            return Err(Refusal::new("overtaken", reason));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no acknowledgement in time".to_owned(),
    };
    tracing::warn!(why, "JetStream did not store a client's message; it was told to send it again");
    Err(Refusal::new("not_stored", "JetStream did not store it; send it again"))
}

/// Notes that somebody has seen to an alert; everybody who watches is told.
pub async fn acknowledge(shared: &Shared, rights: &Rights, alert: &str, reference: Option<String>) -> Value {
    let answer = acknowledged(shared, rights, alert).await.unwrap_or_else(|refusal| refusal.message(None));
    with_reference(answer, reference.as_deref())
}

async fn acknowledged(shared: &Shared, rights: &Rights, alert: &str) -> Result<Value, Refusal> {
    if !rights.acknowledge {
        return Err(Refusal::new("forbidden", "your key or token does not let you acknowledge alerts"));
    }
    let away = |error: anyhow::Error| {
        tracing::warn!(error = format!("{error:#}"), "an alert could not be looked up");
        Refusal::new("unavailable", "alerts cannot be read now; acknowledge it again")
    };
    let unknown = || Refusal::new("no_such_alert", "no alert of that id is kept");
    // NATS closes the connection of whoever names a subject of thousands of bytes.
    if alert.len() > NAME_BYTES_MAX {
        return Err(unknown());
    }
    let mut found = false;
    for severity in SEVERITIES {
        let subject = topology::alert(severity, alert);
        let Some(kept) = shared.bus.last_message(Stream::Alerts, &subject).await.map_err(away)? else { continue };
        let lifecycles = &shared.policy.lifecycles;
        let read =
            intake::telemetry::from_bus(&subject, kept.content_type(), &kept.payload, kept.published_at_ms, lifecycles);
        let Ok(intake::telemetry::Telemetry::SystemAlert(known)) = read else { continue };
        found = true;
        if !known.acknowledged_by.is_empty() {
            continue;
        }
        let acknowledged = v1::SystemAlert {
            acknowledged_by: rights.subject.to_string(),
            acknowledged_at: shared.process.now_ms(),
            ..known
        };
        stored(STORED, shared.bus.publish(in_place_of(&kept, &acknowledged))).await?;
    }
    if found { Ok(json!({"type": "acknowledged", "alert": alert})) } else { Err(unknown()) }
}

/// An alert as it is acknowledged, in the place of the one that is kept. One that was raised again meanwhile nobody has seen yet: then it
/// is not stored.
pub fn in_place_of(kept: &Received, acknowledged: &v1::SystemAlert) -> Outgoing {
    let id = format!("ack:{}:{}", kept.subject, kept.sequence);
    Outgoing::new(kept.subject.clone(), id, proto::encode(acknowledged)).only_after(kept.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_was_overtaken_is_told_so_and_others_that_it_was_not_stored() {
        let refused = async |error| {
            let stored = stored(STORED, std::future::ready(Err::<(), _>(error))).await;
            stored.unwrap_err().message(None)["code"].clone()
        };
        let subject = || "lockstep.alert.critical.a".to_owned();
        assert_eq!(refused(PublishError::Overtaken { subject: subject() }).await, "overtaken");
        assert_eq!(refused(PublishError::TooLarge { subject: subject() }).await, "not_stored");
    }
}
