//! A case: what is sent, and what must come back. The server does not echo, so messages are the broadcaster's own pings, whose
//! answers show that they were read whole and in order.

use std::net::SocketAddr;

use serde_json::Value;

use super::client::{Client, Frame};
use super::frame;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The answer to our message with this `ref`.
    Answer(String),
    /// The answer to a message that is none of ours.
    Refused,
    /// A pong with this payload.
    Pong(Vec<u8>),
    /// A close with this code; 1005 for none. Nothing comes after it.
    Closed(u16),
    /// The connection ended without a word.
    Ended,
    /// Something else.
    Other(String),
}

/// How bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// At once.
    Whole,
    /// In pieces of so many bytes.
    In(usize),
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its number in Autobahn's suite, and what it is.
    pub name: String,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// How.
    pub sent: Sent,
    /// What must come back, in this order. Where that does not end with a close, the connection must be sound afterwards.
    pub expected: Vec<Heard>,
    /// Codes that do as well as that of the close which is expected.
    pub or: Vec<u16>,
}

/// A case that is sent at once.
pub fn case(name: impl Into<String>, bytes: impl IntoParts, expected: Vec<Heard>) -> Case {
    Case { name: name.into(), bytes: bytes.joined(), sent: Sent::Whole, expected, or: Vec::new() }
}

/// The answer to the message with this `ref`.
pub fn answer(reference: &str) -> Heard {
    Heard::Answer(reference.to_owned())
}

/// What can be sent as one sequence of bytes.
pub trait IntoParts {
    /// The bytes.
    fn joined(self) -> Vec<u8>;
}

impl IntoParts for Vec<u8> {
    fn joined(self) -> Vec<u8> {
        self
    }
}

impl<const N: usize> IntoParts for [Vec<u8>; N] {
    fn joined(self) -> Vec<u8> {
        self.concat()
    }
}

impl IntoParts for Vec<Vec<u8>> {
    fn joined(self) -> Vec<u8> {
        self.concat()
    }
}

impl Case {
    /// The same in pieces.
    pub fn in_pieces(mut self, size: usize) -> Self {
        self.sent = Sent::In(size);
        self
    }

    /// The same, where another code of the close does as well.
    pub fn or(mut self, code: u16) -> Self {
        self.or.push(code);
        self
    }

    async fn run(&self, client: &mut Client) -> Result<(), String> {
        match self.sent {
            Sent::Whole => client.send(&self.bytes).await,
            Sent::In(size) => client.send_in(&self.bytes, size).await,
        }
        let ends = self.expected.last().is_some_and(|last| matches!(last, Heard::Closed(_)));
        let mut expected = self.expected.clone();
        if !ends {
            client.send(&frame::close(1000, "")).await;
            expected.push(Heard::Closed(1000));
        }
        for wanted in &expected {
            let heard = hear(client).await;
            let as_well = matches!((wanted, &heard), (Heard::Closed(_), Heard::Closed(code)) if self.or.contains(code));
            if heard != *wanted && !as_well {
                return Err(format!("{}: expected {wanted:?}, heard {heard:?}", self.name));
            }
        }
        if ends {
            // As a client should; the server may be gone already.
            client.send(&frame::close(1000, "")).await;
        }
        match hear(client).await {
            Heard::Ended => Ok(()),
            after => Err(format!("{}: after the close came {after:?}", self.name)),
        }
    }
}

/// What the server says next; its greeting is passed over.
pub async fn hear(client: &mut Client) -> Heard {
    loop {
        let Some(Frame { first, payload }) = client.frame().await else { return Heard::Ended };
        return match first {
            frame::PONG => Heard::Pong(payload),
            frame::CLOSE => Heard::Closed(payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]))),
            frame::TEXT => match said(&payload) {
                Some(heard) => heard,
                None => continue,
            },
            first if first == frame::TEXT | frame::RSV1 => match said(&client.inflated(&payload)) {
                Some(heard) => heard,
                None => continue,
            },
            _ => Heard::Other(format!("a frame that begins with {first:#04x}")),
        };
    }
}

fn said(payload: &[u8]) -> Option<Heard> {
    let Ok(message) = serde_json::from_slice::<Value>(payload) else {
        return Some(Heard::Other(String::from_utf8_lossy(payload).into_owned()));
    };
    match message["type"].as_str() {
        Some("welcome" | "auth_success") => None,
        Some("pong") => Some(Heard::Answer(message["ref"].as_str().unwrap_or_default().to_owned())),
        Some("error") => Some(Heard::Refused),
        _ => Some(Heard::Other(message.to_string())),
    }
}

/// Runs cases, each over a connection of its own, and fails with all that went wrong.
pub async fn run(address: SocketAddr, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in &cases {
        let mut client = Client::connect(address).await;
        wrong.extend(case.run(&mut client).await.err());
    }
    judge(cases.len(), &wrong);
}

/// The same with compression, which the server must agree to.
pub async fn run_compressed(address: SocketAddr, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in &cases {
        let (mut client, agreed) = Client::offer(address, "permessage-deflate").await;
        assert!(agreed.is_some(), "the server does not take permessage-deflate");
        wrong.extend(case.run(&mut client).await.err());
    }
    judge(cases.len(), &wrong);
}

fn judge(count: usize, wrong: &[String]) {
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}
