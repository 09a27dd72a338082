//! A token that a system gives to an app for its credential, and that ends.
//!
//! Pure.

/// A token is not used any more when it has less than this left.
const SPARE_MS: i64 = 5 * 60 * 1_000;

/// An app's token.
#[derive(Clone)]
pub struct Token {
    secret: String,
    expires_ms: i64,
}

impl Token {
    /// A token that ends then.
    pub fn new(secret: String, expires_ms: i64) -> Self {
        Self { secret, expires_ms }
    }

    /// Its text, while it is good for some time yet.
    pub fn good(&self, now_ms: i64) -> Option<&str> {
        (now_ms < self.expires_ms.saturating_sub(SPARE_MS)).then_some(self.secret.as_str())
    }

    /// Whether it is this one.
    pub fn is(&self, text: &str) -> bool {
        self.secret == text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_used_in_its_last_minutes() {
        let end = 3_600_000;
        let token = Token::new("t".to_owned(), end);
        assert_eq!(token.good(end - SPARE_MS - 1), Some("t"));
        assert_eq!(token.good(end - SPARE_MS), None);
        assert_eq!(Token::new("t".to_owned(), i64::MIN).good(0), None);
    }
}
