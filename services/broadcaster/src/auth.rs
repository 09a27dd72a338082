//! Decides who may watch, publish and acknowledge: by a key, a signed token, or a ticket that stands for one of them.
//!
//! Knows no rooms and no records, only the names that a client's rights cover.

mod config;
mod credential;
mod denied;
mod issuer;
mod jwt;
mod rights;
mod ticket;
mod tokens;

use std::sync::Arc;

use anyhow::anyhow;
use bus::Bus;
use runtime::access::Keys;
use runtime::{Process, Secret};

pub use config::{Config, JwtConfig, KeyConfig};
pub use credential::Credential;
pub use denied::Denied;
pub use rights::{Patterns, Rights};
pub use ticket::Ticket;

use tokens::Tokens;

/// A longer key or token is none: no header carries it, and each is digested before it is known.
const SHOWN_BYTES_MAX: usize = 16 * 1024;

/// Who may do what. A clone is the same.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    keys: Keys,
    /// Whose the keys are, in the same order.
    holders: Vec<Arc<Rights>>,
    tokens: Option<Tokens>,
    anonymous: Option<Arc<Rights>>,
    bus: Bus,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(***)")
    }
}

impl Access {
    /// What the section says. Fetches the keys of tokens, and goes on without them where their address does not answer: the
    /// process's readiness then says so under `jwks`, and a task keeps trying. `bus` keeps tickets.
    pub async fn new(config: &Config, process: &Process, bus: &Bus) -> anyhow::Result<Self> {
        config.check(process.gateway())?;
        let short = (1..).zip(&config.api_keys).map(|(number, key)| (key, Rights::all(&format!("key-{number}"))));
        let mut known: Vec<(&Secret, Rights)> = short.collect();
        for key in &config.keys {
            let rights = key.rights().map_err(|(list, why)| anyhow!("broadcaster.auth.keys.{list} {why}"))?;
            known.push((&key.key, rights));
        }
        let (keys, holders): (Vec<Secret>, Vec<Arc<Rights>>) =
            known.into_iter().map(|(key, rights)| (key.clone(), Arc::new(rights))).unzip();
        let tokens = if config.jwt.is_set() { Some(Tokens::new(&config.jwt, process).await?) } else { None };
        let anonymous = (!config.is_guarded()).then(|| Arc::new(Rights::all("anonymous")));
        Ok(Self(Arc::new(Inner {
            keys: Keys::new(&keys, process.http()),
            holders,
            tokens,
            anonymous,
            bus: bus.clone(),
        })))
    }

    /// The rights of whoever shows nothing. None where keys or tokens are configured.
    pub fn anonymous(&self) -> Option<Arc<Rights>> {
        self.0.anonymous.clone()
    }

    /// What the credential entitles to. Takes 5 s at most. Where nothing is configured, a key or token is no more than nothing.
    pub async fn admit(&self, credential: &Credential, now_ms: i64) -> Result<Arc<Rights>, Denied> {
        if let Some(known) = self.admit_now(credential, now_ms) {
            return known;
        }
        match (credential, &self.0.tokens) {
            (Credential::Ticket(ticket), _) => ticket::redeem(&self.0.bus, ticket, now_ms).await.map(Arc::new),
            (Credential::Bearer(token), Some(tokens)) => tokens.admit(token.expose(), now_ms).await.map(Arc::new),
            (Credential::Bearer(_), None) => Err(Denied::unknown_key()),
        }
    }

    /// The same at once. None where it must be waited for: for a ticket, or a token signed with a key that is not known yet.
    pub fn admit_now(&self, credential: &Credential, now_ms: i64) -> Option<Result<Arc<Rights>, Denied>> {
        let Credential::Bearer(shown) = credential else { return None };
        if let Some(anonymous) = &self.0.anonymous {
            return Some(Ok(Arc::clone(anonymous)));
        }
        let shown = shown.expose();
        if shown.is_empty() || shown.len() > SHOWN_BYTES_MAX {
            return Some(Err(Denied::failed("the key or token is empty or far too long")));
        }
        match &self.0.tokens {
            Some(tokens) if jwt::looks_like_one(shown) => {
                tokens.admit_now(shown, now_ms).map(|admitted| admitted.map(Arc::new))
            }
            _ => Some(self.holder(shown).ok_or_else(Denied::unknown_key)),
        }
    }

    /// A ticket that stands for these rights once, for 30 s. Takes 5 s at most.
    pub async fn ticket(&self, rights: &Rights, now_ms: i64) -> Result<Ticket, Denied> {
        ticket::issue(&self.0.bus, rights, now_ms).await
    }

    fn holder(&self, key: &str) -> Option<Arc<Rights>> {
        self.0.holders.get(self.0.keys.position(key.as_bytes())?).cloned()
    }
}

#[cfg(test)]
mod tests;
