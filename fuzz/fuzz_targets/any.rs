//! The target that the executable is named after, for libFuzzer.

#![no_main]

use std::sync::LazyLock;

use hostile::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    *TARGETS.iter().find(|target| target.name == env!("CARGO_BIN_NAME")).expect("a target of that name")
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
