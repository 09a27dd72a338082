//! What crosses the bus comes back as it was, in both forms; what is wrong is refused with the field's name.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;

use model::{
    Actor, Command, CommandMode, ConflictId, DeliveryOutcome, Earlier, Intent, ItemId, Key, Native, Observation,
    Origin, Position, RecordRef, Report, Source, Status, Timestamp, Version, Vocabulary, Word,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proto::{
    JSON, PROTOBUF, command_from, command_to, decode, encode, encode_json, observation_from, observation_to,
    report_from, v1,
};

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 /._#é完-]{0,12}[a-zA-Z0-9]"
}

fn word() -> impl Strategy<Value = String> {
    "[a-z0-9_-]{1,12}"
}

fn records() -> impl Strategy<Value = RecordRef> {
    (word(), word(), text()).prop_map(|(system, kind, id)| format!("{system}/{kind}/{id}").parse().unwrap())
}

fn natives() -> impl Strategy<Value = Native> {
    text().prop_map(|native| Native::new(native).unwrap())
}

fn intents() -> impl Strategy<Value = Intent> {
    prop_oneof![
        Just(Intent::Status),
        Just(Intent::Unlink),
        word().prop_map(|status| Intent::Force(Status::new(status).unwrap())),
        any::<u64>().prop_map(|version| Intent::Rollback(Version(version))),
        records().prop_map(Intent::Link),
        (any::<u128>(), 0_usize..99).prop_map(|(id, place)| Intent::Pick(ConflictId(uuid::Uuid::from_u128(id)), place)),
    ]
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![
        Just(Origin::Unknown),
        Just(Origin::Other),
        of(1_u64..9).prop_map(|version| Origin::Own(version.map(Version))),
    ]
}

fn sources() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![
        Source::Webhook,
        Source::Sweep,
        Source::Poll,
        Source::Stream,
        Source::Api,
        Source::Delivery,
    ])
}

fn actors() -> impl Strategy<Value = Actor> {
    (text(), of(text()), any::<bool>()).prop_map(|(name, id, automation)| Actor { name, id, automation })
}

fn keys() -> impl Strategy<Value = Vec<Key>> {
    vec(text().prop_map(|key| Key::new(key).unwrap()), 0..3)
}

fn vocabularies() -> impl Strategy<Value = Vocabulary> {
    let words = (natives(), word()).prop_map(|(native, class)| Word { native, class: class.as_str().into() });
    vec(words, 1..4).prop_map(|words| Vocabulary(words.into()))
}

fn positions() -> impl Strategy<Value = Position> {
    (1..=i64::MAX as u64).prop_map(Position)
}

fn moments() -> impl Strategy<Value = i64> {
    0..=253_402_300_799_999_i64
}

fn urls() -> impl Strategy<Value = String> {
    word().prop_map(|word| format!("https://example.com/{word}"))
}

fn observations() -> impl Strategy<Value = Observation> {
    let what = (text(), records(), natives(), of(positions()), moments());
    let how = (of(actors()), origins(), sources(), intents(), of(word()));
    let beside = (
        of(text()),
        of(urls()),
        keys(),
        keys(),
        of(vocabularies()),
        btree_map(word(), text(), 0..3),
        of(any::<u128>()),
    );
    (what, how, beside).prop_map(|(what, how, beside)| Observation {
        id: what.0,
        record: what.1,
        native: what.2,
        position: what.3,
        occurred_at: Timestamp(what.4),
        actor: how.0,
        origin: how.1,
        source: how.2,
        intent: how.3,
        lifecycle: how.4.map(|name| model::LifecycleName::new(name).unwrap()),
        title: beside.0,
        url: beside.1,
        keys: beside.2,
        mentions: beside.3,
        vocabulary: beside.4,
        metadata: beside.5,
        item: beside.6.map(|item| ItemId(uuid::Uuid::from_u128(item))),
    })
}

fn commands() -> impl Strategy<Value = Command> {
    let what = (records(), any::<u128>(), any::<u64>(), word(), of(word()), natives());
    let earlier = (any::<u64>(), natives(), any::<u64>());
    let how = (any::<bool>(), vec(natives(), 0..3), of(text()), any::<u64>(), vec(earlier, 0..3));
    (what, how).prop_map(|(what, how)| Command {
        record: what.0,
        item: ItemId(uuid::Uuid::from_u128(what.1)),
        version: Version(what.2),
        status: Status::new(what.3).unwrap(),
        previous: what.4.map(|status| Status::new(status).unwrap()),
        native: what.5,
        mode: if how.0 { CommandMode::Tell } else { CommandMode::Show },
        expects: how.1,
        earlier: how
            .4
            .into_iter()
            .map(|(version, native, since)| Earlier { version: Version(version), native, since })
            .collect(),
        position: (how.3 > 0).then_some(Position(how.3)),
        key: how.2,
        cause: how.3,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_observation_comes_back_as_it_was_in_both_forms(observation in observations()) {
        let message = observation_to(&observation);
        let bytes: v1::Observation = decode(Some(PROTOBUF), &encode(&message)).unwrap();
        prop_assert_eq!(observation_from(bytes).unwrap(), observation.clone());
        let json: v1::Observation = decode(Some(JSON), &encode_json(&message).unwrap()).unwrap();
        prop_assert_eq!(observation_from(json).unwrap(), observation);
    }

    #[test]
    fn a_command_comes_back_as_it_was_in_both_forms(command in commands()) {
        let message = command_to(&command);
        let bytes: v1::Command = decode(None, &encode(&message)).unwrap();
        prop_assert_eq!(command_from(bytes).unwrap(), command.clone());
        let json: v1::Command = decode(Some(JSON), &encode_json(&message).unwrap()).unwrap();
        prop_assert_eq!(command_from(json).unwrap(), command);
    }

    #[test]
    fn a_report_says_what_the_delivery_said(
        record in records(), native in of(natives()), version in any::<u64>(), position in of(positions()), at in moments(),
        outcome in prop::sample::select(vec!["applied", "unchanged", "superseded", "rejected", "failed"])
    ) {
        let message = v1::Delivery {
            id: "d".into(),
            record: record.to_string(),
            item: uuid::Uuid::nil().to_string(),
            version,
            outcome: outcome.into(),
            mode: "tell".into(),
            native: native.as_ref().map(ToString::to_string).unwrap_or_default(),
            position: position.map_or(0, |position| position.0),
            at,
            cause: 7,
            ..v1::Delivery::default()
        };
        let wanted = Report {
            id: "d".into(),
            record,
            item: Some(ItemId(uuid::Uuid::nil())),
            version: Version(version),
            cause: Some(7),
            outcome: DeliveryOutcome::of_code(outcome).unwrap(),
            mode: CommandMode::Tell,
            native,
            position,
            at: Timestamp(at),
            reason: None,
        };
        prop_assert_eq!(report_from(&message).unwrap(), wanted);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200), json in any::<bool>()) {
        let form = if json { JSON } else { PROTOBUF };
        if let Ok(message) = decode::<v1::Observation>(Some(form), &bytes) {
            let _ = observation_from(message);
        }
        if let Ok(message) = decode::<v1::Delivery>(Some(form), &bytes) {
            let _ = report_from(&message);
        }
    }
}

fn good() -> v1::Observation {
    v1::Observation { record: "github/issue/a#1".into(), native: "open".into(), ..v1::Observation::default() }
}

#[test]
fn what_is_left_out_has_an_honest_default() {
    let json: v1::Observation = decode(Some(JSON), br#"{"record":"github/issue/a#1","native":"open"}"#).unwrap();
    let observation = observation_from(json).unwrap();
    assert_eq!((observation.origin, observation.source, observation.position), (Origin::Unknown, Source::Api, None));
    assert_eq!((observation.intent, observation.metadata), (Intent::Status, BTreeMap::new()));
}

#[test]
fn what_is_wrong_is_refused_with_the_name_of_its_field() {
    type Spoil = fn(&mut v1::Observation);
    let wrong: [(&str, Spoil); 18] = [
        ("record", |message| message.record = "github".into()),
        ("native", |message| message.native = String::new()),
        ("native", |message| message.native = "a\nb".into()),
        ("origin", |message| message.origin = "mine".into()),
        ("source", |message| message.source = "rumour".into()),
        ("intent", |message| message.intent = "wish".into()),
        ("argument", |message| (message.intent, message.argument) = ("rollback".into(), "one".into())),
        ("argument", |message| (message.intent, message.argument) = ("pick".into(), "7".into())),
        ("argument", |message| (message.intent, message.argument) = ("force".into(), "In Review".into())),
        ("lifecycle", |message| message.lifecycle = "Work!".into()),
        ("keys", |message| message.keys = vec!["K".into(); 51]),
        ("position", |message| message.position = 1 << 63),
        ("occurred_at", |message| message.occurred_at = -1),
        ("occurred_at", |message| message.occurred_at = i64::MAX),
        ("title", |message| message.title = "é".repeat(501)),
        ("actor", |message| message.actor = Some(v1::Actor { name: "a".repeat(257), ..v1::Actor::default() })),
        ("url", |message| message.url = "javascript:alert(1)".into()),
        ("url", |message| message.url = format!("https://{}", "x".repeat(2_000))),
    ];
    for (field, spoil) in wrong {
        let mut message = good();
        spoil(&mut message);
        assert_eq!(observation_from(message).unwrap_err().field, field);
    }
    assert!(observation_from(good()).is_ok());
}

#[test]
fn what_is_shown_beside_a_record_that_a_connector_read_does_not_keep_its_edit_back() {
    let message = v1::Observation {
        source: "webhook".into(),
        title: "é".repeat(501),
        url: "javascript:alert(1)".into(),
        ..good()
    };
    let seen = observation_from(message).unwrap();
    assert_eq!((seen.title.map(|title| title.chars().count()), seen.url), (Some(500), None));
    let url = "HTTPS://example.com/a#1".to_owned();
    let seen = observation_from(v1::Observation { title: "é".repeat(500), url: url.clone(), ..good() }).unwrap();
    assert_eq!(seen.url, Some(url));
}

#[test]
fn a_content_type_that_nobody_speaks_is_refused_by_name() {
    let error = decode::<v1::Observation>(Some("text/plain"), b"").unwrap_err();
    assert!(error.to_string().contains("text/plain"), "{error}");
    assert!(decode::<v1::Observation>(Some(JSON), b"null").is_err());
}
