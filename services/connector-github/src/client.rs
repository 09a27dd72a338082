//! Talks to GitHub's API: this file and those in its folder are the only ones of this connector that do I/O.

mod api;
mod pulls;
mod redeliver;
mod statuses;

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use connector::calls::limits;
use connector::{
    Calls, Connector, Decoded, Examined, Failure, Finding, Page, Parts, Reading, Redelivered, Unreadable, Webhook,
    Written,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use http::header::{ETAG, LINK};
use model::{Command, Native, Observation, RecordRef, Source, Timestamp};
use runtime::Process;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::address::{Address, Of, is_repository};
use crate::decode::{self, Closed, Issue, Terms, malformed};
use crate::encode::Call;
use crate::examine::{self, Repository, Snapshot};
use crate::heads::Heads;
use crate::pull::Standing;
use crate::sights::{Sights, is_unsettled};
use crate::walk::{self, Walk};
use crate::{Config, encode, redelivery};
use api::{Api, json_of};
use pulls::Served;

/// How many pull requests of a page are read at once.
const READS_MAX: usize = 4;
/// The code of what could not be read in any number of attempts.
const EXHAUSTED: &str = "attempts_exhausted";

/// GitHub as a connector.
pub struct Github {
    process: Process,
    api: Api,
    repositories: Vec<String>,
    terms: RwLock<Terms>,
    sweep_every: Duration,
    redeliver_every: Duration,
    /// Whether webhooks are decoded in this process.
    hears: bool,
    sights: Mutex<Sights>,
    served: Mutex<Served>,
    heads: Mutex<Heads>,
}

impl Connector for Github {
    const SYSTEM: &'static str = crate::SYSTEM;
    const LIMITS: limits::Limits = limits::GITHUB;
    type Config = Config;
    const HAS_WEBHOOKS: bool = true;
    const HAS_SWEEP: bool = true;
    const GOES_ON: bool = true;
    const HAS_COMMANDS: bool = true;
    const HAS_REDELIVERY: bool = true;

    fn new(config: Config, parts: Parts) -> Result<Self, String> {
        if let Some(bad) = config.repositories.iter().find(|name| !is_repository(name)) {
            return Err(format!("repositories: {bad:?} is not owner/name"));
        }
        if let Some(key) =
            [("sweep_s", config.sweep_s), ("redeliver_s", config.redeliver_s)].iter().find(|key| key.1 == 0)
        {
            return Err(format!("{}: must be at least 1", key.0));
        }
        Ok(Self {
            api: Api::new(&config, &parts)?,
            sights: Mutex::new(Sights::new(parts.process.now_ms())),
            served: Mutex::default(),
            heads: Mutex::default(),
            process: parts.process,
            repositories: config.repositories.clone(),
            terms: RwLock::new(Terms {
                repositories: config.repositories,
                team_prefixes: config.team_prefixes,
                ..Terms::default()
            }),
            sweep_every: Duration::from_secs(config.sweep_s),
            redeliver_every: Duration::from_secs(config.redeliver_s),
            hears: parts.hears,
        })
    }

    fn calls(&self) -> Option<&Calls> {
        Some(self.api.calls())
    }

    fn sweep_every(&self) -> Duration {
        self.sweep_every
    }

    fn decode(&self, webhook: &Webhook) -> Result<Decoded, Failure> {
        let (login, now) = (self.api.login(), self.process.now_ms());
        if let Some((record, before)) = decode::pushed(&webhook.event, &webhook.body, &self.terms()) {
            self.heads().note(&record, &before);
        }
        let mut decoded = decode::webhook(&webhook.event, &webhook.body, &self.terms(), login, now)?;
        if let Decoded::Observations(seen) = &mut decoded {
            for seen in seen {
                self.sights().name(seen, now);
            }
        }
        Ok(decoded)
    }

    fn scope(&self) -> &[String] {
        &self.repositories
    }

    fn sweeps_something(&self) -> Result<(), String> {
        if self.repositories.is_empty() {
            return Err("repositories: none is named, so none is swept; webhooks that are lost stay lost".to_owned());
        }
        Ok(())
    }

    async fn read(&self, record: &RecordRef) -> Result<Reading, Failure> {
        let (of, at) = Address::of(record)?;
        let (seen, extra) = match of {
            Of::Issue => {
                let issue: Issue = json_of(&self.api.ask(&encode::issue(&at), "read").await?)?;
                (issue.observation(&self.terms(), Source::Poll)?, json!({"node": issue.node_id}))
            }
            Of::PullRequest => {
                let pull = self.pull(&at, "read").await?;
                self.heads().note(record, &pull.head);
                let extra = json!({"node": pull.node, "head": pull.head, "draft": pull.standing.is_draft});
                (pull.observation(&self.terms(), Source::Poll)?, extra)
            }
        };
        // GitHub leads to where an issue was transferred, where it has another number, and to the new name of a repository.
        let transferred = Address::of(&seen.record)?.1.number != at.number;
        let seen = if transferred { seen } else { self.terms().counted_in(&at.repository, seen)? };
        let mut observation = Observation { record: record.clone(), ..seen };
        if transferred || !self.terms().counts(&at.repository) {
            observation = decode::gone(observation);
        }
        self.sights().name(&mut observation, self.process.now_ms());
        Ok(Reading { observation, extra })
    }

    async fn write(&self, command: &Command, reading: &Reading) -> Result<Written, Failure> {
        let (of, at) = Address::of(&command.record)?;
        // Before and after: a page may be read meanwhile.
        self.sights().wrote(&command.record, self.process.now_ms());
        let written = match of {
            Of::Issue => self.write_issue(&at, &command.native, reading).await,
            Of::PullRequest => self.write_pull(&at, &command.native, reading).await,
        };
        self.sights().wrote(&command.record, self.process.now_ms());
        written
    }

    async fn show(&self, command: &Command, reading: &Reading) -> Result<(), Failure> {
        let (_, at) = Address::of(&command.record)?;
        let Some(head) = reading.extra["head"].as_str() else {
            return Err(Failure::refused("cannot_show", format!("{at} has no commit to show a status on")));
        };
        self.show_on(&at.repository, head, command).await
    }

    async fn keep_shown(&self, reading: &Reading) -> Result<(), Failure> {
        let record = &reading.observation.record;
        match reading.extra["head"].as_str() {
            Some(head) => self.show_on_the_next(record, &Address::of(record)?.1.repository, head).await,
            None => Ok(()),
        }
    }

    async fn examine(&self) -> Examined {
        let findings = match self.snapshot().await {
            Ok(snapshot) => examine::judged(&snapshot, self.sweep_every),
            Err(failure) => vec![Finding::failed("github", &failure)],
        };
        Examined { findings, words: Vec::new() }
    }

    async fn sweep(&self, cursor: Option<Value>, next: Option<Value>) -> Result<Page, Failure> {
        let repositories = &self.repositories;
        let first = cursor.is_none();
        let walk = Walk::of(repositories, cursor, next)?;
        let Some(repository) = repositories.get(walk.repository) else {
            let (next, cursor) = walk.unchanged(repositories)?;
            return Ok(Page { next, cursor, ..Page::default() });
        };
        let part = format!("github:{repository}");
        match self.page(repository, walk.clone(), first).await {
            // One repository that cannot be seen must not hide the others. It is known as before, so that nothing is missed of it.
            Err(failure) if is_out_of_reach(&failure) => {
                let why = format!("it cannot be swept: {failure}");
                let unreadable = self.untold(repository, &failure);
                self.process.ready(&part, Err(why));
                let (next, cursor) = walk.unchanged(repositories)?;
                Ok(Page { unreadable, next, cursor, ..Page::default() })
            }
            page => {
                if page.is_ok() {
                    self.process.ready(&part, Ok(()));
                }
                page
            }
        }
    }

    fn cursor_since(&self, since: Timestamp) -> Option<Value> {
        walk::cursor_since(&self.repositories, since)
    }

    async fn count(&self, cursor: Option<Value>) -> Result<Option<u64>, Failure> {
        let mut total = 0;
        for (repository, since) in walk::starts(&self.repositories, cursor)? {
            let answered = match self.api.send(&encode::how_many(repository, since.as_deref()), None, "sweep").await {
                Err(failure) if is_out_of_reach(&failure) => continue,
                answered => answered?,
            };
            let one: Vec<Value> = json_of(&answered.bytes)?;
            // A single page has no link to a last one.
            let last = answered.header(LINK.as_str()).and_then(redelivery::last_page);
            total += last.unwrap_or(u64::try_from(one.len()).unwrap_or_default());
        }
        Ok(Some(total))
    }

    fn redeliver_every(&self) -> Duration {
        self.redeliver_every
    }

    async fn redeliver(&self, cursor: Option<Value>) -> Result<Redelivered, Failure> {
        self.ask_again(cursor).await
    }
}

impl Github {
    /// Everything that an operator should know of the credential and the repositories.
    async fn snapshot(&self) -> Result<Snapshot, Failure> {
        let first = self.api.send(&Call::get("/rate_limit"), None, "examine").await?;
        let skew = connector::clock_skew("github", first.header("date"), self.process.now_ms());
        let scopes = first.header("x-oauth-scopes").map(str::to_owned);
        let login = match self.api.ask(&Call::get("/user"), "examine").await {
            Ok(user) => json_of::<Value>(&user)?["login"].as_str().map(str::to_owned),
            // An installation's token is nobody's.
            Err(Failure::Refused { code: "forbidden", .. }) => None,
            Err(failure) => return Err(failure),
        };
        let mut repositories = Vec::new();
        for name in &self.repositories {
            let shown = self.api.ask(&Call::get(format!("/repos/{name}")), "examine").await;
            let hooks = match self.api.ask(&Call::get(format!("/repos/{name}/hooks?per_page=100")), "examine").await {
                Ok(hooks) => Some(json_of(&hooks)?),
                Err(Failure::Refused { .. } | Failure::Gone { .. }) => None,
                Err(failure) => return Err(failure),
            };
            let shown = match shown {
                Ok(shown) => Ok(json_of::<Value>(&shown)?),
                Err(failure @ (Failure::Refused { .. } | Failure::Gone { .. })) => Err(failure.to_string()),
                Err(failure) => return Err(failure),
            };
            let called = shown.as_ref().ok().and_then(|shown| shown["full_name"].as_str()).map(str::to_owned);
            let can_push = shown.map(|shown| shown["permissions"]["push"].as_bool());
            repositories.push(Repository { name: name.clone(), called, can_push, hooks });
        }
        let (app, bot) = (self.api.is_app(), self.api.login().map(str::to_owned));
        Ok(Snapshot { app, bot, login, scopes, repositories, skew })
    }

    fn terms(&self) -> RwLockReadGuard<'_, Terms> {
        self.terms.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sights(&self) -> MutexGuard<'_, Sights> {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One page of what changed in a repository.
    async fn page(&self, repository: &str, walk: Walk, first: bool) -> Result<Page, Failure> {
        let repositories = &self.repositories;
        let call = encode::changed(repository, walk.since.as_deref(), walk.page);
        let answered = self.api.send(&call, walk.etag(repositories), "sweep").await?;
        if answered.status == StatusCode::NOT_MODIFIED {
            let (next, cursor) = walk.unchanged(repositories)?;
            return Ok(Page { next, cursor, ..Page::default() });
        }
        let etag = answered.header(ETAG.as_str());
        let issues: Vec<Value> = json_of(&answered.bytes)?;
        self.learn_name(repository, &issues);
        // By GitHub's own clock, with which the times on the page were made.
        let read_at_ms = answered.date_ms().unwrap_or_else(|| self.process.now_ms());
        // Where nothing is known yet there is nothing that a page could be behind.
        let settled_at_ms = (!first || !self.hears).then_some(read_at_ms);
        let (mut page, left_out) = self.seen(repository, &issues, settled_at_ms).await?;
        // What is left out must be read again, though the page stays as it is.
        let etag = etag.filter(|_| !left_out);
        let changed: Vec<String> =
            issues.iter().filter_map(|issue| issue["updated_at"].as_str().map(str::to_owned)).collect();
        let full = issues.len() >= encode::PAGE;
        (page.next, page.cursor) = walk.read(repositories, &changed, full, etag, read_at_ms)?;
        Ok(page)
    }

    /// What tells that a repository cannot be swept, where nobody asks for this process's readiness, which says it otherwise.
    fn untold(&self, repository: &str, failure: &Failure) -> Vec<Unreadable> {
        let told = Unreadable {
            name: repository.to_owned(),
            content: Bytes::new(),
            code: failure.code(),
            why: failure.to_string(),
        };
        if self.hears { Vec::new() } else { vec![told] }
    }

    /// What a page of a list shows, and what on it cannot be read. A list does not tell a pull request's branch and reviews, so
    /// those are read one by one.
    /// With `settled_at_ms`, what changed so shortly before that another edit may share its second is left out; and whether anything was.
    async fn seen(
        &self,
        repository: &str,
        issues: &[Value],
        settled_at_ms: Option<i64>,
    ) -> Result<(Page, bool), Failure> {
        let one = async |issue: &Value| match self.seen_one(repository, issue).await {
            Ok(seen) => Ok(Some(Ok(seen))),
            Err(Failure::Gone { .. }) => Ok(None),
            // One that cannot be read must not hide the others; what the credential may not do is about them as well.
            Err(Failure::Refused { why, code }) if !matches!(code, "unauthorized" | "forbidden") => {
                let name = format!("{repository}#{}", issue["number"]);
                Ok(Some(Err(Unreadable { name, content: issue.to_string().into(), code, why })))
            }
            Err(failure) => Err(failure),
        };
        let all: Vec<Option<Result<Reading, Unreadable>>> =
            stream::iter(issues).map(one).buffered(READS_MAX).try_collect().await?;
        let (now, mut sights) = (self.process.now_ms(), self.sights());
        let (mut page, mut left_out) = (Page::default(), false);
        for one in all.into_iter().flatten() {
            let one = one.map(|reading| {
                let seen = reading.observation.clone();
                page.keeps.extend(Some(reading).filter(|reading| self.is_to_be_kept(reading)));
                seen
            });
            match one {
                // A page is a moment old: in a second that is not over it may show a write of ours from before the last one, and
                // nothing tells it from a person's edit. The next sweep reads it again.
                Ok(one) if sights.is_better_known(&one, now) => left_out = true,
                Ok(one) if settled_at_ms.is_some_and(|at| is_unsettled(one.occurred_at, at)) => left_out = true,
                Ok(one) => page.observations.push(one),
                Err(one) => page.unreadable.push(one),
            }
        }
        for seen in &mut page.observations {
            sights.name(seen, now);
        }
        Ok((page, left_out))
    }

    async fn seen_one(&self, repository: &str, issue: &Value) -> Result<Reading, Failure> {
        let issue = Issue::deserialize(issue).map_err(|error| malformed(&error))?;
        if issue.pull_request.is_none() {
            let seen = self.terms().counted_in(repository, issue.observation(&self.terms(), Source::Sweep)?)?;
            return Ok(Reading { observation: seen, extra: Value::Null });
        }
        let at = issue.address()?;
        let pull = self.pull(&at, "sweep").await.map_err(|failure| match failure {
            // Neither by GraphQL nor by REST, though both answer for others.
            Failure::Unavailable { why, .. } if self.cannot_read(&at) => Failure::refused(EXHAUSTED, why),
            failure => failure,
        })?;
        let seen = self.terms().counted_in(repository, pull.observation(&self.terms(), Source::Sweep)?)?;
        self.heads().note(&seen.record, &pull.head);
        Ok(Reading { observation: seen, extra: json!({"head": pull.head}) })
    }

    /// Learns from a page of a repository's list under which name its webhooks come. One issue may have been transferred, a list was not.
    fn learn_name(&self, repository: &str, issues: &[Value]) {
        let Some(Ok(at)) = issues.iter().find_map(|issue| Issue::deserialize(issue).ok()).map(|issue| issue.address())
        else {
            return;
        };
        let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        if terms.learn_name(repository, &at.repository) {
            tracing::warn!(
                repository,
                renamed = at.repository,
                "it was renamed; its records keep the name that is configured"
            );
        }
    }

    async fn write_issue(&self, at: &Address, wanted: &Native, reading: &Reading) -> Result<Written, Failure> {
        let shown = &reading.observation.native;
        if [shown, wanted].iter().all(|native| native.as_str() != "open") {
            return self.change_reason(at, wanted, reading).await;
        }
        let issue: Issue = json_of(&self.api.ask(&encode::set_issue(at, wanted)?, "write").await?)?;
        let (position, _) = decode::moment(&issue.updated_at)?;
        Ok(Written { native: issue.native()?, position: Some(position) })
    }

    /// A closed issue keeps the reason that it was closed for: GitHub takes another only along with a change of state.
    async fn change_reason(&self, at: &Address, wanted: &Native, reading: &Reading) -> Result<Written, Failure> {
        if self.api.login().is_none() {
            // The webhook of opening it would look like a person's edit.
            let shown = &reading.observation.native;
            let why = format!(
                "{at} is {shown}, and only an app's or bot's credential can make it {wanted}; see connector.github.bot_login"
            );
            return Err(Failure::refused("reason_kept", why));
        }
        let node = reading.extra["node"].as_str().unwrap_or_default();
        let data = self.api.graphql(&encode::change_reason(node, wanted)?, "write").await?;
        let closed = Closed::deserialize(&data["closeIssue"]["issue"]).map_err(|error| malformed(&error))?;
        let (position, _) = decode::moment(&closed.updated_at)?;
        Ok(Written { native: closed.native()?, position: Some(position) })
    }

    async fn write_pull(&self, at: &Address, wanted: &Native, reading: &Reading) -> Result<Written, Failure> {
        let draft = encode::wants_draft(wanted)?;
        let seen = &reading.observation;
        if seen.native.as_str() == "merged" {
            return Err(Failure::refused("merged", format!("{at} is merged, which cannot be undone")));
        }
        let mut reopened: Option<Value> = None;
        if seen.native.as_str() == "closed" {
            reopened = Some(json_of(&self.api.ask(&encode::reopen_pull(at), "write").await?)?);
        }
        if reading.extra["draft"] != draft {
            let node = reading.extra["node"].as_str().unwrap_or_default();
            let (call, name) = encode::set_draft(node, draft);
            let data = self.api.graphql(&call, "write").await?;
            let shown = &data[name]["pullRequest"];
            let standing = Standing::deserialize(shown).map_err(|error| malformed(&error))?;
            let position = shown["updatedAt"].as_str().map(decode::moment).transpose()?.map(|(position, _)| position);
            return Ok(Written { native: standing.native(), position });
        }
        if let Some(answer) = reopened {
            // What the answer says and not what it shows by now: that may be somebody's next edit, and would be taken for ours.
            let position = answer["updated_at"].as_str().map(decode::moment).transpose()?.map(|(position, _)| position);
            return Ok(Written { native: wanted.clone(), position });
        }
        Ok(Written { native: seen.native.clone(), position: seen.position })
    }
}

/// Whether something is gone, or may not be seen with our credential: asking again changes nothing until somebody mends it.
fn is_out_of_reach(failure: &Failure) -> bool {
    matches!(failure, Failure::Gone { .. } | Failure::Refused { code: "forbidden", .. })
}
