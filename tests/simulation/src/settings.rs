//! What kind of world this is: drawn from its seed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use model::{LifecycleName, Lifecycles, Mappings, OnLink, Policy, Strategy};
use runtime::simulation::{below, chance};

use crate::table::ALL;

/// What a test asks of a world.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// A rule of the model that is left out.
    pub left_out: Option<&'static str>,
    /// Something that is done wrongly on purpose.
    pub broken: Option<Broken>,
}

/// What can be done wrongly on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The bus leaves a duty out.
    Bus(bus::simulation::Duty),
    /// The database leaves a duty out.
    Database(store::simulation::Duty),
    /// Sweeps find nothing.
    BlindSweep,
    /// A connector does not read what a record shows now, but remembers what it showed before.
    CachedRead,
    /// All observations of a record have one id.
    OneIdForAll,
    /// A connector says that it wrote, and did not.
    UnwrittenWrite,
}

/// Which faults there are. Each is there in a part of the worlds only, so that none hides another.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fault of its own")]
pub struct Settings {
    pub partitions: u32,
    pub batch: usize,
    pub resolvers: usize,
    /// How many processes each connector has.
    pub connectors: usize,
    pub sweep_s: u64,
    pub chaos_s: u64,
    pub edits: u64,
    /// Between two edits at most, in milliseconds.
    pub pace_ms: u64,
    pub lag_ms: u64,
    /// Each of these in a thousand.
    pub lose_webhooks: u64,
    pub double_webhooks: u64,
    pub late_webhooks: u64,
    pub incomplete_webhooks: u64,
    pub lost_requests: u64,
    pub lost_answers: u64,
    pub database_breaks: u64,
    pub system_errors: u64,
    pub system_limits: u64,
    /// Writes whose answer is lost, and writes that land late.
    pub lost_writes: u64,
    pub late_writes: u64,
    pub refusals: u64,
    pub crashes: bool,
    pub cuts: bool,
    pub database_cuts: bool,
    pub outages: bool,
    pub server_restarts: bool,
    pub reconfigurations: bool,
    pub operators: bool,
    pub links: bool,
    pub odd_statuses: bool,
    /// Clocks differ by up to so much.
    pub skew_ms: u64,
    /// Records find each other by identifiers, not by an operator's word.
    pub by_keys: bool,
    /// Linear and GitHub are brought back from old copies when all is done.
    pub old_copies: bool,
}

impl Settings {
    pub fn drawn() -> Self {
        let on = |percent: u64| chance(percent * 10);
        let often = |percent: u64, per_thousand: u64| if chance(percent * 10) { 1 + below(per_thousand) } else { 0 };
        Self {
            partitions: 1 + below(2) as u32,
            batch: if on(50) { 500 } else { 1 + below(4) as usize },
            resolvers: 1 + usize::from(on(40)),
            connectors: 1 + usize::from(on(40)),
            sweep_s: [15, 30, 60][below(3) as usize],
            chaos_s: 20 + below(60),
            edits: 3 + below(12),
            pace_ms: [200, 2_000, 8_000][below(3) as usize],
            lag_ms: [0, 3, 30, 300][below(4) as usize],
            lose_webhooks: often(40, 500),
            double_webhooks: often(40, 400),
            late_webhooks: often(40, 400),
            incomplete_webhooks: often(30, 300),
            lost_requests: often(30, 60),
            lost_answers: often(30, 60),
            database_breaks: often(25, 60),
            system_errors: often(40, 200),
            system_limits: often(30, 150),
            lost_writes: often(30, 200),
            late_writes: often(20, 200),
            refusals: often(8, 100),
            crashes: on(50),
            cuts: on(40),
            database_cuts: on(25),
            outages: on(30),
            server_restarts: on(25),
            reconfigurations: on(20),
            operators: on(30),
            links: on(20),
            odd_statuses: on(30),
            skew_ms: [0, 3_000, 180_000][below(3) as usize],
            by_keys: on(50),
            old_copies: on(10),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyKey {
    strategy: usize,
    irregular: usize,
    on_link: usize,
    threshold: usize,
    left_out: Option<&'static str>,
}

const STRATEGIES: [Strategy; 4] =
    [Strategy::PriorityBased, Strategy::TimestampBased, Strategy::Merge, Strategy::Manual];
const IRREGULAR: [&str; 4] = ["", "", "default = \"reject\"", "github = \"hold\"\npostgres = \"reject\""];

impl PolicyKey {
    pub fn drawn(wanted: Wanted) -> Self {
        Self {
            strategy: below(4) as usize,
            irregular: below(4) as usize,
            on_link: below(3) as usize,
            threshold: if chance(300) { 3 } else { 1_000 },
            left_out: wanted.left_out,
        }
    }

    /// The same with another strategy: what an operator may change in a running system.
    pub fn changed(self) -> Self {
        Self { strategy: below(4) as usize, threshold: if chance(300) { 3 } else { 1_000 }, ..self }
    }

    pub fn policy(self) -> Arc<Policy> {
        // Making one costs more than a world.
        thread_local! {
            static POLICIES: RefCell<HashMap<PolicyKey, Arc<Policy>>> = RefCell::default();
        }
        POLICIES.with_borrow_mut(|all| Arc::clone(all.entry(self).or_insert_with(|| Arc::new(self.made()))))
    }

    fn made(self) -> Policy {
        let mut lifecycles = Lifecycles::built_in().unwrap();
        let text = include_str!("../../../crates/model/src/lifecycles.toml").replace(
            "[lifecycle.work.transitions]",
            &format!("[lifecycle.work.irregular]\n{}\n[lifecycle.work.transitions]", IRREGULAR[self.irregular]),
        );
        lifecycles.add_toml(&text).unwrap();
        let mut mappings = Mappings::default();
        for table in ALL {
            mappings.add_toml(&table.toml(), &lifecycles).unwrap();
        }
        let mut policy = Policy::new(lifecycles, mappings, LifecycleName::new("work").unwrap());
        policy.strategy = STRATEGIES[self.strategy];
        policy.on_link = [OnLink::Item, OnLink::Record, OnLink::Priority][self.on_link];
        policy.escalation_threshold = self.threshold;
        policy.left_out = self.left_out;
        policy
    }
}
