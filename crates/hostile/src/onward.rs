//! What becomes of an observation after a parser let it through: the bus carries it, and the model decides on it.

use std::sync::LazyLock;

use model::{Intent, Lane, LifecycleName, Lifecycles, Mappings, Observation, Policy, Receipt, Timestamp};
use proto::v1;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let lifecycles = Lifecycles::built_in().expect("the built-in lifecycles are good");
    let mut mappings = Mappings::default();
    let built_in = [
        connector_linear::REGISTRATION,
        connector_github::REGISTRATION,
        connector_postgres::REGISTRATION,
        connector_agentapi::REGISTRATION,
    ];
    for registration in built_in {
        mappings.add_toml(registration.mapping, &lifecycles).expect("the built-in mappings are good");
    }
    Policy::new(lifecycles, mappings, LifecycleName::new("work").expect("a constant name is a good name"))
});

/// The built-in lifecycles.
pub(crate) fn lifecycles() -> &'static Lifecycles {
    &POLICY.lifecycles
}

/// What a parser of ours lets through, the resolver must be able to take.
pub(crate) fn crosses_the_bus(observation: &Observation) {
    let bytes = proto::encode(&proto::observation_to(observation));
    let read: v1::Observation = proto::decode(None, &bytes).expect("what we encode can be decoded");
    let read = proto::observation_from(read).expect("what a parser lets through the resolver takes");
    assert_eq!(
        (&read.record, &read.native, &read.position),
        (&observation.record, &observation.native, &observation.position)
    );
    is_resolved(&read);
}

/// The model decides on it, for a new record and for one that is known, and the second time it is a redelivery.
pub(crate) fn is_resolved(observation: &Observation) {
    let receipt = |sequence| Receipt::new(Lane::Normal, sequence, Timestamp(1_790_000_000_000));
    let seen = Observation { intent: Intent::Status, ..observation.clone() };
    let Ok(begun) = model::begin(&seen, receipt(1), &POLICY) else { return };
    let next = model::resolve(begun.group, observation, receipt(2), &POLICY);
    let again = model::resolve(next.group.clone(), observation, receipt(2), &POLICY);
    assert_eq!(again.group.item, next.group.item, "a redelivery changes nothing");
}
