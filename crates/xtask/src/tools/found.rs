//! Looks for executables and reads their versions.

use std::env;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// The first executable of this name on the PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| executable(file))
}

/// Whether there is a file that can be run.
pub fn executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The version a program reports with `--version`.
pub fn version(program: &Path) -> Option<Version> {
    Version::in_text(&process::captured(Command::new(program).arg("--version"))?)
}

/// A version as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The first version in a text: `nats-server: v2.15.1`, `postgres (PostgreSQL) 15.13 (Debian …)`, `16beta1`.
    pub fn in_text(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let mut parts = word.split('.').map(leading_number);
            let major = parts.next()??;
            let mut next = || parts.next().flatten().unwrap_or(0);
            Some(Self(major, next(), next()))
        })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

fn leading_number(part: &str) -> Option<u32> {
    let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
    part[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        let cases = [
            ("nats-server: v2.15.1\n", Version(2, 15, 1)),
            ("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", Version(15, 13, 0)),
            ("postgres (PostgreSQL) 18beta1", Version(18, 0, 0)),
            ("v20.19.2", Version(20, 19, 2)),
        ];
        for (text, version) in cases {
            assert_eq!(Version::in_text(text), Some(version), "{text}");
        }
        assert_eq!(Version::in_text("no number here"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version(2, 9, 25) < Version(2, 12, 0));
    }

    #[test]
    fn a_shell_is_on_the_path_and_nonsense_is_not() {
        assert!(on_path("sh").is_some());
        assert_eq!(on_path("no such program"), None);
    }
}
