//! Every event once and in its stream's order, however often and wherever connections break.
//!
//! The server keeps two streams and tells them interleaved differently on each connection, as two broadcasters would; a position
//! is a place in each. It goes on by position and knows nothing of what a client has been told. Answers go before events that wait.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use super::peer::{Peer, server};
use super::*;
use crate::Filter;

const EVENTS: usize = 10_000;
const ROOMS: usize = 3;

/// An event of stream `stream`: its number there, and the rooms that hear it.
#[derive(Debug, Clone)]
struct Event {
    number: usize,
    rooms: BTreeSet<usize>,
    /// Whether filtered rooms hear it.
    passes: bool,
}

#[derive(Default)]
struct Streams {
    streams: [Vec<Event>; 2],
}

type Places = [usize; 2];

struct World {
    streams: Mutex<Streams>,
    grown: watch::Sender<usize>,
    random: Mutex<StdRng>,
    /// How many frames a connection lives at most.
    frames: usize,
    /// How many have been cut.
    cuts: AtomicUsize,
}

fn position(places: Places) -> String {
    format!("{:x}.{:x}", places[0], places[1])
}

fn places(position: &str) -> Places {
    let (first, second) = position.split_once('.').unwrap();
    [first, second].map(|place| usize::from_str_radix(place, 16).unwrap())
}

/// What a client is in: rooms by number, and whether with a filter.
type Joined = Vec<(usize, bool)>;

fn hears(joined: &Joined, event: &Event) -> bool {
    joined.iter().any(|(room, filtered)| event.rooms.contains(room) && (event.passes || !filtered))
}

impl World {
    fn draw(&self, below: usize) -> usize {
        self.random.lock().unwrap().random_range(0..below)
    }

    fn heads(&self) -> Places {
        let streams = self.streams.lock().unwrap();
        [streams.streams[0].len(), streams.streams[1].len()]
    }

    /// What comes after these places for whoever is in these rooms, the streams interleaved at random; each event with the
    /// position after it.
    fn after(&self, mut at: Places, until: Places, joined: &Joined) -> (Vec<Value>, Places) {
        let mut told = Vec::new();
        while at != until {
            let mut stream = self.draw(2);
            if at[stream] == until[stream] {
                stream = 1 - stream;
            }
            let event = self.streams.lock().unwrap().streams[stream][at[stream]].clone();
            at[stream] += 1;
            if hears(joined, &event) {
                told.push(json!({"type": "operation_step", "position": position(at), "operation": stream.to_string(),
                    "step": event.number.to_string()}));
            }
        }
        (told, at)
    }

    async fn serve(&self, mut peer: Peer) {
        let mut left = self.draw(self.frames);
        let mut grown = self.grown.subscribe();
        let (mut joined, mut at, mut waiting) = (Joined::new(), self.heads(), VecDeque::new());
        loop {
            let out = tokio::select! {
                biased;
                message = peer.hears() => {
                    let Some(message) = message else { return };
                    match message["type"].as_str().unwrap() {
                        "subscribe" => self.subscribe(&message, &mut joined, &mut at, &mut waiting),
                        "ping" if waiting.is_empty() => {
                            vec![json!({"type": "pong", "at": 0, "position": position(at), "ref": message["ref"]})]
                        }
                        "ping" => vec![json!({"type": "pong", "at": 0, "ref": message["ref"]})],
                        "unsubscribe" => {
                            joined.retain(|(room, _)| !message["rooms"].as_array().unwrap().contains(&json!(format!("r{room}"))));
                            vec![json!({"type": "unsubscribed", "rooms": message["rooms"], "ref": message["ref"]})]
                        }
                        other => panic!("{other}"),
                    }
                }
                () = std::future::ready(()), if !waiting.is_empty() => waiting.pop_front().into_iter().collect(),
                changed = grown.changed() => {
                    changed.unwrap();
                    let (events, now) = self.after(at, self.heads(), &joined);
                    (waiting, at) = (events.into(), now);
                    continue;
                }
            };
            for message in &out {
                if left == 0 {
                    return self.cut(peer).await;
                }
                left -= 1;
                if !peer.says(message).await {
                    return;
                }
            }
        }
    }

    fn subscribe(
        &self,
        message: &Value,
        joined: &mut Joined,
        at: &mut Places,
        waiting: &mut VecDeque<Value>,
    ) -> Vec<Value> {
        let rooms = message["rooms"].as_array().unwrap();
        let filtered = message["filter"].is_object();
        let rooms: Joined = rooms.iter().map(|room| (room.as_str().unwrap()[1..].parse().unwrap(), filtered)).collect();
        // What happened until now goes to the rooms that were joined before; from now on all are told of the same.
        let (before, now) = self.after(*at, self.heads(), joined);
        waiting.extend(before);
        *at = now;
        let mut out = vec![
            json!({"type": "subscribed", "rooms": message["rooms"], "position": position(now), "ref": message["ref"]}),
        ];
        match message["position"].as_str() {
            Some(from) => waiting.extend(self.after(places(from), now, &rooms).0),
            None => out.extend(rooms.iter().map(|(room, _)| snapshot(&format!("r{room}"), &position(now)))),
        }
        joined.extend(rooms);
        out
    }

    async fn cut(&self, peer: Peer) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        match self.draw(4) {
            0 => peer.closes(1013, "too_slow: cut").await,
            1 => peer.closes(1001, "going_away: cut").await,
            _ => drop(peer),
        }
    }

    fn publish(&self, count: usize) {
        let mut streams = self.streams.lock().unwrap();
        for _ in 0..count {
            let mut random = self.random.lock().unwrap();
            let (stream, passes) = (random.random_range(0..2), random.random_bool(0.5));
            let rooms = (0..ROOMS).filter(|_| random.random_bool(0.6)).collect();
            let number = streams.streams[stream].len();
            streams.streams[stream].push(Event { number, rooms, passes });
        }
        drop(streams);
        self.grown.send_modify(|grown| *grown += count);
    }
}

async fn world(frames: usize) -> (Arc<World>, String) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("SEED={seed}");
    let random = Mutex::new(StdRng::seed_from_u64(seed));
    let world = Arc::new(World {
        streams: Mutex::default(),
        grown: watch::Sender::new(0),
        random,
        frames,
        cuts: AtomicUsize::new(0),
    });
    let serves = Arc::clone(&world);
    let url = server(move |peer| {
        let world = Arc::clone(&serves);
        async move { world.serve(peer).await }
    })
    .await;
    (world, url)
}

/// Reads until as many events have come as there should; the numbers told of each stream, in their order.
async fn read(watch: &mut Watch, told: &mut [Vec<usize>; 2], want: &[Vec<usize>; 2]) {
    while told.iter().zip(want).any(|(told, want)| told.len() < want.len()) {
        if let Message::OperationStep(step) = next(watch).await {
            told[step.operation.parse::<usize>().unwrap()].push(step.step.parse().unwrap());
        }
    }
}

fn heard_by(world: &World, joined: &Joined, from: Places) -> [Vec<usize>; 2] {
    let streams = world.streams.lock().unwrap();
    [0, 1].map(|stream| {
        let events = streams.streams[stream][from[stream]..].iter().filter(|event| hears(joined, event));
        events.map(|event| event.number).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_events_come_once_and_in_order_through_connections_that_break_anywhere() {
    let (world, url) = world(120).await;
    // Cut while it is opened, it is opened again.
    let mut watch = loop {
        if let Ok(watch) = watching(&url, &["r0", "r1"]).open().await {
            break watch;
        }
    };
    let from = world.heads();
    let (mut told, mut published) = ([Vec::new(), Vec::new()], 0);
    while published < EVENTS {
        let burst = 1 + world.draw(400);
        world.publish(burst);
        published += burst;
        let want = heard_by(&world, &vec![(0, false), (1, false)], from);
        read(&mut watch, &mut told, &want).await;
        assert_eq!(told, want);
    }
    let cuts = world.cuts.load(Ordering::Relaxed);
    eprintln!("{published} events through {cuts} cuts");
    assert!(cuts > 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_come_and_go_while_it_breaks_are_told_once_for_each_filter() {
    let (world, url) = world(120).await;
    let mut watch = loop {
        if let Ok(watch) = watching(&url, &["r0"]).open().await {
            break watch;
        }
    };
    let filter = Filter { statuses: vec!["x".into()], ..Filter::default() };
    watch.join(["r2"], filter.clone()).await.unwrap();
    watch.join(["r1"], Filter::default()).await.unwrap();
    watch.leave(["r2"]).await.unwrap();
    watch.join(["r2"], filter).await.unwrap();
    let from = world.heads();
    let joined: [Joined; 2] = [vec![(0, false), (1, false)], vec![(2, true)]];
    let (mut told, mut published) = ([Vec::new(), Vec::new()], 0);
    while published < EVENTS {
        let burst = 1 + world.draw(400);
        world.publish(burst);
        published += burst;
        // What both filters let pass is told for each.
        let want = joined.each_ref().map(|joined| heard_by(&world, joined, from));
        let sorted = |stream: usize| {
            let mut all = [want[0][stream].clone(), want[1][stream].clone()].concat();
            all.sort_unstable();
            all
        };
        let want = [sorted(0), sorted(1)];
        read(&mut watch, &mut told, &want).await;
        for (told, want) in told.iter_mut().zip(&want) {
            told.sort_unstable();
            assert_eq!(told, want);
        }
    }
}
