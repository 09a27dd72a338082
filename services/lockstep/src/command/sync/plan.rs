//! What a dry run prints: a line for each record of which something would come, and the sum.

use connector::Unreadable;
use resolver::Planned;
use serde_json::json;

/// What a dry run came to so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// The records that were read.
    pub read: usize,
    /// Those that could not be read.
    pub unreadable: usize,
    /// Those of which something would come.
    pub loud: usize,
    /// Items that would change or come to be.
    pub changes: usize,
    /// What would be written.
    pub writes: usize,
}

impl Sum {
    /// Counts a page, and says what is on it.
    pub fn take(&mut self, planned: &[Planned], unreadable: &[Unreadable], json: bool) -> Vec<String> {
        self.read += planned.len();
        self.unreadable += unreadable.len();
        let mut lines = Vec::new();
        for planned in planned.iter().filter(|planned| !planned.is_quiet()) {
            self.loud += 1;
            self.changes += usize::from(planned.to.is_some());
            self.writes += planned.writes.len();
            lines.push(if json { json!(planned).to_string() } else { line(planned) });
        }
        lines.extend(unreadable.iter().map(|one| {
            if json {
                json!({"record": one.name, "verdict": one.code, "refused": one.why}).to_string()
            } else {
                format!("{}: cannot be read and would be a dead letter, {}: {}", one.name, one.code, one.why)
            }
        }));
        lines
    }

    /// The last line.
    pub fn line(&self, json: bool) -> String {
        let Self { read, unreadable, loud, changes, writes } = self;
        if json {
            return json!({
                "dry_run": true, "read": read, "unreadable": unreadable, "with_effect": loud, "changes": changes,
                "writes": writes,
            })
            .to_string();
        }
        let unread = if *unreadable > 0 { format!(", {unreadable} more cannot be read") } else { String::new() };
        format!(
            "dry run: {read} read{unread}; something would come of {loud}: {changes} items would change, {writes} records \
             would be written. Nothing was changed or written."
        )
    }
}

fn line(planned: &Planned) -> String {
    let key = planned.key.as_ref().map(|key| format!("{key}  ")).unwrap_or_default();
    let shows = format!("{key}{} shows {}", planned.record, planned.native);
    if let Some(why) = &planned.refused {
        return format!("{shows}: would be a dead letter, {}: {why}", planned.verdict);
    }
    let becomes = match (&planned.from, &planned.to) {
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (None, Some(to)) => format!("new, {to}"),
        _ => "the item stays".to_owned(),
    };
    let why = planned.reason.unwrap_or(planned.verdict);
    let writes: Vec<String> = planned
        .writes
        .iter()
        .map(|write| {
            let how = if write.beside { "status beside " } else { "" };
            format!("{how}{} → {}", write.record, write.native)
        })
        .collect();
    let writes = if writes.is_empty() { String::new() } else { format!("; would write {}", writes.join(", ")) };
    format!("{shows}: {becomes} ({why}){writes}")
}

#[cfg(test)]
mod tests {
    use model::{Native, Status};
    use resolver::Write;

    use super::*;

    fn planned() -> Planned {
        Planned {
            record: "linear/issue/a".parse().unwrap(),
            native: Native::new("Done").unwrap(),
            verdict: "fast_forward",
            refused: None,
            key: Some("ENG-1".to_owned()),
            from: Some(Status::new("todo").unwrap()),
            to: Some(Status::new("done").unwrap()),
            reason: Some("edited"),
            writes: vec![Write {
                record: "postgres/task/T-1".parse().unwrap(),
                native: Native::new("done").unwrap(),
                beside: false,
            }],
        }
    }

    #[test]
    fn a_line_says_what_would_be_written_where_and_why() {
        let line = line(&planned());
        assert_eq!(
            line,
            "ENG-1  linear/issue/a shows Done: todo → done (edited); would write postgres/task/T-1 → done"
        );
    }

    #[test]
    fn what_is_in_step_is_counted_and_not_told() {
        let quiet = Planned { verdict: "no_news", from: None, to: None, reason: None, writes: Vec::new(), ..planned() };
        let mut sum = Sum::default();
        assert_eq!(sum.take(&[quiet, planned()], &[], false).len(), 1);
        assert_eq!(sum, Sum { read: 2, unreadable: 0, loud: 1, changes: 1, writes: 1 });
    }
}
