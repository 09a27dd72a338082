//! Tickets over a real bus.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_counts_once_with_whichever_broadcaster_it_is_shown_to() {
    let section =
        json!({"keys": [{"key": "k", "name": "ops", "rooms": ["agent:*"], "publish": ["a/b/*"], "acknowledge": true}]});
    let here = world(section.clone()).await;
    let process = Process::new("broadcaster", None);
    let bus = Bus::connect(&here.server.config(), &process).await.unwrap();
    let there = Access::new(&config(&section), &process, &bus).await.unwrap();
    let rights = here.access.admit_now(&bearer("k"), NOW_MS).unwrap().unwrap();
    for round in 0..100 {
        let ticket = here.access.ticket(&rights, NOW_MS).await.unwrap();
        assert_eq!(ticket.expires_at, NOW_MS + 30_000);
        let shown = Credential::shown(&ticket.ticket);
        assert!(here.access.admit_now(&shown, NOW_MS).is_none());
        let (one, other) = tokio::join!(here.access.admit(&shown, NOW_MS), there.admit(&shown, NOW_MS));
        let (admitted, refused): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
        assert_eq!(*admitted[0].clone().unwrap(), *rights, "round {round}");
        assert_eq!((admitted.len(), refused[0].clone().unwrap_err().code), (1, "auth_failed"), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ticket_is_refused() {
    let world = world(json!({"api_keys": ["k"]})).await;
    let wrong = ["", "k", "ticket_", &format!("ticket_{}", "A".repeat(43)), &"x".repeat(100_000)];
    for wrong in wrong {
        let denied = world.access.admit(&Credential::Ticket(wrong.into()), NOW_MS).await.unwrap_err();
        assert_eq!(denied.code, "auth_failed");
    }
    // Keys and tickets are not each other.
    let rights = world.access.admit_now(&bearer("k"), NOW_MS).unwrap().unwrap();
    let ticket = world.access.ticket(&rights, NOW_MS).await.unwrap();
    assert_eq!(world.access.admit(&bearer(&ticket.ticket), NOW_MS).await.unwrap_err().code, "auth_failed");
    assert!(world.access.admit(&Credential::Ticket(ticket.ticket.into()), NOW_MS).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_outlives_no_token() {
    let world = world(json!({"api_keys": ["k"]})).await;
    let rights = Rights { expires_at: Some(NOW_MS + 5_000), ..Rights::all("ana") };
    let ticket = world.access.ticket(&rights, NOW_MS).await.unwrap();
    assert_eq!(ticket.expires_at, NOW_MS + 5_000);
    let late = world.access.admit(&Credential::Ticket(ticket.ticket.into()), NOW_MS + 5_000).await;
    assert_eq!(late.unwrap_err().code, "token_expired");
    assert_eq!(world.access.ticket(&rights, NOW_MS + 5_000).await.unwrap_err().code, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_a_ticket_may_do_later() {
    let mut world = world(json!({"api_keys": ["k"]})).await;
    let ticket = world.access.ticket(&Rights::all("ana"), NOW_MS).await.unwrap();
    world.server.kill();
    let began = tokio::time::Instant::now();
    let denied = world.access.admit(&Credential::Ticket(ticket.ticket.into()), NOW_MS).await.unwrap_err();
    assert_eq!(denied.code, "auth_unavailable", "{denied}");
    assert_eq!(world.access.ticket(&Rights::all("ana"), NOW_MS).await.unwrap_err().code, "auth_unavailable");
    assert!(began.elapsed() < std::time::Duration::from_secs(12), "5 s each");
}
