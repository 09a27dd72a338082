//! What a client shows: nothing, a key, or a token from a source that is asked again when it expires.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::timeout;

use crate::Error;

/// How long a source of tokens may take.
const SOURCE: Duration = Duration::from_secs(10);

type Asking = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// What is shown with every call.
#[derive(Clone, Default)]
pub(crate) enum Credential {
    /// Nothing.
    #[default]
    None,
    /// A key, or a token that nobody renews.
    Fixed(Arc<str>),
    /// Tokens.
    Source(Arc<Source>),
}

/// Where tokens come from, and the newest of them.
pub(crate) struct Source {
    ask: Box<dyn Fn() -> Asking + Send + Sync>,
    newest: Mutex<Option<String>>,
}

impl Credential {
    pub(crate) fn source<F, E>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        let ask = move || -> Asking {
            let asking = ask();
            Box::pin(async move { asking.await.map_err(|error| error.to_string()) })
        };
        Self::Source(Arc::new(Source { ask: Box::new(ask), newest: Mutex::default() }))
    }

    /// Whether another one can be got when the server wants one.
    pub(crate) fn is_renewable(&self) -> bool {
        matches!(self, Self::Source(_))
    }

    /// What to show: of a source the newest token, or the first.
    pub(crate) async fn shown(&self) -> Result<Option<String>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(key) => Ok(Some(key.to_string())),
            Self::Source(source) => {
                let newest = source.newest().clone();
                match newest {
                    Some(token) => Ok(Some(token)),
                    None => source.renewed().await.map(Some),
                }
            }
        }
    }

    /// Another one than before: of a source a new token.
    pub(crate) async fn renewed(&self) -> Result<Option<String>, Error> {
        match self {
            Self::Source(source) => source.renewed().await.map(Some),
            Self::None | Self::Fixed(_) => self.shown().await,
        }
    }
}

impl Source {
    fn newest(&self) -> MutexGuard<'_, Option<String>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renewed(&self) -> Result<String, Error> {
        let asked = timeout(SOURCE, (self.ask)()).await;
        let token = asked
            .unwrap_or_else(|_| Err(format!("no answer within {} s", SOURCE.as_secs())))
            .map_err(|why| Error::Token { why })?;
        *self.newest() = Some(token.clone());
        Ok(token)
    }
}

/// The header that shows a key or token.
pub(crate) fn header(shown: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {shown}"))
        .map_err(|_| Error::Token { why: "it holds what no header can: line ends or control characters".into() })?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Fixed(_) => "key ***",
            Self::Source(_) => "tokens ***",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_source_is_asked_once_and_again_when_another_token_is_wanted() {
        let asked = AtomicU32::new(0);
        let tokens = Credential::source(move || {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok::<_, Error>(format!("token-{number}")) }
        });
        assert_eq!(tokens.shown().await.unwrap().as_deref(), Some("token-1"));
        assert_eq!(tokens.shown().await.unwrap().as_deref(), Some("token-1"));
        assert_eq!(tokens.renewed().await.unwrap().as_deref(), Some("token-2"));
        assert_eq!(tokens.shown().await.unwrap().as_deref(), Some("token-2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_or_never_answers_is_an_error_that_says_so() {
        let failing = Credential::source(|| async { Err::<String, _>("the vault is sealed") });
        assert!(matches!(failing.shown().await, Err(Error::Token { why }) if why == "the vault is sealed"));
        let silent = Credential::source(std::future::pending::<Result<String, Error>>);
        assert!(matches!(silent.shown().await, Err(Error::Token { .. })));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let shown = format!("{:?} {:?}", Credential::Fixed("s3cret".into()), header("s3cret").unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_key_with_a_line_end_is_refused_before_it_is_sent() {
        assert!(header("a\nb").is_err());
    }
}
