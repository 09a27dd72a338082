//! Why a connection ends: a code of RFC 6455 and its registry, a word for programs, a sentence for people.

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: u16,
    /// One word that never changes its meaning.
    pub word: &'static str,
    /// What to do.
    pub sentence: &'static str,
}

macro_rules! closes {
    ($($(#[$doc:meta])* $name:ident = $code:literal $word:literal $sentence:literal;)*) => {
        impl Close {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, word: $word, sentence: $sentence };)*
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

closes! {
    /// This broadcaster stops.
    GOING_AWAY = 1001 "going_away" "this broadcaster stops; connect again with your position";
    /// No answer to a ping.
    NO_SIGN_OF_LIFE = 1001 "no_sign_of_life" "a ping was not answered in time; connect again with your position";
    /// Against the protocol.
    PROTOCOL_ERROR = 1002 "protocol_error" "a frame is against RFC 6455 or what was agreed on";
    /// Bytes where a text should be.
    NOT_TEXT = 1003 "not_text" "messages are JSON objects in text frames";
    /// A text that is none.
    NOT_UTF8 = 1007 "not_utf8" "a text frame is no UTF-8";
    /// Nothing was shown that says who it is.
    AUTH_MISSING = 1008 "auth_missing" "show a key, a token or a ticket: in a header, or with auth as the first message";
    /// What was shown is not good.
    AUTH_FAILED = 1008 "auth_failed" "the key, token or ticket is not good";
    /// Whether it is good cannot be known now.
    AUTH_UNAVAILABLE = 1013 "auth_unavailable" "whether the token is good cannot be known now; come back later";
    /// It was good until now.
    TOKEN_EXPIRED = 1008 "token_expired" "the token has expired; connect again with a new one and your position";
    /// Far too many messages.
    TOO_MANY_MESSAGES = 1008 "too_many_messages" "you went on sending more messages than are taken";
    /// A message over the limit.
    TOO_LARGE = 1009 "too_large" "a message has more than the message_max_bytes that welcome told";
    /// Full.
    TOO_MANY_CLIENTS = 1013 "too_many_clients" "as many clients as are served are here; come back later";
    /// Full for this key.
    TOO_MANY_OF_KEY = 1013 "too_many_of_key" "as many clients of this key as may are here; come back later";
    /// Too far behind.
    TOO_SLOW = 1013 "too_slow" "you read more slowly than things change; connect again with your position";
}

impl Close {
    /// The reason of the frame that ends the connection.
    pub fn reason(&self) -> String {
        format!("{}: {}", self.word, self.sentence)
    }

    /// The one with that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|close| close.word == word).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_in_a_frame_and_stands_in_the_protocols_page() {
        let page = include_str!("../../../../docs/realtime.md");
        for close in Close::ALL {
            assert!(close.reason().len() <= 123, "{}", close.word);
            let listed = page
                .lines()
                .any(|line| line.contains(&format!("| {}", close.code)) || line.contains(&format!("`{}`", close.word)));
            assert!(listed && page.contains(&format!("`{}`", close.word)), "{} is not in docs/realtime.md", close.word);
        }
    }
}
