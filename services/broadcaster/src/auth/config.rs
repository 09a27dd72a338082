//! The section `[broadcaster.auth]`, and whether it makes sense.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use reqwest::Url;
use runtime::Secret;
use runtime::config::ConfigError;
use serde::Deserialize;

use super::{Patterns, Rights, jwt, ticket};

const SECTION: &str = "broadcaster.auth";
/// A shorter one can be guessed from one token.
const SECRET_BYTES_MIN: usize = 32;
/// More is no difference between clocks.
const LEEWAY_S_MAX: u32 = 300;

/// The section `[broadcaster.auth]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Keys that entitle to everything.
    pub api_keys: Vec<Secret>,
    /// Keys that entitle to what stands beside them.
    pub keys: Vec<KeyConfig>,
    /// Lets everyone who can reach the address watch, publish and acknowledge without a key.
    pub allow_anonymous: bool,
    /// The section `[broadcaster.auth.jwt]`.
    pub jwt: JwtConfig,
}

/// One of `[[broadcaster.auth.keys]]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyConfig {
    /// The key.
    pub key: Secret,
    /// Who has it, as clients and logs are told.
    pub name: String,
    /// The rooms that may be joined: names, with `*` at their end for all that begin so.
    pub rooms: Vec<String>,
    /// The records whose status may be told, the same way.
    pub publish: Vec<String>,
    /// Whether alerts may be acknowledged.
    pub acknowledge: bool,
}

/// The section `[broadcaster.auth.jwt]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// The secrets of tokens signed with HS256; several while one replaces another.
    pub hs256_secrets: Vec<Secret>,
    /// A file with the public keys of other tokens, a JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
    /// Where such a set can be fetched.
    pub jwks_url: Option<String>,
    /// The `iss` that a token must have.
    pub issuer: Option<String>,
    /// What must be among a token's `aud`. Without it only tokens are taken that have none: one that was made for somebody else is not
    /// for us.
    pub audience: Option<String>,
    /// How far the clocks of who makes the tokens and ours may differ, in seconds.
    pub leeway_s: u32,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self { hs256_secrets: Vec::new(), jwks_file: None, jwks_url: None, issuer: None, audience: None, leeway_s: 30 }
    }
}

impl Config {
    /// Refuses what cannot work or would be open by accident. `addresses` are all that serve watchers.
    pub fn check(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<(), ConfigError> {
        self.check_keys().and_then(|()| self.jwt.check()).map_err(|(key, why)| at(&key, why))?;
        let guards = [
            (!self.api_keys.is_empty(), "api_keys has keys"),
            (!self.keys.is_empty(), "keys has keys"),
            (self.jwt.is_set(), "jwt is set"),
        ];
        let guard = guards.into_iter().find_map(|(is_set, guard)| is_set.then_some(guard));
        runtime::access::check_open(SECTION, guard, self.allow_anonymous, addresses)
    }

    /// Whether a client must show something.
    pub(super) fn is_guarded(&self) -> bool {
        !self.api_keys.is_empty() || !self.keys.is_empty() || self.jwt.is_set()
    }

    fn check_keys(&self) -> Result<(), Wrong> {
        let short = self.api_keys.iter().map(|key| ("api_keys".to_owned(), key));
        let long = self.keys.iter().enumerate().map(|(at, key)| (format!("keys[{at}].key"), &key.key));
        let mut seen = HashSet::new();
        for (at, key) in short.chain(long) {
            if key.is_empty() {
                return Err((at, "holds an empty entry, which anybody could guess; leave it out".into()));
            }
            if key.expose().trim() != key.expose() {
                return Err((at, "begins or ends with a blank, which no header can carry".into()));
            }
            if self.jwt.is_set() && jwt::looks_like_one(key.expose()) {
                return Err((at, "has three parts between dots, as a JWT has; choose another key".into()));
            }
            if ticket::looks_like_one(key.expose()) {
                return Err((at, "looks like a ticket; choose another key".into()));
            }
            if !seen.insert(key.expose()) {
                return Err((at, "is there twice; leave one out".into()));
            }
        }
        for (at, key) in self.keys.iter().enumerate() {
            if key.name.is_empty() {
                return Err((format!("keys[{at}].name"), "is missing: it says who has the key".into()));
            }
            key.rights().map_err(|(list, why)| (format!("keys[{at}].{list}"), why))?;
        }
        Ok(())
    }
}

impl KeyConfig {
    /// What the key entitles to; or the list that cannot be read, and why.
    pub(super) fn rights(&self) -> Result<Rights, (&'static str, String)> {
        Ok(Rights {
            subject: self.name.as_str().into(),
            rooms: Patterns::parse(&self.rooms).map_err(|why| ("rooms", why))?,
            publish: Patterns::parse(&self.publish).map_err(|why| ("publish", why))?,
            acknowledge: self.acknowledge,
            expires_at: None,
        })
    }
}

/// The key within the section, and what is wrong with it.
type Wrong = (String, String);

impl Config {
    /// Whether the files that it names can be read, for a process that will.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let Some(path) = &self.jwt.jwks_file else { return Ok(()) };
        let opened = std::fs::File::open(path).and_then(|file| file.metadata());
        let why = match opened {
            Ok(found) if found.is_file() => return Ok(()),
            Ok(_) => "is no file".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        let why = format!("({}) {why}; it must be a file with a JSON Web Key Set", path.display());
        Err(at("jwt.jwks_file", why))
    }
}

fn at(key: &str, why: String) -> ConfigError {
    ConfigError::new(format!("{SECTION}.{key}"), why)
}

impl JwtConfig {
    /// Whether tokens are taken at all.
    pub(super) fn is_set(&self) -> bool {
        !self.hs256_secrets.is_empty() || self.jwks_file.is_some() || self.jwks_url.is_some()
    }

    fn check(&self) -> Result<(), Wrong> {
        let wrong = |key: &str, why: String| Err((format!("jwt.{key}"), why));
        if self.hs256_secrets.iter().any(|secret| secret.expose().len() < SECRET_BYTES_MIN) {
            return wrong(
                "hs256_secrets",
                format!("holds one of fewer than {SECRET_BYTES_MIN} bytes, which can be guessed; make a longer one"),
            );
        }
        if self.jwks_file.is_some() && self.jwks_url.is_some() {
            return wrong("jwks_url", "is set beside jwks_file; choose one".into());
        }
        if let Some(why) = self.jwks_url.as_deref().and_then(|url| unusable(url).err()) {
            return wrong("jwks_url", why.into());
        }
        let left_out = [
            ("issuer", &self.issuer, "leave it out to take any"),
            ("audience", &self.audience, "without it only tokens that name no audience (aud) are taken"),
        ];
        for (key, value, without) in left_out {
            match value {
                Some(value) if value.is_empty() => return wrong(key, format!("is empty; {without}")),
                Some(_) if !self.is_set() => {
                    return wrong(key, "is set, and no key: set hs256_secrets, jwks_file or jwks_url".into());
                }
                _ => {}
            }
        }
        if self.leeway_s > LEEWAY_S_MAX {
            return wrong("leeway_s", format!("must be from 0 to {LEEWAY_S_MAX}; set the clocks right instead"));
        }
        Ok(())
    }
}

/// Keys that came by an open way could be anybody's.
fn unusable(url: &str) -> Result<(), &'static str> {
    let url = Url::parse(url).map_err(|_| "is no address: https://… is one")?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password; a set of public keys needs none");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_local => Ok(()),
        _ => {
            Err("must be https://, or on this machine: whoever can change the answer can make tokens; or use jwks_file")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of more than thirty-two bytes";

    fn refused(section: &str, address: &str) -> Option<String> {
        let section: serde_json::Value = serde_json::from_str(section).unwrap();
        let config: Config = runtime::config::section(SECTION, &section).unwrap();
        config.check([address.parse().unwrap()]).err().map(|error| error.to_string())
    }

    #[test]
    fn what_guards_nothing_is_served_to_this_machine_alone() {
        let (local, open) = ("127.0.0.1:8082", "0.0.0.0:8082");
        assert_eq!(refused("{}", local), None);
        assert_eq!(refused("{}", "[::1]:8082"), None);
        let why = refused("{}", open).unwrap();
        assert!(why.contains("broadcaster.auth.api_keys: is empty while 0.0.0.0:8082"), "{why}");
        assert!(why.contains("broadcaster.auth.allow_anonymous = true"), "{why}");
        let guarded = [
            r#"{"api_keys": ["k"]}"#.to_owned(),
            r#"{"keys": [{"key": "k", "name": "ops"}]}"#.to_owned(),
            format!(r#"{{"jwt": {{"hs256_secrets": ["{SECRET}"]}}}}"#),
            r#"{"jwt": {"jwks_url": "https://id.example.com/jwks"}}"#.to_owned(),
            r#"{"allow_anonymous": true}"#.to_owned(),
        ];
        for section in guarded {
            assert_eq!(refused(&section, open), None, "{section}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_cannot_work_is_refused_by_its_key() {
        let cases = [
            (r#""api_keys": ["k"], "allow_anonymous": true"#, "allow_anonymous"),
            (r#""keys": [{"key": "k", "name": "ops"}], "allow_anonymous": true"#, "allow_anonymous"),
            (r#""jwt": {"jwks_file": "x"}, "allow_anonymous": true"#, "allow_anonymous"),
            (r#""api_keys": [""]"#, "api_keys"),
            (r#""api_keys": [" k"]"#, "api_keys"),
            (r#""api_keys": ["k"], "keys": [{"key": "k", "name": "ops"}]"#, "keys[0].key"),
            (r#""api_keys": ["a.b.c"], "jwt": {"jwks_file": "x"}"#, "api_keys"),
            (r#""keys": [{"name": "ops"}]"#, "keys[0].key"),
            (r#""keys": [{"key": "k"}]"#, "keys[0].name"),
            (r#""keys": [{"key": "k", "name": "ops", "rooms": ["a*b"]}]"#, "keys[0].rooms"),
            (r#""keys": [{"key": "k", "name": "ops", "publish": [""]}]"#, "keys[0].publish"),
            (r#""jwt": {"hs256_secrets": ["too short by far to be taken: 3"]}"#, "jwt.hs256_secrets"),
            (r#""jwt": {"jwks_file": "x", "jwks_url": "https://a/b"}"#, "jwt.jwks_url"),
            (r#""jwt": {"jwks_url": "http://id.example.com/jwks"}"#, "jwt.jwks_url"),
            (r#""jwt": {"jwks_url": "https://a:b@id.example.com/jwks"}"#, "jwt.jwks_url"),
            (r#""jwt": {"jwks_url": "jwks"}"#, "jwt.jwks_url"),
            (r#""jwt": {"issuer": "x"}"#, "jwt.issuer"),
            (r#""jwt": {"jwks_file": "x", "audience": ""}"#, "jwt.audience"),
            (r#""jwt": {"jwks_file": "x", "leeway_s": 301}"#, "jwt.leeway_s"),
        ];
        for (section, key) in cases {
            let why = refused(&format!("{{{section}}}"), "127.0.0.1:1").unwrap_or_else(|| panic!("{section} is taken"));
            assert!(why.starts_with(&format!("configuration: broadcaster.auth.{key}: ")), "{why}");
        }
        assert_eq!(refused(r#"{"jwt": {"jwks_url": "http://[::1]:90/jwks"}}"#, "127.0.0.1:1"), None);
        assert_eq!(refused(r#"{"api_keys": ["a.b.c"]}"#, "127.0.0.1:1"), None);
    }

    #[test]
    fn no_secret_of_the_section_is_printed() {
        let config: Config = runtime::config::section(
            SECTION,
            &serde_json::json!({
                "api_keys": ["hidden-1"],
                "keys": [{"key": "hidden-2", "name": "ops"}],
                "jwt": {"hs256_secrets": [format!("hidden-3 {SECRET}")]},
            }),
        )
        .unwrap();
        let printed = format!("{config:?}");
        assert!(!printed.contains("hidden") && printed.matches("***").count() == 3, "{printed}");
    }
}
