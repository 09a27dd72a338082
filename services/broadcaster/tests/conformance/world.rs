//! The broadcaster that is tested, beside a NATS of its own.

use std::net::SocketAddr;

use broadcaster::{Config, testing};
use bus::Outgoing;
use proto::v1;
use uuid::Uuid;

/// A broadcaster that listens, as long as this value is there.
pub struct World {
    around: testing::World,
    running: testing::Running,
}

impl World {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Tells everyone of changes of items of their own, with the keys `K<number>` and titles of so many bytes.
    pub async fn announce(&self, numbers: std::ops::Range<u64>, size: usize) {
        let changes = numbers.map(|number| {
            let item = Uuid::from_u128(u128::from(number) + 1).to_string();
            let change = v1::Change {
                id: format!("{item}:1"),
                kind: "status_changed".into(),
                item,
                version: 1,
                lifecycle: "work".into(),
                key: format!("K{number}"),
                title: "x".repeat(size),
                to: "todo".into(),
                record: format!("x/y/{number}"),
                ..v1::Change::default()
            };
            Outgoing::change(&change).unwrap()
        });
        self.around.publish_all(changes.collect()).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.process.shutdown().cancel();
        self.around.process.shutdown().cancel();
    }
}

/// Starts one that takes as many messages at once as the cases send, and does not wait long for whoever it closes.
pub async fn start() -> World {
    start_with(|_| ()).await
}

/// The same with something else changed.
pub async fn start_with(change: impl FnOnce(&mut Config)) -> World {
    let around = testing::World::new().await.unwrap();
    let started = around.start(|config| {
        (config.messages_burst, config.patience_ms) = (1_000, 2_000);
        change(config);
    });
    let running = started.await.unwrap();
    World { around, running }
}
