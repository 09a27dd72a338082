//! Every mapping is a well-behaved lens: the built-in ones with any team's words, and any that the loader lets in.

use model::{
    Kind, Lens, Lifecycle, LifecycleName, Lifecycles, MappingError, Mappings, Native, Status, System, Vocabulary, Word,
};
use proptest::prelude::*;

/// PutGet and GetPut over every status, every native and every status to return to.
fn lawful(lens: &Lens, lifecycle: &Lifecycle) -> Result<(), String> {
    let open: Vec<Option<&Status>> = std::iter::once(None)
        .chain(lifecycle.statuses().iter().filter(|status| !lifecycle.is_terminal(status)).map(Some))
        .collect();
    for canonical in lifecycle.statuses() {
        let kept = lens.put(lifecycle, canonical, lens.get(canonical), None);
        if kept.as_ref() != Some(canonical) {
            return Err(format!("GetPut: {canonical} became {kept:?}"));
        }
        for (native, normal) in lens.natives() {
            for last_open in &open {
                let put = lens.put(lifecycle, canonical, native, *last_open);
                let shown = put.as_ref().map(|status| lens.get(status));
                if shown != Some(normal) {
                    return Err(format!(
                        "PutGet: {native} on {canonical} (last open {last_open:?}) gave {put:?}, shown as {shown:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn built_in() -> (Lifecycles, Mappings) {
    let policy = crate::scene::policy();
    (policy.lifecycles, policy.mappings)
}

#[test]
fn every_built_in_mapping_obeys_the_laws() {
    let (lifecycles, mappings) = built_in();
    assert!(mappings.iter().count() >= 5);
    for mapping in mappings.iter() {
        let lifecycle = lifecycles.get(&mapping.lifecycle).unwrap();
        lawful(&mapping.lens(lifecycle, None).unwrap(), lifecycle).unwrap_or_else(|why| panic!("{mapping}: {why}"));
    }
}

#[test]
fn a_system_that_nobody_mapped_obeys_the_laws_and_is_told_nothing() {
    for lifecycle in Lifecycles::built_in().unwrap().iter() {
        let lens = Lens::identity(lifecycle);
        lawful(&lens, lifecycle).unwrap();
        assert!(lens.is_read_only());
        for (word, status) in lifecycle.synonyms() {
            let native = Native::new(word.as_str()).unwrap();
            assert_eq!(lens.put(lifecycle, lifecycle.initial(), &native, None).as_ref(), Some(status));
        }
    }
}

const CLASSES: [&str; 7] = ["triage", "backlog", "unstarted", "started", "completed", "canceled", "duplicate"];
const NAMES: [&str; 12] = [
    "Backlog",
    "Todo",
    "In Progress",
    "Blocked",
    "In Review",
    "Done",
    "Canceled",
    "Cancelled",
    "Doing",
    "QA",
    "Später",
    "完了",
];

fn teams() -> impl Strategy<Value = Vocabulary> {
    let word = (prop::sample::select(&NAMES[..]), prop::sample::select(&CLASSES[..]));
    prop::collection::vec(word, 1..10).prop_map(|words| {
        let mut known: Vec<Word> = vec![];
        for (name, class) in words {
            let native = Native::new(name).unwrap();
            if known.iter().all(|word| word.native != native) {
                known.push(Word { native, class: class.into() });
            }
        }
        Vocabulary(known.into())
    })
}

const STATUSES: [&str; 8] = ["backlog", "todo", "in_progress", "blocked", "in_review", "done", "canceled", "failed"];
const FEW: [&str; 4] = ["a", "b", "c", "d"];

fn mappings() -> impl Strategy<Value = String> {
    let get = prop::collection::vec(prop::sample::select(&FEW[..]), 8);
    let put = prop::collection::btree_map(prop::sample::select(&FEW[..]), prop::sample::select(&STATUSES[..]), 0..4);
    let alias =
        prop::collection::btree_map(prop::sample::select(&["e", "f"][..]), prop::sample::select(&FEW[..]), 0..2);
    (get, put, alias, any::<bool>()).prop_map(|(get, put, alias, preferred)| {
        let reopen = if preferred { "preferred" } else { "previous" };
        let mut text =
            format!("[[mapping]]\nsystem = \"s\"\nkind = \"k\"\nlifecycle = \"work\"\nreopen = {reopen:?}\n");
        let lines = |part: &str, pairs: &mut dyn Iterator<Item = (&str, &str)>| {
            pairs.fold(format!("[mapping.{part}]\n"), |text, (from, to)| format!("{text}{from} = {to:?}\n"))
        };
        text += &lines("get", &mut STATUSES.iter().copied().zip(get.iter().copied()));
        text += &lines("put", &mut put.iter().map(|(from, to)| (*from, *to)));
        text + &lines("alias", &mut alias.iter().map(|(from, to)| (*from, *to)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_built_in_mapping_obeys_the_laws_for_any_team(team in teams()) {
        let (lifecycles, mappings) = built_in();
        for mapping in mappings.iter().filter(|mapping| mapping.system.as_str() == "linear") {
            let lifecycle = lifecycles.get(&mapping.lifecycle).unwrap();
            let lens = mapping.lens(lifecycle, Some(&team)).unwrap();
            prop_assert_eq!(lawful(&lens, lifecycle), Ok(()), "{}", mapping);
            for status in lifecycle.statuses() {
                let told = lens.get(status);
                prop_assert!(team.0.iter().any(|word| word.native == *told), "{} is no state of the team", told);
            }
        }
    }

    #[test]
    fn a_mapping_that_is_let_in_obeys_the_laws(text in mappings()) {
        let lifecycles = Lifecycles::built_in().unwrap();
        let mut all = Mappings::default();
        if all.add_toml(&text, &lifecycles).is_ok() {
            let work = lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap();
            let mapping = all.iter().next().unwrap();
            prop_assert_eq!(lawful(&mapping.lens(work, None).unwrap(), work), Ok(()), "{}", text);
        }
    }

    #[test]
    fn an_item_that_shows_what_it_is_stays_and_one_that_opens_again_is_what_it_was(text in mappings()) {
        let lifecycles = Lifecycles::built_in().unwrap();
        let mut all = Mappings::default();
        if all.add_toml(&text, &lifecycles).is_err() {
            return Ok(());
        }
        let work = lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap();
        let lens = all.iter().next().unwrap().lens(work, None).unwrap();
        let previous = text.contains("reopen = \"previous\"");
        for (canonical, open) in work.statuses().iter().flat_map(|one| work.statuses().iter().map(move |open| (one, open))) {
            for (native, _) in lens.natives() {
                let wanted = becomes(&lens, work, previous, canonical, native, open);
                let put = lens.put(work, canonical, native, Some(open));
                prop_assert_eq!(put, Some(wanted), "{} on {}, last open {}: {}", native, canonical, open, text);
            }
        }
    }
}

/// What an item becomes, in the words of the sync model.
fn becomes(
    lens: &Lens,
    work: &Lifecycle,
    previous: bool,
    canonical: &Status,
    native: &Native,
    open: &Status,
) -> Status {
    let normal = lens.normal(native).unwrap();
    if lens.get(canonical) == normal {
        return canonical.clone();
    }
    let preferred = lens.preferred(normal).unwrap().clone();
    let opens_again = work.is_terminal(canonical) && !work.is_terminal(&preferred);
    let as_before = opens_again && previous && lens.get(open) == normal;
    if as_before { open.clone() } else { preferred }
}

fn refused(change: impl Fn(&str) -> String) -> MappingError {
    let text = include_str!("../../../services/connector-postgres/mapping.toml");
    let lifecycles = Lifecycles::built_in().unwrap();
    Mappings::default().add_toml(&change(text), &lifecycles).unwrap_err()
}

#[test]
fn a_mapping_that_breaks_a_law_is_refused_with_the_statuses_that_show_it() {
    // A native of its own that means a status which is shown as something else.
    let error = refused(|text| {
        text.replace("backlog = \"backlog\"\ntodo = \"todo\"\nin_progress = \"in_progress\"\nblocked = \"blocked\"\nin_review = \"in_review\"\ndone = \"done\"\ncanceled = \"canceled\"\nfailed = \"failed\"\n\n[mapping.alias]", "shipped = \"done\"\n[mapping.alias]")
    });
    let MappingError::PutGet { native, to, shown, .. } = &error else { panic!("{error}") };
    assert_eq!((native.as_str(), to.as_str(), shown.as_str()), ("shipped", "done", "done"));
    assert!(error.to_string().contains("PutGet") && error.to_string().contains("shipped"), "{error}");
}

#[test]
fn a_mapping_that_puts_a_native_where_another_is_shown_is_refused() {
    let error =
        refused(|text| text.replacen("[mapping.put]\nbacklog = \"backlog\"", "[mapping.put]\nbacklog = \"todo\"", 1));
    let MappingError::PutGet { mapping, native, to, shown, .. } = &error else { panic!("{error}") };
    assert_eq!((native.as_str(), to.as_str(), shown.as_str()), ("backlog", "todo", "todo"));
    assert_eq!(mapping, "postgres/task to work");
}

/// A mapping for teams that name their own states, and the lens for one team.
fn team_lens(put: &str, words: &[(&str, &str)]) -> Lens {
    let text = format!(
        "[[mapping]]\nsystem = \"s\"\nkind = \"k\"\nlifecycle = \"work\"\n[mapping.get]\n\
         backlog = [\"Backlog\", \"type:idea\"]\ntodo = [\"Todo\", \"type:idea\"]\n\
         in_progress = [\"Doing\", \"type:active\"]\nblocked = [\"Doing\", \"type:active\"]\n\
         in_review = [\"Review\", \"type:active\"]\n\
         done = [\"Done\", \"type:ended\"]\ncanceled = [\"Done\", \"type:ended\"]\nfailed = [\"Done\", \"type:ended\"]\n\
         [mapping.put]\n{put}"
    );
    let lifecycles = Lifecycles::built_in().unwrap();
    let mut all = Mappings::default();
    all.add_toml(&text, &lifecycles).unwrap();
    let word = |(name, class): &(&str, &str)| Word { native: Native::new(name).unwrap(), class: (*class).into() };
    let team = Vocabulary(words.iter().map(word).collect());
    all.iter().next().unwrap().lens(lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap(), Some(&team)).unwrap()
}

#[test]
fn where_one_state_of_a_team_stands_for_several_statuses_the_mapping_says_which_it_means() {
    let states = [("Icebox", "idea"), ("Coding", "active"), ("Testing", "active"), ("Shipped", "ended")];
    let means = |put: &str, native: &str| {
        let lens = team_lens(put, &states);
        let normal = lens.normal(&Native::new(native).unwrap()).unwrap().clone();
        (normal.to_string(), lens.preferred(&normal).unwrap().to_string())
    };
    let of = |native: &str, status: &str| (native.to_owned(), status.to_owned());
    let classes = "\"type:active\" = \"in_review\"\n\"type:ended\" = \"canceled\"\n";
    assert_eq!(
        means(classes, "Coding"),
        of("Coding", "in_review"),
        "by its class, though it shows in progress as well"
    );
    assert_eq!(means(classes, "Shipped"), of("Shipped", "canceled"));
    assert_eq!(means(classes, "Icebox"), of("Icebox", "backlog"), "nothing is said: the first that shows as it");
    assert_eq!(means(classes, "Testing"), of("Coding", "in_review"), "the team's second word for the same");
    let nowhere = "\"type:active\" = \"done\"\n";
    assert_eq!(means(nowhere, "Coding"), of("Coding", "in_progress"), "done shows as another state");

    let states = [("Doing", "active"), ("Shipped", "ended")];
    let lens = team_lens(&format!("{classes}Doing = \"blocked\"\n"), &states);
    let preferred = lens.preferred(&Native::new("Doing").unwrap()).unwrap();
    assert_eq!(preferred.as_str(), "blocked", "its name comes before its class");
}

#[test]
fn a_status_for_which_a_team_has_no_state_shows_as_the_nearest() {
    let lens = team_lens(
        "Doing = \"in_progress\"\n",
        &[("Icebox", "other"), ("Todo", "other"), ("Doing", "other"), ("Done", "x")],
    );
    let shown = |status: &str| lens.get(&Status::new(status).unwrap()).to_string();
    assert_eq!(shown("in_review"), "Doing", "the next lower one, and not the team's first");
    assert_eq!(shown("backlog"), "Todo", "there is no lower one");
    let missing: Vec<&str> = lens.missing().iter().map(Status::as_str).collect();
    assert_eq!(missing, ["backlog", "in_review"]);
    let lens = team_lens("Doing = \"in_progress\"\n", &[("Icebox", "other"), ("Doing", "other")]);
    assert_eq!(lens.get(&Status::new("done").unwrap()).as_str(), "Icebox", "nothing ends work: doctor says so");
}

#[test]
fn a_mapping_with_a_hole_or_a_wrong_word_is_refused() {
    let error = refused(|text| text.replacen("blocked = \"blocked\"\n", "", 1));
    assert!(matches!(&error, MappingError::NotTotal { status, .. } if status.as_str() == "blocked"), "{error}");
    let error = refused(|text| text.replacen("blocked = ", "stuck = ", 1));
    assert!(matches!(&error, MappingError::UnknownStatus { word, .. } if word.as_str() == "stuck"), "{error}");
    let error = refused(|text| text.replacen("cancelled = \"canceled\"", "cancelled = \"gone\"", 1));
    assert!(matches!(&error, MappingError::UnknownNative { place: "alias", .. }), "{error}");
    let error = refused(|text| text.replacen("[mapping.get]", "writable = [\"gone\"]\n[mapping.get]", 1));
    assert!(matches!(&error, MappingError::UnknownNative { place: "writable", .. }), "{error}");
    let error = refused(|text| text.replacen("\"work\"", "\"play\"", 1));
    assert!(matches!(&error, MappingError::NoLifecycle { .. }), "{error}");
    let error = refused(|text| text.replacen("[mapping.get]", "frob = 1\n[mapping.get]", 1));
    assert!(matches!(&error, MappingError::Shape(why) if why.contains("frob")), "{error}");
}

#[test]
fn a_kind_without_a_mapping_may_speak_a_lifecycles_own_words() {
    let (lifecycles, mut mappings) = built_in();
    let lifecycle = lifecycles.get(&LifecycleName::new("work").unwrap()).unwrap();
    let (system, kind) = (System::new("postgres").unwrap(), Kind::new("chore").unwrap());
    mappings.add_own_words(&system, &kind, lifecycle, &lifecycles).unwrap();
    let lens = |mappings: &Mappings, kind: &Kind| {
        mappings.get(&system, kind, lifecycle.name()).unwrap().lens(lifecycle, None).unwrap()
    };
    let own = lens(&mappings, &kind);
    assert!(!own.is_read_only());
    assert!(lifecycle.statuses().iter().all(|status| own.get(status).as_str() == status.as_str()));
    // One that is there stays.
    let task = Kind::new("task").unwrap();
    let before = mappings.get(&system, &task, lifecycle.name()).unwrap().clone();
    mappings.add_own_words(&system, &task, lifecycle, &lifecycles).unwrap();
    assert!(std::sync::Arc::ptr_eq(mappings.get(&system, &task, lifecycle.name()).unwrap(), &before));
}
