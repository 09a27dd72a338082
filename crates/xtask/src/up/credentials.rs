//! The sandboxes' credentials: made once for a folder, so that a second `up` signs and signs in as the first did.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{files, random};

/// What the services prove themselves with towards the sandboxes, and the sandboxes towards the services.
#[derive(Serialize, Deserialize)]
pub struct Credentials {
    /// `LINEAR_API_KEY`: not a personal key, so that Lockstep's own writes carry an application as their actor.
    pub linear_api_key: String,
    /// `LINEAR_WEBHOOK_SECRET`.
    pub linear_webhook_secret: String,
    /// `GITHUB_TOKEN`: an installation's token, for the same reason.
    pub github_token: String,
    /// `GITHUB_WEBHOOK_SECRET`.
    pub github_webhook_secret: String,
}

impl Credentials {
    /// Those of the folder, made if there are none.
    pub fn of(folder: &Path) -> Result<Self> {
        let path = folder.join("data/credentials.json");
        if let Ok(text) = fs::read_to_string(&path)
            && let Ok(found) = serde_json::from_str(&text)
        {
            return Ok(found);
        }
        let made = Self {
            linear_api_key: format!("lin_oauth_{}", random::secret()?),
            linear_webhook_secret: format!("lin_wh_{}", random::secret()?),
            github_token: format!("ghs_{}", random::secret()?),
            github_webhook_secret: random::secret()?,
        };
        files::folder(&folder.join("data"))?;
        files::write_json(&path, &made)?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn the_second_time_they_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = Credentials::of(folder.path()).unwrap();
        let second = Credentials::of(folder.path()).unwrap();
        assert_eq!(first.github_token, second.github_token);
        assert_ne!(first.linear_webhook_secret, first.github_webhook_secret);
    }
}
