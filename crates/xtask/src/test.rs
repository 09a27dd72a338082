//! cargo xtask test: formatting, lints, and every test against real servers of this run's own.

mod summary;

use std::env;
use std::io::IsTerminal as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::servers::{self, Durability, Servers, Setup};
use crate::state::{self, State};
use crate::{process, say, signals, tools};

use summary::Summary;

/// A check: what it is called, and what cargo is asked for.
type Check = (&'static str, &'static [&'static str]);

const FORMATTING: Check = ("formatting: cargo fmt --check", &["fmt", "--all", "--", "--check"]);
const LINTS: Check =
    ("lints: cargo clippy -D warnings", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
const BUILD: Check = ("build: cargo build", &["build", "--workspace", "--bins"]);

/// What `test` can be told.
#[derive(clap::Args, Default)]
pub struct Options {
    /// Only tests whose name contains this; formatting and lints are then left out
    #[arg(long)]
    filter: Option<String>,
}

/// A check or a test failed; the last lines have said which.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not everything passed")
    }
}

impl std::error::Error for Failed {}

/// Runs the checks and the tests; the last line is `N passed, N failed`, in which a failed check counts as one.
pub fn run(options: &Options) -> Result<ExitCode> {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    let ran = all(options, &mut outcome);
    if let Err(error) = &ran {
        signals::check()?;
        say::failed(error);
        outcome.checks_failed.push("the tests could not be run");
    }
    for check in &outcome.checks_failed {
        say::plain(format_args!("✗ {check}"));
    }
    let Summary { passed, failed, skipped } = outcome.tests;
    say::plain(format_args!("tests run: {}, skipped: {skipped}, in {} s", passed + failed, began.elapsed().as_secs()));
    say::plain(format_args!("{passed} passed, {} failed", outcome.failed()));
    outcome.end()?;
    Ok(ExitCode::SUCCESS)
}

/// What came of a run.
#[derive(Default)]
struct Outcome {
    tests: Summary,
    checks_failed: Vec<&'static str>,
}

impl Outcome {
    /// Adds what a runner counted. One that fails though it counted no failure has a `reason` of its own.
    fn ran(&mut self, seen: Summary, succeeded: bool, reason: &'static str) {
        self.tests.add(seen);
        if !succeeded && seen.failed == 0 {
            self.checks_failed.push(reason);
        }
    }

    /// Tests were asked for: if none ran, nobody knows whether anything works.
    fn wants_tests(&mut self) {
        if self.tests.passed + self.tests.failed == 0 && self.checks_failed.is_empty() {
            self.checks_failed.push("no test ran");
        }
    }

    /// Tests and checks that failed.
    fn failed(&self) -> usize {
        self.tests.failed + self.checks_failed.len()
    }

    /// Whether the whole run fails.
    fn end(&self) -> std::result::Result<(), Failed> {
        if self.failed() == 0 { Ok(()) } else { Err(Failed) }
    }
}

fn all(options: &Options, outcome: &mut Outcome) -> Result<()> {
    let state = State::take(&state::shared().join("test"))?;
    // Before anything that takes minutes: a machine that lacks something says so at once.
    tools::servers(tools::Wanted { nats: true, postgres: true })?;
    let modules = tools::client_modules()?;
    let web = tools::web()?;
    if options.filter.is_none() {
        check(outcome, FORMATTING)?;
        check(outcome, LINTS)?;
        client_tests(&web, outcome)?;
    }
    if !check(outcome, BUILD)? {
        return Ok(());
    }
    servers::stop_leftovers(state.folder())?;
    servers::wipe(state.folder())?;
    let servers = Servers::start(state.folder(), Durability::Disposable, &Setup::default())?;
    let executable = state::executables(false)?.join("lockstep");
    let environment = |mut command: Command| {
        command.env("LOCKSTEP_TEST_NATS_URL", &servers.nats.url);
        command.env("LOCKSTEP_TEST_DATABASE_URL", &servers.postgres.url);
        command.env("LOCKSTEP_TEST_NATS_SERVER", &servers.tools.nats_server);
        command.env("LOCKSTEP_TEST_PG_BIN", &servers.tools.postgres_bin);
        command.env("LOCKSTEP_TEST_EXECUTABLE", &executable);
        command.env("LOCKSTEP_TEST_WEB", &web.folder).env("LOCKSTEP_TEST_BROWSER", &web.browser);
        // Tests talk to the servers of this run and to no others.
        command.env_remove("NATS_URL").env_remove("DATABASE_URL");
        if let Some(modules) = &modules {
            command.env("LOCKSTEP_TEST_NODE_MODULES", modules);
        }
        command
    };
    let ran = tests(options, outcome, environment);
    servers.stop();
    let wiped = servers::wipe(state.folder());
    ran.and(wiped)
}

/// Runs one check; returns whether it passed.
fn check(outcome: &mut Outcome, (name, arguments): Check) -> Result<bool> {
    say::step(format_args!("{name}…"));
    let passed = process::run(&mut state::cargo(arguments))?.success();
    if !passed {
        outcome.checks_failed.push(name);
    }
    Ok(passed)
}

/// Runs the tests of what is in `web`, which need no servers of ours.
fn client_tests(web: &tools::Web, outcome: &mut Outcome) -> Result<()> {
    say::step("web: npm test…");
    let mut seen = Summary::default();
    let mut command = web.script("test")?;
    let passed = process::run_seen(&mut command, &mut |line| seen.see_node(line))?.success();
    outcome.ran(seen, passed, "web: npm test ended with an error, see above");
    Ok(())
}

fn tests(options: &Options, outcome: &mut Outcome, environment: impl Fn(Command) -> Command) -> Result<()> {
    let filter = options.filter.as_deref();
    let nextest = tools::on_path("cargo-nextest").is_some();
    let arguments: &[&str] = if nextest {
        // Documentation examples are cargo test's; a filter may match nothing in a binary.
        &["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass", "--color"]
    } else {
        &["test", "--workspace", "--no-fail-fast", "--color"]
    };
    say::step("tests…");
    let see = if nextest { Summary::see_nextest } else { Summary::see_cargo_test };
    runner(arguments, see, filter, outcome, &environment)?;
    if nextest && filter.is_none() {
        say::step("examples in the documentation…");
        let arguments = ["test", "--doc", "--workspace", "--no-fail-fast", "--color"];
        runner(&arguments, Summary::see_cargo_test, None, outcome, &environment)?;
    }
    outcome.wants_tests();
    Ok(())
}

fn runner(
    arguments: &[&str],
    see: fn(&mut Summary, &str),
    filter: Option<&str>,
    outcome: &mut Outcome,
    environment: &impl Fn(Command) -> Command,
) -> Result<()> {
    let mut command = environment(state::cargo(arguments));
    // The runner writes to a pipe, so it is told what our own terminal is.
    let colored = std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    command.arg(if colored { "always" } else { "never" }).args(filter);
    let mut seen = Summary::default();
    let status =
        process::run_seen(&mut command, &mut |line| see(&mut seen, line)).context("the tests cannot be run")?;
    outcome.ran(seen, status.success(), "the test runner ended with an error, see above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(passed: usize, failed: usize) -> Summary {
        Summary { passed, failed, skipped: 0 }
    }

    /// Whether a run fails of which this is told, and with how many failures.
    fn ends(told: impl FnOnce(&mut Outcome)) -> (std::result::Result<(), Failed>, usize) {
        let mut outcome = Outcome::default();
        told(&mut outcome);
        (outcome.end(), outcome.failed())
    }

    #[test]
    fn one_failure_of_any_kind_fails_the_run() {
        assert_eq!(ends(|outcome| outcome.ran(summary(7, 0), true, "")), (Ok(()), 0));
        let check = ends(|outcome| {
            outcome.checks_failed.push(LINTS.0);
            outcome.ran(summary(7, 0), true, "");
        });
        assert_eq!(check, (Err(Failed), 1), "a check alone");
        assert_eq!(ends(|outcome| outcome.ran(summary(6, 1), false, "counted already")), (Err(Failed), 1));
        let first = ends(|outcome| {
            outcome.ran(summary(6, 1), false, "counted already");
            outcome.ran(summary(7, 0), true, "");
        });
        assert_eq!(first, (Err(Failed), 1), "a later runner does not make it good");
    }

    #[test]
    fn a_runner_that_fails_without_a_failed_test_fails_the_run() {
        assert_eq!(ends(|outcome| outcome.ran(summary(7, 0), false, "it crashed")), (Err(Failed), 1));
        assert_eq!(ends(|outcome| outcome.ran(summary(0, 0), false, "it does not compile")), (Err(Failed), 1));
    }

    #[test]
    fn a_run_without_a_test_fails() {
        assert_eq!(ends(Outcome::wants_tests), (Err(Failed), 1));
        let some = ends(|outcome| {
            outcome.ran(summary(1, 0), true, "");
            outcome.wants_tests();
        });
        assert_eq!(some, (Ok(()), 0));
    }

    #[test]
    fn the_checks_ask_for_all_of_the_workspace_and_take_no_warning() {
        let asked = [FORMATTING, LINTS, BUILD].map(|(_, arguments)| arguments.join(" "));
        let wanted =
            ["fmt --all -- --check", "clippy --workspace --all-targets -- -D warnings", "build --workspace --bins"];
        assert_eq!(asked, wanted);
    }
}
