//! A client that reads and writes bytes: it follows the protocol only where a case does.

use std::net::SocketAddr;
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing that a case waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The key of the example in RFC 6455, and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    lines: Vec<(String, String)>,
}

impl Head {
    /// The values of a header, joined.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.lines.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// The lines of a request that asks for the upgrade as it should be done.
pub fn request(address: SocketAddr) -> Vec<String> {
    vec![
        "GET /v1/ws HTTP/1.1".into(),
        format!("Host: {address}"),
        "Upgrade: websocket".into(),
        "Connection: Upgrade".into(),
        format!("Sec-WebSocket-Key: {KEY}"),
        "Sec-WebSocket-Version: 13".into(),
    ]
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// With the server's compression; kept over messages where it may refer to earlier ones.
    inflate: Option<(Decompress, bool)>,
}

impl Client {
    /// A connection over which nothing has been said.
    pub async fn open(address: SocketAddr) -> Self {
        Self::maybe_open(address).await.expect("the server takes connections")
    }

    async fn maybe_open(address: SocketAddr) -> Option<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().ok()?;
        stream.set_nodelay(true).unwrap();
        Some(Self { stream, bytes: Vec::new(), inflate: None })
    }

    /// An upgraded connection.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address).await;
        let head = client.ask(&request(address)).await;
        assert_eq!(head.status, 101, "{head:?}");
        client
    }

    /// The same, or nothing where no new clients are taken.
    pub async fn reach(address: SocketAddr) -> Option<Self> {
        let mut client = Self::maybe_open(address).await?;
        client.request(&request(address)).await;
        (client.maybe_head().await?.status == 101).then_some(client)
    }

    /// An upgraded connection with this value of `Sec-WebSocket-Extensions`, and the server's answer to it.
    pub async fn offer(address: SocketAddr, extensions: &str) -> (Self, Option<String>) {
        let mut client = Self::open(address).await;
        let mut lines = request(address);
        lines.push(format!("Sec-WebSocket-Extensions: {extensions}"));
        let head = client.ask(&lines).await;
        assert_eq!(head.status, 101, "{extensions}: {head:?}");
        let answer = head.header("sec-websocket-extensions");
        let forgets = answer.as_ref().is_some_and(|answer| answer.contains("server_no_context_takeover"));
        client.inflate = answer.as_ref().map(|_| (Decompress::new(false), forgets));
        (client, answer)
    }

    /// Sends a request, and reads the head of the answer.
    pub async fn ask(&mut self, lines: &[String]) -> Head {
        self.request(lines).await;
        self.head().await
    }

    async fn request(&mut self, lines: &[String]) {
        self.send(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes()).await;
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Head {
        self.maybe_head().await.expect("the connection ended without an answer")
    }

    async fn maybe_head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let text = String::from_utf8(self.bytes.drain(..end + 4).collect()).unwrap();
                let mut lines = text.trim_end().split("\r\n");
                let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
                let lines = lines.map(|line| line.split_once(':').unwrap());
                let lines = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
                return Some(Head { status, lines: lines.collect() });
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Sends bytes. That the server has ended the connection meanwhile is no fault here: what it said is read afterwards.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads");
    }

    /// Sends bytes in pieces, each in a packet of its own as far as the system does so.
    pub async fn send_in(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.send(piece).await;
            tokio::task::yield_now().await;
        }
    }

    /// The next frame, as it is; `None` when the connection has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.whole() {
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// What a compressed message says.
    pub fn inflated(&mut self, payload: &[u8]) -> Vec<u8> {
        let (inflate, forgets) = self.inflate.as_mut().expect("compression was agreed on");
        if *forgets {
            inflate.reset(false);
        }
        let mut out = Vec::with_capacity(256 * 1024);
        for part in [payload, &[0, 0, 0xff, 0xff]] {
            inflate.decompress_vec(part, &mut out, FlushDecompress::Sync).expect("the server compresses well");
        }
        out
    }

    fn whole(&mut self) -> Option<Frame> {
        let bytes = &self.bytes;
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a server's frames are not masked");
        let (start, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
            127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap()),
            short => (2, usize::from(short)),
        };
        let payload = bytes.get(start..start + length)?.to_vec();
        self.bytes.drain(..start + length);
        Some(Frame { first, payload })
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await;
        // Ended in order, or reset because something of ours was not read any more.
        !matches!(read.expect("the server answers or ends the connection"), Ok(0) | Err(_))
    }
}
