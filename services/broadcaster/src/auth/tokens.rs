//! Takes JWTs: by the rules of `jwt`, with the keys that an issuer publishes.

use anyhow::Context;
use runtime::Process;

use super::issuer::{Issuer, Source};
use super::jwt::{Refusal, Rules};
use super::{Denied, JwtConfig, Rights};

/// The rules, and where the keys come from.
pub(super) struct Tokens {
    rules: Rules,
    issuer: Option<Issuer>,
}

impl Tokens {
    pub(super) async fn new(config: &JwtConfig, process: &Process) -> anyhow::Result<Self> {
        let issuer = match Source::of(config).context("broadcaster.auth.jwt")? {
            Some(source) => Some(Issuer::start(source, process).await?),
            None => None,
        };
        Ok(Self::with(config, issuer))
    }

    pub(super) fn with(config: &JwtConfig, issuer: Option<Issuer>) -> Self {
        Self { rules: Rules::new(config), issuer }
    }

    /// The rights of a token, unless the key that it is signed with is not known yet.
    pub(super) fn admit_now(&self, token: &str, now_ms: i64) -> Option<Result<Rights, Denied>> {
        let keys = self.issuer.as_ref().map(Issuer::keys);
        match self.rules.rights(token, keys.as_deref(), now_ms) {
            Ok(rights) => Some(Ok(rights)),
            Err(Refusal::Denied(denied)) => Some(Err(denied)),
            Err(Refusal::UnknownKey) => None,
        }
    }

    /// The same after the issuer was asked for its keys once more, if it is time for that.
    pub(super) async fn admit(&self, token: &str, now_ms: i64) -> Result<Rights, Denied> {
        if let Some(issuer) = &self.issuer {
            let looked = issuer.look_again().await;
            if let Some(admitted) = self.admit_now(token, now_ms) {
                return admitted;
            }
            if looked.is_err() || issuer.is_failing() {
                return Err(Denied::unavailable("the keys of who signs tokens cannot be fetched now; try again"));
            }
        }
        Err(Denied::failed("the token is signed with a key (kid) that its issuer does not publish"))
    }
}
