//! What records are to their item: who names it, who speaks for whom, and what is kept of what they say.

use std::sync::Arc;

use model::{
    DeliveryOutcome, Fold, Key, Lens, LifecycleName, Native, Observation, Origin, Reason, RowKind, Source, Step,
    Strategy, Verdict, Vocabulary, Word,
};

use crate::scene::{Scene, policy, seen};

const ISSUE: &str = "linear/issue/a";
const BUG: &str = "github/issue/acme/web#1";
const PULLS: [&str; 2] = ["github/pull_request/w#1", "github/pull_request/w#2"];
const TASK: &str = "postgres/task/1";
const AGENT: &str = "agentapi/agent/x";

fn titled(record: &str, native: &str, at: u64, keys: &[&str], title: Option<&str>) -> Observation {
    let mut seen = seen(record, native, at, Origin::Other, 0);
    seen.keys = keys.iter().map(|key| Key::new(key).unwrap()).collect();
    seen.title = title.map(ToOwned::to_owned);
    seen
}

/// What the item is called, for short and in full.
fn called(scene: &Scene) -> (Option<&str>, Option<&str>) {
    (scene.group.item.key.as_ref().map(Key::as_str), scene.group.item.title.as_deref())
}

#[test]
fn the_item_is_called_what_its_most_important_record_with_an_identifier_is_called() {
    let mut scene = Scene::new(policy(), &[(TASK, "todo"), (BUG, "open"), (ISSUE, "Todo"), (AGENT, "stable")]);
    assert_eq!(called(&scene), (None, None));
    scene.see(&titled(TASK, "todo", 10, &[], Some("row 1")));
    assert_eq!(called(&scene), (None, Some("row 1")), "any name is better than none");
    scene.see(&titled(AGENT, "stable", 10, &[], Some("agent x")));
    assert_eq!(called(&scene), (None, Some("row 1")), "a record without an identifier takes nobody's name away");
    scene.see(&titled(BUG, "open", 10, &["acme/web#1"], Some("It fails")));
    assert_eq!(called(&scene), (Some("acme/web#1"), Some("It fails")));
    scene.see(&titled(ISSUE, "Todo", 10, &["ENG-1", "ENG-old"], Some("Fix it")));
    assert_eq!(called(&scene), (Some("ENG-1"), Some("Fix it")), "Linear comes before GitHub");
    scene.see(&titled(BUG, "open", 11, &["acme/web#1"], Some("It still fails")));
    assert_eq!(called(&scene), (Some("ENG-1"), Some("Fix it")));
    scene.see(&titled(ISSUE, "Todo", 11, &["ENG-1"], Some("Fix it now")));
    assert_eq!(called(&scene), (Some("ENG-1"), Some("Fix it now")));
}

#[test]
fn what_an_observation_does_not_say_stays() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    let words = [("Todo", "unstarted"), ("Doing", "started"), ("Done", "completed"), ("Canceled", "canceled")];
    let word = |(native, class): (&str, &str)| Word { native: Native::new(native).unwrap(), class: class.into() };
    let mut full = titled(ISSUE, "Todo", 10, &["ENG-1"], Some("Fix it"));
    full.mentions = vec![Key::new("acme/web#7").unwrap()];
    full.url = Some("https://linear.example/ENG-1".into());
    full.vocabulary = Some(Vocabulary(words.map(word).into()));
    full.metadata.insert("priority".into(), "high".into());
    scene.see(&full);
    let told = scene.group.clone();
    let link = told.link(&full.record).unwrap();
    assert_eq!(
        (&link.keys, &link.mentions, &link.url, &link.vocabulary),
        (&full.keys, &full.mentions, &full.url, &full.vocabulary)
    );
    assert_eq!(told.item.metadata, full.metadata);

    let mut scarce = seen(ISSUE, "Todo", 11, Origin::Other, 0);
    // What a record that is seen whole mentions is all that it mentions.
    scarce.mentions.clone_from(&full.mentions);
    scarce.metadata.insert("area".into(), "build".into());
    scene.see(&scarce);
    let link = scene.group.link(&full.record).unwrap();
    assert_eq!(
        (&link.keys, &link.mentions, &link.url, &link.vocabulary),
        (&full.keys, &full.mentions, &full.url, &full.vocabulary)
    );
    assert_eq!(called(&scene), (Some("ENG-1"), Some("Fix it")));
    assert_eq!(scene.group.item.metadata.len(), 2);

    // What the team can show is known from then on.
    scene.edit(TASK, "in_progress", 12);
    assert_eq!(scene.commands(), [format!("{ISSUE} Doing")]);
}

#[test]
fn several_records_of_a_kind_are_read_together_as_their_fold_says() {
    let policy = policy();
    let work = policy.lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap();
    let lens = policy.lens(&PULLS[0].parse().unwrap(), None, work).unwrap();
    for (fold, shown, speaks) in [
        (Fold::AllDone, &["open", "merged", "draft"][..], Some("draft")),
        (Fold::AllDone, &["merged", "closed"], Some("merged")),
        (Fold::AnyOpen, &["draft", "open", "merged"], Some("open")),
        (Fold::AnyOpen, &["merged", "draft"], Some("draft")),
        (Fold::AnyOpen, &["closed", "merged"], Some("merged")),
        (Fold::Primary, &["closed", "draft", "merged"], Some("closed")),
        (Fold::AllDone, &[], None),
        (Fold::AnyOpen, &[], None),
        (Fold::Primary, &[], None),
    ] {
        let natives: Vec<Native> = shown.iter().map(|native| Native::new(native).unwrap()).collect();
        let natives: Vec<&Native> = natives.iter().collect();
        assert_eq!(fold.of(&lens, work, &natives).map(Native::as_str), speaks, "{fold:?} of {shown:?}");
    }
}

#[test]
fn a_mapping_says_how_its_records_are_folded_and_whether_a_status_is_shown_beside_them() {
    let mut policy = policy();
    let text = include_str!("../../../services/connector-github/mapping.toml");
    policy.mappings.add_toml(&text.replace("\"all_done\"", "\"primary\""), &policy.lifecycles).unwrap();
    let work = policy.lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap();
    let of = |record: &str| policy.lens(&record.parse().unwrap(), None, work).unwrap();
    assert_eq!((of(PULLS[0]).fold(), of(PULLS[0]).shows()), (Fold::Primary, true));
    assert_eq!((of(BUG).fold(), of(BUG).shows()), (Fold::AllDone, false));
    let mut scene = Scene::new(policy, &[(TASK, "in_review"), (PULLS[0], "open"), (PULLS[1], "open")]);
    scene.edit(PULLS[0], "frobnicated", 10);
    assert_eq!(scene.edit(PULLS[1], "draft", 11), Verdict::FastForward);
    assert_eq!(scene.status(), "in_progress", "what nobody knows is no word");
    scene.edit(PULLS[0], "merged", 12);
    assert_eq!(scene.status(), "done", "the first one speaks alone");
}

#[test]
fn only_records_of_one_system_and_kind_are_read_together() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_review"), (BUG, "open"), (PULLS[0], "open")]);
    assert_eq!(scene.edit(PULLS[0], "merged", 10), Verdict::FastForward, "GitHub's issue is open, and no pull request");
    assert_eq!(scene.status(), "done");
}

#[test]
fn an_edit_that_waits_for_the_others_of_its_kind_is_in_the_history_once() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_review"), (PULLS[0], "open"), (PULLS[1], "open")]);
    let rows = |scene: &Scene| scene.last.as_ref().unwrap().rows.iter().map(|row| row.kind).collect::<Vec<_>>();
    assert_eq!(scene.edit(PULLS[0], "approved", 9), Verdict::Agreed);
    assert!(rows(&scene).is_empty(), "a review says nothing new of the item");
    assert_eq!(scene.edit(PULLS[0], "merged", 10), Verdict::Agreed);
    assert_eq!(rows(&scene), [RowKind::Folded]);
    assert_eq!(scene.edit(PULLS[0], "merged", 11), Verdict::Agreed);
    assert!(rows(&scene).is_empty());
}

#[test]
fn a_record_that_no_longer_speaks_leaves_its_kind_to_say_what_it_shows() {
    let records =
        [(TASK, "in_progress"), (PULLS[0], "draft"), (PULLS[1], "open"), (BUG, "open"), (ISSUE, "In Progress")];
    let mut scene = Scene::new(policy(), &records);
    assert_eq!(scene.group.step(2, &scene.policy), Step::InStep, "the draft speaks for both");
    // Two others are out of step for good: that is no business of a pull request.
    scene.edit(TASK, "canceled", 10);
    for command in scene.last.clone().unwrap().commands {
        match command.record.to_string().as_str() {
            BUG | ISSUE => scene.fail(&command, DeliveryOutcome::Rejected, "refused"),
            _ => scene.carry_out(&command, 11),
        };
    }
    scene.edit(TASK, "in_progress", 12);
    scene.carry_out_all(13);
    scene.edit(TASK, "canceled", 14);
    for command in scene.last.clone().unwrap().commands {
        match command.record.to_string().as_str() {
            BUG | ISSUE => scene.fail(&command, DeliveryOutcome::Rejected, "refused"),
            _ => scene.carry_out(&command, 15),
        };
    }
    assert!(scene.group.links.iter().all(|link| link.sent.is_empty()));
    // An issue of GitHub's shows nothing that is known: neither Linear's issue nor a pull request is told anything for it.
    assert_eq!(scene.edit(BUG, "frobnicated", 20), Verdict::Unmapped);
    assert!(scene.commands().is_empty());
    assert_eq!(scene.edit(PULLS[0], "frobnicated", 20), Verdict::Unmapped);
    assert!(scene.commands().is_empty());
}

#[test]
fn kin_of_a_record_that_no_longer_speaks_is_told_what_it_should_show_and_the_history_says_what_that_overruled() {
    for gone in ["frobnicated", "(deleted)"] {
        let rows =
            [(ISSUE, "Todo"), ("postgres/task/1", "todo"), ("postgres/task/2", "todo"), ("postgres/task/3", "todo")];
        let mut scene = Scene::new(policy(), &rows);
        scene.edit("postgres/task/2", "done", 10);
        scene.edit("postgres/task/3", "done", 11);
        assert_eq!(scene.edit("postgres/task/1", gone, 12), Verdict::Unmapped);
        assert_eq!(scene.status(), "todo", "nobody said that the work is done");
        assert_eq!(scene.commands(), ["postgres/task/2 todo", "postgres/task/3 todo"]);
        let rows = &scene.last.as_ref().unwrap().rows;
        let overruled: Vec<_> = rows.iter().filter(|row| row.reason == Reason::Overruled).collect();
        assert_eq!(overruled.len(), 2, "{rows:?}");
        assert_eq!(
            (overruled[0].record.id(), overruled[0].native.as_str(), overruled[0].to.as_str()),
            ("2", "done", "done")
        );
    }
}

#[test]
fn a_record_that_comes_back_beside_others_of_its_kind_is_told_what_its_item_has_become() {
    let rows = [(ISSUE, "In Review"), ("postgres/task/1", "in_review"), ("postgres/task/2", "in_review")];
    let mut scene = Scene::new(policy(), &rows);
    scene.edit("postgres/task/1", "done", 10);
    scene.edit("postgres/task/1", "(deleted)", 11);
    scene.edit(ISSUE, "In Progress", 20);
    scene.carry_out_all(21);
    assert_eq!(scene.edit("postgres/task/1", "done", 30), Verdict::Ignored);
    assert_eq!(
        scene.commands(),
        ["postgres/task/1 in_progress"],
        "what it shows is from before, and must not count later"
    );
    scene.carry_out_all(31);
    scene.edit("postgres/task/2", "done", 40);
    assert_eq!(scene.status(), "in_progress", "the row that came back was not said to be done");
    // Where it shows what the item is, there is nothing to tell.
    scene.edit("postgres/task/1", "(deleted)", 50);
    scene.edit(ISSUE, "In Review", 60);
    scene.carry_out_all(61);
    assert_eq!(scene.edit("postgres/task/1", "in_review", 70), Verdict::Ignored);
    assert!(scene.commands().is_empty());
}

#[test]
fn an_edit_that_waited_and_is_written_over_after_a_change_of_mapping_is_in_the_history_once() {
    let text = include_str!("../../../services/connector-postgres/mapping.toml");
    let first_speaks = text.replace("[mapping.get]", "fold = \"primary\"\n[mapping.get]");
    let other_words = text.replacen("todo = \"todo\"", "todo = \"open\"", 1);
    let other_words = other_words.replacen("todo = \"todo\"", "open = \"todo\"", 1);
    for (text, word) in [(first_speaks, "todo"), (other_words, "open")] {
        for (position, verdict) in [(10, Verdict::Agreed), (9, Verdict::Stale)] {
            let rows = [(ISSUE, "Todo"), ("postgres/task/1", "todo"), ("postgres/task/2", "todo")];
            let mut scene = Scene::new(policy(), &rows);
            scene.edit("postgres/task/1", "done", 10);
            assert_eq!((scene.status(), scene.commands().len()), ("todo", 0), "it waits for the other");
            scene.policy = policy();
            scene.policy.mappings.add_toml(&text, &scene.policy.lifecycles).unwrap();
            let again = seen("postgres/task/1", "done", position, Origin::Other, 20);
            assert_eq!(scene.see(&again), verdict);
            assert_eq!((scene.status(), scene.commands()), ("todo", vec![format!("postgres/task/1 {word}")]));
            let last = scene.last.clone().unwrap();
            let overruled = last.rows.last().unwrap();
            assert_eq!((overruled.reason, overruled.record.id()), (Reason::Overruled, "1"));
            assert_eq!((overruled.native.as_str(), overruled.to.as_str()), ("done", "done"));
            scene.fail(&last.commands[0], DeliveryOutcome::Superseded, "not now");
            assert_eq!(scene.commands().len(), 1, "told again");
            assert_eq!(scene.last.unwrap().rows, [], "and said once");
        }
    }
}

#[test]
fn where_others_of_its_kind_still_hold_the_item_nothing_is_overruled() {
    let rows = [(ISSUE, "Todo"), ("postgres/task/1", "todo"), ("postgres/task/2", "todo"), ("postgres/task/3", "todo")];
    let mut scene = Scene::new(policy(), &rows);
    scene.edit("postgres/task/2", "done", 10);
    scene.edit("postgres/task/1", "(deleted)", 11);
    assert!(scene.commands().is_empty(), "the third still waits");
    assert!(scene.last.as_ref().unwrap().rows.iter().all(|row| row.reason != Reason::Overruled));
}

#[test]
fn a_status_that_changes_nothing_is_in_the_history_once() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "In Progress"), (AGENT, "running")]);
    for (at, rows) in [(10, 1), (11, 0)] {
        assert_eq!(scene.edit(AGENT, "offline", at), Verdict::Ignored);
        assert_eq!((scene.status(), scene.last.as_ref().unwrap().rows.len()), ("in_progress", rows));
    }
    assert_eq!(scene.edit(AGENT, "stable", 12), Verdict::FastForward, "it can be heard again");
    assert_eq!(scene.status(), "in_review");
}

#[test]
fn an_agent_that_was_found_idle_after_an_outage_hands_nothing_over_whoever_watches_it_next() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (AGENT, "stable")]);
    scene.edit(ISSUE, "In Progress", 10);
    for (at, (shown, verdict)) in
        (11..).zip([("offline", Verdict::Ignored), ("idle", Verdict::Ignored), ("stable", Verdict::NoNews)])
    {
        assert_eq!((scene.edit(AGENT, shown, at), scene.status()), (verdict, "in_progress"), "{shown}");
    }
    scene.edit(AGENT, "running", 20);
    assert_eq!(scene.edit(AGENT, "stable", 21), Verdict::FastForward);
    assert_eq!(scene.status(), "in_review");
}

#[test]
fn an_agent_takes_up_again_what_failed_because_the_lifecycle_allows_it() {
    let mut scene = Scene::new(policy(), &[(TASK, "in_progress"), (AGENT, "running")]);
    scene.edit(TASK, "failed", 10);
    assert_eq!(scene.edit(AGENT, "stable", 11), Verdict::Agreed);
    assert_eq!(scene.edit(AGENT, "running", 12), Verdict::FastForward);
    assert_eq!(scene.status(), "in_progress");
}

#[test]
fn a_lens_is_made_once_for_each_kind_of_record_and_team() {
    let policy = policy();
    let work = policy.lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap();
    let lens = |record: &str| -> Arc<Lens> { policy.lens(&record.parse().unwrap(), None, work).unwrap() };
    let (issue, bug) = (lens(ISSUE), lens(BUG));
    assert!(Arc::ptr_eq(&issue, &lens(ISSUE)) && Arc::ptr_eq(&bug, &lens(BUG)));
    assert!(Arc::ptr_eq(&bug, &lens("github/issue/acme/web#99")), "not for each record");
}

#[test]
fn words_that_mean_the_same_are_the_same() {
    let policy = policy();
    let work = policy.lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap();
    let lens = policy.lens(&PULLS[0].parse().unwrap(), None, work).unwrap();
    for (one, other, same) in [
        ("open", "approved", true),
        ("approved", "queued", true),
        ("open", "draft", false),
        ("frobnicated", "frobnicated", true),
        ("frobnicated", "open", false),
        ("frobnicated", "snafu", false),
    ] {
        let of = |word| Native::new(word).unwrap();
        assert_eq!(lens.same(&of(one), &of(other)), same, "{one} and {other}");
    }
}

#[test]
fn a_status_that_changes_nothing_is_known_and_leaves_nothing_to_be_told() {
    let mut policy = policy();
    let text = "[[mapping]]\nsystem = \"shop\"\nkind = \"order\"\nlifecycle = \"work\"\nsilent = [\"parked\"]\n[mapping.get]\n";
    let words = ["backlog", "todo", "in_progress", "blocked", "in_review", "done", "canceled", "failed"];
    let own: Vec<String> = words.iter().map(|word| format!("{word} = \"{word}\"")).collect();
    policy.mappings.add_toml(&format!("{text}{}", own.join("\n")), &policy.lifecycles).unwrap();
    let order = "shop/order/1";
    let first =
        model::begin(&seen(order, "parked", 1, Origin::Other, 0), crate::scene::receipt(1, 0), &policy).unwrap();
    assert_eq!((first.verdict, first.group.links[0].unmapped), (Verdict::Created, false));
    assert_eq!(first.group.step(0, &policy), Step::AsClose);

    let mut scene = Scene::new(policy, &[(ISSUE, "Todo"), (order, "todo")]);
    scene.edit(order, "parked", 10);
    assert_eq!((scene.group.step(1, &scene.policy), scene.commands().len()), (Step::AsClose, 0));
    scene.edit(ISSUE, "In Progress", 11);
    assert_eq!(
        (scene.group.step(1, &scene.policy), scene.commands()),
        (Step::Pending, vec![format!("{order} in_progress")])
    );
}

#[test]
fn an_item_keeps_so_much_metadata_and_of_more_what_was_said_last() {
    let mut scene = Scene::new(policy(), &[(TASK, "todo")]);
    for run in 0..1_000_u64 {
        let mut said = seen(TASK, "todo", 10 + run, Origin::Other, 0);
        said.metadata.insert(format!("run-{:04}", 1_000 - run), run.to_string());
        said.metadata.insert("last".into(), run.to_string());
        scene.see(&said);
    }
    let kept = &scene.group.item.metadata;
    assert_eq!((kept.len(), kept["last"].as_str()), (model::Item::METADATA_MAX, "999"));
    assert!(kept.contains_key("run-0001"), "the newest");
}

/// Somebody asks through the API for a status of a record.
fn asked(record: &str, native: &str) -> Observation {
    Observation { position: None, source: Source::Api, ..seen(record, native, 0, Origin::Unknown, 9) }
}

#[test]
fn what_is_asked_for_is_told_to_the_record_itself_too() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    assert_eq!(scene.see(&asked(ISSUE, "Done")), Verdict::Asked);
    assert_eq!((scene.status(), scene.commands()), ("done", vec![format!("{ISSUE} Done"), format!("{TASK} done")]));
    let link = scene.group.link(&ISSUE.parse().unwrap()).unwrap();
    assert_eq!((link.native.as_str(), link.position.unwrap().0), ("Todo", 1), "nobody saw it there yet");
    scene.carry_out_all(10);
    assert_eq!(scene.commands(), Vec::<String>::new());
    assert!((0..2).all(|place| scene.group.step(place, &scene.policy) == Step::InStep));
    assert_eq!(scene.see(&asked(ISSUE, "Done")), Verdict::Ignored, "it is there");
    let row = &scene.last.as_ref().unwrap().rows[0];
    assert_eq!((row.kind, row.reason), (RowKind::Ignored, Reason::AlreadyThere));
    scene.edit(ISSUE, "(deleted)", 20);
    assert_eq!(scene.see(&asked(ISSUE, "Todo")), Verdict::Refused, "who is gone can be told nothing");
    assert_eq!((scene.status(), scene.commands()), ("done", vec![]));
}

#[test]
fn what_was_asked_before_the_record_was_seen_is_done_when_it_is_replayed_unless_somebody_decided_since() {
    let replayed = |scene: &Scene| {
        let receipt = model::Receipt { first_sequence: Some(0), ..crate::scene::receipt(99, 0) };
        model::resolve(scene.group.clone(), &asked(ISSUE, "Done"), receipt, &scene.policy)
    };
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo")]);
    scene.edit(ISSUE, "Todo", 10);
    let seen_late = Observation { source: Source::Webhook, ..asked(ISSUE, "Done") };
    let receipt = model::Receipt { first_sequence: Some(0), ..crate::scene::receipt(99, 0) };
    let sight = model::resolve(scene.group.clone(), &seen_late, receipt, &scene.policy);
    assert_eq!(sight.verdict, Verdict::Stale, "what was seen is old, whoever has decided what");
    let due = replayed(&scene);
    assert_eq!((due.verdict, due.group.item.status.as_str(), due.commands.len()), (Verdict::Asked, "done", 1));
    scene.edit(ISSUE, "In Progress", 11);
    let late = replayed(&scene);
    assert_eq!((late.verdict, late.group.item.status.as_str()), (Verdict::Stale, "in_progress"));
}

#[test]
fn what_is_asked_for_again_before_it_was_written_changes_the_mind() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.see(&asked(ISSUE, "Done"));
    assert_eq!(scene.see(&asked(ISSUE, "Todo")), Verdict::Asked, "the record still shows it, but will not for long");
    assert_eq!((scene.status(), scene.commands().len()), ("todo", 2), "a write may be on its way to both");
}

#[test]
fn what_is_asked_for_is_refused_held_and_kept_like_an_edit() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo"), (AGENT, "stable")]);
    assert_eq!(scene.see(&asked(ISSUE, "Parked")), Verdict::Unmapped);
    let link = |scene: &Scene| scene.group.link(&ISSUE.parse().unwrap()).unwrap().clone();
    assert!(!link(&scene).unmapped && link(&scene).native.as_str() == "Todo");
    assert_eq!(scene.last.as_ref().unwrap().rows[0].kind, RowKind::Unmapped);

    let refused = |scene: &Scene| {
        let last = scene.last.as_ref().unwrap();
        assert_eq!((last.verdict, scene.status(), last.commands.len()), (Verdict::Refused, "in_review", 0));
        (last.rows[0].kind, last.rows[0].reason)
    };
    let mut pulls = Scene::new(policy(), &[(TASK, "in_review"), (PULLS[0], "open"), (PULLS[1], "open")]);
    pulls.see(&asked(PULLS[0], "draft"));
    assert_eq!(refused(&pulls), (RowKind::Refused, Reason::Folded), "the other one speaks, too");
    pulls.edit(PULLS[1], "(deleted)", 20);
    assert_eq!(pulls.see(&asked(PULLS[0], "draft")), Verdict::Asked, "what is deleted says nothing any more");
    assert_eq!((pulls.status(), pulls.commands().len()), ("in_progress", 2));
    let mut pull = Scene::new(policy(), &[(TASK, "in_review"), (PULLS[0], "open")]);
    pull.see(&asked(PULLS[0], "merged"));
    assert_eq!(refused(&pull), (RowKind::Refused, Reason::CannotBeTold), "nobody merges by a status");
    assert_eq!(pull.see(&asked(PULLS[0], "draft")), Verdict::Asked);
    assert_eq!((pull.status(), pull.commands().len()), ("in_progress", 2));

    scene.policy.strategy = Strategy::Manual;
    scene.edit(TASK, "in_progress", 10);
    assert_eq!(scene.edit(ISSUE, "Done", 10), Verdict::Conflict);
    assert_eq!(scene.see(&asked(ISSUE, "Todo")), Verdict::JoinedHold);
    assert_eq!(link(&scene).native.as_str(), "Done", "that is what it shows");
    scene.see(&asked(AGENT, "running"));
    let agent = scene.group.link(&AGENT.parse().unwrap()).unwrap();
    assert_eq!(agent.native.as_str(), "running", "it can be told nothing: this was seen");
}

#[test]
fn a_record_that_no_connector_sees_shows_what_is_said_of_it() {
    let mut scene = Scene::new(policy(), &[(TASK, "todo")]);
    let begun = model::begin(&asked("board/card/1", "todo"), crate::scene::receipt(1, 0), &scene.policy).unwrap();
    assert!(!begun.group.links[0].watched && scene.group.links[0].watched);
    scene.group = begun.group;
    assert_eq!(scene.see(&asked("board/card/1", "done")), Verdict::FastForward);
    assert_eq!((scene.group.links[0].native.as_str(), scene.commands().len()), ("done", 0));
}

#[test]
fn whoever_asks_again_gets_another_attempt() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    scene.see(&asked(ISSUE, "Done"));
    let told = scene.last.as_ref().unwrap().commands[0].clone();
    scene.fail(&told, DeliveryOutcome::Rejected, "no such state");
    assert_eq!(scene.group.step(0, &scene.policy), Step::Failed);
    assert_eq!(scene.see(&asked(ISSUE, "Done")), Verdict::Ignored);
    assert_eq!(scene.commands(), [format!("{ISSUE} Done")]);
    assert_eq!(scene.see(&asked(ISSUE, "Done")), Verdict::Ignored);
    assert_eq!(scene.commands(), Vec::<String>::new(), "it is on its way");
}

#[test]
fn what_a_connector_writes_or_says_is_its_own_is_not_asked_for() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "Todo"), (TASK, "todo")]);
    let own = Observation { origin: Origin::Own(None), ..asked(ISSUE, "Done") };
    assert_eq!(scene.see(&own), Verdict::OwnWrite);
    let mut card = Scene::new(policy(), &[(TASK, "todo")]);
    let begun = model::begin(&asked("board/card/1", "todo"), crate::scene::receipt(1, 0), &card.policy).unwrap();
    card.group = begun.group;
    let written = Observation { source: Source::Delivery, ..seen("board/card/1", "todo", 0, Origin::Own(None), 9) };
    card.see(&written);
    assert!(!card.group.links[0].watched, "who reports need not see");
}

#[test]
fn an_operator_may_speak_of_a_record_with_the_longest_id() {
    let long = format!("postgres/task/{}", "ä".repeat(256));
    let mut scene = Scene::new(policy(), &[(&long, "todo")]);
    scene.say(&long, model::Intent::Force(crate::scene::status("done")));
    let operator = &scene.group.item.changed_by;
    assert_eq!(operator.to_string().parse::<model::RecordRef>().as_ref(), Ok(operator), "it is stored as text");
}

#[test]
fn closing_one_of_two_drafts_that_are_left_over_reopens_nothing() {
    let mut scene = Scene::new(policy(), &[(ISSUE, "In Progress"), (PULLS[0], "draft"), (PULLS[1], "draft")]);
    scene.edit(ISSUE, "Done", 10);
    scene.carry_out_all(11);
    assert_eq!(scene.edit(PULLS[0], "closed", 12), Verdict::Agreed, "the other draft is where it was");
    assert_eq!((scene.status(), scene.last.as_ref().unwrap().rows[0].kind), ("done", RowKind::Folded));
    assert_eq!(scene.edit(PULLS[1], "open", 13), Verdict::FastForward, "that is news: somebody works on it");
    assert_eq!(scene.status(), "in_review");
}

#[test]
fn issues_of_teams_with_other_words_are_read_together_by_what_they_mean() {
    let words = |words: &[(&str, &str)]| {
        let word = |(name, class): &(&str, &str)| Word { native: Native::new(name).unwrap(), class: (*class).into() };
        Some(Vocabulary(words.iter().map(word).collect()))
    };
    let teams = [
        words(&[("Todo", "unstarted"), ("Doing", "started"), ("Done", "completed")]),
        words(&[("Next", "unstarted"), ("Busy", "started"), ("Shipped", "completed")]),
    ];
    let issues = [("linear/issue/a", "Todo"), ("linear/issue/b", "Next")];
    let mut scene = Scene::new(policy(), &issues);
    let edit = |scene: &mut Scene, place: usize, native: &str, at: u64| {
        let seen = seen(issues[place].0, native, at, Origin::Other, 0);
        scene.see(&Observation { vocabulary: teams[place].clone(), ..seen })
    };
    edit(&mut scene, 0, "Todo", 2);
    edit(&mut scene, 1, "Next", 2);
    assert_eq!(edit(&mut scene, 0, "Done", 10), Verdict::Agreed, "the other team's is not done");
    assert_eq!((scene.status(), scene.commands().len()), ("todo", 0));
    assert_eq!(edit(&mut scene, 1, "Shipped", 11), Verdict::FastForward);
    assert_eq!((scene.status(), scene.commands().len()), ("done", 0));
}
