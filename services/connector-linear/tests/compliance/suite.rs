//! The suite that every connector passes.

use std::sync::Mutex;

use connector::compliance::{Misbehave, World, check};
use connector::{Registration, Webhook};
use connector_linear::{Linear, REGISTRATION};
use model::{Native, RecordRef, Timestamp};
use sandbox::linear::{LinearSandbox, NewIssue};
use serde_json::{Value, json};

use crate::front::Front;
use crate::world::{APP, server};

struct Trial {
    server: LinearSandbox,
    front: Front,
    url: String,
    /// The number of the newest webhook that was taken from the log.
    taken: Mutex<u64>,
}

impl Trial {
    async fn begin() -> Self {
        let server = server().await;
        let (front, url) = Front::of(server.url()).await;
        Self { server, front, url: format!("{url}/graphql"), taken: Mutex::new(0) }
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
    type Connector = Linear;

    fn registration(&self) -> Registration {
        REGISTRATION
    }

    fn section(&self) -> Value {
        json!({"api_url": self.url, "api_key": APP, "sweep_s": 1})
    }

    fn statuses(&self) -> [Native; 2] {
        ["Todo", "In Progress"].map(|name| Native::new(name).unwrap())
    }

    fn can(&self, _: Misbehave) -> bool {
        true
    }

    async fn make(&self) -> RecordRef {
        let new = NewIssue { team: "ENG".to_owned(), title: "A trial".to_owned(), ..NewIssue::default() };
        let record = format!("linear/issue/{}", self.server.create_issue(&new).unwrap().id).parse().unwrap();
        // Webhooks are taken several at once: that of its making could come after that of an edit.
        self.untaken();
        record
    }

    async fn edit(&self, record: &RecordRef, native: &Native) {
        self.server.move_issue(record.id(), native.as_str()).unwrap();
    }

    async fn shows(&self, record: &RecordRef) -> Native {
        Native::new(self.server.issue(record.id()).unwrap().state).unwrap()
    }

    async fn writes(&self, record: &RecordRef) -> u64 {
        let identifier = self.server.issue(record.id()).unwrap().identifier;
        self.server.counters().counts().writes_by_record.get(&identifier).copied().unwrap_or_default()
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

    async fn misbehave(&self, how: Misbehave) {
        self.front.misbehave(how);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_connector_must() {
    check(&Trial::begin().await).await;
}
