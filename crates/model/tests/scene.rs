//! A small stage for examples: one item with records of the named systems, and plain words for what happens to them.

use model::{
    Command, DeliveryOutcome, Group, Intent, Lane, LifecycleName, Lifecycles, Mappings, Native, Observation, Origin,
    Policy, Position, Receipt, Report, Resolved, Source, Status, Timestamp, Verdict, adopt, begin, report, resolve,
};

pub fn policy() -> Policy {
    let lifecycles = Lifecycles::built_in().unwrap();
    let mut mappings = Mappings::default();
    for text in [
        include_str!("../../../services/connector-linear/mapping.toml"),
        include_str!("../../../services/connector-github/mapping.toml"),
        include_str!("../../../services/connector-postgres/mapping.toml"),
        include_str!("../../../services/connector-agentapi/mapping.toml"),
    ] {
        mappings.add_toml(text, &lifecycles).unwrap();
    }
    Policy::new(lifecycles, mappings, LifecycleName::new("work").unwrap())
}

/// The same, where steps that the lifecycle does not have are refused.
pub fn rejecting() -> Policy {
    let mut policy = policy();
    let steps = "[lifecycle.work.transitions]";
    let rejecting = format!("[lifecycle.work.irregular]\ndefault = \"reject\"\n{steps}");
    let text = include_str!("../src/lifecycles.toml").replace(steps, &rejecting);
    policy.lifecycles.add_toml(&text).unwrap();
    policy
}

/// One item, and the policy it lives under.
pub struct Scene {
    pub policy: Policy,
    pub group: Group,
    sequence: u64,
    pub last: Option<Resolved>,
}

impl Scene {
    /// An item with these records, each `(record, native)`; the first one's status is the item's. All of them agree.
    pub fn new(policy: Policy, records: &[(&str, &str)]) -> Self {
        let mut sequence = 0;
        let mut groups = records.iter().map(|(record, native)| {
            sequence += 1;
            let seen = seen(record, native, 1, Origin::Other, 0);
            begin(&seen, receipt(sequence, 0), &policy).unwrap().group
        });
        let mut group = groups.next().unwrap();
        let others: Vec<Group> = groups.collect();
        for other in others {
            sequence += 1;
            let mut word = seen(records[0].0, records[0].1, 1, Origin::Other, 0);
            let record = other.links[0].record.clone();
            word.intent = Intent::Link(record.clone());
            let adoption = adopt(group, other, &record, &word, receipt(sequence, 0), &policy).unwrap();
            group = adoption.resolved.group;
        }
        let mut scene = Self { policy, group, sequence, last: None };
        let commands: Vec<Command> = model::commands_due(&scene.group, &scene.policy);
        for command in commands {
            scene.carry_out(&command, 2);
        }
        scene
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn take(&mut self, resolved: Resolved) -> Verdict {
        self.group = resolved.group.clone();
        let verdict = resolved.verdict;
        self.last = Some(resolved);
        verdict
    }

    /// A person sets a record, at a point of its own time line and of the clock.
    pub fn edit(&mut self, record: &str, native: &str, at: u64) -> Verdict {
        self.see(&seen(record, native, at, Origin::Other, i64::try_from(at).unwrap()))
    }

    pub fn see(&mut self, observation: &Observation) -> Verdict {
        let sequence = self.next();
        let at = observation.occurred_at.0;
        let resolved = resolve(self.group.clone(), observation, receipt(sequence, at), &self.policy);
        self.take(resolved)
    }

    /// A new record is tied to the item, by an operator who speaks by way of the first one.
    pub fn tie(&mut self, record: &str, native: &str) {
        let first = receipt(self.next(), 0);
        let other = begin(&seen(record, native, 1, Origin::Other, 0), first, &self.policy).unwrap().group;
        let record = other.links[0].record.clone();
        let mut word = seen(&self.group.links[0].record.to_string(), "-", 1, Origin::Other, 0);
        word.intent = Intent::Link(record.clone());
        let receipt = receipt(self.next(), 0);
        let adoption = adopt(self.group.clone(), other, &record, &word, receipt, &self.policy).unwrap();
        self.take(adoption.resolved);
    }

    /// An operator speaks.
    pub fn say(&mut self, record: &str, intent: Intent) -> Verdict {
        let mut word = seen(record, "-", 1, Origin::Other, 0);
        word.position = None;
        word.intent = intent;
        self.see(&word)
    }

    /// A connector does as it is told.
    pub fn carry_out(&mut self, command: &Command, at: u64) -> Verdict {
        self.report(command, at, DeliveryOutcome::Applied)
    }

    /// A connector says what became of a command.
    pub fn report(&mut self, command: &Command, at: u64, outcome: DeliveryOutcome) -> Verdict {
        let told = reported(command, at, outcome);
        self.hear(&told)
    }

    /// A connector could not carry a command out.
    pub fn fail(&mut self, command: &Command, outcome: DeliveryOutcome, reason: &str) -> Verdict {
        let told =
            Report { native: None, position: None, reason: Some(reason.to_owned()), ..reported(command, 0, outcome) };
        self.hear(&told)
    }

    fn hear(&mut self, told: &Report) -> Verdict {
        let sequence = self.next();
        let resolved = report(self.group.clone(), told, receipt(sequence, 0), &self.policy);
        self.take(resolved)
    }

    /// The commands of the last step, as `record native`.
    pub fn commands(&self) -> Vec<String> {
        let last = self.last.iter().flat_map(|last| &last.commands);
        last.map(|command| format!("{} {}", command.record, command.native)).collect()
    }

    /// Carries out all commands of the last step.
    pub fn carry_out_all(&mut self, at: u64) {
        let commands = self.last.as_ref().map(|last| last.commands.clone()).unwrap_or_default();
        for command in commands {
            self.carry_out(&command, at);
        }
    }

    pub fn status(&self) -> &str {
        self.group.item.status.as_str()
    }
}

/// A connector's report that the record shows what it was told.
pub fn reported(command: &Command, at: u64, outcome: DeliveryOutcome) -> Report {
    Report {
        id: format!("d:{}:{}:{}", command.record, command.version, command.cause),
        record: command.record.clone(),
        item: Some(command.item),
        version: command.version,
        cause: Some(command.cause),
        outcome,
        mode: command.mode,
        native: Some(command.native.clone()),
        position: Some(Position(at)),
        at: Timestamp(0),
        reason: None,
    }
}

pub fn receipt(sequence: u64, at: i64) -> Receipt {
    Receipt::new(Lane::High, sequence, Timestamp(at))
}

pub fn status(word: &str) -> Status {
    Status::new(word).unwrap()
}

pub fn seen(record: &str, native: &str, position: u64, origin: Origin, at: i64) -> Observation {
    Observation {
        position: Some(Position(position)),
        origin,
        ..Observation::new(
            format!("{record}:{position}:{native}"),
            record.parse().unwrap(),
            Native::new(native).unwrap(),
            Source::Webhook,
            Timestamp(at),
        )
    }
}
