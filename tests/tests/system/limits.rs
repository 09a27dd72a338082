//! Systems that are away for long, and limits that are strict: who waits, how much is sent, and what it costs in memory.
//!
//! The figures of a test run are small. `LOCKSTEP_OUTAGE=100000/1000` (changes / records) and `LOCKSTEP_SOAK=10000/100` make
//! them as large as one likes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sandbox::counters::Counts;
use sandbox::faults::Faults;
use sandbox::github::GithubLimits;
use sandbox::linear::LinearLimits;
use system_tests::oracle::{self, Piece, REPO};
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

/// How much more memory the process may take at the end than at the start, and at its height.
const MEMORY_KB: u64 = 160 * 1024;

const STATUSES: [&str; 4] = ["in_progress", "done", "in_review", "canceled"];

/// How many changes, and to how many records.
#[derive(Debug, Clone, Copy)]
struct Size {
    changes: usize,
    records: usize,
}

impl Size {
    fn of(variable: &str, default: Self) -> anyhow::Result<Self> {
        let Ok(given) = std::env::var(variable) else { return Ok(default) };
        let parts = given.split_once('/').and_then(|(changes, records)| {
            Some(Self { changes: changes.parse().ok()?, records: records.parse().ok()? })
        });
        parts.with_context(|| format!("{variable}: {given:?} is not <changes>/<records>"))
    }

    fn rounds(self) -> usize {
        (self.changes / self.records).max(1)
    }

    /// Time enough on a slow machine, and an end on any.
    fn deadline(self) -> Duration {
        DEADLINE + Duration::from_millis(20 * self.changes as u64) + Duration::from_secs(2 * self.records as u64)
    }
}

/// Sets the status of every task in one statement, as a script would.
async fn set_all(world: &World, status: &str) -> anyhow::Result<()> {
    sqlx::query("update tasks set status = $1").bind(status).execute(world.database.pool()).await?;
    Ok(())
}

/// How many of the table's changes have become history.
async fn taken(world: &World) -> anyhow::Result<i64> {
    let query = "select count(*) from lockstep.history where record like 'postgres/task/%' and kind = 'changed'";
    Ok(sqlx::query_scalar(query).fetch_one(world.database.pool()).await?)
}

async fn dead_letters(world: &World) -> anyhow::Result<u64> {
    Ok(world.bus.stream_info(bus::Stream::DeadLetters).await?.0)
}

/// The process's memory now and at its height, in kilobytes.
fn memory(world: &World) -> anyhow::Result<(u64, u64)> {
    let memory = world.lockstep.memory_kb()?;
    eprintln!("memory: {} MB, at its height {} MB", memory.0 / 1024, memory.1 / 1024);
    Ok(memory)
}

fn bounded(before: (u64, u64), after: (u64, u64)) -> anyhow::Result<()> {
    let (now, height) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.0));
    ensure!(now <= MEMORY_KB && height <= MEMORY_KB, "it took {now} kB more at the end, and {height} kB at its height");
    Ok(())
}

/// Both systems that are written to are away; they come back, and each record is written once, with what is newest.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_only_the_newest_of_each_record_is_sent() -> anyhow::Result<()> {
    let size = Size::of("LOCKSTEP_OUTAGE", Size { changes: 2_000, records: 50 })?;
    let settings = Settings { pieces: size.records, ..Settings::default() };
    with_world(settings, async |world| {
        let before = memory(world)?;
        for (faults, counters) in
            [(world.linear.faults(), world.linear.counters()), (world.github.faults(), world.github.counters())]
        {
            faults.set(Faults { error_5xx: 1.0, ..Faults::default() });
            counters.reset();
        }
        let (began, known) = (Instant::now(), taken(world).await?);
        for round in 1..size.rounds() {
            set_all(world, STATUSES[round % STATUSES.len()]).await?;
            // The outbox is a table of the user's: it is kept short.
            eventually(size.deadline(), "the outbox is passed on", async || {
                Ok((world.tasks.waiting().await? < 5_000).then_some(()))
            })
            .await?;
        }
        set_all(world, "backlog").await?;
        set_all(world, "done").await?;
        let changes = i64::try_from((size.rounds() + 1) * size.records)?;
        eventually(size.deadline(), "every change is in the history", async || {
            let now = taken(world).await? - known;
            ensure!(now >= changes, "{now} of {changes}");
            Ok(Some(()))
        })
        .await?;
        eventually(size.deadline(), "the connectors have the newest commands", async || {
            let lags = world.bus.consumer_lag().await?;
            let waiting: u64 = lags.iter().filter(|lag| lag.stream == "COMMANDS").map(|lag| lag.pending).sum();
            ensure!(waiting == 0, "{waiting} were not read yet");
            Ok(Some(()))
        })
        .await?;
        eprintln!("{changes} changes to {} records while both were away, in {:?}", size.records, began.elapsed());
        let away = memory(world)?;
        let told = [world.linear.counters().counts(), world.github.counters().counts()];
        ensure!(told.iter().all(|counts| counts.writes == 0), "something was written to a system that was away");

        world.linear.faults().set(Faults::default());
        world.github.faults().set(Faults::default());
        let back = Instant::now();
        world.agrees(size.deadline()).await?;
        eprintln!("everything agreed {:.1} s after they were back", back.elapsed().as_secs_f64());
        // What is shown beside a pull request is another record's.
        let issues = |counts: Counts, name: &dyn Fn(&Piece) -> String| -> Vec<u64> {
            let written = |piece| counts.writes_by_record.get(&name(piece)).copied().unwrap_or_default();
            world.pieces.iter().map(written).collect()
        };
        for (system, writes) in [
            ("Linear", issues(world.linear.counters().counts(), &|piece| piece.key.clone())),
            ("GitHub", issues(world.github.counters().counts(), &|piece| format!("{REPO}#{}", piece.issue))),
        ] {
            let all: u64 = writes.iter().sum();
            eprintln!("{system}: {all} writes");
            ensure!(all == size.records as u64, "{system} was written {all} times");
            ensure!(writes.iter().all(|count| *count == 1), "{system}: some were written more than once: {writes:?}");
        }
        for piece in &world.pieces {
            ensure!(world.linear.issue(&piece.key)?.state == "Done", "{} does not show the newest", piece.key);
            let issue = world.github.issue(REPO, piece.issue)?;
            ensure!(issue["state_reason"] == "completed", "#{} does not show the newest", piece.issue);
        }
        ensure!(dead_letters(world).await? == 0, "a command was given up");
        bounded(before, away)?;
        bounded(before, memory(world)?)
    })
    .await
}

/// Changes for as long as it takes, against limits as strict as the real ones: they are met by waiting.
#[tokio::test(flavor = "multi_thread")]
async fn strict_limits_are_met_by_waiting() -> anyhow::Result<()> {
    let size = Size::of("LOCKSTEP_SOAK", Size { changes: 1_000, records: 8 })?;
    let settings = Settings { pieces: size.records, writes_apart_ms: None, ..Settings::default() };
    with_world(settings, async |world| {
        // GitHub's own limits; Linear's for an hour in proportion, with windows so short that many pass in a test.
        let github =
            GithubLimits { secondary_points: Some(900), content_per_hour: Some(500), ..GithubLimits::default() };
        world.github.set_limits(github);
        world.linear.set_limits(LinearLimits { requests: 14, complexity: 5_555, window_ms: 10_000 });
        // Warm-up: whoever was told of other limits learns of these.
        world.tasks.update("T-1", "in_review").await?;
        world.agrees(DEADLINE).await.context("warming up")?;
        world.linear.counters().reset();
        world.github.counters().reset();
        let before = memory(world)?;
        let began = Instant::now();
        for change in 0..size.changes {
            let piece = &world.pieces[change % size.records];
            let status = STATUSES[(change / size.records) % STATUSES.len()];
            if change % 2 == 0 {
                world.tasks.update(&piece.task, status).await?;
            } else {
                world.linear.move_issue(&piece.key, oracle::linear(status).unwrap_or("Todo"))?;
            }
            // So that it goes on over several windows, whatever the machine.
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        eprintln!("{} changes to {} records in {:?}", size.changes, size.records, began.elapsed());
        let last = Instant::now();
        world.agrees(size.deadline()).await?;
        eprintln!("everything agreed {:.1} s after the last change", last.elapsed().as_secs_f64());
        for (system, counts) in
            [("Linear", world.linear.counters().counts()), ("GitHub", world.github.counters().counts())]
        {
            eprintln!("{system}: {} writes, {} reads, {} refused", counts.writes, counts.reads, counts.limited);
            ensure!(counts.limited == 0, "{system} refused {} calls", counts.limited);
            ensure!(counts.writes > 0, "{system} was never written");
        }
        let metrics = world.face.text("/metrics").await?;
        let waits = metrics.lines().filter(|line| line.starts_with("lockstep_pacer_"));
        waits.for_each(|line| eprintln!("{line}"));
        ensure!(metrics.contains("lockstep_pacer_granted_total{lane=\"high\",system=\"github\"}"), "{metrics}");
        ensure!(dead_letters(world).await? == 0, "a command was given up");
        bounded(before, memory(world)?)
    })
    .await
}
