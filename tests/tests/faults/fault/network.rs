//! Cables that are cut, slow, or reset.

use std::time::Duration;

use rand::Rng as _;
use system_tests::fleet::{Fleet, Member};
use system_tests::proxy::{Proxy, Weather};

use crate::round::{Ground, rounds};

/// Longer than leases last, and than clients wait for an answer.
const CUT_MS: std::ops::Range<u64> = 7_000..9_000;

/// Changes the weather on one cable of each service: that of the first process of each, or of the second.
fn set(fleet: &Fleet, which: usize, cable: fn(&Member) -> Option<&Proxy>, weather: Weather) {
    for cable in fleet.members.iter().skip(which).step_by(2).filter_map(cable) {
        cable.set(weather);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_between_nats_and_one_of_each_service() -> anyhow::Result<()> {
    rounds("NATS silent for one of each service", Ground::default(), async |parts| {
        let which = parts.random.random_range(0..2);
        set(parts.fleet, which, |member| Some(&member.nats), Weather::Silent);
        parts.a_while(CUT_MS).await;
        set(parts.fleet, which, |member| Some(&member.nats), Weather::Fair);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_between_postgresql_and_one_of_each_service() -> anyhow::Result<()> {
    rounds("PostgreSQL silent for one of each service", Ground::default(), async |parts| {
        let which = parts.random.random_range(0..2);
        set(parts.fleet, which, |member| Some(&member.database), Weather::Silent);
        parts.a_while(CUT_MS).await;
        set(parts.fleet, which, |member| Some(&member.database), Weather::Fair);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_between_linear_and_github_and_their_connectors() -> anyhow::Result<()> {
    rounds("Linear and GitHub silent for their connectors", Ground::default(), async |parts| {
        for which in 0..2 {
            set(parts.fleet, which, |member| member.system.as_ref(), Weather::Silent);
        }
        let ms = parts.random.random_range(CUT_MS);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        for which in 0..2 {
            set(parts.fleet, which, |member| member.system.as_ref(), Weather::Fair);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_and_slow() -> anyhow::Result<()> {
    rounds("connections reset and slow, each cable by itself", Ground::default(), async |parts| {
        for _ in 0..20 {
            let place = parts.random.random_range(0..parts.fleet.members.len());
            let weather =
                if parts.random.random() { Weather::Reset } else { Weather::Late(Duration::from_millis(200)) };
            let member = &parts.fleet.members[place];
            let cable = if parts.random.random() { &member.nats } else { &member.database };
            cable.set(weather);
            tokio::time::sleep(Duration::from_millis(parts.random.random_range(50..400))).await;
            if parts.random.random() {
                parts.fleet.members[place].nats.set(Weather::Fair);
                parts.fleet.members[place].database.set(Weather::Fair);
            }
        }
        for member in &parts.fleet.members {
            member.nats.set(Weather::Fair);
            member.database.set(Weather::Fair);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_ingest() -> anyhow::Result<()> {
    rounds("nobody reaches ingest", Ground::default(), async |parts| {
        for weather in [Weather::Reset, Weather::Late(Duration::from_millis(300)), Weather::Reset] {
            parts.fleet.front().set(weather);
            parts.a_while(500..1_500).await;
        }
        parts.fleet.front().set(Weather::Fair);
        Ok(())
    })
    .await
}
