//! Finds the identifiers of other records in a branch name, a title and a body.
//!
//! Pure. It does not know which identifiers exist: one that nobody owns ties nothing.

use std::sync::LazyLock;

use model::Key;
use regex::Regex;

/// How many mentions are taken from one record.
const MENTIONS_MAX: usize = 16;

/// Words that look like an issue's identifier and are none, where nobody said which teams there are.
const FALSE_FRIENDS: [&str; 43] = [
    "AES", "ARM", "BASE", "BCP", "CODE", "COVID", "CP", "CVE", "CWE", "ECMA", "ES", "GPT", "HS", "HTTP", "IEEE", "IPV",
    "ISO", "JIS", "LATIN", "LINE", "MD", "MP", "PART", "PEP", "PHASE", "PKCS", "PORT", "PSR", "RC", "RFC", "RS", "RSA",
    "SHA", "SHA1", "SHA2", "SHA3", "SOC", "STEP", "TLS", "TOP", "USB", "UTC", "UTF",
];

static IDENTIFIER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b([A-Za-z][A-Za-z0-9]{1,9})-([0-9]{1,7})\b").expect("a constant pattern is a good pattern")
});

static CLOSING: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+([a-z0-9][a-z0-9-]*/[a-z0-9._-]+)?#([0-9]{1,9})\b";
    Regex::new(pattern).expect("a constant pattern is a good pattern")
});

/// The identifiers such as `ENG-12` in the texts, in their order, each once, in capitals. `prefixes` are those of the only teams
/// that count; where there are none, well-known words of that shape (`UTF-8`) are left out.
pub fn identifiers<'t>(texts: impl IntoIterator<Item = &'t str>, prefixes: &[String]) -> Vec<Key> {
    let mut found = Vec::new();
    for text in texts {
        for hit in IDENTIFIER.captures_iter(text) {
            let prefix = hit[1].to_ascii_uppercase();
            let counts = if prefixes.is_empty() {
                !FALSE_FRIENDS.contains(&prefix.as_str())
            } else {
                prefixes.iter().any(|known| known.eq_ignore_ascii_case(&prefix))
            };
            if counts {
                add(&mut found, &format!("{prefix}-{}", &hit[2]));
            }
        }
    }
    found
}

/// The issues that a pull request's text says it closes, as `owner/name#12`.
pub fn closed(text: &str, repository: &str) -> Vec<Key> {
    let mut found = Vec::new();
    for hit in CLOSING.captures_iter(text) {
        let of = hit.get(1).map_or(repository, |of| of.as_str());
        add(&mut found, &format!("{of}#{}", &hit[2]));
    }
    found
}

/// A branch name as text: an underscore parts words there.
pub fn branch_words(branch: &str) -> String {
    branch.replace('_', " ")
}

fn add(found: &mut Vec<Key>, key: &str) {
    if let Ok(key) = Key::new(key)
        && found.len() < MENTIONS_MAX
        && !found.contains(&key)
    {
        found.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str], prefixes: &[&str]) -> Vec<String> {
        let prefixes: Vec<_> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        identifiers(texts.iter().copied(), &prefixes).into_iter().map(String::from).collect()
    }

    #[test]
    fn the_branch_comes_first_then_the_title_then_the_body() {
        let texts = [&branch_words("ada/eng-12-sign_in"), "OPS-3: Sign in", "Part of ENG-7, after eng-12."];
        assert_eq!(found(&texts, &[]), ["ENG-12", "OPS-3", "ENG-7"]);
    }

    #[test]
    fn a_word_that_only_looks_like_an_identifier_is_none() {
        assert!(found(&["Read UTF-8, SHA-256 and rfc-9110; CVE-2026-1"], &[]).is_empty());
        assert!(found(&["x-1, ENG-12345678, ENG12, 4ENG-1"], &[]).is_empty());
    }

    #[test]
    fn where_the_teams_are_known_only_theirs_count() {
        assert_eq!(found(&["eng-1 OPS-2 SHA-3"], &["ENG", "sha"]), ["ENG-1", "SHA-3"]);
    }

    #[test]
    fn an_underscore_in_a_branch_parts_words() {
        assert_eq!(found(&[&branch_words("feature_ENG-4_x")], &[]), ["ENG-4"]);
    }

    #[test]
    fn closing_words_name_issues_here_and_elsewhere() {
        let text = "Closes #12, fixes: other/repo.js#3 and Resolved #4. See #5; discloses #6; fix 7.";
        let keys: Vec<_> = closed(text, "acme/web").into_iter().map(String::from).collect();
        assert_eq!(keys, ["acme/web#12", "other/repo.js#3", "acme/web#4"]);
    }

    #[test]
    fn a_body_full_of_identifiers_is_not_taken_whole() {
        let body: String = (0..100).map(|n| format!("ENG-{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(found(&[&body], &[]).len(), MENTIONS_MAX);
    }
}
