//! Where the keys are: a file, or an address.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::super::JwtConfig;

/// A larger set is none.
const BYTES_MAX: usize = 1024 * 1024;
/// How long one reading may take.
const WAIT: Duration = Duration::from_secs(5);

/// Where the keys are.
pub(in super::super) enum Source {
    File(PathBuf),
    Url(Client, Url),
}

impl Source {
    /// The one that is configured, if any.
    pub(in super::super) fn of(config: &JwtConfig) -> anyhow::Result<Option<Self>> {
        if let Some(path) = &config.jwks_file {
            return Ok(Some(Self::File(path.clone())));
        }
        let Some(url) = &config.jwks_url else { return Ok(None) };
        let url = Url::parse(url).context("jwks_url is no address")?;
        runtime::install_crypto();
        let client = Client::builder()
            .timeout(WAIT)
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            // It was checked to be https; where it sends us was not.
            .redirect(Policy::none())
            .build()
            .context("the HTTP client cannot be made")?;
        Ok(Some(Self::Url(client, url)))
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// What it is called in the configuration.
    pub(super) fn key(&self) -> &'static str {
        if self.is_file() { "broadcaster.auth.jwt.jwks_file" } else { "broadcaster.auth.jwt.jwks_url" }
    }

    /// What is there, or a sentence's end that says what is wrong with it.
    pub(super) async fn read(&self) -> Result<Vec<u8>, String> {
        let read = async {
            match self {
                Self::File(path) => file(path).await,
                Self::Url(client, url) => fetched(client, url).await,
            }
        };
        let read = timeout(WAIT, read).await.unwrap_or_else(|_| Err(format!("does not answer within {WAIT:?}")))?;
        if read.len() > BYTES_MAX {
            return Err(format!("is larger than {BYTES_MAX} bytes"));
        }
        Ok(read)
    }
}

async fn file(path: &PathBuf) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("({}) cannot be read: {error}", path.display());
    let file = tokio::fs::File::open(path).await.map_err(wrong)?;
    let mut text = Vec::new();
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut text).await.map_err(wrong)?;
    Ok(text)
}

async fn fetched(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    // An address may hold what is not for a log.
    let wrong = |error: reqwest::Error| format!("cannot be fetched: {:#}", anyhow::Error::new(error.without_url()));
    let mut response = client.get(url.clone()).send().await.map_err(wrong)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("answers {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(wrong)? {
        body.extend_from_slice(&chunk);
        if body.len() > BYTES_MAX {
            break;
        }
    }
    Ok(body)
}
