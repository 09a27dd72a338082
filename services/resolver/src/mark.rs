//! Notices that PostgreSQL or the bus was brought back from an old copy, or lost: a mark stands in both.
//!
//! It is set in PostgreSQL first, and then on the bus. Where the bus has a younger one, PostgreSQL went back; where it has an older one
//! than PostgreSQL saw there, the bus did. Then commands that are known to be on their way may be gone, and edits that a sweep has seen
//! are not known here any more.

use std::time::Duration;

use bus::{Bus, Stream};
use runtime::Process;
use store::{Mark, Store};

/// How often the mark is looked at and set. What happened since the last one goes unnoticed.
const EVERY: Duration = Duration::from_secs(10);
/// What was seen shortly before is a copy for the bus until then.
const FORGOTTEN: Duration = Duration::from_secs(Stream::Observations.spec().duplicate_window_s + 10);

/// What became of the two since the mark was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// They went on together.
    Together,
    /// PostgreSQL is an older one, or empty.
    StoreWentBack,
    /// The bus is.
    BusWentBack,
}

fn since(store: Option<Mark>, bus: Option<i64>) -> Since {
    match (store, bus) {
        (None, None) => Since::Together,
        (None, Some(_)) => Since::StoreWentBack,
        (Some(store), bus) if bus == Some(store.at) || bus == store.before => Since::Together,
        (Some(store), bus) if bus > Some(store.at) => Since::StoreWentBack,
        _ => Since::BusWentBack,
    }
}

/// Sets the mark over and over, and mends what it shows. Of several processes that do it each looks at what the others set.
pub(crate) async fn keep(process: Process, bus: Bus, store: Store) -> anyhow::Result<()> {
    // When it is done once more what is done about it: what the bus still takes for copies then comes through.
    let mut again = None;
    loop {
        if again.is_some_and(|due| tokio::time::Instant::now() >= due) {
            match begin_anew(&bus, &store).await {
                Ok(()) => again = None,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "sweeps do not begin anew yet"),
            }
        }
        match look(&process, &bus, &store).await {
            Ok(Since::Together) => {}
            Ok(_) => again = Some(tokio::time::Instant::now() + FORGOTTEN),
            // Another process set it meanwhile, or one of the two is away.
            Err(error) => tracing::debug!(error = format!("{error:#}"), "the mark was not set"),
        }
        if process.shutdown().run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return Ok(());
        }
    }
}

async fn look(process: &Process, bus: &Bus, store: &Store) -> anyhow::Result<Since> {
    let there = bus.mark().await?;
    let here = store.mark().await?;
    let (at, revision) = there.unzip();
    let since = since(here, at);
    if since == Since::Together {
        if let Some(here) = here.filter(|here| at != Some(here.at)) {
            // Another process is about to do this, or died before it could.
            bus.set_mark(here.at, revision).await?;
            return Ok(since);
        }
    } else {
        // Else others set it between the two looks.
        anyhow::ensure!(bus.mark().await? == there, "the mark was set meanwhile");
        let which = if since == Since::BusWentBack { "the bus" } else { "PostgreSQL" };
        tracing::warn!("{which} was brought back from an old copy, or lost; all systems are swept anew");
        begin_anew(bus, store).await?;
    }
    let newest = here.map_or(0, |here| here.at).max(at.unwrap_or(0));
    let mark = Mark { at: process.now_ms().max(newest + 1), before: at };
    if store.set_mark(here, mark).await? {
        bus.set_mark(mark.at, revision).await?;
    }
    Ok(since)
}

/// Lets the sweeps see everything again, and what they find out of step be told again.
async fn begin_anew(bus: &Bus, store: &Store) -> anyhow::Result<()> {
    let records = store.void_commands().await?;
    bus.begin_sweeps_anew().await?;
    tracing::info!(records, "commands that were on their way to these records count as lost");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_has_the_older_mark_went_back() {
        let here = |at, before| Some(Mark { at, before });
        assert_eq!(since(None, None), Since::Together, "nothing was marked yet");
        assert_eq!(since(here(5, Some(4)), Some(5)), Since::Together);
        assert_eq!(since(here(5, Some(4)), Some(4)), Since::Together, "the process died in between");
        assert_eq!(since(here(5, None), None), Since::Together, "so it did, the first time");
        assert_eq!(since(here(5, Some(4)), Some(6)), Since::StoreWentBack);
        assert_eq!(since(None, Some(6)), Since::StoreWentBack);
        assert_eq!(since(here(5, Some(4)), Some(3)), Since::BusWentBack);
        assert_eq!(since(here(5, Some(4)), None), Since::BusWentBack);
    }
}
