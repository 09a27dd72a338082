//! Keys, and what is open.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_entitles_to_what_stands_beside_it() {
    let section = json!({
        "api_keys": ["first", "second"],
        "keys": [{"key": "third", "name": "dashboard", "rooms": ["all", "agent:*"]}],
    });
    let world = world(section).await;
    let admit = |key: &str| world.access.admit_now(&bearer(key), NOW_MS).unwrap();
    assert_eq!(*admit("second").unwrap(), Rights::all("key-2"));
    let third = admit("third").unwrap();
    assert_eq!((&*third.subject, third.acknowledge, third.expires_at), ("dashboard", false, None));
    assert!(third.rooms.covers("agent:x") && !third.rooms.covers("health") && !third.publish.covers("a/b/c"));
    let long = "k".repeat(100_000);
    for wrong in ["", " ", "firs", "firstsecond", "FIRST", "anything", "a.b.c", "***", &long] {
        let denied = admit(wrong).unwrap_err();
        assert_eq!(denied.code, "auth_failed", "{denied}");
        assert_eq!(world.access.admit(&bearer(wrong), NOW_MS).await.unwrap_err(), denied);
    }
    assert_eq!(world.access.anonymous(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_configured_everyone_may_do_everything() {
    let world = world(json!({})).await;
    let anonymous = world.access.anonymous().unwrap();
    assert_eq!(*anonymous, Rights::all("anonymous"));
    assert_eq!(world.access.admit_now(&bearer("anything"), NOW_MS).unwrap().unwrap(), anonymous);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_configured_an_open_gateway_is_refused() {
    let server = Server::start().unwrap();
    let open = Process::new("lockstep", Some("0.0.0.0:8080".parse().unwrap())).of("broadcaster");
    let bus = Bus::connect(&server.config(), &open).await.unwrap();
    let refused = Access::new(&Config::default(), &open, &bus).await.unwrap_err().to_string();
    assert!(refused.contains("broadcaster.auth.api_keys: is empty while 0.0.0.0:8080"), "{refused}");
    let allowed = Config { allow_anonymous: true, ..Config::default() };
    assert!(Access::new(&allowed, &open, &bus).await.unwrap().anonymous().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_shown_or_configured_is_printed() {
    let secret = "hidden, and longer than thirty-two bytes";
    let section = json!({
        "api_keys": ["hidden-1"],
        "keys": [{"key": "hidden-2", "name": "ops"}],
        "jwt": {"hs256_secrets": [secret]},
    });
    let printed_config = format!("{:?}", config(&section));
    let world = world(section).await;
    let rights = world.access.admit_now(&bearer("hidden-1"), NOW_MS).unwrap().unwrap();
    let ticket = world.access.ticket(&rights, NOW_MS).await.unwrap();
    let credential = Credential::shown(&ticket.ticket);
    let token = Signer::secret(secret).sign(&json!({"exp": "hidden"}));
    let mut printed = vec![
        printed_config,
        format!("{:?}", world.access),
        format!("{rights:?}"),
        format!("{ticket:?}"),
        format!("{credential:?}"),
        format!("{:?}", bearer(&token)),
    ];
    for wrong in ["hidden", "hidden.hidden.hidden", &token, &format!("{token}hidden")] {
        let denied = world.access.admit(&bearer(wrong), NOW_MS).await.unwrap_err();
        printed.extend([format!("{denied:?}"), denied.to_string(), format!("{:?}", Problem::from(denied))]);
    }
    for text in printed {
        let parts = token.split('.').chain([ticket.ticket.as_str(), "hidden"]);
        assert!(!parts.into_iter().any(|part| text.contains(part)), "{text}");
    }
}
