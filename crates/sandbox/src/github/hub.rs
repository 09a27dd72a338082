//! What all routes share: the state behind its lock, and the events that leave it for the webhooks in the order they happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::Sha256;
use uuid::Uuid;

use super::app::App;
use super::call::Actor;
use super::rate::Limits;
use super::refusal::{Outcome, Refusal};
use super::shape::{BOT, PERSON};
use super::state::{Event, State, now};
use crate::counters::Counters;
use crate::faults::SharedFaults;
use crate::webhooks::{Delivery, Signed, Signer, Webhooks};

/// The hook that follows the sandbox's webhook address: the app's, where there is one, else one of every repository.
pub(super) const OWN_HOOK: u64 = 1;

/// Secrets by hook id, read when a delivery is signed.
pub(super) type Secrets = Arc<Mutex<BTreeMap<String, String>>>;

/// One GitHub.
pub(super) struct Hub {
    pub(super) held: Mutex<State>,
    pub(super) counters: Counters,
    pub(super) faults: SharedFaults,
    pub(super) webhooks: Webhooks,
    pub(super) secrets: Secrets,
    pub(super) limits: Limits,
    pub(super) app: Option<App>,
    pub(super) tokens: Vec<String>,
}

impl Hub {
    /// Looks at the state.
    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> Outcome<T>) -> Outcome<T> {
        look(&self.lock())
    }

    /// Changes the state and queues what the change owes, in one step, so that events leave in the order of the changes.
    pub(super) fn edit<T>(&self, change: impl FnOnce(&mut State) -> Outcome<T>) -> Outcome<T> {
        let mut held = self.lock();
        let outcome = change(&mut held);
        // An edit that was refused half-way may have kept, and owes, its first half.
        for event in std::mem::take(&mut held.outbox) {
            self.announce(&held, &event);
        }
        outcome
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, held: &State, event: &Event) {
        self.webhooks.send(&delivery(OWN_HOOK, None, event));
        for hook in held.hooks.values().filter(|hook| hook.repo == event.repo && hook.wants(event.name)) {
            self.webhooks.send(&delivery(hook.id, Some(hook.url.clone()), event));
        }
    }

    /// Who is calling, by `Authorization: Bearer …` or `token …`.
    pub(super) fn actor(&self, headers: &HeaderMap) -> Outcome<Actor> {
        let Some(token) = bearer(headers) else {
            return Err(Refusal::new(http::StatusCode::UNAUTHORIZED, "Requires authentication"));
        };
        if self.tokens.iter().any(|known| known == token) {
            let is_person = ["ghp_", "gho_", "github_pat_"].iter().any(|prefix| token.starts_with(prefix));
            let login = if is_person { PERSON } else { BOT }.to_owned();
            return Ok(Actor { login, is_person, credential: token.to_owned() });
        }
        let held = self.lock();
        match held.tokens.get(token) {
            Some(token) if token.expires_at > now() => {
                // The limit is the installation's, whichever of its tokens is shown.
                Ok(Actor { login: BOT.to_owned(), is_person: false, credential: "installation".to_owned() })
            }
            _ => Err(Refusal::bad_credentials()),
        }
    }
}

/// The credential of the `Authorization` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")).then_some(token.trim())
}

/// A delivery of `event` for a hook; a hook without an address of its own follows the sandbox's.
pub(super) fn delivery(hook: u64, target: Option<String>, event: &Event) -> Delivery {
    Delivery {
        guid: Uuid::new_v4().to_string(),
        hook: hook.to_string(),
        event: event.name.to_owned(),
        action: event.payload["action"].as_str().map(str::to_owned),
        target,
        payload: event.payload.clone(),
    }
}

/// Signs deliveries as GitHub does: a hexadecimal HMAC-SHA256 of the bytes, under the hook's secret.
pub(super) fn signer(secrets: Secrets, app: Option<u64>) -> Signer {
    Arc::new(move |delivery: &Delivery| {
        let body = serde_json::to_vec(&delivery.payload).unwrap_or_default();
        let secret =
            secrets.lock().unwrap_or_else(PoisonError::into_inner).get(&delivery.hook).cloned().unwrap_or_default();
        let (kind, target) = match app.filter(|_| delivery.hook == OWN_HOOK.to_string()) {
            Some(app) => ("integration", app.to_string()),
            None => ("repository", delivery.payload["repository"]["id"].to_string()),
        };
        let mut headers = vec![
            ("User-Agent".to_owned(), "GitHub-Hookshot/0000000".to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
            ("X-GitHub-Event".to_owned(), delivery.event.clone()),
            ("X-GitHub-Delivery".to_owned(), delivery.guid.clone()),
            ("X-GitHub-Hook-ID".to_owned(), delivery.hook.clone()),
            ("X-GitHub-Hook-Installation-Target-Type".to_owned(), kind.to_owned()),
            ("X-GitHub-Hook-Installation-Target-ID".to_owned(), target),
        ];
        if let (false, Ok(mut mac)) = (secret.is_empty(), Hmac::<Sha256>::new_from_slice(secret.as_bytes())) {
            mac.update(&body);
            let digest = hex::encode(mac.finalize().into_bytes());
            headers.push(("X-Hub-Signature-256".to_owned(), format!("sha256={digest}")));
        }
        Signed { headers, body }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signature_is_what_openssl_makes_of_the_same_bytes() {
        let secrets: Secrets = Arc::new(Mutex::new(BTreeMap::from([("1".to_owned(), "s3cret".to_owned())])));
        let event = Event { name: "issues", repo: "acme/web".into(), payload: json!({"action": "closed"}) };
        let signed = signer(secrets, None)(&delivery(1, None, &event));
        assert_eq!(signed.body, br#"{"action":"closed"}"#);
        let signature =
            signed.headers.iter().find(|(name, _)| name == "X-Hub-Signature-256").map(|(_, value)| value.as_str());
        assert_eq!(signature, Some("sha256=dfb0702bafd5bc55d8af14bf7d48c81dca65eb9d584dedf469075a725d6a2a9f"));
    }
}
