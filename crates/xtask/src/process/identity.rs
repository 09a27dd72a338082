//! Tells whether a recorded process id still means the same process.

use std::process::Command;

/// When the process with this id began, in a form that only equality is asked of; `None` if it is gone or only waits to be reaped.
pub fn began(pid: i32) -> Option<String> {
    if cfg!(target_os = "linux") {
        return from_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    }
    let output = Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The start time in `/proc/<pid>/stat`: the 22nd field, counted from behind the name because a name may hold blanks.
fn from_stat(stat: &str) -> Option<String> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "77 (a ) name) S 1 77 77 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 987654 1000 2";

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        assert_eq!(from_stat(STAT).as_deref(), Some("987654"));
    }

    #[test]
    fn a_zombie_is_gone() {
        assert_eq!(from_stat(&STAT.replace(") S", ") Z")), None);
    }

    #[test]
    fn this_process_is_itself_and_an_impossible_one_is_not_there() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(began(own).is_some());
        assert_eq!(began(own), began(own));
        assert_eq!(began(i32::MAX), None);
    }
}
