//! A client that is cut off again and again is told everything exactly once, in order.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const MESSAGES: u64 = 100_000;
const CUTS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_a_hundred_times_amid_a_hundred_thousand_messages_it_hears_each_once_in_order() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let (world, first) = world(|config| config.conflate_over = 1_000_000).await;
    let second = world.start(|config| config.conflate_over = 1_000_000).await.unwrap();
    let mut cuts: Vec<u64> = (0..CUTS).map(|_| dice.random_range(1..MESSAGES)).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let begin = tokio::sync::Notify::new();
    let publishing = async {
        begin.notified().await;
        world.announce_all(1, 1..=MESSAGES).await;
    };
    let following = async {
        let mut client = Client::to(&first).await;
        client.subscribe(&["all"]).await;
        begin.notify_one();
        let (mut heard, mut position) = (0, String::new());
        let mut cuts = cuts.into_iter().peekable();
        while heard < MESSAGES {
            let Message::Text(text) = client.raw().await else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] != "status_changed" {
                assert_eq!(message["type"], "subscribed", "{message}");
                assert_eq!(message["resumed"], true);
                continue;
            }
            assert_eq!(message["version"], heard + 1, "SEED={seed}");
            heard += 1;
            message["position"].as_str().unwrap().clone_into(&mut position);
            if cuts.next_if(|cut| *cut <= heard).is_some() {
                // Whatever is on its way is lost with the connection.
                drop(client);
                client = Client::to(if dice.random() { &first } else { &second }).await;
                client.say(json!({"type": "subscribe", "rooms": ["all"], "position": position})).await;
            }
        }
        client.hears_nothing().await;
        assert!(cuts.peek().is_none(), "all cuts were made");
    };
    tokio::join!(publishing, following);
}
