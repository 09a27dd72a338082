//! What is said over the socket of a watch.

use std::pin::pin;

use futures_util::FutureExt;

use super::peer::{Peer, server};
use super::*;
use crate::{Error, Filter, On, Status};

async fn opens(peer: &mut Peer) {
    peer.joins("p0", &[snapshot("all", "p0")]).await;
}

#[tokio::test]
async fn rooms_are_joined_and_left_while_it_runs_and_stay_so_on_the_next_connection() {
    let url = server(|mut peer| async move {
        if peer.number == 0 {
            opens(&mut peer).await;
            peer.joins("p1", &[snapshot("item:i", "p1"), changed(2, "p2")]).await;
            let unsubscribe = peer.hears_a("unsubscribe").await;
            assert_eq!(unsubscribe["rooms"], json!(["all"]));
            peer.says(&json!({"type": "unsubscribed", "rooms": ["all"], "ref": unsubscribe["ref"]})).await;
        } else {
            let subscribe = peer.joins("p2", &[changed(3, "p3")]).await;
            assert_eq!((&subscribe["rooms"], &subscribe["position"]), (&json!(["item:i"]), &json!("p2")));
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    watch.join(["item:i"], Filter::default()).await.unwrap();
    watch.leave(["all"]).await.unwrap();
    assert_eq!(told(&mut watch, 4).await, ["snapshot p0", "snapshot p1", "version 2", "version 3"]);
}

#[tokio::test]
async fn rooms_of_another_filter_go_by_a_connection_of_their_own_which_ends_with_the_last_of_them() {
    let (gone, mut goes) = tokio::sync::mpsc::unbounded_channel();
    let url = server(move |mut peer| {
        let gone = gone.clone();
        async move {
            if peer.number == 0 {
                opens(&mut peer).await;
                // The room gets another filter: it leaves this connection.
                let unsubscribe = peer.hears_a("unsubscribe").await;
                peer.says(&json!({"type": "unsubscribed", "rooms": ["all"], "ref": unsubscribe["ref"]})).await;
                peer.stays().await;
                return;
            }
            let subscribe = peer.joins("p5", &[snapshot("all", "p5"), changed(6, "p6")]).await;
            assert_eq!(subscribe["filter"], json!({"on": ["error_state"]}));
            let unsubscribe = peer.hears_a("unsubscribe").await;
            peer.says(&json!({"type": "unsubscribed", "rooms": ["all"], "ref": unsubscribe["ref"]})).await;
            peer.stays().await;
            gone.send(()).unwrap();
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    watch.join(["all"], Filter::on([On::ErrorState])).await.unwrap();
    assert_eq!(told(&mut watch, 3).await, ["snapshot p0", "snapshot p5", "version 6"]);
    assert_eq!(watch.position(), Some("p0"), "it is the first connection's");
    watch.leave(["all"]).await.unwrap();
    tokio::time::timeout(DEADLINE, goes.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_room_that_is_refused_while_it_runs_fails_the_join_and_nothing_else() {
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        let subscribe = peer.hears_a("subscribe").await;
        peer.says(&json!({"type": "subscribed", "position": "p0", "rooms": ["item:i"], "ref": subscribe["ref"]})).await;
        let error = json!({"type": "error", "code": "forbidden", "reason": "not yours", "room": "agent:a",
            "ref": subscribe["ref"]});
        peer.says(&error).await;
        peer.pongs().await;
        peer.says(&changed(1, "p1")).await;
        if peer.number == 0 {
            return;
        }
        peer.stays().await;
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    let joined = watch.join(["item:i", "agent:a"], Filter::default()).await;
    assert!(
        matches!(joined, Err(Error::Refused { code, detail, .. }) if code == "forbidden" && detail.contains("agent:a"))
    );
    assert_eq!(told(&mut watch, 2).await, ["snapshot p0", "version 1"]);
    assert!(matches!(watch.join(Vec::<String>::new(), Filter::default()).await, Err(Error::Refused { .. })));
}

#[tokio::test]
async fn a_room_that_is_refused_after_a_break_is_told_and_asked_for_again_while_the_others_go_on() {
    let url = server(|mut peer| async move {
        let error = |reference: &Value| {
            json!({"type": "error", "code": "forbidden", "reason": "not yours", "room": "agent:a", "ref": reference})
        };
        peer.welcomes("p0").await;
        match peer.number {
            0 => {
                peer.joins("p0", &[snapshot("agent:a", "p0"), snapshot("all", "p0"), changed(1, "p1")]).await;
            }
            1 => {
                let subscribe = peer.hears_a("subscribe").await;
                assert_eq!(subscribe["position"], "p1");
                peer.says(&error(&subscribe["ref"])).await;
                peer.says(&json!({"type": "subscribed", "position": "p1", "rooms": ["all"], "ref": subscribe["ref"]}))
                    .await;
                peer.pongs().await;
                peer.says(&changed(2, "p2")).await;
            }
            _ => {
                assert_eq!(peer.joins("p2", &[]).await["rooms"], json!(["all"]));
                let anew = peer.joins("p2", &[snapshot("agent:a", "p2"), changed(3, "p3")]).await;
                assert_eq!((&anew["rooms"], &anew["position"]), (&json!(["agent:a"]), &Value::Null));
                peer.stays().await;
            }
        }
    })
    .await;
    let mut watch = watching(&url, &["all", "agent:a"]).open().await.unwrap();
    assert_eq!(told(&mut watch, 3).await, ["snapshot p0", "snapshot p0", "version 1"]);
    let Message::Other(error) = next(&mut watch).await else { panic!("no word of the room") };
    assert_eq!((&error["code"], &error["room"]), (&json!("forbidden"), &json!("agent:a")));
    assert_eq!(told(&mut watch, 3).await, ["version 2", "snapshot p2", "version 3"]);
}

#[tokio::test]
async fn a_status_is_stored_over_the_socket_and_its_refusal_says_what_is_wrong() {
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        let update = peer.hears_a("status_update").await;
        assert_eq!(update["statuses"][0]["record"], "acme/job/1");
        let accepted = json!([{"id": update["statuses"][0]["id"], "record": "acme/job/1", "sequence": 7}]);
        peer.says(&json!({"type": "status_accepted", "accepted": accepted, "ref": update["ref"]})).await;
        let update = peer.hears_a("status_update").await;
        let errors = json!([{"index": 0, "field": "record", "detail": "no name"}]);
        peer.says(&json!({"type": "error", "code": "bad_statuses", "reason": "1 of 1", "errors": errors, "ref": update["ref"]}))
            .await;
        peer.stays().await;
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    let accepted = watch.update_status(&[Status::new("acme/job/1", "done")]).await.unwrap();
    assert_eq!((accepted[0].sequence, accepted[0].record.as_str()), (7, "acme/job/1"));
    assert_eq!(accepted[0].id.len(), 32, "it was given an id");
    let refused = watch.update_status(&[Status::new("", "done")]).await;
    assert!(
        matches!(refused, Err(Error::Refused { code, detail, .. }) if code == "bad_statuses" && detail.contains("no name"))
    );
}

#[tokio::test]
async fn statuses_go_in_messages_that_the_server_takes_and_one_that_is_larger_is_refused_here() {
    let url = server(|mut peer| async move {
        let welcome = json!({"type": "welcome", "connection": "c", "position": "p0", "ping_ms": 30_000,
            "message_max_bytes": 2_000});
        peer.says(&welcome).await;
        opens(&mut peer).await;
        let mut sequence = 0;
        while let Some(update) = peer.hears().await {
            assert!(update.to_string().len() <= 2_000, "{update}");
            let accepted = |status: &Value| {
                sequence += 1;
                json!({"id": status["id"], "record": status["record"], "sequence": sequence})
            };
            let accepted: Vec<Value> = update["statuses"].as_array().unwrap().iter().map(accepted).collect();
            peer.says(&json!({"type": "status_accepted", "accepted": accepted, "ref": update["ref"]})).await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    let titled = |length| Status { title: Some("x".repeat(length)), ..Status::new("acme/job/1", "done") };
    let accepted = watch.update_status(&[titled(700), titled(700), titled(700)]).await.unwrap();
    assert_eq!(accepted.iter().map(|accepted| accepted.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let refused = watch.update_status(&[titled(1), titled(2_000)]).await;
    assert!(
        matches!(&refused, Err(Error::Refused { code, detail, .. })
            if code == "too_large" && detail.starts_with("acme/job/1: ") && detail.contains("takes 1872")),
        "{refused:?}"
    );
    assert_eq!(watch.update_status(&[titled(1)]).await.unwrap()[0].sequence, 4, "nothing was sent");
}

#[tokio::test]
async fn statuses_beyond_what_one_message_may_hold_go_in_the_next() {
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        while let Some(update) = peer.hears().await {
            let statuses = update["statuses"].as_array().unwrap();
            assert!(statuses.len() <= 500);
            let accepted = |status: &Value| json!({"id": status["id"], "record": status["record"], "sequence": 1});
            let accepted: Vec<Value> = statuses.iter().map(accepted).collect();
            peer.says(&json!({"type": "status_accepted", "accepted": accepted, "ref": update["ref"]})).await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    let statuses: Vec<Status> = (0..501).map(|number| Status::new(format!("acme/job/{number}"), "done")).collect();
    let accepted = watch.update_status(&statuses).await.unwrap();
    assert!(accepted.iter().map(|accepted| &accepted.record).eq(statuses.iter().map(|status| &status.record)));
}

#[tokio::test]
async fn what_was_said_as_the_connection_broke_is_said_again_with_the_same_id() {
    let (heard, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let url = server(move |mut peer| {
        let heard = heard.clone();
        async move {
            peer.joins("p0", &[]).await;
            let update = peer.hears_a("status_update").await;
            heard.send(update["statuses"].clone()).unwrap();
            if peer.number > 0 {
                let accepted = json!([{"id": "x", "record": "acme/job/1", "sequence": 7}]);
                peer.says(&json!({"type": "status_accepted", "accepted": accepted, "ref": update["ref"]})).await;
                peer.stays().await;
            }
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    watch.update_status(&[Status::new("acme/job/1", "done")]).await.unwrap();
    let (first, second) = (inbox.recv().await.unwrap(), inbox.recv().await.unwrap());
    assert_eq!(first, second);
}

#[tokio::test]
async fn rooms_that_were_left_as_the_connection_broke_are_left() {
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        if peer.number == 0 {
            peer.joins("p0", &[snapshot("item:i", "p0")]).await;
            peer.hears_a("unsubscribe").await;
        } else {
            let unsubscribe = peer.hears_a("unsubscribe").await;
            let error = json!({"type": "error", "code": "not_subscribed", "reason": "you are not in this room",
                "room": "item:i", "ref": unsubscribe["ref"]});
            peer.says(&error).await;
            peer.says(&json!({"type": "unsubscribed", "rooms": [], "ref": unsubscribe["ref"]})).await;
            peer.stays().await;
        }
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    watch.join(["item:i"], Filter::default()).await.unwrap();
    watch.leave(["item:i"]).await.unwrap();
}

#[tokio::test]
async fn rooms_are_joined_and_left_though_nobody_waits_for_it_any_more() {
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        assert_eq!(peer.hears_a("unsubscribe").await["rooms"], json!(["all"]));
        let subscribe = peer.joins("p1", &[]).await;
        assert_eq!(subscribe["rooms"], json!(["item:i"]));
        peer.says(&snapshot("item:i", "p1")).await;
        peer.stays().await;
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    let handle = watch.handle();
    // Each is asked for, and given up before the task of the connection hears of it.
    assert!(handle.leave(["all"]).now_or_never().is_none());
    assert!(handle.join(["item:i"], Filter::default()).now_or_never().is_none());
    assert_eq!(told(&mut watch, 2).await, ["snapshot p0", "snapshot p1"]);
}

#[tokio::test]
async fn a_room_that_could_not_even_be_said_to_be_left_can_be_left_again() {
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        let unsubscribe = peer.hears_a("unsubscribe").await;
        peer.says(&json!({"type": "unsubscribed", "rooms": ["all"], "ref": unsubscribe["ref"]})).await;
        peer.stays().await;
    })
    .await;
    let watch = watching(&url, &["all"]).open().await.unwrap();
    let handle = watch.handle();
    // As many as may wait are in front of it.
    for _ in 0..64 {
        assert!(handle.acknowledge("a").now_or_never().is_none());
    }
    assert!(handle.leave(["all"]).now_or_never().is_none());
    let mut left = pin!(handle.leave(["all"]));
    assert!((&mut left).now_or_never().is_none(), "it is not left yet");
    left.await.unwrap();
}

#[tokio::test]
async fn an_alert_is_acknowledged_from_elsewhere_while_the_watch_waits() {
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        let acknowledge = peer.hears_a("acknowledge").await;
        assert_eq!(acknowledge["alert"], "disk-full-db1");
        peer.says(&json!({"type": "acknowledged", "alert": "disk-full-db1", "ref": acknowledge["ref"]})).await;
        let alert = json!({"type": "system_alert", "position": "p1", "id": "disk-full-db1", "acknowledged_by": "me"});
        peer.says(&alert).await;
        peer.stays().await;
    })
    .await;
    let mut watch = watching(&url, &["all", "system_alerts"]).open().await.unwrap();
    let handle = watch.handle();
    let acknowledged = tokio::spawn(async move { handle.acknowledge("disk-full-db1").await });
    assert_eq!(short(&next(&mut watch).await), "snapshot p0");
    assert!(matches!(next(&mut watch).await, Message::SystemAlert(alert) if alert.acknowledged_by == "me"));
    acknowledged.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_is_found_behind_more_messages_than_may_wait() {
    const MANY: u64 = 3_000;
    let url = server(|mut peer| async move {
        opens(&mut peer).await;
        let acknowledge = peer.hears_a("acknowledge").await;
        for version in 1..=MANY {
            peer.says(&changed(version, &format!("p{version}"))).await;
        }
        peer.says(&json!({"type": "acknowledged", "alert": "a", "ref": acknowledge["ref"]})).await;
        peer.stays().await;
    })
    .await;
    let mut watch = watching(&url, &["all"]).open().await.unwrap();
    watch.acknowledge("a").await.unwrap();
    assert_eq!(short(&next(&mut watch).await), "snapshot p0");
    for version in 1..=MANY {
        assert_eq!(short(&next(&mut watch).await), format!("version {version}"));
    }
}
