//! A hub of several threads, whose clients are told at different speeds.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_with_many_clients_is_waited_for_by_those_with_none() {
    const THREADS: usize = 3;
    let (world, running) = world(|config| (config.threads, config.history_max) = (THREADS, 20)).await;
    let mut clients = Vec::new();
    for _ in 0..30 * THREADS {
        clients.push(Client::to(&running).await);
    }
    // They come to the threads in turns.
    let mut busy: Vec<Client> = clients.into_iter().step_by(THREADS).collect();
    for client in &mut busy {
        client.say(json!({"type": "subscribe", "rooms": ["all"], "snapshot": false})).await;
        assert_eq!(client.hear().await["type"], "subscribed");
    }
    // No more than the kernel keeps for each: nobody is slow but the thread.
    world.announce_all(1, 1..=300).await;
    for client in &mut busy {
        for version in 1..=300 {
            assert_eq!(client.hear().await["version"], version);
        }
    }
}
