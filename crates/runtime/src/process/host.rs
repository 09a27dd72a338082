//! What the process asks of the operating system: its name, and its signals.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `<host>-<pid>-<random>`.
pub(super) fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host: String = host.trim().chars().take(40).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let host = if host.is_empty() { "host" } else { &host };
    format!("{host}-{}-{:08x}", std::process::id(), crate::chance::random() >> 32)
}

pub(super) fn watch_signals(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Not one of the tracked tasks: it must outlast the shutdown, to hear the second signal.
    tokio::spawn(async move {
        let mut stopping = false;
        loop {
            let name = tokio::select! {
                Some(()) = interrupt.recv() => "SIGINT",
                Some(()) = terminate.recv() => "SIGTERM",
                else => return,
            };
            if stopping {
                tracing::warn!(signal = name, "a second signal; ending at once");
                std::process::exit(130);
            }
            tracing::info!(signal = name, "stopping");
            stopping = true;
            shutdown.cancel();
        }
    });
    Ok(())
}
