//! What kind of world a history happens in: drawn from its seed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use model::{LifecycleName, Lifecycles, Mappings, OnLink, Policy, Strategy, System};

use super::rng::Rng;
use super::table::ALL;

/// What a test asks of a history.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Each edit waits until everything is delivered.
    pub calm: bool,
    pub left_out: Option<&'static str>,
    /// Write down what happens.
    pub trace: bool,
}

/// Which faults there are. Each is there in a part of the histories only, so that none hides another.
#[expect(clippy::struct_excessive_bools, reason = "each is one fault of its own")]
#[derive(Debug, Clone)]
pub struct Faults {
    pub lose_edits: bool,
    pub lose_echoes: bool,
    pub double: bool,
    pub reorder: bool,
    pub lanes: bool,
    pub resolver_crashes: bool,
    pub slow_publishing: bool,
    pub connector_crashes: bool,
    pub overlap: bool,
    pub outages: bool,
    pub failures: bool,
    pub operators: bool,
    pub links: bool,
    pub odd_statuses: bool,
    pub sweeps: bool,
    pub old_copies: bool,
    pub skew_ms: i64,
    /// How long the bus remembers message ids.
    pub dedup_ms: i64,
}

impl Faults {
    pub fn drawn(rng: &mut Rng, calm: bool) -> Self {
        let mut on = |percent| !calm && rng.chance(percent);
        Self {
            lose_edits: on(40),
            lose_echoes: on(50),
            double: on(50),
            reorder: on(50),
            lanes: on(50),
            resolver_crashes: on(50),
            slow_publishing: on(30),
            connector_crashes: on(40),
            overlap: on(40),
            outages: on(40),
            failures: on(15),
            operators: on(40),
            links: on(25),
            odd_statuses: on(30),
            sweeps: on(50),
            old_copies: on(20),
            skew_ms: if on(50) { 3_000 } else { 0 },
            dedup_ms: if on(50) { 1_500 } else { 120_000 },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    strategy: Strategy2,
    irregular: &'static str,
    on_link: u8,
    threshold: usize,
    left_out: Option<&'static str>,
}

type Strategy2 = u8;

const IRREGULAR: [&str; 4] = ["", "", "default = \"reject\"", "github = \"hold\"\npostgres = \"reject\""];

thread_local! {
    // Making one costs more than a history.
    static POLICIES: RefCell<HashMap<Key, Rc<Policy>>> = RefCell::default();
}

/// One of the policies, made once.
pub fn policy(rng: &mut Rng, wanted: Wanted) -> Rc<Policy> {
    let strategy = u8::try_from(rng.below(4)).expect("small");
    let on_link = u8::try_from(rng.below(3)).expect("small");
    let threshold = if rng.chance(30) { 3 } else { 1_000 };
    let irregular = if wanted.calm { "" } else { *rng.pick(&IRREGULAR) };
    let key = Key { strategy, irregular, on_link, threshold, left_out: wanted.left_out };
    POLICIES.with_borrow_mut(|all| Rc::clone(all.entry(key).or_insert_with(|| Rc::new(made(key)))))
}

fn made(key: Key) -> Policy {
    let mut lifecycles = Lifecycles::built_in().unwrap();
    let text = model_lifecycles().replace(
        "[lifecycle.work.transitions]",
        &format!("[lifecycle.work.irregular]\n{}\n[lifecycle.work.transitions]", key.irregular),
    );
    lifecycles.add_toml(&text).unwrap();
    let mut mappings = Mappings::default();
    for table in ALL {
        mappings.add_toml(&table.toml(), &lifecycles).unwrap();
    }
    let mut policy = Policy::new(lifecycles, mappings, LifecycleName::new("work").unwrap());
    policy.strategy = [Strategy::PriorityBased, Strategy::TimestampBased, Strategy::Merge, Strategy::Manual]
        [usize::from(key.strategy)];
    policy.on_link = [OnLink::Item, OnLink::Record, OnLink::Priority][usize::from(key.on_link)];
    policy.escalation_threshold = key.threshold;
    policy.priorities.insert(System::new("board").unwrap(), 2);
    policy.left_out = key.left_out;
    policy
}

/// The built-in `work` lifecycle as text, to be changed.
fn model_lifecycles() -> String {
    include_str!("../../src/lifecycles.toml").to_owned()
}
