//! How a connection ends, and how the next begins.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc;

use super::peer::server;
use super::*;
use crate::Error;

#[tokio::test]
async fn a_broken_connection_is_made_again_and_goes_on_from_the_last_event() {
    let url = server(|mut peer| async move {
        if peer.number == 0 {
            let subscribe = peer.joins("p0", &[snapshot("all", "p1"), changed(2, "p2"), changed(3, "p3")]).await;
            assert_eq!((subscribe["position"].is_null(), subscribe["rooms"] == json!(["all"])), (true, true));
        } else {
            let subscribe = peer.joins("p3", &[changed(4, "p4")]).await;
            assert_eq!(subscribe["position"], "p3");
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 4).await, ["snapshot p1", "version 2", "version 3", "version 4"]);
    assert_eq!(watch.position(), Some("p4"));
}

#[tokio::test]
async fn who_shows_it_is_told_once_that_a_connection_broke_and_that_it_stands_again() {
    // The third is the first that stands again: what breaks on the way is the same break.
    let url = server(|mut peer| async move {
        match peer.number {
            0 => drop(peer.joins("p0", &[changed(2, "p2")]).await),
            1 => {}
            _ => {
                peer.joins("p3", &[changed(3, "p3")]).await;
                peer.stays().await;
            }
        }
    })
    .await;
    let states = Arc::new(Mutex::new(Vec::new()));
    let told_states = Arc::clone(&states);
    let watch = watching(&url, &["all"]).on_state(move |state| told_states.lock().unwrap().push(state));
    let mut watch = watch.open().await.unwrap();
    assert_eq!(told(&mut watch, 2).await, ["version 2", "version 3"]);
    // It stands before what follows is told, or with the answer right behind it.
    let (mut watch, began) = (watch, Instant::now());
    while states.lock().unwrap().len() < 2 && began.elapsed().as_secs() < 10 {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(10), watch.next()).await;
    }
    let states = states.lock().unwrap();
    assert!(
        matches!(&states[..], [crate::ConnectionState::Disconnected { .. }, crate::ConnectionState::Connected]),
        "{states:?}"
    );
}

#[tokio::test]
async fn a_watch_that_has_left_its_rooms_is_told_that_it_stands_again() {
    let url = server(|mut peer| async move {
        peer.says(&json!({"type": "welcome", "position": "p0"})).await;
        if peer.number == 0 {
            peer.joins("p0", &[]).await;
            let unsubscribe = peer.hears_a("unsubscribe").await;
            peer.says(&json!({"type": "unsubscribed", "rooms": ["all"], "ref": unsubscribe["ref"]})).await;
        } else {
            peer.stays().await;
        }
    })
    .await;
    let (tell, mut states) = mpsc::unbounded_channel();
    let watch = watching(&url, &["all"]).on_state(move |state| tell.send(state).unwrap_or_default());
    let mut watch = watch.open().await.unwrap();
    watch.leave(["all"]).await.unwrap();
    for stands in [false, true] {
        let state = tokio::time::timeout(DEADLINE, states.recv()).await.expect("a state in time");
        assert_eq!(state == Some(crate::ConnectionState::Connected), stands);
    }
}

#[tokio::test]
async fn without_an_event_it_goes_on_from_where_it_was_subscribed() {
    for wanted in [true, false] {
        let url = server(move |mut peer| async move {
            if peer.number == 0 {
                let page = json!({"type": "snapshot", "room": "all", "position": "p1", "more": true});
                let pages = [page, snapshot("all", "p1")];
                let subscribe = peer.joins("p0", if wanted { &pages } else { &[] }).await;
                assert_eq!(subscribe["snapshot"].as_bool(), if wanted { None } else { Some(false) });
            } else {
                let subscribe = peer.joins("p3", &[changed(4, "p4")]).await;
                assert_eq!(subscribe["position"], "p0");
                peer.stays().await;
            }
        })
        .await;
        let mut watch = watching(&url, &["all"]).snapshot(wanted).open().await.unwrap();
        let all = told(&mut watch, if wanted { 3 } else { 1 }).await;
        assert_eq!(all.last().map(String::as_str), Some("version 4"));
    }
}

#[tokio::test]
async fn a_snapshot_that_broke_off_is_begun_again() {
    let url = server(|mut peer| async move {
        if peer.number == 0 {
            peer.joins("p0", &[snapshot("all", "p1")]).await;
            // The answer comes before the snapshot is read.
            peer.joins("p1", &[json!({"type": "snapshot", "room": "item:i", "position": "p1", "more": true})]).await;
        } else {
            let (first, second) = (peer.joins("p1", &[]).await, peer.joins("p5", &[snapshot("item:i", "p5")]).await);
            assert_eq!((first["rooms"] == json!(["all"]), first["position"].as_str()), (true, Some("p0")));
            assert_eq!((second["rooms"] == json!(["item:i"]), second["position"].is_null()), (true, true));
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    watch.join(["item:i"], crate::Filter::default()).await.unwrap();
    assert_eq!(told(&mut watch, 3).await, ["snapshot p1", "snapshot p1", "snapshot p5"]);
}

#[tokio::test]
async fn an_items_id_is_known_however_it_is_written() {
    for id in [
        "6C6F636B-7374-6570-8000-6974656D7300",
        "6c6f636b7374657080006974656d7300",
        "{6c6f636b-7374-6570-8000-6974656d7300}",
        "urn:uuid:6c6f636b-7374-6570-8000-6974656d7300",
    ] {
        let url = server(|mut peer| async move {
            let room = "item:6c6f636b-7374-6570-8000-6974656d7300";
            if peer.number == 0 {
                peer.joins("p0", &[snapshot(room, "p0"), snapshot("item:ENG-1", "p0")]).await;
            } else {
                let subscribe = peer.joins("p1", &[]).await;
                assert_eq!((&subscribe["rooms"], &subscribe["position"]), (&json!([room, "item:ENG-1"]), &json!("p0")));
                peer.says(&changed(1, "p1")).await;
                peer.stays().await;
            }
        })
        .await;
        let mut watch = watching(&url, &[&format!("item:{id}"), "item:ENG-1"]).open().await.unwrap();
        assert_eq!(told(&mut watch, 3).await, ["snapshot p0", "snapshot p0", "version 1"], "{id}");
    }
}

#[tokio::test]
async fn what_cannot_be_gone_on_from_is_told_with_a_fresh_snapshot() {
    let url = server(|mut peer| async move {
        let reset = json!({"type": "reset", "rooms": ["all"], "reason": "too_old"});
        if peer.number == 0 {
            let subscribe = peer.joins("p9", &[reset, snapshot("all", "p9")]).await;
            assert_eq!(subscribe["position"], "p0");
        } else {
            let subscribe = peer.joins("p9", &[changed(10, "p10")]).await;
            assert_eq!(subscribe["position"], "p9");
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).position("p0").open().await.unwrap();
    assert_eq!(told(&mut watch, 3).await, ["reset too_old", "snapshot p9", "version 10"]);
}

#[tokio::test]
async fn who_was_too_slow_comes_back_with_the_position() {
    let url = server(|mut peer| async move {
        if peer.number == 0 {
            peer.joins("p0", &[snapshot("all", "p0"), changed(1, "p1")]).await;
            peer.closes(1013, "too_slow: you read more slowly than is told").await;
        } else {
            assert_eq!(peer.joins("p1", &[changed(2, "p2")]).await["position"], "p1");
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 3).await, ["snapshot p0", "version 1", "version 2"]);
}

#[tokio::test]
async fn a_server_that_stops_is_left_within_its_time_and_what_it_still_says_is_heard() {
    let url = server(|mut peer| async move {
        if peer.number == 0 {
            peer.joins("p0", &[snapshot("all", "p0")]).await;
            peer.says(&json!({"type": "going_away", "in_ms": 300})).await;
            peer.says(&changed(1, "p1")).await;
            // Only the client ends this connection.
            assert!(peer.hears().await.is_none());
        } else {
            assert_eq!(peer.joins("p1", &[changed(2, "p2")]).await["position"], "p1");
            peer.stays().await;
        }
    })
    .await;
    let began = Instant::now();
    let slow = Backoff { first: DEADLINE * 100, max: DEADLINE * 100, attempts: None };
    let mut watch = watching(&url, &["all"]).backoff(slow).open().await.unwrap();
    assert_eq!(told(&mut watch, 3).await, ["snapshot p0", "version 1", "version 2"]);
    assert!(began.elapsed() < DEADLINE / 2, "it waited as if the server had broken");
}

#[tokio::test]
async fn a_server_that_says_nothing_for_two_and_a_half_pings_is_left() {
    let url = server(|mut peer| async move {
        peer.says(&json!({"type": "welcome", "connection": "c", "position": "p0", "ping_ms": 40})).await;
        if peer.number == 0 {
            peer.joins("p0", &[snapshot("all", "p0")]).await;
            while let Some(message) = peer.hears().await {
                assert_eq!(message["type"], "ping", "the client asks, and leaves");
            }
        } else {
            peer.joins("p0", &[changed(1, "p1")]).await;
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 2).await, ["snapshot p0", "version 1"]);
}

#[tokio::test]
async fn a_quiet_watch_asks_where_it_is_and_goes_on_from_there() {
    let url = server(|mut peer| async move {
        peer.says(&json!({"type": "welcome", "connection": "c", "position": "p0", "ping_ms": 400})).await;
        if peer.number == 0 {
            peer.joins("p0", &[snapshot("all", "p0")]).await;
            peer.says_where("p7").await;
            // Where all is not told yet there is no position.
            peer.pongs().await;
            peer.hears_a("ping").await;
        } else {
            assert_eq!(peer.joins("p8", &[]).await["position"], "p7");
            peer.says(&changed(8, "p8")).await;
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 2).await, ["snapshot p0", "version 8"]);
}

#[tokio::test]
async fn a_new_token_takes_the_place_of_one_that_expires_without_a_new_connection() {
    let (heard, mut inbox) = mpsc::unbounded_channel();
    let url = server(move |mut peer| {
        let heard = heard.clone();
        async move {
            heard.send(peer.authorization.clone().unwrap_or_default()).unwrap();
            peer.joins("p0", &[snapshot("all", "p0")]).await;
            peer.says(&json!({"type": "token_expiring", "expires_at": 0, "in_ms": 60000})).await;
            let auth = peer.hears_a("auth").await;
            heard.send(auth["token"].as_str().unwrap_or_default().to_owned()).unwrap();
            peer.says(&json!({"type": "auth_success", "ref": auth["ref"]})).await;
            peer.says(&changed(1, "p1")).await;
            peer.stays().await;
        }
    })
    .await;
    let client = Client::new(&url).unwrap().with_token_source(tokens(["first", "second"]));
    let mut watch = client.watch().rooms(["all"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 2).await, ["snapshot p0", "version 1"]);
    assert_eq!(inbox.recv().await.unwrap(), "Bearer first");
    assert_eq!(inbox.recv().await.unwrap(), "second");
}

/// These tokens, one after another, and the last again and again.
fn tokens<const N: usize>(
    list: [&'static str; N],
) -> impl Fn() -> std::future::Ready<Result<String, Error>> + Send + Sync {
    let asked = AtomicUsize::new(0);
    move || std::future::ready(Ok(list[asked.fetch_add(1, Ordering::SeqCst).min(N - 1)].to_owned()))
}

#[tokio::test]
async fn a_token_that_expired_or_is_refused_is_replaced_before_connecting_again() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&shown);
    let url = server(move |mut peer| {
        keeps.lock().unwrap().push(peer.authorization.clone().unwrap_or_default());
        async move {
            if peer.authorization.as_deref() == Some("Bearer first") {
                peer.joins("p0", &[snapshot("all", "p0")]).await;
                peer.closes(1008, "token_expired: it was good until noon").await;
            } else {
                assert_eq!(peer.joins("p0", &[changed(1, "p1")]).await["position"], "p0");
                peer.stays().await;
            }
        }
    })
    .await;
    // The first of them is refused as the connection is opened, with 401.
    let client = Client::new(&url).unwrap().with_token_source(tokens(["stale", "first", "second"]));
    let mut watch = client.watch().rooms(["all"]).backoff(quick()).open().await.unwrap();
    assert_eq!(told(&mut watch, 2).await, ["snapshot p0", "version 1"]);
    assert_eq!(*shown.lock().unwrap(), ["Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn a_word_that_says_mend_something_ends_the_watch_with_it() {
    let url = server(|mut peer| async move {
        assert_eq!(peer.number, 0, "it came back");
        peer.joins("p0", &[snapshot("all", "p0")]).await;
        peer.closes(1008, "auth_failed: this key was withdrawn").await;
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 1).await, ["snapshot p0"]);
    assert!(matches!(watch.next().await, Err(Error::Refused { status: 1008, code, .. }) if code == "auth_failed"));
    assert!(matches!(watch.next().await, Err(Error::Ended { why }) if why.contains("auth_failed")));
    assert!(matches!(watch.acknowledge("a").await, Err(Error::Ended { .. })));
}

#[tokio::test]
async fn a_key_that_is_refused_is_an_error_of_opening() {
    let url = server(|peer| async move { peer.stays().await }).await;
    let opened = Client::new(&url).unwrap().with_key("stale").watch().rooms(["all"]).open().await;
    assert!(matches!(opened, Err(Error::Refused { status: 401, code, .. }) if code == "auth_failed"));
}

#[tokio::test]
async fn a_room_that_is_refused_is_an_error_of_opening() {
    let url = server(|mut peer| async move {
        let subscribe = peer.hears_a("subscribe").await;
        let error = json!({"type": "error", "code": "bad_room", "reason": "no such room", "room": "nothing",
            "ref": subscribe["ref"]});
        peer.says(&error).await;
        peer.pongs().await;
        peer.stays().await;
    })
    .await;
    let opened = watching(&url, &["nothing"]).open().await;
    assert!(matches!(opened, Err(Error::Refused { status: 0, code, .. }) if code == "bad_room"));
}

#[tokio::test]
async fn a_server_that_is_full_or_not_there_the_first_time_is_an_error_of_opening() {
    let url = server(|peer| async move { peer.closes(1013, "too_many_clients: 1000 are here").await }).await;
    let opened = watching(&url, &["all"]).open().await;
    let Err(error) = opened else { panic!("it was opened") };
    assert!(matches!(&error, Error::Refused { status: 1013, code, .. } if code == "too_many_clients"), "{error}");
    assert!(error.is_passing());
    assert!(matches!(watching("http://127.0.0.1:9", &["all"]).open().await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn rooms_that_cannot_be_gone_on_with_for_a_moment_are_asked_for_again() {
    let url = server(|mut peer| async move {
        match peer.number {
            0 => drop(peer.joins("p0", &[snapshot("all", "p0")]).await),
            1 => {
                let subscribe = peer.hears_a("subscribe").await;
                let error = json!({"type": "error", "code": "unavailable", "reason": "later", "ref": subscribe["ref"]});
                peer.says(&error).await;
                assert!(peer.hears_a("ping").await.is_object());
                assert!(peer.hears().await.is_none(), "it begins anew");
            }
            _ => {
                assert_eq!(peer.joins("p0", &[changed(1, "p1")]).await["position"], "p0");
                peer.stays().await;
            }
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 2).await, ["snapshot p0", "version 1"]);
}

#[tokio::test]
async fn dropping_a_watch_ends_its_connection() {
    let (gone, mut goes) = mpsc::unbounded_channel();
    let url = server(move |mut peer| {
        let gone = gone.clone();
        async move {
            peer.joins("p0", &[snapshot("all", "p0")]).await;
            peer.stays().await;
            gone.send(()).unwrap();
        }
    })
    .await;
    let watch = watching(&url, &["all"]).open().await.unwrap();
    let handle = watch.handle();
    drop(watch);
    tokio::time::timeout(DEADLINE, goes.recv()).await.unwrap().unwrap();
    assert!(matches!(handle.leave(["all"]).await, Err(Error::Ended { .. })));
}

#[tokio::test]
async fn what_a_newer_server_says_and_errors_that_answer_nothing_are_passed_on() {
    let url = server(|mut peer| async move {
        let newer = json!({"type": "moon_phase", "position": "p1", "phase": "full"});
        let error = json!({"type": "error", "code": "odd", "reason": "nobody asked"});
        peer.joins("p0", &[snapshot("all", "p0"), newer, error]).await;
        peer.stays().await;
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    assert_eq!(short(&next(&mut watch).await), "snapshot p0");
    let (newer, error) = (next(&mut watch).await, next(&mut watch).await);
    assert!(matches!(newer, Message::Other(value) if value["phase"] == "full"));
    assert!(matches!(error, Message::Other(value) if value["code"] == "odd"));
    assert_eq!(watch.position(), Some("p1"));
}

#[tokio::test]
async fn a_wait_before_another_connection_is_as_long_as_it_is_drawn() {
    let url = server(|mut peer| async move {
        if peer.number < 3 {
            drop(peer.joins("p0", &[changed(2, "p2")]).await);
        } else {
            peer.joins("p2", &[changed(3, "p3")]).await;
            peer.stays().await;
        }
    })
    .await;
    // Longer than the test waits, unless nothing of it is drawn.
    let hour = std::time::Duration::from_hours(1);
    let slow = Backoff { first: hour, max: hour, attempts: None };
    let mut watch = watching(&url, &["all"]).backoff(slow).drawing(|| 0.0).open().await.unwrap();
    assert_eq!(told(&mut watch, 4).await, ["version 2", "version 2", "version 2", "version 3"]);
}

#[tokio::test]
async fn the_waits_are_drawn_by_chance() {
    let draw = watching("http://localhost", &["all"]).draw;
    let waits: std::collections::BTreeSet<_> = (0..50).map(|_| Backoff::default().wait(4, draw())).collect();
    assert_eq!(waits.len(), 50, "{waits:?}");
    assert!(waits.iter().all(|wait| wait.is_some_and(|wait| wait.as_secs() < 4)), "{waits:?}");
}
