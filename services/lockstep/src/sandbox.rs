//! `lockstep sandbox`: the stand-ins, and the hand of the person who uses them.

pub mod cli;
mod serve;
mod steer;
mod tasks;

use std::process::ExitCode;

use cli::SandboxTask;

/// Runs them, or does one thing in one of them.
pub async fn run(task: SandboxTask) -> anyhow::Result<ExitCode> {
    match task {
        SandboxTask::Serve(serve) => serve::run(serve).await,
        SandboxTask::Linear { url, edit } => steer::linear(url.as_deref(), edit).await,
        SandboxTask::Github { url, edit } => steer::github(url.as_deref(), edit).await,
        SandboxTask::Agent { url, edit } => steer::agent(url.as_deref(), edit).await,
        SandboxTask::Faults(faults) => steer::faults(faults).await,
        SandboxTask::Counters(counters) => steer::counters(counters).await,
    }
}
