//! People, who edit records and speak as operators; and the systems' webhooks that tell of it.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Outgoing};
use model::{Intent, Lane, Native, Observation, Origin, Source, Status, System, Timestamp, Version};
use runtime::simulation::{below, chance, note};
use serde_json::json;
use tokio::sync::mpsc;

use crate::land::{Author, Credential, Land};
use crate::table;
use crate::world::World;

/// One of these.
pub fn pick<T: Copy>(all: &[T]) -> T {
    all[below(all.len() as u64) as usize]
}

/// Somebody edits a record, or something else on it.
pub fn edit(world: &World) {
    let land = &world.land;
    let settings = &land.settings;
    let place = below(land.look().remotes.len() as u64) as usize;
    let (table, credential, now) = {
        let inside = land.look();
        let remote = &inside.remotes[place];
        (remote.table, remote.credential, remote.now().native.clone())
    };
    let touch = settings.odd_statuses && chance(150);
    let native = if touch {
        now.clone()
    } else if settings.odd_statuses && chance(120) {
        Native::new(pick(&["???", "queued"])).unwrap()
    } else {
        let natives = table.natives();
        // Few words, so that people often have the same idea, and go back to what was.
        let few = if chance(800) { natives.len().min(4) } else { natives.len() };
        Native::new(pick(&natives[..few])).unwrap()
    };
    if !touch && native == now {
        return;
    }
    let origin = match credential {
        // Who touched something else did not set the status.
        _ if touch => Origin::Unknown,
        Credential::Personal if chance(500) => Origin::Unknown,
        _ => Origin::Other,
    };
    let by = if touch { Author::Touch } else { Author::Person };
    let revision = land.change(place, &native, by, origin);
    send_webhook(land, place, revision, land.fails(settings.lose_webhooks));
}

/// The webhook of our own write.
pub fn send_webhook_of_ours(land: &Land, place: usize, revision: usize) {
    send_webhook(land, place, revision, land.fails(land.settings.lose_webhooks));
}

/// A webhook on its way to ingest.
pub struct Posted {
    pub place: usize,
    pub revision: usize,
    pub copy: u64,
}

fn send_webhook(land: &Land, place: usize, revision: usize, lost: bool) {
    let system = land.look().remotes[place].system();
    if !matches!(system, "linear" | "github") {
        return;
    }
    if lost {
        note(|| format!("the webhook of {system} {place} revision {revision} is lost"));
        return;
    }
    let copies = 1 + u64::from(land.fails(land.settings.double_webhooks));
    for copy in 0..copies {
        land.post(Posted { place, revision, copy });
    }
}

/// Carries webhooks to ingest, each at its own pace; a system tries again when ingest does not answer.
pub async fn post_office(world: Arc<World>, mut posted: mpsc::UnboundedReceiver<Posted>) {
    while let Some(one) = posted.recv().await {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let land = &world.land;
            let late = if land.fails(land.settings.late_webhooks) { 20_000 } else { 200 };
            tokio::time::sleep(Duration::from_millis(below(late))).await;
            deliver_webhook(&world, &one).await;
            land.look().under_way -= 1;
        });
    }
}

async fn deliver_webhook(world: &World, one: &Posted) {
    let system = System::new(world.land.look().remotes[one.place].system()).unwrap();
    let incomplete = world.land.fails(world.land.settings.incomplete_webhooks);
    let body = json!({"place": one.place, "revision": one.revision, "incomplete": incomplete});
    // GitHub's copies have an id of their own when a person asks for them again.
    let id = format!("{}-{}-{}", one.place, one.revision, one.copy);
    for attempt in 1..=3 {
        let ingest = world.ingest();
        let message = Outgoing::webhook(&system, &id, "changed", vec![], body.to_string().into());
        match ingest.publish(message).await {
            Ok(_) => return,
            Err(error) => note(|| format!("ingest answers 503 to {id}: {error}")),
        }
        if system.as_str() == "github" {
            break;
        }
        tokio::time::sleep(Duration::from_secs(10 * attempt)).await;
    }
    note(|| format!("the webhook {id} is given up"));
}

/// An operator says something about the item of a record, and says it again until it is stored.
pub async fn say(world: &World, place: usize, intent: Intent) {
    speak(world, place, Native::none(), intent).await;
}

async fn speak(world: &World, place: usize, native: Native, intent: Intent) {
    let record = world.land.look().remotes[place].record.clone();
    note(|| format!("operator on {record}: {intent:?} {native}"));
    // Of which item somebody speaks who looks at it now.
    let item = (intent != Intent::Status).then(|| world.database.tables().records.get(&record).map(|(item, _)| *item));
    let observation = Observation {
        intent,
        item: item.flatten(),
        ..Observation::new(
            runtime::unique().to_string(),
            record,
            native,
            Source::Api,
            Timestamp(runtime::simulation::now_ms().unwrap()),
        )
    };
    let bus: Bus = world.operator.bus(world.bus_config());
    while bus.publish(Outgoing::observation(Lane::Critical, &observation)).await.is_err() {}
}

/// An operator does something.
pub async fn operate(world: &World) {
    let place = below(world.land.look().remotes.len() as u64) as usize;
    let record = world.land.look().remotes[place].record.clone();
    let tables = world.database.tables();
    let Some((item, _)) = tables.records.get(&record) else { return };
    let item = &tables.items[item];
    let conflict = item.held.and_then(|held| tables.conflicts.get(&held));
    let watched = tables.records[&record].1.watched;
    let table = world.land.look().remotes[place].table;
    let intent = match (conflict, below(4)) {
        (_, 3) if watched && !table.is_read_only() => {
            let native = Native::new(pick(&table.natives())).unwrap();
            return speak(world, place, native, Intent::Status).await;
        }
        (Some(conflict), 0 | 1) => Intent::Pick(conflict.id, below(conflict.candidates.len() as u64 + 1) as usize),
        (_, 2) => Intent::Rollback(Version(1 + below(item.version.0 + 1))),
        _ => Intent::Force(Status::new(pick(&table::STATUSES)).unwrap()),
    };
    say(world, place, intent).await;
}

/// Records are tied together or untied.
pub async fn tie_or_untie(world: &World) {
    let count = world.land.look().remotes.len() as u64;
    let (one, other) = (below(count) as usize, below(count) as usize);
    let record = world.land.look().remotes[other].record.clone();
    let intent = if one != other && chance(500) { Intent::Link(record) } else { Intent::Unlink };
    say(world, one, intent).await;
}

/// An operator ends most holds.
pub async fn release(world: &World) {
    let tables = world.database.tables();
    for item in tables.items.values() {
        let conflict = item.held.and_then(|held| tables.conflicts.get(&held));
        let record = tables.records.values().find(|(of, _)| *of == item.id).map(|(_, link)| &link.record);
        let (Some(conflict), Some(record), true) = (conflict, record, chance(800)) else { continue };
        let place = world.land.look().place_of(record);
        let candidate = below(conflict.candidates.len() as u64) as usize;
        say(world, place, Intent::Pick(conflict.id, candidate)).await;
    }
}
