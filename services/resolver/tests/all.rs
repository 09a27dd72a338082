//! The resolver against a real nats-server and a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that panics says what is wrong")]

#[path = "all/conflicts.rs"]
mod conflicts;
#[path = "all/dead_letters.rs"]
mod dead_letters;
#[path = "all/in_place.rs"]
mod in_place;
#[path = "all/known.rs"]
mod known;
#[path = "all/listing.rs"]
mod listing;
#[path = "all/old_copy.rs"]
mod old_copy;
#[path = "all/order.rs"]
mod order;
#[path = "all/patience.rs"]
mod patience;
#[path = "all/ties.rs"]
mod ties;
#[path = "all/transaction.rs"]
mod transaction;
#[path = "all/upgrade.rs"]
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use bus::testing::Server;
use bus::{Bus, Feed, Outgoing, Stream, Tail};
use model::{
    Actor, Group, Key, Lane, LifecycleName, Lifecycles, Mappings, Native, Observation, Policy, Position, RecordRef,
    RowKind, Source, Timestamp,
};
use proto::v1;
use runtime::{Process, Secret};
use store::{ItemFilter, Store};

const DEADLINE: Duration = Duration::from_secs(20);

/// A tracker that can be told anything, and a forge that only knows open and closed.
const MAPPINGS: &str = r#"
[[mapping]]
system = "tracker"
kind = "issue"
lifecycle = "work"
get = { backlog = "backlog", todo = "todo", in_progress = "in_progress", blocked = "blocked", in_review = "in_review", done = "done", canceled = "canceled", failed = "failed" }

[[mapping]]
system = "forge"
kind = "issue"
lifecycle = "work"
get = { backlog = "open", todo = "open", in_progress = "open", blocked = "open", in_review = "open", done = "closed", canceled = "closed", failed = "closed" }
put = { open = "todo", closed = "done" }
"#;

struct World {
    server: Server,
    bus: Bus,
    store: Store,
    process: Process,
    changes: Feed,
    commands: Feed,
    database: String,
}

fn policy() -> Arc<Policy> {
    Arc::new(policy_of(MAPPINGS, ""))
}

fn policy_of(mapped: &str, more: &str) -> Policy {
    let mut lifecycles = Lifecycles::built_in().unwrap();
    if !more.is_empty() {
        lifecycles.add_toml(more).unwrap();
    }
    let mut mappings = Mappings::default();
    mappings.add_toml(mapped, &lifecycles).unwrap();
    Policy::new(lifecycles, mappings, LifecycleName::new("work").unwrap())
}

async fn database() -> String {
    let admin =
        std::env::var("LOCKSTEP_TEST_DATABASE_URL").expect("LOCKSTEP_TEST_DATABASE_URL: cargo xtask test sets it");
    let name = format!("resolver_{}", uuid::Uuid::new_v4().simple());
    let pool = sqlx::PgPool::connect(&admin).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&pool).await.unwrap();
    let (base, _) = admin.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

impl World {
    async fn new() -> Self {
        Self::with(policy()).await
    }

    async fn with(policy: Arc<Policy>) -> Self {
        Self::divided(policy, bus::Config::default().partitions).await
    }

    /// With so many partitions.
    async fn divided(policy: Arc<Policy>, partitions: u32) -> Self {
        let server = Server::start().unwrap();
        let database = database().await;
        let config = bus::Config { partitions, ..server.config() };
        let (process, bus, store) = Self::start_on(config, Self::store(&database), policy).await;
        let changes = bus.tail(Stream::Changes, &["lockstep.change.>".into()], Tail::Sequence(1)).await.unwrap();
        let commands = bus.tail(Stream::Commands, &["lockstep.command.>".into()], Tail::New).await.unwrap();
        Self { server, bus, store, process, changes, commands, database }
    }

    /// Ends the resolver and starts another with this policy.
    async fn restart(&mut self, policy: Policy) {
        self.stop().await;
        (self.process, self.bus, self.store) =
            Self::start(&self.server, Self::store(&self.database), Arc::new(policy)).await;
        self.changes = self.bus.tail(Stream::Changes, &[], Tail::New).await.unwrap();
        self.commands = self.bus.tail(Stream::Commands, &[], Tail::New).await.unwrap();
    }

    fn store(database: &str) -> store::Config {
        store::Config { url: Secret::from(database), ..store::Config::default() }
    }

    async fn start(server: &Server, config: store::Config, policy: Arc<Policy>) -> (Process, Bus, Store) {
        Self::start_on(server.config(), config, policy).await
    }

    async fn start_on(bus: bus::Config, config: store::Config, policy: Arc<Policy>) -> (Process, Bus, Store) {
        let process = Process::new("resolver", None);
        let bus = Bus::connect(&bus, &process).await.unwrap();
        bus.ensure_topology().await.unwrap();
        let store = Store::connect(&config, &process).await.unwrap();
        let config = resolver::Config { listen: "127.0.0.1:0".parse().unwrap(), ..resolver::Config::default() };
        resolver::run(config, process.clone(), bus.clone(), store.clone(), policy).await.unwrap();
        (process, bus, store)
    }

    async fn stop(&self) {
        self.process.shutdown().cancel();
        self.process.finished(DEADLINE).await.unwrap();
    }

    async fn see(&self, observation: &Observation) -> u64 {
        self.bus.publish(Outgoing::observation(Lane::High, observation)).await.unwrap()
    }

    async fn change(&mut self) -> v1::Change {
        let received = tokio::time::timeout(DEADLINE, self.changes.next()).await.expect("a change in time").unwrap();
        proto::decode(None, &received.payload).unwrap()
    }

    async fn command(&mut self) -> v1::Command {
        let received = tokio::time::timeout(DEADLINE, self.commands.next()).await.expect("a command in time").unwrap();
        proto::decode(None, &received.payload).unwrap()
    }

    async fn item(&self, name: &str) -> Group {
        self.store.item(name).await.unwrap().unwrap_or_else(|| panic!("no item {name}"))
    }

    /// Waits until the item shows what is wanted.
    async fn eventually(&self, name: &str, wanted: impl Fn(&Group) -> bool) -> Group {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let item = self.store.item(name).await.unwrap();
            match item {
                Some(item) if wanted(&item) => return item,
                other => assert!(tokio::time::Instant::now() < deadline, "{name} is still {other:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn record(name: &str) -> RecordRef {
    name.parse().unwrap()
}

fn seen(name: &str, native: &str, position: u64) -> Observation {
    Observation {
        position: Some(Position(position)),
        actor: Some(Actor { name: "Ada".into(), id: None, automation: false }),
        ..Observation::new(
            format!("{name}:{position}:{native}"),
            record(name),
            Native::new(native).unwrap(),
            Source::Webhook,
            Timestamp(i64::try_from(position).unwrap()),
        )
    }
}

fn key(name: &str) -> Vec<Key> {
    vec![Key::new(name).unwrap()]
}

fn owning(observation: Observation, name: &str) -> Observation {
    Observation { keys: key(name), ..observation }
}

fn mentioning(observation: Observation, name: &str) -> Observation {
    Observation { mentions: key(name), ..observation }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_becomes_a_version_a_change_and_a_command_for_the_other_record() {
    let mut world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    let item = world.eventually("T-1", |group| group.links.len() == 2).await;
    assert_eq!(item.item.version.0, 1);
    world.see(&seen("tracker/issue/1", "done", 2)).await;
    let kinds: Vec<(String, u64)> = {
        let mut kinds = vec![];
        while kinds.last().is_none_or(|(_, version)| *version < 2) {
            let change = world.change().await;
            if change.item == item.item.id.to_string() {
                kinds.push((change.kind, change.version));
            }
        }
        kinds
    };
    assert_eq!(kinds, [("status_changed".into(), 1), ("linked".into(), 1), ("status_changed".into(), 2)]);
    let command = world.command().await;
    assert_eq!((command.record.as_str(), command.native.as_str(), command.version), ("forge/issue/a/b#1", "closed", 2));
    assert_eq!(command.expects, ["open"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_tie_records_in_whatever_order_they_are_seen() {
    let world = World::new().await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    world.eventually("forge/issue/a/b#1", |group| group.links.len() == 1).await;
    world.see(&owning(seen("tracker/issue/1", "in_review", 1), "T-1")).await;
    let item = world.eventually("forge/issue/a/b#1", |group| group.links.len() == 2).await;
    assert_eq!(item.item.status.as_str(), "in_review");
    assert_eq!(item.item.key.as_ref().unwrap().as_str(), "T-1");
    assert_eq!(world.store.items(&ItemFilter::default(), 10).await.unwrap().len(), 1, "the other item ended");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_may_begin_and_tie_many_records() {
    let world = World::new().await;
    let mut messages = vec![];
    for number in 0..200 {
        let (forge, tracker) = (format!("forge/issue/a/b#{number}"), format!("tracker/issue/{number}"));
        let name = format!("T-{number}");
        messages.push(Outgoing::observation(Lane::High, &mentioning(seen(&forge, "open", 1), &name)));
        messages.push(Outgoing::observation(Lane::High, &owning(seen(&tracker, "todo", 1), &name)));
        messages.push(Outgoing::observation(Lane::High, &seen(&tracker, "done", 2)));
    }
    world.bus.publish_all(messages).await.unwrap();
    for number in 0..200 {
        let name = format!("T-{number}");
        world.eventually(&name, |group| group.links.len() == 2 && group.item.status.as_str() == "done").await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_again_is_published_again_and_changes_nothing() {
    let mut world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 2).await;
    world.see(&seen("tracker/issue/1", "done", 2)).await;
    let before = world.eventually("T-1", |group| group.item.version.0 == 2).await;
    world.stop().await;

    // As after a crash between commit and acknowledgement: the log is read again from its beginning. The streams of what was
    // published are emptied, so that a second publication shows.
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.server.url()).await.unwrap());
    for name in ["CHANGES", "COMMANDS"] {
        jetstream.delete_stream(name).await.unwrap();
    }
    let observations = jetstream.get_stream("OBSERVATIONS").await.unwrap();
    let consumers: Vec<String> = futures_util::TryStreamExt::try_collect(observations.consumer_names()).await.unwrap();
    for consumer in consumers {
        observations.delete_consumer(&consumer).await.unwrap();
    }
    let (process, bus, store) = World::start(&world.server, World::store(&world.database), policy()).await;
    (world.process, world.store) = (process, store);
    world.changes = bus.tail(Stream::Changes, &["lockstep.change.>".into()], Tail::Sequence(1)).await.unwrap();
    world.commands = bus.tail(Stream::Commands, &["lockstep.command.>".into()], Tail::Sequence(1)).await.unwrap();
    world.bus = bus;
    let command = world.command().await;
    assert_eq!((command.native.as_str(), command.version), ("closed", 2));
    let mut again = vec![];
    while !again.contains(&format!("{}:2", before.item.id)) {
        again.push(world.change().await.id);
    }
    let after = world.item("T-1").await;
    assert_eq!(after.item, before.item);
    let history = world.store.history(after.item.id, None, None, 100).await.unwrap().0;
    let changed = history.iter().filter(|row| row.kind == RowKind::Changed).count();
    assert_eq!(changed, 2, "{history:#?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_rolls_back_ties_and_unties() {
    let world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&seen("tracker/issue/1", "done", 2)).await;
    world.see(&seen("forge/issue/a/b#1", "open", 1)).await;
    world.eventually("T-1", |group| group.item.version.0 == 2).await;
    world.eventually("forge/issue/a/b#1", |group| group.item.version.0 == 1).await;
    let [gateway] = world.process.addresses().into_values().collect::<Vec<_>>()[..] else { panic!("one address") };
    let url = |path: &str| format!("http://{gateway}{path}");
    let client = reqwest::Client::new();
    let post = |path: &str, body: serde_json::Value| client.post(url(path)).json(&body).send();

    let answer = post("/v1/items/T-1/rollback", serde_json::json!({ "version": 1, "actor": "ops" })).await.unwrap();
    assert_eq!(answer.status(), 202);
    world.eventually("T-1", |group| group.item.version.0 == 3 && group.item.status.as_str() == "todo").await;

    post("/v1/items/T-1/links", serde_json::json!({ "record": "forge/issue/a/b#1" })).await.unwrap();
    let item = world.eventually("T-1", |group| group.links.len() == 2).await.item.id;
    let history = async |name: String| -> serde_json::Value {
        client.get(url(&format!("/v1/items/{name}/history"))).send().await.unwrap().json().await.unwrap()
    };
    let taken = history("T-1".into()).await["took_over"][0].as_str().unwrap().to_owned();
    let old = history(taken.clone()).await;
    let all = history("T-1".into()).await["history"].as_array().unwrap().clone();
    let (mut pages, mut query) = (vec![], "T-1/history?limit=1".to_owned());
    loop {
        let page: serde_json::Value =
            client.get(url(&format!("/v1/items/{query}"))).send().await.unwrap().json().await.unwrap();
        pages.extend(page["history"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("T-1/history?limit=1&after={next}");
    }
    assert!(all.len() > 3 && pages == all, "one at a time they are the same: {pages:#?}");
    assert_eq!((old["item"].as_str(), &old["ended_into"]), (Some(taken.as_str()), &serde_json::json!(item)));
    assert_eq!(old["history"][0]["record"], "forge/issue/a/b#1");

    let bot = serde_json::json!({ "name": "release", "id": "u7", "automation": true });
    post("/v1/items/T-1/status", serde_json::json!({ "status": "cancelled", "actor": bot })).await.unwrap();
    let item = world.eventually("T-1", |group| group.item.status.as_str() == "canceled").await;
    let actor = Actor { name: "release".into(), id: Some("u7".into()), automation: true };
    assert_eq!(item.item.changed_by_actor, Some(actor));
    assert_eq!(item.item.changed_by.system.as_str(), "lockstep");

    let untie = async |query: &str| {
        client.delete(url(&format!("/v1/items/T-1/links/forge/issue/a/b%231{query}"))).send().await.unwrap()
    };
    assert_eq!(untie("?by=Bob").await.status(), 400, "it is not passed over");
    let answer = untie("?actor=Bob").await;
    assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    world.eventually("T-1", |group| group.links.len() == 1).await;
    let untied = &history("T-1".into()).await["history"][0];
    assert_eq!((&untied["kind"], &untied["actor"]["name"]), (&"unlinked".into(), &"Bob".into()));
    world.eventually("forge/issue/a/b#1", |group| group.item.id != item.item.id).await;

    for (path, body, status) in [
        ("/v1/items/T-1/status", serde_json::json!({ "status": "nonsense" }), 422),
        ("/v1/items/T-1/rollback", serde_json::json!({ "version": 99 }), 422),
        ("/v1/items/T-9/status", serde_json::json!({ "status": "done" }), 404),
        ("/v1/items/T-1/links", serde_json::json!({ "record": "forge/issue/never#1" }), 404),
        ("/v1/items/T-1/status", serde_json::json!({ "status": "done", "actor": "a\u{0}b" }), 422),
        ("/v1/items/T-1/status", serde_json::json!({ "status": "done", "actor": "x".repeat(257) }), 422),
        ("/v1/items/T-1/status", serde_json::json!({ "status": "done", "actor": { "name": "a", "id": "\n" } }), 422),
        ("/v1/items/%00/status", serde_json::json!({ "status": "done" }), 404),
    ] {
        assert_eq!(post(path, body).await.unwrap().status(), status, "{path}");
    }
    assert_eq!(client.get(url("/v1/items?q=%00")).send().await.unwrap().status(), 400);
    world.stop().await;
}

#[tokio::test]
async fn a_database_that_is_not_there_refuses_and_is_not_waited_for() {
    let url = format!("{}_not", database().await);
    let (config, process) = (World::store(&url), Process::new("resolver", None));
    let connected = Store::connect(&config, &process);
    let error = tokio::time::timeout(Duration::from_secs(10), connected).await.expect("at once").unwrap_err();
    assert!(format!("{error:#}").contains("database.url (DATABASE_URL) refuses"), "{error:#}");
}

#[test]
fn an_api_that_others_can_reach_wants_a_key() {
    let open = resolver::Config { listen: "0.0.0.0:1".parse().unwrap(), ..resolver::Config::default() };
    assert_eq!(open.check(None).unwrap_err().key, "resolver.api_keys");
    let local = resolver::Config::default();
    assert_eq!(local.check(Some("0.0.0.0:1".parse().unwrap())).unwrap_err().key, "resolver.api_keys");
    assert!(resolver::Config { api_keys: vec!["key".into()], ..open }.check(None).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_sweep_saw_is_counted_as_drift_of_its_system() {
    let world = World::new().await;
    world.see(&seen("tracker/issue/1", "todo", 1)).await;
    let swept = |native: &str, position: u64, time: u8| Observation {
        id: format!("{native} {time}"),
        source: Source::Sweep,
        ..seen("tracker/issue/1", native, position)
    };
    for one in [swept("todo", 1, 1), swept("done", 2, 1), swept("done", 2, 2), swept("todo", 1, 2)] {
        world.see(&one).await;
    }
    world.see(&seen("tracker/issue/1", "todo", 3)).await;
    world.eventually("tracker/issue/1", |group| group.item.version.0 == 3).await;
    world.stop().await;
    assert_eq!(world.process.metrics().drift_found_total.with_label_values(&["tracker"]).get(), 1);
}
