//! Edits that people make at random, and whether each is in the history and in effect afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use sandbox::github::GithubSandbox;
use sandbox::linear::LinearSandbox;
use sqlx::PgPool;

use crate::face::Face;
use crate::oracle::{self, Piece, REPO};
use crate::table::Tasks;
use crate::{World, eventually};

/// The last two end the work. A record that nobody can write does not open it again, so a job gets none of those: what it
/// showed next would be noted and change nothing, and ending it once more would be no news.
const STATUSES: [&str; 6] = ["backlog", "todo", "in_progress", "in_review", "done", "canceled"];
const JOBS: usize = 40;
/// How long a person goes on trying to update a table whose server is away.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where people edit.
pub struct People<'a> {
    /// The pieces of work that they know.
    pub pieces: &'a [Piece],
    /// The table.
    pub tasks: &'a Tasks,
    /// Linear.
    pub linear: &'a LinearSandbox,
    /// GitHub.
    pub github: &'a GithubSandbox,
    /// The status API.
    pub face: &'a Face,
}

/// A row of history, as far as it is judged.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    /// The record that it tells of.
    pub record: String,
    /// What kind of row it is.
    pub kind: String,
    /// What the record showed.
    pub native: String,
    /// The place on the stream of what it tells.
    pub cause_sequence: i64,
    /// The item's version after it.
    pub version: i64,
}

/// All history, in the order in which the bus stored what it tells of: a stream that lost its end with its disk gives the sequences of
/// that end once more.
pub async fn history(pool: &PgPool) -> anyhow::Result<Vec<Row>> {
    let query = "select record, kind, native, cause_sequence, version from lockstep.history
                 order by recorded_at, cause_sequence, ordinal";
    Ok(sqlx::query_as(query).fetch_all(pool).await?)
}

/// Every edit that was made, by record and in order.
#[derive(Default)]
pub struct Edits {
    /// By id of the task: an UPDATE is an edit from its commit on.
    tasks: BTreeMap<String, Vec<&'static str>>,
    /// By record: a status is an edit once it was answered with 202.
    jobs: BTreeMap<String, Job>,
    /// By key: Linear may be read only after the next edit has been made.
    linear: BTreeMap<String, Vec<&'static str>>,
    /// By number, in GitHub's words: GitHub as well.
    github: BTreeMap<u64, Vec<&'static str>>,
}

/// In which order edits of the table come to the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they were made, but that the first sweep of a process may overtake what one that was killed left unread, which is then recorded
    /// as stale. Those that take effect do so in their order.
    AsMade,
    /// A sweep that one process makes may overtake what another one has yet to pass on, which is then recorded as stale.
    Any,
}

#[derive(Default)]
struct Job {
    /// What was accepted, each with its place on the stream.
    made: Vec<(i64, &'static str)>,
    /// What was tried last.
    tried: &'static str,
    /// How often no answer, or one that is no 2xx, came: nobody was told that it was not taken.
    unanswered: usize,
}

impl Edits {
    /// How many there were.
    pub fn count(&self) -> usize {
        let jobs: usize = self.jobs.values().map(|job| job.made.len()).sum();
        let github: usize = self.github.values().map(Vec::len).sum();
        jobs + github + [&self.tasks, &self.linear].into_iter().flat_map(BTreeMap::values).map(Vec::len).sum::<usize>()
    }

    /// How many statuses were not answered with a 2xx.
    pub fn refused(&self) -> usize {
        self.jobs.values().map(|job| job.unanswered).sum()
    }

    /// One edit, in any system or through the status API. A status that was not accepted is no edit.
    pub async fn make(&mut self, people: &People<'_>, random: &mut StdRng) -> anyhow::Result<()> {
        // Each piece is edited in one system only: where two edit one item, an edit may be no news.
        let place = random.random_range(0..people.pieces.len());
        let piece = &people.pieces[place];
        match (random.random_range(0..10), place % 4) {
            (0..7, 0 | 1) => {
                let made = self.tasks.entry(piece.task.clone()).or_default();
                let status = next(random, &STATUSES, &[made.last().copied().unwrap_or("todo")]);
                // Setting the same status once more is no second edit.
                let update = async || people.tasks.update(&piece.task, status).await.map(Some);
                eventually(PATIENCE, "a person updates the table", update).await?;
                made.push(status);
            }
            (0..7, 2) => {
                let made = self.linear.entry(piece.key.clone()).or_default();
                let status = next(random, &STATUSES, &[made.last().copied().unwrap_or("todo")]);
                people.linear.move_issue(&piece.key, oracle::linear(status).unwrap_or("Todo"))?;
                made.push(status);
            }
            (0..7, _) => {
                let made = self.github.entry(piece.issue).or_default();
                if made.last().is_some_and(|last| *last != "open") {
                    people.github.reopen_issue(REPO, piece.issue)?;
                    made.push("open");
                } else {
                    let native =
                        *["closed/completed", "closed/not_planned"].choose(random).unwrap_or(&"closed/completed");
                    people.github.close_issue(REPO, piece.issue, native.trim_start_matches("closed/"))?;
                    made.push(native);
                }
            }
            _ => {
                let record = format!("acme/job/{}", random.random_range(0..JOBS));
                let job = self.jobs.entry(record.clone()).or_default();
                let status = next(random, &STATUSES[..4], &[job.made.last().map_or("", |(_, made)| made), job.tried]);
                job.tried = status;
                match people.face.publish(&[(record, status.to_owned())]).await {
                    Ok(accepted) => job.made.extend(accepted.first().map(|accepted| (accepted.sequence, status))),
                    Err(_) => job.unanswered += 1,
                }
            }
        }
        Ok(())
    }

    /// Each edit of the table and of the status API is in the history, and in this order, and the last of each is in effect. One of the
    /// table that was overtaken may have been no news, if it showed again what the item was at.
    /// Linear and GitHub say what they show, not what they showed: of a record's edits the last is in the history, and none
    /// that nobody made.
    pub async fn check(&self, world: &World, order: Order) -> anyhow::Result<()> {
        let rows = by_record(history(world.database.pool()).await?);
        let none = Vec::new();
        let rows_of = |record: &str| rows.get(record).unwrap_or(&none);
        for (task, made) in &self.tasks {
            let rows = rows_of(&format!("postgres/task/{task}"));
            // The first row is the task as it was found.
            let told = rows.get(1..).unwrap_or_default();
            let is_all = match order {
                Order::AsMade => is_told(made, rows) && is_within(&taken(told), made),
                Order::Any => is_told(made, rows),
            };
            ensure!(is_all, "{task}: made {made:?}, told {rows:?}");
            let status = world.tasks.status(task).await?;
            ensure!(made.last().copied() == Some(&status), "{task} is {status}, and was last set to {:?}", made.last());
        }
        for (record, Job { made, unanswered, .. }) in &self.jobs {
            let told: Vec<_> = rows_of(record).iter().map(|row| (row.cause_sequence, row.native.as_str())).collect();
            let lost: Vec<_> = made.iter().filter(|edit| !told.contains(edit)).collect();
            ensure!(lost.is_empty(), "{record}: lost {lost:?}; acknowledged {made:?}, told {told:?}");
            ensure!(told.len() <= made.len() + unanswered, "{record}: acknowledged {made:?}, told {told:?}");
        }
        let took = |record: &str| taken(rows_of(record));
        for (key, made) in &self.linear {
            let record = format!("linear/issue/{}", world.linear.issue(key)?.id);
            let took = took(&record);
            let made: Vec<&str> = made.iter().filter_map(|status| oracle::linear(status)).collect();
            // The first row is the issue as it was found. Edits that took it back there while nobody could hear of them leave
            // nothing to see.
            let rows = rows_of(&record);
            ensure!(
                is_within(took.get(1..).unwrap_or_default(), &made),
                "{key}: made {made:?}, took {took:?}: {rows:?}"
            );
            ensure!(made.is_empty() || took.last() == made.last(), "{key}: made {made:?}, took {took:?}: {rows:?}");
        }
        for (number, made) in &self.github {
            // Two edits may share a second, which is all that GitHub says of their order.
            let took = took(&format!("github/issue/{REPO}#{number}"));
            ensure!(
                took.iter().all(|native| *native == "open" || made.contains(native)),
                "#{number}: made {made:?}, took {took:?}"
            );
            ensure!(took.last() == made.last(), "#{number}: made {made:?}, took {took:?}");
        }
        Ok(())
    }

    /// How many writes more than the model allows there were: each of an item's changes is told each of its three records at
    /// most once, and the table counts people's updates with ours.
    pub async fn doubled(&self, world: &World, before: &[Standing]) -> anyhow::Result<u64> {
        let mut doubled = 0;
        for ((piece, before), after) in world.pieces.iter().zip(before).zip(standing(world).await?) {
            let people = u64::try_from(self.tasks.get(&piece.task).map_or(0, Vec::len))?;
            let allowed = 3 * (after.version - before.version) + people;
            doubled += (after.writes - before.writes).saturating_sub(allowed);
        }
        Ok(doubled)
    }
}

/// How often a piece has changed, and how often its records have been written.
pub struct Standing {
    /// Its item's version.
    pub version: u64,
    /// Of its three records, all together; of the table people's too.
    pub writes: u64,
}

/// How all pieces stand.
pub async fn standing(world: &World) -> anyhow::Result<Vec<Standing>> {
    let updates = world.tasks.updates().await?;
    let (linear, github) = (world.linear.counters().counts(), world.github.counters().counts());
    let mut all = Vec::new();
    for piece in &world.pieces {
        let item = world.face.item(&piece.key).await?.unwrap_or_default();
        let told = [
            linear.writes_by_record.get(&piece.key),
            github.writes_by_record.get(&format!("{REPO}#{}", piece.issue)),
            updates.get(&piece.task),
        ];
        let writes = told.into_iter().flatten().sum();
        all.push(Standing { version: item["version"].as_u64().unwrap_or_default(), writes });
    }
    Ok(all)
}

/// Another status than these.
fn next(random: &mut StdRng, among: &[&'static str], but: &[&str]) -> &'static str {
    let others: Vec<&str> = among.iter().copied().filter(|status| !but.contains(status)).collect();
    others.choose(random).copied().unwrap_or("todo")
}

/// Rows by record, without those that tell of ties: a tie is not an edit.
fn by_record(rows: Vec<Row>) -> BTreeMap<String, Vec<Row>> {
    let mut all: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| row.kind != "linked" && row.kind != "unlinked") {
        all.entry(row.record.clone()).or_default().push(row);
    }
    all
}

/// Whether all that was made is told after the first row, in whatever order, and nothing else. When a sweep overtakes edits and finds
/// what was known before them, which may be what there was at first, that is no news; the edits that it overtook are told as stale, all
/// but that one.
fn is_told(made: &[&str], rows: &[Row]) -> bool {
    let told = rows.get(1..).unwrap_or_default();
    let mut missing = made.to_vec();
    for row in told {
        let Some(place) = missing.iter().position(|one| *one == row.native) else { return false };
        missing.swap_remove(place);
    }
    let is_known = |native: &&str| rows.iter().any(|row| row.kind == "changed" && row.native == *native);
    missing.len() <= told.iter().filter(|row| row.kind == "stale").count() && missing.iter().all(is_known)
}

/// What took effect, in the order in which it did. A lane may overtake another: what a sweep found lies before a webhook's message on the
/// bus, and may be taken after it.
fn taken(rows: &[Row]) -> Vec<&str> {
    let mut changed: Vec<&Row> = rows.iter().filter(|row| row.kind == "changed").collect();
    changed.sort_by_key(|row| row.version);
    changed.into_iter().map(|row| row.native.as_str()).collect()
}

/// Whether all of `part` come in `whole`, in that order.
fn is_within(part: &[&str], whole: &[&str]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|wanted| whole.any(|one| one == wanted))
}
