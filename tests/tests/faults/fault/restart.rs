//! A rolling restart: each process in its turn ends in order and is replaced.

use crate::round::{Ground, rounds};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_every_service() -> anyhow::Result<()> {
    rounds("rolling restart of every process", Ground::default(), async |parts| {
        for member in &mut parts.fleet.members {
            member.signal("TERM").await?;
            member.ended().await?;
            member.start()?;
            member.ready().await?;
        }
        Ok(())
    })
    .await
}
