//! Which teams' issues count: by the keys that configuration names, and by the ids that Linear gave for them.
//!
//! Pure. A team's key can be changed, and a team be taken from the credential's sight. While a configured key is no team's, an issue of
//! another team may well be one that counts, so nobody says of it that it does not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// A team, as it is called now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// Its id, which it keeps.
    pub id: String,
    /// What its issues' identifiers begin with.
    pub key: String,
}

/// Whether a team's issues count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They do.
    Counts,
    /// It is a team that does not count.
    Elsewhere,
    /// It was not asked yet which teams there are.
    Unasked,
    /// A configured team was not found, which this may be.
    Uncertain,
}

/// The teams that count.
#[derive(Debug, Default)]
pub struct Scope {
    /// As configured; empty for all.
    keys: Vec<String>,
    /// The team that was found by a key.
    ids: BTreeMap<String, String>,
    /// The keys by which none was found the last time.
    missing: BTreeSet<String>,
    is_asked: bool,
}

impl Scope {
    /// By these keys; all where there are none.
    pub fn new(keys: &[String]) -> Self {
        Self { keys: keys.to_vec(), ..Self::default() }
    }

    /// Whether it was asked which teams there are, or need not be.
    pub fn is_asked(&self) -> bool {
        self.is_asked || self.keys.is_empty()
    }

    /// The ids of the teams that count, as far as they are known; `None` for all.
    pub fn ids(&self) -> Option<Vec<&str>> {
        (!self.keys.is_empty()).then(|| self.ids.values().map(String::as_str).collect())
    }

    /// The configured keys by which no team was found.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }

    /// Takes the teams that were found, and says of each configured key what an operator must know. Where not all were listed, nothing
    /// is missing.
    pub fn found(&mut self, teams: &[Named], are_all: bool) -> Vec<(String, Result<(), String>)> {
        self.is_asked = true;
        self.missing.clear();
        let mut said = Vec::new();
        for key in &self.keys {
            let named = teams.iter().find(|team| team.key.eq_ignore_ascii_case(key));
            let known = self.ids.get(key).and_then(|id| teams.iter().find(|team| team.id == *id));
            let is = match (named, known) {
                (Some(team), _) => {
                    self.ids.insert(key.clone(), team.id.clone());
                    Ok(())
                }
                (None, Some(team)) => {
                    Err(format!("the team {key} is called {} now; change connector.linear.teams", team.key))
                }
                (None, None) if !are_all => Ok(()),
                (None, None) => {
                    self.missing.insert(key.clone());
                    Err(format!(
                        "there is no team {key}, or the credential may not see it; mend connector.linear.teams or the credential's access"
                    ))
                }
            };
            said.push((key.clone(), is));
        }
        said
    }

    /// Whether a team's issues count.
    pub fn standing(&self, id: &str, key: &str) -> Standing {
        if self.has_key(key) || self.ids.values().any(|known| known == id) {
            Standing::Counts
        } else if !self.is_asked {
            Standing::Unasked
        } else if self.missing.is_empty() {
            Standing::Elsewhere
        } else {
            Standing::Uncertain
        }
    }

    /// Whether the issues of a team of that key count, whatever it was called before.
    pub fn has_key(&self, key: &str) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|counts| counts.eq_ignore_ascii_case(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(id: &str, key: &str) -> Named {
        Named { id: id.to_owned(), key: key.to_owned() }
    }

    fn scope() -> Scope {
        Scope::new(&["ENG".to_owned(), "OPS".to_owned()])
    }

    #[test]
    fn without_keys_every_team_counts() {
        let scope = Scope::new(&[]);
        assert_eq!((scope.standing("1", "ENG"), scope.ids(), scope.is_asked()), (Standing::Counts, None, true));
    }

    #[test]
    fn another_team_is_known_to_be_one_only_where_all_that_count_were_found() {
        let mut scope = scope();
        assert_eq!(scope.standing("3", "WEB"), Standing::Unasked);
        let said = scope.found(&[team("1", "eng")], true);
        assert!(said[0].1.is_ok() && said[1].1.as_ref().is_err_and(|why| why.contains("no team OPS")), "{said:?}");
        assert_eq!(scope.standing("3", "WEB"), Standing::Uncertain);
        assert_eq!((scope.standing("1", "ENG"), scope.ids()), (Standing::Counts, Some(vec!["1"])));
        assert!(scope.found(&[team("1", "ENG"), team("2", "OPS")], true).iter().all(|(_, is)| is.is_ok()));
        assert_eq!(scope.standing("3", "WEB"), Standing::Elsewhere);
    }

    #[test]
    fn a_team_that_is_renamed_still_counts_and_is_told() {
        let mut scope = scope();
        scope.found(&[team("1", "ENG"), team("2", "OPS")], true);
        let said = scope.found(&[team("1", "CORE"), team("2", "OPS")], true);
        assert!(said[0].1.as_ref().is_err_and(|why| why.contains("is called CORE now")), "{said:?}");
        assert_eq!((scope.missing().count(), scope.standing("1", "CORE")), (0, Standing::Counts));
        assert_eq!(scope.standing("3", "WEB"), Standing::Elsewhere);
    }

    #[test]
    fn what_may_be_on_a_page_that_was_not_read_is_not_missing() {
        let mut scope = scope();
        assert!(scope.found(&[team("1", "ENG")], false).iter().all(|(_, is)| is.is_ok()));
        assert_eq!(scope.missing().count(), 0);
    }
}
