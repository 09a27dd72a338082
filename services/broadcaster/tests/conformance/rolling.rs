//! Every broadcaster is stopped and started again, one after another, while thousands follow.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use broadcaster::testing::{Running, World};
use rand::seq::IndexedRandom as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Client;
use super::crowd::allow_files;
use super::frame::{CLOSE, PING, PONG, TEXT, frame};

const CLIENTS: u32 = 5_000;
const BROADCASTERS: u32 = 3;
/// How often something is told meanwhile.
const EVERY: Duration = Duration::from_millis(100);
/// For how long a broadcaster that stops lets its clients go.
const DRAIN_MS: u64 = 3_000;
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(100);

/// The broadcasters that take new clients: what a load balancer knows.
#[derive(Default)]
struct Balancer(Mutex<Vec<SocketAddr>>);

impl Balancer {
    fn add(&self, running: &Running) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(running.address);
    }

    fn remove(&self, running: &Running) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|address| *address != running.address);
    }

    fn pick(&self) -> SocketAddr {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.choose(&mut rand::rng()).expect("one is always there")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_five_thousand_clients_loses_and_repeats_nothing() {
    // Both ends of a connection are in this process, and a client's next one is there before the last is gone.
    assert!(allow_files(16_000) >= 16_000, "this process may not have enough files open");
    let world = World::new().await.unwrap();
    let start = || world.start(|config| (config.drain_ms, config.conflate_over) = (DRAIN_MS, 1_000_000));
    let balancer = Arc::new(Balancer::default());
    let mut running = Vec::new();
    for _ in 0..BROADCASTERS {
        running.push(start().await.unwrap());
        balancer.add(&running[running.len() - 1]);
    }
    let (joined, (last, _)) = (Arc::new(Semaphore::new(0)), watch::channel(u64::MAX));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(follow(Arc::clone(&balancer), Arc::clone(&joined), last.subscribe()));
    }
    timeout(PATIENCE, joined.acquire_many(CLIENTS)).await.expect("all join").unwrap().forget();

    let began = Instant::now();
    let restarting = async {
        for place in &mut running {
            balancer.remove(place);
            place.process.shutdown().cancel();
            place.process.finished(PATIENCE).await.unwrap();
            *place = start().await.unwrap();
            balancer.add(place);
        }
    };
    let told = telling_until(&world, Box::pin(restarting)).await;
    println!("{BROADCASTERS} broadcasters restarted in {:?}, {told} changes told meanwhile", began.elapsed());
    last.send_replace(told + 1);
    world.announce(1, told + 1).await;
    let moved = timeout(PATIENCE, clients.join_all()).await.expect("all hear everything");
    // Each broadcaster was stopped while it had clients, and nobody was with the same one before and after.
    assert!(moved.iter().all(|moved| (1..=2 * BROADCASTERS).contains(moved)), "{moved:?}");
    println!("all heard everything after {:?}; {} connections moved", began.elapsed(), moved.iter().sum::<u32>());
}

/// Tells of a change from time to time until something is done; how many there were.
async fn telling_until(world: &World, done: impl Future<Output = ()>) -> u64 {
    let (mut clock, mut told) = (tokio::time::interval(EVERY), 0);
    let mut done = pin!(timeout(PATIENCE, done));
    loop {
        tokio::select! {
            done = &mut done => {
                done.expect("they all stop in time");
                return told;
            }
            _ = clock.tick() => {
                told += 1;
                world.announce(1, told).await;
            }
        }
    }
}

/// Follows everything, wherever it is let in, until the last change; how often it had to go elsewhere.
async fn follow(balancer: Arc<Balancer>, joined: Arc<Semaphore>, last: watch::Receiver<u64>) -> u32 {
    let (mut heard, mut position, mut moved) = (0, String::new(), 0);
    loop {
        let Some(mut client) = Client::reach(balancer.pick()).await else {
            // It has just stopped taking clients.
            tokio::time::sleep(Duration::from_millis(rand::random_range(10..50))).await;
            continue;
        };
        let wish =
            if position.is_empty() { "\"snapshot\":false".to_owned() } else { format!("\"position\":\"{position}\"") };
        client.send(&frame(TEXT, format!("{{\"type\":\"subscribe\",\"rooms\":[\"all\"],{wish}}}"))).await;
        loop {
            let said = client.frame().await.expect("a broadcaster that stops says so");
            if said.first == PING {
                client.send(&frame(PONG, said.payload)).await;
                continue;
            }
            if said.first == CLOSE {
                assert_eq!(said.payload[..2], 1001_u16.to_be_bytes(), "{said:?}");
                moved += 1;
                break;
            }
            let text = String::from_utf8(said.payload).unwrap();
            let after = |name: &str| text.split_once(&format!("\"{name}\":")).map(|(_, value)| value);
            match after("type").and_then(|value| value.split('"').nth(1)).expect("every message has a type") {
                "subscribed" if position.is_empty() => {
                    after("position").and_then(|value| value.split('"').nth(1)).unwrap().clone_into(&mut position);
                    joined.add_permits(1);
                }
                "subscribed" => assert!(text.contains("\"resumed\":true"), "{text}"),
                "status_changed" => {
                    let version = after("version").and_then(|value| value.split([',', '}']).next()).unwrap();
                    assert_eq!(version.parse(), Ok(heard + 1), "each once and in order");
                    heard += 1;
                    after("position").and_then(|value| value.split('"').nth(1)).unwrap().clone_into(&mut position);
                    if heard == *last.borrow() {
                        return moved;
                    }
                }
                "welcome" | "going_away" => {}
                _ => panic!("{text}"),
            }
        }
    }
}
