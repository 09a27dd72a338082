//! Records that are tied and untied while others speak of them.

use model::{Intent, ItemId, Verdict};
use resolver::ledger::{Input, Ledger};

use super::order::{forget_acknowledgements, lose_all};
use super::*;

pub(crate) fn word(record: &str, item: ItemId, intent: Intent) -> Observation {
    let said = seen(record, "-", 1);
    let id = format!("{record}:{intent:?}");
    Observation { id, intent, item: Some(item), source: Source::Api, position: None, ..said }
}

async fn tied(world: &World) -> Group {
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_goes_to_the_item_it_was_said_of_though_the_record_has_left() {
    let world = World::new().await;
    let item = tied(&world).await.item.id;
    let force = Intent::Force(model::Status::new("done").unwrap());
    world.see(&word("tracker/issue/1", item, Intent::Unlink)).await;
    world.eventually("tracker/issue/1", |group| group.item.id != item).await;
    world.see(&word("tracker/issue/1", item, force)).await;
    let left = world.eventually("forge/issue/a/b#1", |group| group.item.status.as_str() == "done").await;
    assert_eq!(left.item.id, item);
    assert_eq!(world.item("tracker/issue/1").await.item.status.as_str(), "todo", "nobody spoke of its own");
    // It is not there any more to be untied, and its own item has no other record.
    let again = Observation { id: "again".into(), ..word("tracker/issue/1", item, Intent::Unlink) };
    world.see(&again).await;
    let dead = world.bus.tail(Stream::DeadLetters, &[], Tail::Sequence(1)).await;
    let letter = tokio::time::timeout(DEADLINE, dead.unwrap().next()).await.expect("a dead letter in time").unwrap();
    assert_eq!(letter.subject, "lockstep.dead.resolver.no_such_thing");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_about_an_item_that_ended_goes_to_the_one_that_took_it_over() {
    let world = World::new().await;
    world.see(&mentioning(seen("forge/issue/a/b#1", "open", 1), "T-1")).await;
    let ended = world.eventually("forge/issue/a/b#1", |_| true).await.item.id;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 2).await;
    let force = Intent::Force(model::Status::new("done").unwrap());
    world.see(&word("forge/issue/a/b#1", ended, force)).await;
    world.eventually("T-1", |group| group.item.status.as_str() == "done").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_an_item_as_it_ended_is_told() {
    let mut world = World::new().await;
    world.see(&owning(seen("tracker/issue/1", "todo", 1), "T-1")).await;
    world.see(&seen("forge/issue/a/b#1", "open", 1)).await;
    let ended = world.eventually("forge/issue/a/b#1", |_| true).await.item.id.to_string();
    // The word that ties it moves its own item first.
    world.see(&mentioning(seen("forge/issue/a/b#1", "closed", 2), "T-1")).await;
    world.eventually("T-1", |group| group.links.len() == 2).await;
    let mut told: Vec<(String, String, String, Vec<String>)> = vec![];
    while told.last().is_none_or(|(_, kind, ..)| kind != "linked") {
        let change = world.change().await;
        told.push((change.item, change.kind, change.to, change.records));
    }
    let own: Vec<_> =
        told.iter().filter(|(item, ..)| *item == ended).map(|(_, _, to, records)| (to, records)).collect();
    let records = vec!["forge/issue/a/b#1".to_owned()];
    assert_eq!(own, [(&"todo".to_owned(), &records), (&"done".to_owned(), &records)]);
    world.stop().await;
}

/// What one batch makes of these.
fn taken(ledger: &mut Ledger, observations: &[Observation]) -> Vec<Verdict> {
    let take = |(sequence, one): (u64, &Observation)| {
        let receipt = model::Receipt::new(Lane::High, sequence, Timestamp(1));
        ledger.take(&Input::Observation(Box::new(one.clone()), receipt)).unwrap()
    };
    (100..).zip(observations).map(take).collect()
}

/// After a crash the bus may bring an operator's words once more, when what they did is done.
#[test]
fn words_that_come_again_after_the_record_has_left_do_nothing_more() {
    let policy = policy_of(MAPPINGS, "");
    let begin = |name: &str, sequence| {
        let receipt = model::Receipt::new(Lane::High, sequence, Timestamp(1));
        model::begin(&seen(name, "todo", 1), receipt, &policy).unwrap().group
    };
    let (one, other) = (begin("tracker/issue/1", 1), begin("tracker/issue/2", 2));
    let item = one.item.id;
    let mut ledger = Ledger::new(&policy, vec![one, other], vec![], vec![]);
    let force = |status: &str| Intent::Force(model::Status::new(status).unwrap());
    let words = [
        word("tracker/issue/1", item, Intent::Link(record("tracker/issue/2"))),
        word("tracker/issue/1", item, force("done")),
        word("tracker/issue/2", item, force("in_review")),
        word("tracker/issue/1", item, Intent::Unlink),
    ];
    taken(&mut ledger, &words);
    let verdicts = taken(&mut ledger, &words);
    assert_eq!(verdicts[1..], [Verdict::Redelivered; 3], "{verdicts:?}");
    let closed = ledger.close();
    assert_eq!(closed.groups[&item].item.status.as_str(), "in_review");
}

/// An edit moves its item, and before its command is out the process dies; its record has left the item by then.
#[test]
fn an_edit_that_comes_again_after_its_record_has_left_brings_out_what_the_item_owes() {
    let policy = policy_of(MAPPINGS, "");
    let begin = |name: &str, native: &str, sequence| {
        let receipt = model::Receipt::new(Lane::High, sequence, Timestamp(1));
        model::begin(&seen(name, native, 1), receipt, &policy).unwrap().group
    };
    let (one, other) = (begin("tracker/issue/1", "todo", 1), begin("forge/issue/a/b#2", "open", 2));
    let item = one.item.id;
    let mut ledger = Ledger::new(&policy, vec![one, other], vec![], vec![]);
    let said = [
        word("tracker/issue/1", item, Intent::Link(record("forge/issue/a/b#2"))),
        seen("forge/issue/a/b#2", "closed", 2),
        word("forge/issue/a/b#2", item, Intent::Unlink),
    ];
    taken(&mut ledger, &said);
    let closed = ledger.close();
    let owed =
        |commands: &[model::Command]| commands.iter().map(|one| (one.item, one.record.to_string())).collect::<Vec<_>>();
    assert_eq!(owed(&closed.commands), [(item, "tracker/issue/1".to_owned())]);
    let groups = closed.groups.into_values().collect();
    let mut again = Ledger::new(&policy, groups, vec![], vec![]);
    again.have_parted(closed.save.parted);
    let edit = Input::Observation(Box::new(said[1].clone()), model::Receipt::new(Lane::High, 101, Timestamp(1)));
    assert_eq!(again.take(&edit).unwrap(), Verdict::Redelivered);
    assert_eq!(owed(&again.close().commands), [(item, "tracker/issue/1".to_owned())]);
}

#[test]
fn a_status_that_a_more_urgent_one_overtook_ties_its_record_all_the_same() {
    let policy = policy_of(MAPPINGS, "");
    let receipt = |lane, sequence| model::Receipt::new(lane, sequence, Timestamp(1));
    let known = model::begin(&owning(seen("tracker/issue/1", "todo", 1), "T-1"), receipt(Lane::High, 1), &policy);
    let owner = ("T-1".parse().unwrap(), record("tracker/issue/1"));
    let mut ledger = Ledger::new(&policy, vec![known.unwrap().group], vec![owner], vec![]);
    let said =
        |status: &str| Observation { position: None, source: Source::Api, ..seen("forge/issue/a/b#1", status, 1) };
    let mut take =
        |observation: Observation, receipt| ledger.take(&Input::Observation(Box::new(observation), receipt)).unwrap();
    assert_eq!(take(said("closed"), receipt(Lane::Critical, 101)), Verdict::Created);
    let named = mentioning(said("open"), "T-1");
    assert_eq!(take(named, receipt(Lane::Normal, 100)), Verdict::Stale);
    let closed = ledger.close();
    assert_eq!(closed.groups.values().map(|group| group.links.len()).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_record_that_is_retitled_and_what_it_names_are_tied_in_one_batch() {
    let policy = policy_of(MAPPINGS, "");
    let receipt = model::Receipt::new(Lane::High, 1, Timestamp(1));
    let known = model::begin(&seen("forge/issue/a/b#1", "open", 1), receipt, &policy).unwrap().group;
    let mut ledger = Ledger::new(&policy, vec![known], vec![], vec![]);
    let retitled = mentioning(seen("forge/issue/a/b#1", "open", 2), "T-1");
    let named = owning(seen("tracker/issue/1", "todo", 1), "T-1");
    taken(&mut ledger, &[retitled, named]);
    let closed = ledger.close();
    assert_eq!(closed.groups.values().map(|group| group.links.len()).collect::<Vec<_>>(), [2]);
}

/// What the items are called, and how many records each has.
fn named(ledger: Ledger) -> Vec<(String, usize)> {
    let called = |group: Group| (group.item.key.map_or_else(String::new, |key| key.to_string()), group.links.len());
    let mut named: Vec<_> = ledger.close().groups.into_values().map(called).collect();
    named.sort();
    named
}

#[test]
fn an_identifier_stays_its_owners_and_whoever_claims_it_means_that() {
    let policy = policy_of(MAPPINGS, "");
    let said = |observation| Observation { position: None, source: Source::Api, ..observation };
    let ours = || owning(seen("tracker/issue/1", "todo", 1), "T-1");
    let theirs = || owning(seen("forge/issue/a/b#1", "open", 1), "T-1");
    let of_its_kind = || owning(seen("tracker/issue/2", "todo", 1), "T-1");
    let gone = Observation { keys: vec![], ..seen("tracker/issue/1", "(deleted)", 2) };
    for (observations, wanted) in [
        (vec![ours(), theirs()], vec![("T-1", 2)]),
        (vec![ours(), said(theirs())], vec![("T-1", 2)]),
        // Two of one kind are not one because somebody gave both the same name.
        (vec![ours(), of_its_kind()], vec![("", 1), ("T-1", 1)]),
        // Whoever sees its record knows better than who only speaks of one.
        (vec![said(theirs()), ours()], vec![("T-1", 2)]),
        (vec![said(of_its_kind()), ours()], vec![("", 1), ("T-1", 1)]),
        (vec![said(theirs()), said(ours())], vec![("T-1", 2)]),
        // Nobody owns what its owner left behind.
        (vec![ours(), gone, theirs()], vec![("T-1", 1), ("T-1", 1)]),
    ] {
        let mut ledger = Ledger::new(&policy, vec![], vec![], vec![]);
        taken(&mut ledger, &observations);
        let wanted: Vec<_> = wanted.into_iter().map(|(key, records)| (key.to_owned(), records)).collect();
        assert_eq!(named(ledger), wanted, "{observations:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ends_because_its_item_does_is_told() {
    let manual = || {
        let mut policy = policy_of(MAPPINGS, "");
        policy.strategy = model::Strategy::Manual;
        policy
    };
    let mut world = World::with(Arc::new(manual())).await;
    world.see(&seen("tracker/issue/1", "todo", 1)).await;
    let item = world.eventually("tracker/issue/1", |_| true).await.item.id;
    // Two that have not seen each other.
    let flip = model::Status::new("in_progress").unwrap();
    world.see(&word("tracker/issue/1", item, Intent::Force(flip))).await;
    world.see(&seen("tracker/issue/1", "in_review", 2)).await;
    let held = world.eventually("tracker/issue/1", |group| group.item.held.is_some()).await.item;
    world.see(&owning(seen("tracker/issue/2", "todo", 1), "T-2")).await;
    world.eventually("T-2", |_| true).await;
    world.see(&mentioning(seen("tracker/issue/1", "in_review", 3), "T-2")).await;
    world.eventually("T-2", |group| group.links.len() == 2).await;
    let resolved = async |world: &mut World| {
        loop {
            let told = world.change().await;
            if told.kind == "conflict_resolved" {
                break (told.item, told.conflict);
            }
        }
    };
    let wanted = (item.to_string(), held.held.unwrap().to_string());
    assert_eq!(resolved(&mut world).await, wanted);
    world.stop().await;

    // It died before it told of it, and all inputs come again.
    forget_acknowledgements(&world).await;
    lose_all(&mut world).await;
    world.restart(manual()).await;
    assert_eq!(resolved(&mut world).await, wanted);
}
