//! Many at once: ten thousand who hear nothing, and some who never read.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Barrier, Mutex};
use tokio::time::timeout;

use super::case::{self, Heard};
use super::client::Client;
use super::frame::{PING, PONG, TEXT, asked, frame};
use super::world::{self, World};

/// Both look at the memory of their process.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Lets this process have so many files open, or as many as it may.
pub fn allow_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: Some(wanted), maximum: now.maximum.map(|maximum| maximum.max(wanted)) };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        return wanted;
    }
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }).unwrap();
    now.maximum.unwrap_or(wanted).min(wanted)
}

/// The memory of this process, in kibibytes: of the broadcaster and of its clients.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How much memory one quiet connection may take, with both ends: several times what it does.
const EACH_KB_MAX: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_are_told_nothing_stay_and_answer() {
    let _alone = ALONE.lock().await;
    // Both ends of a connection are in this process.
    let count = usize::try_from((allow_files(21_000) - 1_000) / 2).unwrap();
    assert!(count >= 9_000, "this process may not have enough files open");
    let world =
        world::start_with(|config| (config.clients_max, config.ping_ms, config.patience_ms) = (10_001, 2_000, 20_000))
            .await;
    let address = world.address();
    let before = memory();
    let began = Instant::now();
    let connecting = stream::iter(0..count).map(|_| Client::connect(address)).buffer_unordered(200);
    let clients: Vec<Client> = connecting.collect().await;
    let connected = began.elapsed();
    let each = memory().saturating_sub(before) / count as u64;
    println!("{count} connections in {connected:?}, {each} KB each with both ends");
    assert!(each < EACH_KB_MAX, "{each} KB for each");
    let mut clients = join_all(clients.into_iter().map(gives_a_sign_of_life)).await;
    for client in &mut clients {
        client.send(&frame(TEXT, asked("here"))).await;
    }
    for client in &mut clients {
        let answer = loop {
            match client.frame().await.expect("the connection holds") {
                asked if asked.first == PING => client.send(&frame(PONG, asked.payload)).await,
                said if String::from_utf8_lossy(&said.payload).contains("\"welcome\"") => {}
                said => break String::from_utf8(said.payload).unwrap(),
            }
        };
        assert!(answer.contains("\"here\""), "{answer}");
    }
    println!("all {count} answered after {:?}", began.elapsed());
}

/// What each is told: in all eight times what the broadcaster remembers.
const MESSAGES: u64 = 8_000;
/// What those who read are told before, so that all memory that this takes has been taken.
const WARM: u64 = 2_000;
/// How large a message is.
const SIZE: usize = 8 * 1024;
/// Who reads is never further behind than this: what is told to those who keep up does not depend on how fast this machine is.
const CHUNK: u64 = 100;
const REMEMBERED: usize = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_costs_the_others_nothing() {
    const ALIVE: usize = 18;
    const DEAD: usize = 2;
    let _alone = ALONE.lock().await;
    let world = world::start_with(|config| config.history_max_bytes = REMEMBERED).await;
    let together = Arc::new(Barrier::new(ALIVE + 1));
    let mut reading = Vec::new();
    for client in joined(&world, ALIVE).await {
        reading.push(tokio::spawn(all_in_order(client, Arc::clone(&together))));
    }
    tell(&world, 0..WARM, &together).await;
    let (dead, before, began) = (joined(&world, DEAD).await, memory(), Instant::now());
    tell(&world, WARM..WARM + MESSAGES, &together).await;
    let grown = memory().saturating_sub(before);
    for reader in reading {
        reader.await.unwrap();
    }
    println!("{MESSAGES} messages to {ALIVE} readers in {:?}, memory grew by {grown} KB", began.elapsed());
    let told = MESSAGES * SIZE as u64 / 1024;
    assert!(grown < told / 2, "{grown} KB of the {told} KB that were told: something keeps it all");
    drop(dead);
}

/// Clients that are in the room of everything and have read how things stand.
async fn joined(world: &World, count: usize) -> Vec<Client> {
    let mut clients = join_all((0..count).map(|_| Client::connect(world.address()))).await;
    for client in &mut clients {
        client.send(&frame(TEXT, "{\"type\":\"subscribe\",\"rooms\":[\"all\"]}")).await;
        loop {
            match case::hear(client).await {
                Heard::Other(text) if text.contains("\"snapshot\"") => break,
                Heard::Other(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    clients
}

/// Tells of changes, and waits after each chunk until all who read have it.
async fn tell(world: &World, numbers: Range<u64>, together: &Barrier) {
    for begin in numbers.step_by(usize::try_from(CHUNK).unwrap()) {
        world.announce(begin..begin + CHUNK, SIZE).await;
        timeout(Duration::from_secs(30), together.wait()).await.expect("everything comes to those who read");
    }
}

/// Reads until every message has come, each once and in order; the others are waited for after each chunk.
async fn all_in_order(mut client: Client, together: Arc<Barrier>) {
    for wanted in 0..WARM + MESSAGES {
        let text = loop {
            let said = client.frame().await.expect("the connection holds");
            if said.first == PING {
                client.send(&frame(PONG, said.payload)).await;
            } else {
                break String::from_utf8(said.payload).unwrap();
            }
        };
        let key = text.split_once("\"key\":\"K").expect("a change").1;
        assert_eq!(key.split_once('"').unwrap().0.parse(), Ok(wanted));
        if (wanted + 1).is_multiple_of(CHUNK) {
            together.wait().await;
        }
    }
}

/// Waits until it is asked for it.
async fn gives_a_sign_of_life(mut client: Client) -> Client {
    let payload = loop {
        let asked = client.frame().await.expect("the connection holds");
        if asked.first == PING {
            break asked.payload;
        }
    };
    client.send(&frame(PONG, payload)).await;
    client
}
