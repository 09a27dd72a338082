//! A process that stands still for longer than its leases last, and then goes on as if nothing had been.

use rand::Rng as _;

use crate::round::{Ground, rounds};

/// Leases expire after 6 s.
const FROZEN_MS: std::ops::Range<u64> = 7_000..9_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_process_of_each_service() -> anyhow::Result<()> {
    rounds("one of each service frozen (SIGSTOP) past its leases", Ground::default(), async |parts| {
        let which: Vec<bool> = (0..parts.fleet.members.len() / 2).map(|_| parts.random.random()).collect();
        let frozen = |place: usize| place % 2 == usize::from(which[place / 2]);
        for (_, member) in parts.fleet.members.iter().enumerate().filter(|(place, _)| frozen(*place)) {
            member.signal("STOP").await?;
        }
        parts.a_while(FROZEN_MS).await;
        for (_, member) in parts.fleet.members.iter().enumerate().filter(|(place, _)| frozen(*place)) {
            member.signal("CONT").await?;
        }
        // They go on with what they had in hand, which others have taken over.
        parts.a_while(1_000..2_000).await;
        Ok(())
    })
    .await
}
