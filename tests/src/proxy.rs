//! A TCP proxy that does to a connection what networks do: cuts it, holds everything back, delays it, resets it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// All comes through at once.
    Fair,
    /// All comes through this much later.
    Late(Duration),
    /// Nothing comes through and nobody is told: what was sent waits, as behind a cut cable.
    Silent,
    /// Connections are ended, and new ones too.
    Reset,
}

/// A proxy before one server or several that do the same. It ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    accepting: JoinHandle<()>,
}

const BUFFER: usize = 64 * 1024;
/// A server that does not answer this fast is passed over.
const CONNECT: Duration = Duration::from_secs(1);

impl Proxy {
    /// Before these servers: each connection goes to the next of them that takes it.
    pub async fn before(servers: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a proxy cannot listen")?;
        let address = listener.local_addr()?;
        let (weather, watched) = watch::channel(Weather::Fair);
        let accepting = tokio::spawn(accept(listener, Arc::from(servers), watched));
        Ok(Self { address, weather, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather for connections that are there and that come.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, servers: Arc<[SocketAddr]>, weather: watch::Receiver<Weather>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    let mut first = 0;
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        first += 1;
        connections.spawn(carry(client, Arc::clone(&servers), first, weather.clone()));
    }
}

async fn carry(client: TcpStream, servers: Arc<[SocketAddr]>, first: usize, weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Reset {
        return;
    }
    let Some(server) = connect(&servers, first).await else { return };
    // Small messages must not wait for each other.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut reset = weather.clone();
    tokio::select! {
        () = pass(from_client, to_server, weather.clone()) => {}
        () = pass(from_server, to_client, weather) => {}
        _ = reset.wait_for(|weather| *weather == Weather::Reset) => {}
    }
}

async fn connect(servers: &[SocketAddr], first: usize) -> Option<TcpStream> {
    for place in 0..servers.len() {
        let server = servers[(first + place) % servers.len()];
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(server)).await {
            return Some(stream);
        }
    }
    None
}

/// Passes on one direction until it ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let came = Instant::now();
        let Ok(now) = weather.wait_for(|weather| *weather != Weather::Silent).await.map(|weather| *weather) else {
            break;
        };
        if let Weather::Late(delay) = now {
            sleep_until(came + delay).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
