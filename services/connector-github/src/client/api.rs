//! Sends calls to GitHub with our credential: REST and GraphQL, each at its own pace.

use std::sync::OnceLock;

use bytes::Bytes;
use connector::{Calls, Connector as _, Failure, Parts, Response, Token};
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, IF_NONE_MATCH};
use reqwest::{RequestBuilder, Url};
use runtime::Process;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::credential::{self, App, Credential};
use crate::decode::malformed;
use crate::encode::{self, Call};
use crate::{Config, Github, answer};

/// GitHub's API as one credential sees it.
pub(super) struct Api {
    process: Process,
    rest: Calls,
    /// GraphQL has a budget of its own; the secondary limits are about both.
    graphql: Calls,
    /// Statuses of commits: what fails for them does not keep issues and pull requests from being read and written.
    statuses: Calls,
    root: String,
    credential: Credential,
    /// The account that our writes are made by, once it is known.
    login: OnceLock<String>,
    /// The app's token, while it is good.
    token: Mutex<Option<Token>>,
}

impl Api {
    /// The API that the configuration names.
    pub(super) fn new(config: &Config, parts: &Parts) -> Result<Self, String> {
        let root = config.api_url.trim_end_matches('/').to_owned();
        Url::parse(&root).map_err(|error| format!("api_url: not a URL: {error}"))?;
        let credential = Credential::of(config, |path| std::fs::read(path))?;
        let login = OnceLock::new();
        if let Some(known) = config.bot_login.as_ref().filter(|login| !login.is_empty()) {
            login.get_or_init(|| known.clone());
        }
        let rest = parts.calls.for_credential(&credential.name());
        let (graphql, statuses) = (rest.drawing_on(&["graphql"]), rest.drawing_on(Github::LIMITS.budgets));
        let (process, token) = (parts.process.clone(), Mutex::new(None));
        Ok(Self { process, rest, graphql, statuses, root, credential, login, token })
    }

    /// What the connector writes with.
    pub(super) fn calls(&self) -> &Calls {
        &self.rest
    }

    /// The account that our writes are made by, where it is an app's or bot's and known.
    pub(super) fn login(&self) -> Option<&str> {
        self.login.get().map(String::as_str)
    }

    /// Whether the credential is an app's.
    pub(super) fn is_app(&self) -> bool {
        matches!(self.credential, Credential::App(_))
    }

    /// An answer to the app itself, not to its installation.
    pub(super) async fn as_app(&self, call: &Call, class: &'static str) -> Result<Response, Failure> {
        let Credential::App(app) = &self.credential else {
            return Err(Failure::refused("unauthorized", "only a GitHub App may ask for this"));
        };
        let claim = app.claim(self.process.now_ms()).map_err(|why| Failure::refused("unauthorized", why))?;
        judged(self.rest.send(self.request(call, &claim)?, class).await?)
    }

    /// The data of an answer of GraphQL's.
    pub(super) async fn graphql(&self, call: &Call, class: &'static str) -> Result<Value, Failure> {
        answer::data(&self.send(call, None, class).await?.bytes)
    }

    /// The body of an answer.
    pub(super) async fn ask(&self, call: &Call, class: &'static str) -> Result<Bytes, Failure> {
        Ok(self.send(call, None, class).await?.bytes)
    }

    /// An answer; 304 where it would be the version `etag`.
    pub(super) async fn send(&self, call: &Call, etag: Option<&str>, class: &'static str) -> Result<Response, Failure> {
        let token = self.bearer().await?;
        let mut request = self.request(call, &token)?;
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let calls = match call {
            call if call.is_graphql() => &self.graphql,
            call if call.is_of_a_commit() => &self.statuses,
            _ => &self.rest,
        };
        match judged(calls.send(request, class).await?) {
            // An app's token can be revoked before its time: the next attempt gets another.
            Err(Failure::Refused { code: "unauthorized", why }) if matches!(self.credential, Credential::App(_)) => {
                *self.token.lock().await = None;
                Err(Failure::unavailable(why))
            }
            answered => answered,
        }
    }

    /// What goes behind `Bearer`: the token, or the app's, got anew when it is near its end.
    async fn bearer(&self) -> Result<String, Failure> {
        match &self.credential {
            Credential::Token(token) => Ok(token.expose().to_owned()),
            Credential::App(app) => self.exchanged(app).await,
        }
    }

    async fn exchanged(&self, app: &App) -> Result<String, Failure> {
        let mut kept = self.token.lock().await;
        let now = self.process.now_ms();
        if let Some(good) = kept.as_ref().and_then(|token| token.good(now)) {
            return Ok(good.to_owned());
        }
        let claim = app.claim(now).map_err(|why| Failure::refused("unauthorized", why))?;
        if self.login().is_none() {
            // An app's writes are made by an account of its own, named after it.
            let shown: Value = json_of(&self.claimed(&Call::get("/app"), &claim).await?)?;
            if let Some(slug) = shown["slug"].as_str() {
                self.login.get_or_init(|| format!("{slug}[bot]"));
            }
        }
        let answered = self.claimed(&encode::exchange(app.installation), &claim).await?;
        let token = credential::exchanged(&answered).ok_or_else(|| malformed(&"an app's token"))?;
        let good = token.good(now).map(str::to_owned);
        *kept = Some(token);
        good.ok_or_else(|| Failure::unavailable("GitHub gave a token that has nearly ended; is the clock right?"))
    }

    async fn claimed(&self, call: &Call, claim: &str) -> Result<Bytes, Failure> {
        let answered = judged(self.rest.send(self.request(call, claim)?, "token").await?);
        answered.map(|answered| answered.bytes).map_err(answer::no_token)
    }

    fn request(&self, call: &Call, bearer: &str) -> Result<RequestBuilder, Failure> {
        // An Enterprise Server has REST under /api/v3 and GraphQL beside it.
        let root = if call.is_graphql() { self.root.trim_end_matches("/v3") } else { &self.root };
        let mut authorization = HeaderValue::from_str(&format!("Bearer {bearer}")).map_err(|_| {
            Failure::refused("unauthorized", "connector.github.token holds characters that no token has")
        })?;
        authorization.set_sensitive(true);
        let request = self
            .rest
            .client()
            .request(call.method.clone(), format!("{root}{}", call.path))
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        Ok(match &call.body {
            Some(body) => request.json(body),
            None => request,
        })
    }
}

fn judged(answered: Response) -> Result<Response, Failure> {
    match answer::failure(answered.status, &answered.bytes) {
        None => Ok(answered),
        Some(failure) => Err(failure),
    }
}

/// A body as what it should be.
pub(super) fn json_of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| malformed(&error))
}
