//! What a benchmark found: a figure, its baseline, their ratio.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// One figure beside its baseline.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What was measured; also the file's name.
    pub name: String,
    /// The figure.
    pub figure: f64,
    /// What it counts.
    pub unit: &'static str,
    /// The same of the baseline.
    pub baseline: f64,
    /// The figure by the baseline.
    pub ratio: f64,
    /// What the baseline is.
    pub baseline_is: &'static str,
    /// Everything else that was measured on the way.
    pub details: Map<String, Value>,
}

impl Outcome {
    /// A figure beside its baseline.
    pub fn new(
        name: impl Into<String>,
        figure: f64,
        unit: &'static str,
        baseline: f64,
        baseline_is: &'static str,
    ) -> Self {
        let ratio = figure / baseline;
        Self { name: name.into(), figure, unit, baseline, ratio, baseline_is, details: Map::new() }
    }

    /// The same with one detail more.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Result<Self> {
        self.details.insert(name.to_owned(), serde_json::to_value(value)?);
        Ok(self)
    }

    /// Writes `<name>.json` into a folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// The outcomes as a table for people.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!("{:<30} {:>14} {:<22} {:>14} {:>7}\n", "benchmark", "figure", "unit", "baseline", "ratio");
    for outcome in outcomes {
        let Outcome { name, figure, unit, baseline, ratio, .. } = outcome;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<30} {:>14} {unit:<22} {:>14} {ratio:>7.2}", round(*figure), round(*baseline));
    }
    text
}

fn round(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// The middle one; of an even number the lower of the two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Says something to whoever runs the benchmark.
pub fn say(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_figure_by_its_baseline() {
        assert!((Outcome::new("x", 3.0, "y/s", 4.0, "z").ratio - 0.75).abs() < 1e-9);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
