//! Any text as one token of a subject, and back.

/// Any text as one token of a subject: letters, digits and `-_/#:@` stand for themselves, every other byte is `=XX`.
pub fn token(text: &str) -> String {
    use std::fmt::Write;
    if text.is_empty() {
        return "=".into();
    }
    let mut token = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if plain(byte) {
            token.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(token, "={byte:02X}");
        }
    }
    token
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_/#:@".contains(&byte)
}

/// The text that a token stands for; `None` if it is no token of ours.
pub fn untoken(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'=' {
            let (code, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_is_one_safe_token_and_comes_back() {
        for id in ["acme/web#7", "a.b c*d>e", "Größe=1", "", "=", "\u{1F600}", "tab\tend", "$SYS"] {
            let token = token(id);
            assert!(!token.is_empty() && token.is_ascii());
            assert!(!token.contains(['.', '*', '>', ' ', '\t', '$']), "{token}");
            assert_eq!(untoken(&token).as_deref(), Some(id));
        }
        assert_eq!(untoken("=4"), None);
        assert_eq!(untoken("=zz"), None);
    }
}
