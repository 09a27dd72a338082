//! Talks to Linear's API: the only file of this connector that does I/O.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use connector::calls::limits;
use connector::{
    Calls, Connector, Decoded, Examined, Failure, Finding, Page, Parts, Reading, Response, Token, Unreadable, Webhook,
    Written,
};
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use model::{Command, Native, Observation, RecordRef, Source, Timestamp, Vocabulary};
use runtime::Process;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::credential::{self, App, Credential};
use crate::decode::{self, Issue, Nodes, Us};
use crate::examine::{self, Seen, Snapshot};
use crate::scope::{Named, Scope, Standing};
use crate::sweep::Place;
use crate::vocabulary::{self, State, Teams};
use crate::{Config, answer, encode};

/// How long a team's states are believed; a state that is missing among them is asked for at once.
const STATES_TTL_MS: i64 = 10 * 60 * 1_000;

/// Linear as a connector.
pub struct Linear {
    process: Process,
    calls: Calls,
    url: reqwest::Url,
    credential: Credential,
    /// The app's token, while it is good.
    token: tokio::sync::Mutex<Option<Token>>,
    app_id: Option<String>,
    /// The keys of the only teams that count.
    teams: Vec<String>,
    scope: Mutex<Scope>,
    sweep_every: Duration,
    us: OnceLock<Us>,
    known: Mutex<Teams>,
}

impl Connector for Linear {
    const SYSTEM: &'static str = crate::SYSTEM;
    const LIMITS: limits::Limits = limits::LINEAR;
    type Config = Config;
    const HAS_WEBHOOKS: bool = true;
    const HAS_SWEEP: bool = true;
    const GOES_ON: bool = true;
    const HAS_COMMANDS: bool = true;

    fn new(config: Config, parts: Parts) -> Result<Self, String> {
        let url = reqwest::Url::parse(&config.api_url).map_err(|error| format!("api_url: not a URL: {error}"))?;
        let credential = Credential::of(&config, &url)?;
        if config.sweep_s == 0 {
            return Err("sweep_s: must be at least 1".to_owned());
        }
        let us = OnceLock::new();
        if credential.is_personal() {
            us.get_or_init(Us::default);
        }
        let teams: Vec<_> = config.teams.iter().map(|team| team.to_uppercase()).collect();
        Ok(Self {
            process: parts.process,
            calls: parts.calls.for_credential(&credential.name()),
            url,
            credential,
            token: tokio::sync::Mutex::default(),
            app_id: config.app_id,
            scope: Mutex::new(Scope::new(&teams)),
            teams,
            sweep_every: Duration::from_secs(config.sweep_s),
            us,
            known: Mutex::new(Teams::new(STATES_TTL_MS)),
        })
    }

    fn calls(&self) -> Option<&Calls> {
        Some(&self.calls)
    }

    fn sweep_every(&self) -> Duration {
        self.sweep_every
    }

    fn decode(&self, webhook: &Webhook) -> Result<Decoded, Failure> {
        let now = self.process.now_ms();
        let us = self.us.get().cloned().unwrap_or_default();
        decode::webhook(&webhook.body, &us, &self.scope_now(), |team, native| self.known().with_word(team, native, now))
    }

    fn scope(&self) -> &[String] {
        &self.teams
    }

    async fn learn(&self, team: &str) -> Result<(), Failure> {
        self.know_us().await?;
        self.ask_for_words(team).await.map(|_| ())
    }

    async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        self.know_us().await?;
        if !self.scope_now().is_asked() {
            self.look_for_teams().await?;
        }
        let data = match self.ask(&encode::issue(record.id()), "read").await {
            Err(failure @ Failure::Gone { .. }) => {
                // With its team, an issue is taken from the credential's sight.
                self.look_for_teams().await?;
                self.all_teams_are_there(record)?;
                return Err(failure);
            }
            answered => answered?,
        };
        let mut issue: Issue = part(&data, "issue")?;
        let states = vocabulary::ordered(issue.team.states.take().map(|states| states.nodes).unwrap_or_default());
        let words = self.learn(&issue.team.id, &states);
        let standing = self.scope_now().standing(&issue.team.id, &issue.team.key);
        let observation = if standing == Standing::Counts {
            decode::observation(&issue, words, Source::Poll)?
        } else {
            self.all_teams_are_there(record)?;
            decode::removed(&issue, Source::Poll)?
        };
        Ok(Reading { observation, extra: json!(states) })
    }

    async fn write(&self, command: &Command, reading: &Reading) -> Result<Written, Failure> {
        let states: Vec<State> = serde_json::from_value(reading.extra.clone()).unwrap_or_default();
        let state = encode::meant(&states, &command.native, &command.status)?;
        let data = self.ask(&encode::update(command.record.id(), state), "write").await?;
        let shown = &data["issueUpdate"]["issue"];
        let native = shown["state"]["name"].as_str().and_then(|name| Native::new(name).ok());
        let position = shown["updatedAt"].as_str().and_then(|at| decode::moment(at).ok()).map(|(position, _)| position);
        if data["issueUpdate"]["success"] != true {
            return Err(Failure::unavailable("Linear did not say that the update succeeded"));
        }
        Ok(Written { native: native.unwrap_or_else(|| command.native.clone()), position })
    }

    async fn examine(&self) -> Examined {
        match self.snapshot().await {
            Ok(snapshot) => {
                let ours =
                    examine::Ours { teams: &self.teams, app_id: self.app_id.as_deref(), sweep: self.sweep_every };
                examine::judged(&snapshot, &ours)
            }
            Err(failure) => Examined { findings: vec![Finding::failed("linear", &failure)], words: Vec::new() },
        }
    }

    async fn sweep(&self, cursor: Option<Value>, next: Option<Value>) -> Result<Page, Failure> {
        self.know_us().await?;
        let is_first = next.is_none();
        let mut place = Place::of(cursor, next)?;
        if is_first || !self.scope_now().is_asked() {
            self.look_for_teams().await?;
        }
        if is_first {
            place.lacks(self.scope_now().missing().next().is_some())?;
        }
        let Some(asked) = self.asks(&place) else {
            let (next, cursor) = place.then(None);
            return Ok(Page { next, cursor, ..Page::default() });
        };
        let issues: Nodes<Value> = part(&self.ask(&asked, "sweep").await?, "issues")?;
        let (mut observations, mut unreadable) = (Vec::with_capacity(issues.nodes.len()), Vec::new());
        for issue in &issues.nodes {
            if let Some(updated_at) = issue["updatedAt"].as_str() {
                place.saw(updated_at);
            }
            let failure = match self.seen(issue).await {
                Ok(seen) => {
                    observations.extend(seen);
                    continue;
                }
                Err(failure) => failure,
            };
            let code = failure.code();
            match failure {
                failure @ Failure::Refused { code: "unauthorized", .. } => return Err(failure),
                // One issue that cannot be read, or whose team cannot be asked for, must not hide the others.
                Failure::Gone { why } | Failure::Refused { why, .. } => {
                    let name = issue["identifier"].as_str().or(issue["id"].as_str()).unwrap_or("an issue").to_owned();
                    unreadable.push(Unreadable { name, content: issue.to_string().into(), code, why });
                }
                failure => return Err(failure),
            }
        }
        let after = issues.page_info.filter(|page| page.has_next_page).and_then(|page| page.end_cursor);
        let (next, cursor) = place.then(after);
        Ok(Page { observations, unreadable, next, cursor, ..Page::default() })
    }

    fn cursor_since(&self, since: Timestamp) -> Option<Value> {
        crate::sweep::cursor_since(since)
    }

    async fn count(&self, cursor: Option<Value>) -> Result<Option<u64>, Failure> {
        if cursor.is_some() {
            // Linear counts the issues of a team, and not those that changed.
            return Ok(None);
        }
        let teams: Nodes<decode::Size> = part(&self.ask(&encode::team_sizes(), "sweep").await?, "teams")?;
        if teams.page_info.is_some_and(|page| page.has_next_page) {
            return Ok(None);
        }
        let counted = teams.nodes.iter().filter(|team| self.scope_now().has_key(&team.key));
        Ok(Some(counted.map(|team| team.issue_count).sum()))
    }
}

impl Linear {
    /// Finds out, once, whether the credential is an app's: only then is an actor known to be us.
    async fn know_us(&self) -> Result<(), Failure> {
        if self.us.get().is_some() {
            return Ok(());
        }
        let us = match self.ask(&encode::viewer(), "read").await {
            Ok(data) if data["viewer"]["app"] == true => {
                let user = data["viewer"]["id"].as_str().map(str::to_owned);
                let asked = self.asked_app_id().await?;
                let client_id = self.credential.client_id().map(str::to_owned);
                let ids = [user, self.app_id.clone(), client_id, asked].into_iter().flatten().collect();
                Us { ids, client_known: self.app_id.is_some() }
            }
            Ok(_) | Err(Failure::Gone { .. }) => Us::default(),
            Err(failure) => return Err(failure),
        };
        self.us.get_or_init(|| us);
        Ok(())
    }

    /// The OAuth app's id as Linear tells it for a client id, where it is not configured; `None` where there is no client id, or Linear does
    /// not tell.
    async fn asked_app_id(&self) -> Result<Option<String>, Failure> {
        let Some(client_id) = self.credential.client_id().filter(|_| self.app_id.is_none()) else { return Ok(None) };
        match self.ask(&encode::application(client_id), "read").await {
            Ok(data) => Ok(data["applicationInfo"]["id"].as_str().map(str::to_owned)),
            // What passes is asked again: the answer is kept for as long as the process lives.
            Err(passing @ (Failure::Limited { .. } | Failure::Unavailable { .. })) => Err(passing),
            Err(failure) => {
                // Nothing must wait for it: where it is not known, a write of ours is recognized by what it wrote.
                tracing::warn!(%failure, "Linear does not tell the OAuth app's id; see connector.linear.app_id");
                Ok(None)
            }
        }
    }

    /// Asks which of the configured teams there are, and says so in the readiness.
    async fn look_for_teams(&self) -> Result<(), Failure> {
        if self.teams.is_empty() {
            return Ok(());
        }
        let asked = encode::teams(&self.teams, &self.scope_now().ids().unwrap_or_default());
        let teams: Nodes<Named> = part(&self.ask(&asked, "read").await?, "teams")?;
        let are_all = !teams.page_info.is_some_and(|page| page.has_next_page);
        for (key, is) in self.scope_now().found(&teams.nodes, are_all) {
            self.process.ready(&format!("linear:{key}"), is);
        }
        Ok(())
    }

    /// Asks for a page of the issues that count; `None` where there is no team whose they could be.
    fn asks(&self, place: &Place) -> Option<Value> {
        let scope = self.scope_now();
        let teams = scope.ids();
        let any = teams.as_ref().is_none_or(|teams| !teams.is_empty());
        any.then(|| encode::issues(place.since.as_deref(), teams.as_deref(), place.after.as_deref()))
    }

    /// Fails while a configured team is missing: an issue of another one may be of that.
    fn all_teams_are_there(&self, record: &RecordRef) -> Result<(), Failure> {
        let missing = self.scope_now().missing().collect::<Vec<_>>().join(", ");
        if missing.is_empty() {
            return Ok(());
        }
        let why = format!(
            "whether {record} is of a team that counts is not known while Linear shows no team {missing}; \
             mend connector.linear.teams or the credential's access"
        );
        // A team stays away until a person does something; whoever waited for it would keep others waiting.
        Err(Failure::refused("team_missing", why))
    }

    fn scope_now(&self) -> MutexGuard<'_, Scope> {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an issue of a list tells. Those in the archive are asked for because of those in the trash, whose webhooks may be lost.
    async fn seen(&self, issue: &Value) -> Result<Option<Observation>, Failure> {
        let issue = decode::issue(issue)?;
        if issue.is_only_archived() {
            return Ok(None);
        }
        if issue.is_trashed() {
            // Its team may have been deleted with it.
            return decode::removed(&issue, Source::Sweep).map(Some);
        }
        let words = self.words(&issue.team.id, &decode::native(&issue)?).await?;
        decode::observation(&issue, words, Source::Sweep).map(Some)
    }

    /// A team's words, asked for when they are not known, old, or lack the one that an issue shows.
    async fn words(&self, team: &str, native: &Native) -> Result<Vocabulary, Failure> {
        if let Some(words) = self.known().with_word(team, native, self.process.now_ms()) {
            return Ok(words);
        }
        self.ask_for_words(team).await
    }

    async fn ask_for_words(&self, team: &str) -> Result<Vocabulary, Failure> {
        let data = self.ask(&encode::team_states(team), "read").await?;
        let team: decode::Team = part(&data, "team")?;
        Ok(self.learn(&team.id, &vocabulary::ordered(team.states.map(|states| states.nodes).unwrap_or_default())))
    }

    fn learn(&self, team: &str, states: &[State]) -> Vocabulary {
        let words = vocabulary::vocabulary(states);
        self.known().learn(team, words.clone(), self.process.now_ms());
        words
    }

    fn known(&self) -> MutexGuard<'_, Teams> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, asked: &Value, class: &'static str) -> Result<Value, Failure> {
        self.send(asked, class).await.map(|(data, _)| data)
    }

    /// Everything that an operator should know of the workspace; what could not be asked is told as such.
    async fn snapshot(&self) -> Result<Snapshot, Failure> {
        let (data, first) = self.send(&encode::examine(&self.teams, None), "examine").await?;
        let skew = connector::clock_skew("linear", first.header("date"), self.process.now_ms());
        let mut seen: Seen = part(&json!({"all": data}), "all")?;
        let mut next = seen.teams.page_info.take().filter(|page| page.has_next_page).and_then(|page| page.end_cursor);
        for _ in 1..examine::PAGES_MAX {
            let Some(after) = next else { break };
            let page: Seen =
                part(&json!({"all": self.ask(&encode::examine(&self.teams, Some(&after)), "examine").await?}), "all")?;
            seen.teams.nodes.extend(page.teams.nodes);
            next = page.teams.page_info.filter(|page| page.has_next_page).and_then(|page| page.end_cursor);
        }
        let webhooks = match self.ask(&encode::webhooks(), "examine").await {
            Ok(data) => Ok(part::<Nodes<examine::Hook>>(&data, "webhooks")?.nodes),
            Err(failure) => Err(failure.to_string()),
        };
        let issues: Nodes<examine::Synced> = part(&self.ask(&encode::synced(&self.teams), "examine").await?, "issues")?;
        let asked_app_id = self.asked_app_id().await?;
        Ok(Snapshot { seen, asked_app_id, webhooks, issues: issues.nodes, more_teams: next.is_some(), skew })
    }

    /// What is answered: its data, and all of it.
    async fn send(&self, asked: &Value, class: &'static str) -> Result<(Value, Response), Failure> {
        let (shown, used) = match &self.credential {
            Credential::Key(key) if self.credential.is_personal() => (key.expose().to_owned(), None),
            Credential::Key(token) => (format!("Bearer {}", token.expose()), None),
            Credential::App(app) => {
                let token = self.token(app).await?;
                (format!("Bearer {token}"), Some(token))
            }
        };
        let mut authorization = HeaderValue::from_str(&shown).map_err(|_| {
            Failure::refused("unauthorized", "connector.linear.api_key holds characters that no key has")
        })?;
        authorization.set_sensitive(true);
        let request = self.calls.client().post(self.url.clone()).header(AUTHORIZATION, authorization).json(asked);
        let answered = self.calls.send(request, class).await?;
        let data = answer::data(answered.status, &answered.bytes);
        // A server between that says no more than "forbidden" says nothing of the token.
        let is_dead = answered.status != StatusCode::FORBIDDEN && data.as_ref().is_err_and(answer::is_unauthorized);
        if let (true, Some(used)) = (is_dead, used) {
            // It was revoked before its time, or another process got one for the same app, of which there is one at a time: the next
            // attempt gets another.
            self.token.lock().await.take_if(|token| token.is(&used));
            return Err(Failure::unavailable("Linear does not take the OAuth app's token any more"));
        }
        Ok((data?, answered))
    }

    /// The app's token, got anew when it is near its end.
    async fn token(&self, app: &App) -> Result<String, Failure> {
        let mut kept = self.token.lock().await;
        if let Some(good) = kept.as_ref().and_then(|token| token.good(self.process.now_ms())) {
            return Ok(good.to_owned());
        }
        let request = self.calls.client().post(app.url.clone()).form(&app.claim());
        let answered = self.calls.send(request, "token").await?;
        let now = self.process.now_ms();
        let token = credential::given(answered.status, &answered.bytes, now)?;
        let good = token.good(now).map(str::to_owned);
        *kept = Some(token);
        good.ok_or_else(|| Failure::unavailable("Linear gave a token that has nearly ended"))
    }
}

/// One field of an answer's data, as what it should be.
fn part<T: DeserializeOwned>(data: &Value, name: &str) -> Result<T, Failure> {
    T::deserialize(&data[name])
        .map_err(|error| Failure::refused("malformed", format!("Linear's answer cannot be read: {name}: {error}")))
}
