//! The configuration that the benchmarks resolve by: the built-in lifecycles and mappings.

use anyhow::Result;
use model::{LifecycleName, Lifecycles, Mappings, Policy};

const MAPPINGS: [&str; 3] = [
    include_str!("../../../services/connector-linear/mapping.toml"),
    include_str!("../../../services/connector-github/mapping.toml"),
    include_str!("../../../services/connector-postgres/mapping.toml"),
];

/// The defaults.
pub fn policy() -> Result<Policy> {
    let lifecycles = Lifecycles::built_in()?;
    let mut mappings = Mappings::default();
    for text in MAPPINGS {
        mappings.add_toml(text, &lifecycles)?;
    }
    Ok(Policy::new(lifecycles, mappings, LifecycleName::new("work")?))
}
