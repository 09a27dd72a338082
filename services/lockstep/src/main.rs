//! The one executable: every service, all of them at once, and the operator's commands.

mod cli;
mod command;
mod connectors;
mod output;
mod places;
mod ready;
mod sandbox;
mod services;
mod settings;
mod since;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use runtime::EXIT_CONFIG;
use runtime::config::ConfigError;

use cli::{Arguments, Task};

/// Each event is made of many short strings, and the broadcaster keeps many of them for a while. The allocator of glibc spent a third of
/// the process's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(_) if output::is_cut() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            let wrong_setting = error.chain().any(<dyn std::error::Error>::is::<ConfigError>);
            output::complain(&format!("{error:#}"));
            if wrong_setting { ExitCode::from(EXIT_CONFIG.try_into().unwrap_or(1)) } else { ExitCode::FAILURE }
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config;
    runtime::install_crypto();
    match arguments.task {
        Task::Serve(serve) => services::serve(config.as_deref(), &serve),
        Task::Up(up) => services::up(config.as_deref(), &up),
        Task::Check => command::check::run(config.as_deref()),
        Task::Claim(claim) => asynchronously(command::claim::run(config.as_deref(), claim)),
        Task::Sandbox(task) => asynchronously(sandbox::run(task)),
        Task::Status(status) => asynchronously(command::status::run(status)),
        Task::History(history) => asynchronously(command::history::run(history)),
        Task::Watch(watch) => asynchronously(command::watch::run(watch)),
        Task::Sync(order) => asynchronously(command::sync::run(config.as_deref(), order)),
        Task::Health(health) => asynchronously(command::health::run(health)),
        Task::Conflicts(task) => asynchronously(command::conflicts::run(task)),
        Task::Doctor(doctor) => asynchronously(command::doctor::run(config.as_deref(), doctor)),
        Task::Dead(task) => asynchronously(command::dead::run(config.as_deref(), task)),
        Task::Postgres(task) => asynchronously(command::postgres::run(config.as_deref(), task)),
    }
}

fn asynchronously(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the asynchronous runtime cannot be started")?.block_on(task)
}
