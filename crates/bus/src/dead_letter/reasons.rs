//! Every reason for which a message is given up, and what to do about it. The one list: documents and commands show it.

/// A reason, as a word that stands in subjects, metrics and headers, and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The word.
    pub code: &'static str,
    /// What happened.
    pub means: &'static str,
    /// What a person does about it, ending in whether to replay or to discard.
    pub to_do: &'static str,
}

const fn is(code: &'static str, means: &'static str, to_do: &'static str) -> Reason {
    Reason { code, means, to_do }
}

/// All reasons, by their words.
pub const REASONS: &[Reason] = &[
    is(
        "answer_too_large",
        "a system's answer is over the limit",
        "ask whether the record is meant to be tracked; discard it, the next change sends a new command",
    ),
    is(
        "attempts_exhausted",
        "the system stayed away through all attempts; to a sweep: it fails for this record alone",
        "wait until the system answers (`GET /health`), then replay; what a sweep met: run `lockstep sync`, discard",
    ),
    is(
        "bad_request",
        "a call could not be put together",
        "check the system's address in the configuration, restart, replay",
    ),
    is(
        "bad_statement",
        "PostgreSQL does not understand a statement for a tracked table",
        "compare `connector.postgres.tables` with the table, mend one of them, replay",
    ),
    is("bad_url", "the address of a tracked database is none", "mend `connector.postgres.url`, restart, replay"),
    is(
        "cannot_show",
        "the record has no place where a status could be shown",
        "leave `shows` out of its mapping, then discard",
    ),
    is(
        "forbidden",
        "the credential may not do this",
        "give the token or app the right that the detail names, then replay",
    ),
    is(
        "gone",
        "the record is not there any more, or the credential may not see it; to a sweep: its team or repository is not, or may not be seen",
        "restore it in its system, or give the credential access, and replay; if it is gone for good untie it \
         (`DELETE …/links/{record}`) and discard; what a sweep met: give the credential access, or leave the repository \
         out, run `lockstep sync`, discard",
    ),
    is(
        "invalid",
        "the system refuses the content",
        "the detail has the system's words: mend the mapping or the record, then replay",
    ),
    is(
        "malformed",
        "the bytes can be read and a field is wrong; the detail names it",
        "mend the publisher, and let it send again, or what a sweep read, and run `lockstep sync`; discard this one. After an update of Lockstep that reads it: replay",
    ),
    is(
        "merged",
        "a merged pull request cannot be told another status",
        "none is needed: the record is as close as it can be; discard",
    ),
    is(
        "no_such_state",
        "the team has no workflow state of that name or type",
        "add the state in Linear or mend the mapping, then replay",
    ),
    is("no_such_status", "the system has no such status", "mend the mapping, then replay"),
    is(
        "no_such_thing",
        "a lifecycle, status, version, candidate or mapping that was named does not exist",
        "add it to the configuration and replay, or name another and discard",
    ),
    is(
        "not_allowed",
        "a constraint, trigger or policy for UPDATE of the tracked table refuses the status",
        "allow the status (or the row) in the table or mend the mapping, then replay",
    ),
    is(
        "other_lifecycle",
        "a record should be tied to an item of a lifecycle in which no mapping says what its statuses mean",
        "add the mapping and replay, or discard",
    ),
    is(
        "out_of_reach",
        "an agent that should be told something did not answer for ten minutes",
        "start the agent again and replay, or discard: it is told the next change",
    ),
    is("read_only", "the record can be told nothing", "leave the status out of its mapping's `writable`, then discard"),
    is(
        "reason_kept",
        "the issue is closed with another reason, which a person's token cannot change",
        "use an app's or bot's credential (`connector.github.bot_login`) and replay, or change it by hand and discard",
    ),
    is("rejected", "the system refuses the call for good", "the detail has its answer: mend the cause, then replay"),
    is(
        "team_missing",
        "Linear does not show the record, and a team of `connector.linear.teams` is missing, whose it may be",
        "give the credential access to the team, or mend `connector.linear.teams` and restart; then replay",
    ),
    is(
        "told_too_often",
        "agents set each other to work: one was told of what others made of an item three times within ten minutes",
        "see what they are at, and which of `connector.agentapi.messages` sets them off; replay later, or discard",
    ),
    is(
        "too_large",
        "what followed from the message is larger than the bus takes",
        "raise `max_payload` of the NATS server, then replay; a letter that is cut and was never on a stream can only be discarded",
    ),
    is(
        "unauthorized",
        "the credential is wrong, expired or revoked, or the GitHub App is not installed under that id any more",
        "set a new one, restart the connector, then replay",
    ),
    is(
        "undecodable",
        "the bytes are no message of the protocol",
        "mend the publisher, and let it send again; discard this one",
    ),
    is(
        "unexpected_answer",
        "a system answered something that its documentation does not say",
        "report it with the detail; after an update: replay",
    ),
    is("unknown_kind", "no tracked table has that kind", "add the table to `connector.postgres.tables`, then replay"),
    is(
        "unknown_record",
        "somebody speaks of a record that was never seen",
        "name the record as its system does, and as `lockstep status --json` shows it; one that is new is seen by the next sweep (`lockstep sync`): then replay",
    ),
    is("unmapped_status", "strict mode: no mapping knows the status", "add it to the mapping, restart, replay"),
    is(
        "unreadable",
        "a system's answer cannot be read",
        "check that its address in the configuration is the API's; report it, and replay after an update",
    ),
    is(
        "unstorable",
        "PostgreSQL refuses the content",
        "the detail says why: mend the publisher, and let it send again; discard this one",
    ),
    is("unusable_key", "a row's key is no name of a record", "mend the row, run `lockstep sync postgres`, discard"),
];

/// The reason that a word stands for; `None` for one of another version.
pub fn reason(code: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|known| known.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_once_in_order_and_says_how_it_ends() {
        assert!(REASONS.is_sorted_by(|one, next| one.code < next.code));
        for known in REASONS {
            assert!(known.to_do.contains("replay") || known.to_do.contains("discard"), "{}", known.code);
            assert_eq!(crate::topology::token(known.code), known.code);
        }
    }
}
