//! The suite that every connector passes.

use std::sync::Mutex;

use connector::compliance::{Misbehave, World, check};
use connector::{Connector, Registration, Webhook};
use connector_github::{Config, Github, REGISTRATION};
use model::{Native, RecordRef, Timestamp};
use runtime::config::Secret;
use sandbox::github::{GithubSandbox, PullAction};
use serde_json::{Value, json};

use crate::front::{Broken, Front};
use crate::world::{REPO, TOKEN, connector_with, issue, pull, server};

struct Trial {
    server: GithubSandbox,
    front: Front,
    url: String,
    pulls: bool,
    /// The number of the newest webhook that was taken from the log.
    taken: Mutex<u64>,
}

impl Trial {
    async fn begin(pulls: bool) -> Self {
        let server = server().await;
        let (front, url) = Front::of(server.url()).await;
        Self { server, front, url, pulls, taken: Mutex::new(0) }
    }

    fn number(record: &RecordRef) -> u64 {
        record.id().rsplit_once('#').unwrap().1.parse().unwrap()
    }

    fn untaken(&self) -> Vec<sandbox::webhooks::Logged> {
        let mut taken = self.taken.lock().unwrap();
        let logged = self.server.webhooks().deliveries();
        let new: Vec<_> = logged.into_iter().filter(|logged| logged.number > *taken).collect();
        *taken = new.last().map_or(*taken, |logged| logged.number);
        new
    }
}

impl World for Trial {
    type Connector = Github;

    fn registration(&self) -> Registration {
        REGISTRATION
    }

    fn section(&self) -> Value {
        json!({"api_url": self.url, "token": TOKEN, "bot_login": "lockstep[bot]", "repositories": [REPO], "sweep_s": 1})
    }

    fn statuses(&self) -> [Native; 2] {
        let words = if self.pulls { ["draft", "open"] } else { ["open", "closed/completed"] };
        words.map(|word| Native::new(word).unwrap())
    }

    fn can(&self, _: Misbehave) -> bool {
        true
    }

    async fn make(&self) -> RecordRef {
        let record = if self.pulls {
            let branch = format!("trial-{}", uuid::Uuid::new_v4());
            pull(self.server.open_pull(REPO, "A trial", "", &branch, true).unwrap())
        } else {
            issue(self.server.open_issue(REPO, "A trial", "").unwrap())
        };
        // Its own webhook and that of an edit tell of one second. Told twice in this order they are an edit there and back,
        // which nothing in them says is none.
        self.untaken();
        record
    }

    async fn edit(&self, record: &RecordRef, native: &Native) {
        let number = Self::number(record);
        match native.as_str() {
            "draft" => self.server.act_on_pull(REPO, number, PullAction::Draft),
            "open" if self.pulls => self.server.act_on_pull(REPO, number, PullAction::Ready),
            "open" => self.server.reopen_issue(REPO, number),
            _ => self.server.close_issue(REPO, number, "completed"),
        }
        .unwrap();
    }

    async fn shows(&self, record: &RecordRef) -> Native {
        // By another connector than the one on trial, past the misbehaving front.
        let bystander = connector_with(&self.server, Config { token: Some(Secret::new(TOKEN)), ..Config::default() });
        bystander.read(record).await.unwrap().observation.native
    }

    async fn writes(&self, record: &RecordRef) -> u64 {
        self.server.counters().counts().writes_by_record.get(record.id()).copied().unwrap_or_default()
    }

    async fn webhooks(&self) -> Vec<Webhook> {
        let webhook = |logged: sandbox::webhooks::Logged| Webhook {
            id: logged.guid,
            event: logged.event,
            received_at: Timestamp(logged.at_ms),
            headers: std::collections::BTreeMap::new(),
            body: logged.body.to_string().into(),
        };
        self.untaken().into_iter().map(webhook).collect()
    }

    async fn break_reads(&self, record: &RecordRef) -> bool {
        if self.pulls {
            self.front.break_pull(Self::number(record), Broken::Both);
        }
        // What a list shows of an issue is all of it.
        self.pulls
    }

    async fn misbehave(&self, how: Misbehave) {
        self.front.misbehave(how);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_issues_it_does_what_every_connector_must() {
    check(&Trial::begin(false).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_pull_requests_it_does_what_every_connector_must() {
    check(&Trial::begin(true).await).await;
}
