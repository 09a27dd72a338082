//! A client that is cut off again and again is told everything exactly once, in order.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_a_hundred_times_amid_a_hundred_thousand_messages_it_hears_each_once_in_order() {
    Box::pin(cut_off(1, 100, 100_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_hears_each_once_in_order_whichever_of_three_threads_it_comes_back_to() {
    Box::pin(cut_off(3, 20, 5_000)).await;
}

/// So often amid so many messages of broadcasters of so many threads.
async fn cut_off(threads: usize, times: usize, messages: u64) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let settings = |config: &mut Config| (config.conflate_over, config.threads) = (1_000_000, threads);
    let (world, first) = world(settings).await;
    let second = world.start(settings).await.unwrap();
    let mut cuts = BTreeSet::new();
    while cuts.len() < times {
        cuts.insert(dice.random_range(1..messages));
    }
    let begin = tokio::sync::Notify::new();
    let publishing = async {
        begin.notified().await;
        world.announce_all(1, 1..=messages).await;
    };
    let following = async {
        let mut client = Client::to(&first).await;
        client.subscribe(&["all"]).await;
        begin.notify_one();
        let (mut heard, mut position) = (0, String::new());
        let mut cuts = cuts.into_iter().peekable();
        while heard < messages {
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
