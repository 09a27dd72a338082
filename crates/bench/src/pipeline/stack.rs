//! What is measured: the resolver and the broadcaster as they are, with one WebSocket client in room `all`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bus::Bus;
use bus::topology::STREAMS;
use futures_util::{FutureExt, StreamExt};
use model::Policy;
use runtime::Process;
use store::Store;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::publisher::Publisher;
use super::seen::Seen;
use super::trial::Target;

/// The services, while they run.
pub struct Stack {
    process: Process,
    target: Target,
}

const START: Duration = Duration::from_secs(30);

impl Stack {
    /// Starts them.
    pub async fn start(nats: &str, database: &Database, policy: Arc<Policy>, partitions: Option<u32>) -> Result<Self> {
        let process = Process::new("bench", None);
        let config = bus::Config::default();
        let partitions = partitions.unwrap_or(config.partitions);
        let bus = Bus::connect(&bus::Config { url: nats.to_owned(), partitions, ..config }, &process).await?;
        bus.ensure_topology().await?;
        if bus.stream_info(bus::Stream::Observations).await?.0 > 0 {
            bail!("the server at --nats holds observations; a benchmark wants one that nobody else uses");
        }
        let store = store::Config { url: database.url.clone(), ..store::Config::default() };
        let store = Store::connect(&store, &process).await?;
        let anywhere = ([127, 0, 0, 1], 0).into();
        let resolver = resolver::Config { listen: anywhere, ..resolver::Config::default() };
        let services = (process.of("resolver"), process.of("broadcaster"));
        resolver::run(resolver, services.0, bus.clone(), store.clone(), Arc::clone(&policy)).await?;
        // Every event counts, also of one that reads slowly.
        let broadcaster =
            broadcaster::Config { listen: anywhere, conflate_over: usize::MAX, ..broadcaster::Config::default() };
        broadcaster::run(broadcaster, services.1, bus.clone(), store, policy).await?;
        let address = *process.addresses().get("broadcaster").context("the broadcaster does not listen")?;
        let seen = Seen::new();
        let connecting = tokio_tungstenite::connect_async(format!("ws://{address}/v1/ws?room=all"));
        let (mut socket, _) = tokio::time::timeout(START, connecting).await.context("the broadcaster is silent")??;
        tokio::time::timeout(START, snapshot(&mut socket)).await.context("no snapshot comes")??;
        process.spawn("client", watch(socket, seen.clone(), process.shutdown().clone()));
        Ok(Self { process, target: Target { prefix: "", seen } })
    }

    /// Where it takes messages, and what its client saw.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How many batches the resolver has carried out, and the seconds that all of them took, and their publication.
    pub fn batches(&self) -> (u64, f64, f64) {
        let stage = |name| self.process.metrics().stage_duration_seconds.with_label_values(&[name]);
        let (whole, published) = (stage("resolve"), stage("publish"));
        (whole.get_sample_count(), whole.get_sample_sum(), published.get_sample_sum())
    }

    /// Ends them, and removes their streams: message ids of this run must not count in the next.
    pub async fn stop(self, publisher: &Publisher) -> Result<()> {
        self.process.shutdown().cancel();
        self.process.finished(Duration::from_secs(10)).await?;
        publisher.remove(STREAMS.iter().map(|spec| spec.name)).await
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How many changes are noted at once.
const AT_ONCE: usize = 100;

/// Reads until the snapshot is whole.
async fn snapshot(socket: &mut Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message?
            && text.starts_with("{\"")
            && text.contains("\"type\":\"snapshot\"")
            && text.contains("\"more\":false")
        {
            return Ok(());
        }
    }
    bail!("the broadcaster closed the connection")
}

async fn watch(mut socket: Socket, seen: Seen, shutdown: CancellationToken) -> Result<()> {
    let mut causes = Vec::new();
    while let Some(mut message) = socket.next().await {
        // What is there at once was seen at once, as the minimal loop notes its batches.
        loop {
            match message {
                Ok(Message::Text(text)) => causes.extend(cause(&text)),
                Ok(Message::Close(_)) if shutdown.is_cancelled() => return Ok(()),
                Ok(Message::Close(frame)) => bail!("the broadcaster closes the connection: {frame:?}"),
                Ok(_) => {}
                Err(error) => bail!("the connection broke: {error}"),
            }
            match socket.next().now_or_never() {
                Some(Some(next)) if causes.len() < AT_ONCE => message = next,
                Some(Some(next)) => {
                    seen.note(&causes);
                    causes.clear();
                    message = next;
                }
                Some(None) | None => break,
            }
        }
        seen.note(&causes);
        causes.clear();
    }
    Ok(())
}

/// The stream sequence of what caused a change.
fn cause(text: &str) -> Option<u64> {
    // Of what comes to a room of items only changes have one.
    let (_, rest) = (!text.contains("\"type\":\"snapshot\"")).then(|| text.rsplit_once("\"cause\":"))??;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn a_change_tells_its_cause() {
        assert_eq!(
            cause("{\"type\":\"status_changed\",\"position\":\"1.1\",\"title\":\"x\",\"cause\":42,\"records\":[]}"),
            Some(42)
        );
        assert_eq!(cause("{\"type\":\"snapshot\",\"cause\":42}"), None);
    }
}
