//! Counts tests by what the runners say at their end: cargo-nextest once, cargo test once for each
//! test binary, Node once for each package.

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, ran too long, or could not be run.
    pub failed: usize,
    /// Tests that were left out.
    pub skipped: usize,
}

impl Summary {
    /// What cargo-nextest says: the last such line counts, for a test may print one of its own before.
    pub fn see_nextest(&mut self, line: &str) {
        let line = without_colors(line);
        if let Some((_, counts)) = line.trim().strip_prefix("Summary [").and_then(|rest| rest.split_once("run:")) {
            *self = Self::default();
            self.add_counts(counts, ',');
        }
    }

    /// What each binary of cargo test says, at the start of a line; what a failed test printed may stand further in.
    pub fn see_cargo_test(&mut self, line: &str) {
        if let Some(rest) = without_colors(line).strip_prefix("test result:") {
            self.add_counts(rest.split_once('.').map_or(rest, |(_, counts)| counts), ';');
        }
    }

    /// What each run of Node's own test runner says at its end: `# pass 3`, or `ℹ pass 3` in a terminal.
    pub fn see_node(&mut self, line: &str) {
        let line = without_colors(line);
        let Some((name, count)) =
            line.strip_prefix("# ").or(line.strip_prefix("ℹ ")).and_then(|rest| rest.split_once(' '))
        else {
            return;
        };
        let Ok(count) = count.parse::<usize>() else { return };
        match name {
            "pass" => self.passed += count,
            "fail" | "cancelled" => self.failed += count,
            "skipped" | "todo" => self.skipped += count,
            _ => {}
        }
    }

    /// Adds another run.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// `3 passed (1 slow), 1 failed, 2 timed out, 4 skipped`.
    fn add_counts(&mut self, counts: &str, separator: char) {
        for count in counts.split(separator) {
            let mut words = count.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<usize>().ok()) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed" | "timed" | "exec") => self.failed += number,
                Some("skipped" | "ignored") => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// The line without the terminal's color sequences (`ESC [ … letter`).
fn without_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(see: fn(&mut Summary, &str), lines: &[&str]) -> (usize, usize, usize) {
        let mut summary = Summary::default();
        for line in lines {
            see(&mut summary, line);
        }
        (summary.passed, summary.failed, summary.skipped)
    }

    #[test]
    fn nextest_says_it_once() {
        let plain =
            "     Summary [   0.013s] 9 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 1 exec failed, 2 skipped";
        assert_eq!(counted(Summary::see_nextest, &["        PASS [ 0.1s] x y", plain]), (5, 4, 2));
        let colored = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.2s] \u{1b}[1m3\u{1b}[0m tests run: \u{1b}[1m3\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m \u{1b}[33;1mskipped\u{1b}[0m";
        assert_eq!(counted(Summary::see_nextest, &[colored]), (3, 0, 0));
        assert_eq!(
            counted(Summary::see_nextest, &["     Summary [   0.2s] 1/7 tests run: 0 passed, 1 failed, 0 skipped"]),
            (0, 1, 0)
        );
    }

    #[test]
    fn cargo_test_says_it_once_for_each_binary() {
        let one = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let two = "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.00s";
        assert_eq!(counted(Summary::see_cargo_test, &[one, "running 6 tests", two]), (5, 4, 1));
    }

    #[test]
    fn node_says_it_once_for_each_package() {
        let one = [
            "# tests 7",
            "# suites 0",
            "# pass 3",
            "# fail 1",
            "# cancelled 1",
            "# skipped 1",
            "# todo 1",
            "# duration_ms 5.1",
        ];
        assert_eq!(counted(Summary::see_node, &one), (3, 2, 2));
        assert_eq!(counted(Summary::see_node, &["ℹ pass 3", "    # pass 9", "# pass 4"]), (7, 0, 0));
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted() {
        let printed =
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.08s";
        assert_eq!(counted(Summary::see_cargo_test, &[printed]), (0, 0, 0));
        let summary = "     Summary [   0.212s] 36 tests run: 35 passed, 1 failed, 1 skipped";
        let own = "    Summary [ 1s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(counted(Summary::see_nextest, &[own, printed, summary]), (35, 1, 1));
    }
}
