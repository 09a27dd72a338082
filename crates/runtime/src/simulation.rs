//! Time and chance of a simulated world: one thread, one seed, a clock that stands still unless everybody waits.
//!
//! While a [`World`] is entered, everything on its thread that asks for chance or for the time is answered from it. Needs a
//! runtime of one thread whose time is paused. Outside of one, all is as without the feature.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

thread_local! {
    static WORLD: RefCell<Option<Source>> = const { RefCell::new(None) };
}

struct Source {
    state: u64,
    /// What the world's clock shows at `since`, in milliseconds since 1970.
    began_ms: i64,
    since: Instant,
    /// What happened, where somebody wants to read it.
    trace: Option<Vec<String>>,
}

/// This thread is in a simulated world until this is dropped.
#[derive(Debug)]
#[must_use = "the world ends when it is dropped"]
pub struct World(());

impl World {
    /// Enters a world on its seed. Must be called within the runtime whose time is the world's.
    pub fn enter(seed: u64, began_ms: i64, traced: bool) -> Self {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        WORLD.set(Some(Source { state, began_ms, since: Instant::now(), trace: traced.then(Vec::new) }));
        Self(())
    }

    /// What was noted so far.
    pub fn trace(&self) -> Vec<String> {
        WORLD.with_borrow(|world| world.as_ref().and_then(|world| world.trace.clone()).unwrap_or_default())
    }

    /// A number that differs as soon as two runs of one seed differ in anything that asked for chance.
    pub fn fingerprint(&self) -> u64 {
        WORLD.with_borrow(|world| world.as_ref().map_or(0, |world| world.state))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        WORLD.set(None);
    }
}

/// The next number of the world's chance (splitmix64); `None` outside of one.
pub(crate) fn drawn() -> Option<u64> {
    WORLD.with_borrow_mut(|world| {
        let world = world.as_mut()?;
        world.state = world.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = world.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    })
}

/// What the world's clock shows, in milliseconds since 1970; `None` outside of one.
#[expect(clippy::cast_possible_truncation, reason = "a world lasts for minutes")]
pub fn now_ms() -> Option<i64> {
    WORLD.with_borrow(|world| world.as_ref().map(|world| world.began_ms + world.since.elapsed().as_millis() as i64))
}

/// Notes what happens, where somebody wants to read it.
pub fn note(line: impl FnOnce() -> String) {
    if WORLD.with_borrow(|world| world.as_ref().is_some_and(|world| world.trace.is_some())) {
        let line = line();
        WORLD.with_borrow_mut(|world| {
            let Some(world) = world.as_mut() else { return };
            let at = world.since.elapsed();
            if let Some(trace) = &mut world.trace {
                trace.push(format!("{:>8.3} {line}", at.as_secs_f64()));
            }
        });
    }
}

/// A number below `limit`, which is above 0.
pub fn below(limit: u64) -> u64 {
    crate::chance::random() % limit
}

/// Whether something happens that happens so often in a thousand.
pub fn chance(per_thousand: u64) -> bool {
    per_thousand > 0 && below(1_000) < per_thousand
}

/// Waits for up to so many milliseconds, and half of the time for none.
pub async fn lag(most_ms: u64) {
    if most_ms > 0 && chance(500) {
        tokio::time::sleep(Duration::from_millis(below(most_ms + 1))).await;
    }
}

/// What a simulated process has besides a real one's tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    handles: Mutex<Vec<AbortHandle>>,
    skew_ms: AtomicI64,
}

impl Tasks {
    pub(crate) fn note(&self, handle: AbortHandle) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|handle| !handle.is_finished());
        handles.push(handle);
    }

    pub(crate) fn abort(&self) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|handle| handle.abort());
    }

    pub(crate) fn skew(&self, milliseconds: i64) {
        self.skew_ms.store(milliseconds, Ordering::Relaxed);
    }

    pub(crate) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }
}
