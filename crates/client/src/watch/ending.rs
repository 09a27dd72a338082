//! What to do when a connection ends. Pure.

use std::time::Duration;

use crate::{Backoff, Error};

/// How a connection ended, or was not made.
#[derive(Debug)]
pub(crate) enum End {
    /// It broke, or could not be made, in a way that passes.
    Lost(String),
    /// Nothing was heard for too long.
    Silence,
    /// The server closed it.
    Closed { code: u16, reason: String },
    /// The server said that it stops, and the moment drawn for going has come.
    Left,
    /// It could not be made, in a way that does not pass by itself.
    Refused(Error),
}

impl End {
    /// As whoever called is told of it.
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Closed { code, reason } => refused(*code, reason),
            Self::Refused(error) => Error::Unavailable { why: error.to_string() },
            _ => Error::Unavailable { why: described(self).1 },
        }
    }
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// Connect again after this wait.
    Again(Duration),
    /// Connect again after this wait, with another token.
    Renewed(Duration),
    /// Somebody must mend something.
    GiveUp(Error),
}

/// How patient a watcher is, given what it went through.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Attempts in a row that came to nothing.
    attempts: u32,
    /// The last token was refused.
    refused: bool,
}

/// What a connection came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Life {
    /// All rooms were in effect.
    pub(crate) whole: bool,
    /// How long it stood.
    pub(crate) stood: Duration,
}

impl Patience {
    /// What to do after an end. `jitter` is drawn from `0.0..1.0`; `renewable` says that another token can be got.
    pub(crate) fn next(&mut self, end: End, life: Life, backoff: &Backoff, renewable: bool, jitter: f64) -> Next {
        let (word, why) = described(&end);
        let token = match &end {
            End::Refused(error) => error.wants_token(),
            _ => matches!(word, "auth_failed" | "token_expired"),
        };
        let sent_away = matches!(&end, End::Closed { code: 1008 | 1011 | 1013, .. }) && !token;
        // Who is sent away because there are too many, or because it reads too slowly, waits longer each time.
        if life.whole && (!sent_away || life.stood > backoff.max) {
            (self.attempts, self.refused) = (0, false);
        }
        let at_once = matches!(end, End::Silence | End::Left) || word == "no_sign_of_life";
        if at_once && self.attempts == 0 {
            self.attempts = 1;
            return Next::Again(Duration::ZERO);
        }
        if token && renewable && !self.refused {
            self.refused = true;
            return Next::Renewed(self.wait(backoff, jitter).unwrap_or_default());
        }
        if let End::Refused(error) = end {
            return Next::GiveUp(error);
        }
        if let End::Closed { code, reason } = &end
            && needs_mending(*code, word)
        {
            return Next::GiveUp(refused(*code, reason));
        }
        match self.wait(backoff, jitter) {
            Some(wait) => Next::Again(wait),
            None => Next::GiveUp(Error::Unavailable { why }),
        }
    }

    fn wait(&mut self, backoff: &Backoff, jitter: f64) -> Option<Duration> {
        self.attempts = self.attempts.saturating_add(1);
        backoff.wait(self.attempts, jitter)
    }
}

/// Whether another connection would end the same way.
fn needs_mending(code: u16, word: &str) -> bool {
    match word {
        "protocol_error" | "not_text" | "not_utf8" | "auth_missing" | "auth_failed" | "token_expired" | "too_large" => {
            true
        }
        "too_many_messages" | "going_away" | "no_sign_of_life" | "internal" | "too_many_clients"
        | "too_many_of_key" | "too_slow" => false,
        // A word that this client does not know: the code says enough. A policy, 1008, may pass: it is met with growing waits.
        _ => matches!(code, 1002 | 1003 | 1007 | 1009),
    }
}

/// The word of an end, where it has one, and the whole of it for a person.
fn described(end: &End) -> (&str, String) {
    match end {
        End::Lost(why) => ("", why.clone()),
        End::Silence => ("", "nothing was heard for too long".into()),
        End::Left => ("going_away", "the server stops".into()),
        End::Refused(error) => ("", error.to_string()),
        End::Closed { code, reason } => (word_and_sentence(reason).0, format!("closed with {code}: {reason}")),
    }
}

fn refused(code: u16, reason: &str) -> Error {
    let (word, sentence) = word_and_sentence(reason);
    Error::Refused { status: code, code: word.into(), detail: sentence.into(), errors: Vec::new() }
}

/// A close reason of ours is a word, a colon and a sentence. What a proxy says has no word.
fn word_and_sentence(reason: &str) -> (&str, &str) {
    let (word, sentence) = reason.split_once(':').unwrap_or((reason, ""));
    if word.contains(char::is_whitespace) { ("", reason) } else { (word, sentence.trim_start()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Life = Life { whole: true, stood: Duration::from_secs(5) };

    fn closed(code: u16, reason: &str) -> End {
        End::Closed { code, reason: reason.into() }
    }

    fn after(end: End) -> Next {
        Patience::default().next(end, WHOLE, &Backoff::default(), false, 1.0)
    }

    #[test]
    fn the_words_that_say_mend_something_end_the_watch() {
        for (code, word) in [
            (1002, "protocol_error"),
            (1003, "not_text"),
            (1007, "not_utf8"),
            (1008, "auth_missing"),
            (1008, "auth_failed"),
            (1008, "token_expired"),
            (1009, "too_large"),
            (1009, "a_newer_word"),
        ] {
            let next = after(closed(code, &format!("{word}: because")));
            assert!(
                matches!(&next, Next::GiveUp(Error::Refused { status, code: said, detail, .. })
                    if *status == code && said == word && detail == "because"),
                "{word}: {next:?}"
            );
        }
    }

    #[test]
    fn what_a_proxy_says_has_no_word() {
        let next = after(closed(1009, "policy violation: not from here"));
        assert!(
            matches!(&next, Next::GiveUp(Error::Refused { code, detail, .. })
                if code.is_empty() && detail == "policy violation: not from here"),
            "{next:?}"
        );
    }

    #[test]
    fn all_others_connect_again() {
        for (code, word) in [
            (1000, ""),
            (1001, "going_away"),
            (1008, "too_many_messages"),
            (1008, "a_newer_word: because"),
            (1008, "policy violation: not from here"),
            (1010, ""),
            (1011, "internal"),
            (1012, ""),
            (1013, "too_many_clients"),
            (1013, "too_many_of_key"),
            (1013, "too_slow"),
            (4000, "a_newer_word"),
        ] {
            let next = after(closed(code, word));
            assert!(matches!(next, Next::Again(wait) if wait <= Duration::from_millis(500)), "{word}: {next:?}");
        }
    }

    #[test]
    fn a_server_that_is_silent_or_stops_is_left_at_once_but_not_again_and_again() {
        let (mut patience, backoff) = (Patience::default(), Backoff::default());
        let mut wait = |end, life| match patience.next(end, life, &backoff, false, 1.0) {
            Next::Again(wait) => wait.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(End::Left, WHOLE), 0);
        assert_eq!(wait(closed(1001, "no_sign_of_life"), WHOLE), 0);
        assert_eq!(wait(End::Silence, WHOLE), 0);
        assert_eq!(wait(End::Silence, Life::default()), 1_000);
        assert_eq!(wait(End::Silence, Life::default()), 2_000);
    }

    #[test]
    fn the_wait_grows_until_rooms_are_in_effect_again() {
        let (mut patience, backoff) = (Patience::default(), Backoff::default());
        let mut wait = |life| match patience.next(End::Lost("x".into()), life, &backoff, false, 1.0) {
            Next::Again(wait) => wait.as_millis(),
            other => panic!("{other:?}"),
        };
        let waits = [WHOLE, Life::default(), Life::default(), WHOLE].map(&mut wait);
        assert_eq!(waits, [500, 1_000, 2_000, 500]);
    }

    #[test]
    fn who_is_sent_away_waits_longer_each_time_until_it_may_stay() {
        let backoff = Backoff::default();
        let kept_up = Life { whole: true, stood: Duration::from_secs(31) };
        for (code, reason) in [(1013, "too_slow: x"), (1008, "too_many_messages: x"), (1008, "a_newer_word: x")] {
            let mut patience = Patience::default();
            let mut wait = |life| match patience.next(closed(code, reason), life, &backoff, false, 1.0) {
                Next::Again(wait) => wait.as_millis(),
                other => panic!("{other:?}"),
            };
            assert_eq!([WHOLE, WHOLE, WHOLE, kept_up].map(&mut wait), [500, 1_000, 2_000, 500], "{reason}");
        }
    }

    #[test]
    fn a_token_is_renewed_once_before_a_refusal_is_believed() {
        let (mut patience, backoff) = (Patience::default(), Backoff::default());
        let mut next = |life| patience.next(closed(1008, "token_expired: at noon"), life, &backoff, true, 0.0);
        assert!(matches!(next(WHOLE), Next::Renewed(_)));
        assert!(matches!(next(Life::default()), Next::GiveUp(_)));
        assert!(matches!(next(WHOLE), Next::Renewed(_)));
        let refused = || {
            End::Refused(Error::Refused {
                status: 401,
                code: "key_unknown".into(),
                detail: String::new(),
                errors: Vec::new(),
            })
        };
        let mut patience = Patience::default();
        let mut next = |renewable| patience.next(refused(), Life::default(), &backoff, renewable, 0.0);
        assert!(matches!(next(true), Next::Renewed(_)) && matches!(next(true), Next::GiveUp(_)));
        assert!(matches!(Patience::default().next(refused(), WHOLE, &backoff, false, 0.0), Next::GiveUp(_)));
    }

    #[test]
    fn it_gives_up_after_as_many_attempts_as_it_was_told() {
        let backoff = Backoff { attempts: Some(2), ..Backoff::default() };
        let mut patience = Patience::default();
        let mut next = || patience.next(End::Lost("gone".into()), Life::default(), &backoff, false, 0.0);
        assert!(matches!(next(), Next::Again(_)) && matches!(next(), Next::Again(_)));
        assert!(matches!(next(), Next::GiveUp(Error::Unavailable { why }) if why == "gone"));
    }
}
