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

/// What `test` can be told.
#[derive(clap::Args, Default)]
pub struct Options {
    /// Only tests whose name contains this; formatting and lints are then left out
    #[arg(long)]
    filter: Option<String>,
}

/// A check or a test failed; the last lines have said which.
#[derive(Debug)]
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
    let failed = failed + outcome.checks_failed.len();
    say::plain(format_args!("{passed} passed, {failed} failed"));
    if failed == 0 { Ok(ExitCode::SUCCESS) } else { Err(Failed.into()) }
}

#[derive(Default)]
struct Outcome {
    tests: Summary,
    checks_failed: Vec<&'static str>,
}

fn all(options: &Options, outcome: &mut Outcome) -> Result<()> {
    let state = State::take(&state::shared().join("test"))?;
    // Before anything that takes minutes: a machine that lacks something says so at once.
    tools::servers(tools::Wanted { nats: true, postgres: true })?;
    let modules = tools::client_modules()?;
    let web = tools::web()?;
    if options.filter.is_none() {
        check(outcome, "formatting: cargo fmt --check", &["fmt", "--all", "--", "--check"])?;
        let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        check(outcome, "lints: cargo clippy -D warnings", &lints)?;
        client_tests(&web, outcome)?;
    }
    if !check(outcome, "build: cargo build", &["build", "--workspace", "--bins"])? {
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
fn check(outcome: &mut Outcome, name: &'static str, arguments: &[&str]) -> Result<bool> {
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
    outcome.tests.add(seen);
    if !passed && seen.failed == 0 {
        outcome.checks_failed.push("web: npm test ended with an error, see above");
    }
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
    if outcome.tests.passed + outcome.tests.failed == 0 && outcome.checks_failed.is_empty() {
        outcome.checks_failed.push("no test ran");
    }
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
    outcome.tests.add(seen);
    if !status.success() && seen.failed == 0 {
        outcome.checks_failed.push("the test runner ended with an error, see above");
    }
    Ok(())
}
