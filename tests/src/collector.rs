//! A collector of traces: takes what OTLP's exporter sends by HTTP, and keeps the name and the trace of each span.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A span: its trace in hexadecimal, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The trace.
    pub trace: String,
    /// The span's name.
    pub name: String,
}

/// Runs until the test ends.
pub struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Collector {
    /// One on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(body) = request(stream).await {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).extend(spans(&body).unwrap_or_default());
                }
            }
        });
        Ok(Self { address, seen })
    }

    /// For `telemetry.otlp_endpoint`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of a trace.
    pub fn of(&self, trace: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|seen| seen.trace == trace).cloned().collect()
    }
}

/// Reads one request, answers it, and closes.
async fn request(mut stream: TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut taken = Vec::new();
    loop {
        let end = taken.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&taken[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let length: usize = length.context("a request without a length")?;
            if taken.len() >= end + 4 + length {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
                return Ok(taken.split_off(end + 4));
            }
        }
        let read = stream.read_buf(&mut taken).await?;
        anyhow::ensure!(read > 0, "half a request");
    }
}

/// The spans in an `ExportTraceServiceRequest`: its resources (1), their scopes (2), their spans (2), whose trace is 1 and whose name is 5.
fn spans(body: &[u8]) -> Option<Vec<Seen>> {
    let mut all = Vec::new();
    for resource in members(body, 1)? {
        for scope in members(resource, 2)? {
            for span in members(scope, 2)? {
                let (trace, name) = (members(span, 1)?, members(span, 5)?);
                let name = String::from_utf8_lossy(name.first()?).into_owned();
                all.push(Seen { trace: hex::encode(trace.first()?), name });
            }
        }
    }
    Some(all)
}

/// The members of a Protobuf message with this number that are messages, texts or bytes.
fn members(mut message: &[u8], wanted: u64) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut message)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (member, rest) = message.split_at_checked(length)?;
        message = rest;
        if tag >> 3 == wanted && tag & 7 == 2 {
            found.push(member);
        }
    }
    Some(found)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
