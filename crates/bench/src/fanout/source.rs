//! Where messages come from: the bus for ours, a socket for the others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_nats::HeaderMap;
use tokio::runtime::Runtime;

use super::load::micros;
use super::message::{self, Kind};

/// How a server is told.
#[derive(Debug, Clone)]
pub enum Feed {
    /// A line each.
    Lines(SocketAddr),
    /// A POST each, over one connection, without waiting for the answers.
    Http(SocketAddr),
    /// A message on the bus each.
    Bus(String, Kind),
}

/// A connection over which messages are sent.
pub struct Source {
    way: Way,
    /// How large a message is; on the bus it is as large as it is.
    size: usize,
    /// Counts messages, so that no two are the same.
    number: u64,
}

enum Way {
    Lines(TcpStream),
    Http(TcpStream),
    Bus(Box<Bus>),
}

struct Bus {
    runtime: Runtime,
    client: async_nats::Client,
    kind: Kind,
}

/// How long one sending may stand still.
const PATIENCE: Duration = Duration::from_secs(30);

impl Source {
    /// Connects.
    pub fn connect(feed: &Feed, size: usize) -> Result<Self> {
        let connected = |address: &SocketAddr| -> Result<TcpStream> {
            let stream = TcpStream::connect(address).with_context(|| format!("no source can be at {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let way = match feed {
            Feed::Lines(address) => Way::Lines(connected(address)?),
            Feed::Http(address) => {
                let stream = connected(address)?;
                let answers = stream.try_clone()?;
                std::thread::spawn(move || discard(answers));
                Way::Http(stream)
            }
            Feed::Bus(url, kind) => {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
                let client = runtime.block_on(async_nats::connect(url)).with_context(|| format!("NATS at {url}"))?;
                Way::Bus(Box::new(Bus { runtime, client, kind: *kind }))
            }
        };
        // Another source may have used the numbers before; the time goes on.
        Ok(Self { way, size, number: micros() })
    }

    /// Sends messages with this stamp.
    fn send(&mut self, count: u64, stamp: u64) -> Result<()> {
        let (numbers, size) = (self.number..self.number + count, self.size);
        self.number += count;
        match &mut self.way {
            Way::Lines(stream) => {
                let lines: String = numbers.map(|number| message::text(size, number, stamp) + "\n").collect();
                stream.write_all(lines.as_bytes())?;
            }
            Way::Http(stream) => {
                let posts = numbers.map(|number| {
                    let text = message::text(size, number, stamp);
                    format!("POST /pub HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n{text}", text.len())
                });
                stream.write_all(posts.collect::<String>().as_bytes())?;
            }
            Way::Bus(bus) => {
                let Bus { runtime, client, kind } = bus.as_ref();
                let events = numbers.map(|number| message::event(*kind, number, stamp)).collect::<Result<Vec<_>>>()?;
                runtime.block_on(async {
                    for event in events {
                        let mut headers = HeaderMap::new();
                        for (name, value) in event.headers {
                            headers.insert(name.as_ref(), value);
                        }
                        // Without an acknowledgement: what is measured is who tells it on, and losses are counted there.
                        client.publish_with_headers(event.subject, headers, event.payload).await?;
                    }
                    anyhow::Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Sends `rate` a second, each when it is due whether or not those before have arrived. Its stamp is the moment it was due.
    pub fn steady(mut self, rate: u32, time: Duration) -> Sending {
        Sending::start(move |sent, _| {
            let (began, began_at) = (Instant::now(), micros());
            let gap = Duration::from_secs(1) / rate;
            let mut due = Duration::ZERO;
            while due < time {
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                self.send(1, began_at + u64::try_from(due.as_micros())?)?;
                sent.fetch_add(1, Ordering::AcqRel);
                due += gap;
            }
            Ok(self)
        })
    }

    /// Sends as fast as it goes for some time, at most `lead` messages ahead of what each of `clients` has got on average.
    pub fn flood(mut self, lead: u64, delivered: Arc<AtomicU64>, clients: u64, time: Duration) -> Sending {
        Sending::start(move |sent, ended| {
            let began = Instant::now();
            while began.elapsed() < time && ended.load(Ordering::Acquire) == 0 {
                let ahead = sent.load(Ordering::Acquire).saturating_sub(delivered.load(Ordering::Acquire) / clients);
                let room = lead.saturating_sub(ahead);
                // Single messages would make the source the bottleneck.
                if room < lead / 16 {
                    std::thread::sleep(Duration::from_micros(100));
                    continue;
                }
                self.send(room.min(lead / 4), micros())?;
                sent.fetch_add(room.min(lead / 4), Ordering::AcqRel);
            }
            Ok(self)
        })
    }
}

/// A source at work in a thread of its own.
pub struct Sending {
    thread: JoinHandle<Result<Source>>,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
}

impl Sending {
    fn start(work: impl FnOnce(&AtomicU64, &AtomicU64) -> Result<Source> + Send + 'static) -> Self {
        let (sent, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let shared = (Arc::clone(&sent), Arc::clone(&ended));
        Self { thread: std::thread::spawn(move || work(&shared.0, &shared.1)), sent, ended }
    }

    /// How many it has sent, once it is done.
    pub fn done(&self) -> Option<u64> {
        self.thread.is_finished().then(|| self.sent.load(Ordering::Acquire))
    }

    /// The source, for the next work.
    pub fn source(self) -> Result<Source> {
        self.ended.store(1, Ordering::Release);
        match self.thread.join() {
            Ok(source) => source.context("the source failed"),
            Err(_) => bail!("the source panicked"),
        }
    }
}

/// Reads answers that nobody needs, until there are no more.
fn discard(mut stream: TcpStream) {
    let mut buffer = [0; 4 * 1024];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}
