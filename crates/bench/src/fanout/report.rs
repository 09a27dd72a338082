//! What was found, as outcomes and as a table.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::server::Name;
use super::{Turn, Turns};
use crate::outcome::{Outcome, median};

/// One turn, as it ends.
pub fn line(name: Name, clients: usize, round: usize, turn: &Turn) -> String {
    let Turn { steady, flooded } = turn;
    format!(
        "fanout: {clients} clients, round {}: {:<9} {:>10.0}/s; at 50/s {:.2} µs each, p50 {:.1} ms, p99 {:.1} ms; lost {}",
        round + 1,
        name.word(),
        flooded.rate,
        steady.cpu_us,
        steady.p50_ms,
        steady.p99_ms,
        steady.lost + flooded.lost,
    )
}

/// The figures of ours beside each baseline that was measured.
pub fn outcomes(turns: &Turns) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let sizes: Vec<usize> = turns.keys().filter(|(_, name)| *name == Name::Ours).map(|(clients, _)| *clients).collect();
    for clients in sizes {
        let ours = &turns[&(clients, Name::Ours)];
        let beside = |name: Name| turns.get(&(clients, name)).map(|theirs| (name, theirs));
        if let Some((_, raw)) = beside(Name::Raw) {
            let (figure, baseline) = (middle(ours, cpu), middle(raw, cpu));
            let name = format!("fanout-cpu-vs-raw-{clients}");
            let is = "a bare loop over sockets, one write for each message and client, at the same rate";
            let outcome = Outcome::new(name, figure, "µs CPU/delivery", baseline, is);
            outcomes.push(outcome.with("rounds", rounds(turns, clients, cpu))?);
        }
        for (name, theirs) in [Name::Joined, Name::Nchan, Name::Ws, Name::SocketIo].into_iter().filter_map(beside) {
            let (figure, baseline) = (middle(ours, rate), middle(theirs, rate));
            let outcome = format!("fanout-rate-vs-{}-{clients}", name.word());
            let outcome = Outcome::new(outcome, figure, "deliveries/s", baseline, described(name));
            outcomes.push(outcome.with("rounds", rounds(turns, clients, rate))?.with("lost", lost(ours))?);
        }
        if let Some((name, theirs)) = beside(Name::Nchan).or_else(|| beside(Name::Raw)) {
            let (figure, baseline) = (middle(ours, p99), middle(theirs, p99));
            let outcome = format!("fanout-p99-vs-{}-{clients}", name.word());
            let outcome = Outcome::new(outcome, figure, "ms (p99, 50/s)", baseline, described(name));
            let outcome = outcome.with("rounds", rounds(turns, clients, p99))?;
            outcomes.push(outcome.with("p50", rounds(turns, clients, |turn| turn.steady.p50_ms))?);
        }
    }
    Ok(outcomes)
}

fn cpu(turn: &Turn) -> f64 {
    turn.steady.cpu_us
}

fn rate(turn: &Turn) -> f64 {
    turn.flooded.rate
}

fn p99(turn: &Turn) -> f64 {
    turn.steady.p99_ms
}

fn lost(turns: &[Turn]) -> u64 {
    turns.iter().map(|turn| turn.steady.lost + turn.flooded.lost).sum()
}

fn middle(turns: &[Turn], figure: impl Fn(&Turn) -> f64) -> f64 {
    median(&turns.iter().map(figure).collect::<Vec<_>>())
}

/// Every server's figure of every round.
fn rounds(turns: &Turns, clients: usize, figure: impl Fn(&Turn) -> f64) -> Value {
    let of = turns.iter().filter(|((count, _), _)| *count == clients);
    let figures =
        of.map(|((_, name), turns)| (name.word().to_owned(), json!(turns.iter().map(&figure).collect::<Vec<_>>())));
    Value::Object(figures.collect::<Map<_, _>>())
}

/// What a baseline is.
pub fn described(name: Name) -> &'static str {
    match name {
        Name::Raw => "a bare loop over sockets, one write for each message and client",
        Name::Joined => "a bare loop over sockets, what waits for a client joined in one write of at most 32 KB",
        Name::Nchan => "nginx with nchan, one worker",
        Name::Ws => "ws of Node.js without compression, frames made once",
        Name::SocketIo => "Socket.IO of Node.js without compression",
        Name::Ours => "the broadcaster",
    }
}

/// All servers side by side: the medians.
pub fn table(turns: &Turns) -> String {
    let mut text = format!(
        "{:<8} {:<10} {:>14} {:>10} {:>14} {:>9} {:>9} {:>8}\n",
        "clients", "server", "deliveries/s", "µs each", "µs at 50/s", "p50 ms", "p99 ms", "lost"
    );
    for ((clients, name), turns) in turns {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{clients:<8} {:<10} {:>14.0} {:>10.2} {:>14.2} {:>9.1} {:>9.1} {:>8}",
            name.word(),
            middle(turns, rate),
            middle(turns, |turn| turn.flooded.cpu_us),
            middle(turns, cpu),
            middle(turns, |turn| turn.steady.p50_ms),
            middle(turns, p99),
            lost(turns),
        );
    }
    text
}
