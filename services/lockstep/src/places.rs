//! Where a running Lockstep and its sandboxes are: as told, else as `cargo xtask up` wrote it down.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::At;
use crate::output;

/// The files that `cargo xtask up`, and then `cargo xtask up --real`, keep while everything runs.
const FILES: [&str; 2] = [".lockstep/up.json", ".lockstep/real/up.json"];
/// Names the file where it lies elsewhere (`up --data`).
const FILE_VARIABLE: &str = "LOCKSTEP_UP_FILE";
/// The settings of what runs, beside its file.
const ENVIRONMENT: &str = "up.env";
/// Is set in a shell that has read them.
const SHELL: &str = "LOCKSTEP_UP";
/// Where a gateway listens when nobody says otherwise.
const GATEWAY: &str = "http://127.0.0.1:8080";

/// Where the gateway is.
pub struct Gateway {
    /// Its address.
    pub url: String,
    /// What a person should know of it, and was not told yet: that nobody said it, and nothing was found that runs.
    guess: Option<String>,
}

fn gateway(at: &At, written: impl FnOnce() -> Option<Value>) -> Gateway {
    let known = at.url.clone().or_else(|| written()?.get("url")?.as_str().map(str::to_owned));
    let guess = known.is_none().then(|| {
        format!(
            "no cargo xtask up is known to run here, and no address was named (--url, LOCKSTEP_URL): {GATEWAY} is asked"
        )
    });
    Gateway { url: known.unwrap_or_else(|| GATEWAY.to_owned()), guess }
}

/// A client of the gateway, with where that is. A person is told of a guess.
pub fn client(at: &At) -> Result<(client::Client, Gateway), client::Error> {
    let mut gateway = gateway(at, written);
    if io::stderr().is_terminal() {
        gateway.tell_guess(output::complain);
    }
    let client = client::Client::new(&gateway.url)?;
    let key = key(at, written);
    Ok((if let Some(key) = key { client.with_key(key) } else { client }, gateway))
}

impl Gateway {
    /// Tells of a guess now; what goes wrong there later does not tell of it once more.
    fn tell_guess(&mut self, tell: impl FnOnce(&str)) {
        if let Some(guess) = self.guess.take() {
            tell(&guess);
        }
    }
}

/// The key that was said; else the one of what `cargo xtask up` runs, for that and nothing else.
fn key(at: &At, written: impl FnOnce() -> Option<Value>) -> Option<String> {
    let said = at.key.clone();
    said.or_else(|| {
        let written = written()?;
        let is_meant = at.url.as_deref().is_none_or(|url| written["url"] == url.trim_end_matches('/'));
        written["api_key"].as_str().filter(|_| is_meant).map(str::to_owned)
    })
}

/// What a person should know when nothing answers there, or something that nobody named.
pub fn hint(at: &Gateway, error: client::Error) -> anyhow::Error {
    let away = matches!(error, client::Error::Unavailable { .. });
    let error = anyhow::Error::from(error);
    if away {
        return error.context(format!(
            "nothing answers at {}: start Lockstep (cargo xtask up), or name its address with --url or LOCKSTEP_URL",
            at.url
        ));
    }
    match &at.guess {
        Some(guess) => error.context(guess.clone()),
        None => error,
    }
}

/// The address of NATS, where `cargo xtask up` started one.
pub fn nats() -> Option<String> {
    written()?.get("nats_url")?.as_str().map(str::to_owned)
}

/// Tells whoever works beside what `cargo xtask up` runs, in a shell without its settings, how to get them.
pub fn tell_environment() {
    let Ok(here) = env::current_dir() else { return };
    if let Some(file) = unread_environment(&here, env::var_os(SHELL).is_some()) {
        output::complain(&format!(
            "cargo xtask up runs here, and this shell has not read its settings: `. {}` first, if that is what is meant",
            file.display()
        ));
    }
}

/// The settings of what runs in a folder or above it, unless the shell has read some.
fn unread_environment(here: &Path, has_read: bool) -> Option<PathBuf> {
    let runs = |folder: &Path| FILES.map(|file| folder.join(file)).into_iter().find(|file| file.is_file());
    let found = here.ancestors().find_map(runs).filter(|_| !has_read)?;
    Some(found.with_file_name(ENVIRONMENT)).filter(|file| file.is_file())
}

/// The address of a sandbox: `linear`, `github`, or one of the agents by its name.
pub fn sandbox(url: Option<&str>, system: &str, agent: Option<&str>) -> anyhow::Result<String> {
    if let Some(url) = url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let written = written().with_context(|| {
        format!("no running sandbox is known: there is no {} here or above; name its address with --url", FILES[0])
    })?;
    let found = match agent {
        None => written["sandbox"][system]["url"].as_str(),
        Some(agent) => {
            let agents = written["sandbox"]["agents"].as_array();
            let named = agents.into_iter().flatten().find(|known| known["name"] == agent);
            named.and_then(|known| known["url"].as_str())
        }
    };
    match (found, agent) {
        (Some(url), _) => Ok(url.trim_end_matches('/').to_owned()),
        (None, Some(agent)) => bail!("no agent named {agent} runs in the sandbox"),
        (None, None) => bail!("what cargo xtask up runs has no sandbox of {system}"),
    }
}

/// What the file says: the one that is named, else the nearest one, from this folder upwards.
fn written() -> Option<Value> {
    // Several ask for it in one command, and one complaint is enough.
    static COMPLAINT: Once = Once::new();
    match env::var_os(FILE_VARIABLE) {
        Some(named) => read(&mut File::open(named).ok()?),
        None => written_above(&env::current_dir().ok()?, rustix::process::geteuid().as_raw(), &|passed_over| {
            COMPLAINT.call_once(|| output::complain(passed_over));
        }),
    }
}

/// A folder above may be anybody's, as `/tmp` is: a file that another than `user` may have written would be told the user's key, so it is
/// passed over.
fn written_above(here: &Path, user: u32, complain: &dyn Fn(&str)) -> Option<Value> {
    here.ancestors().flat_map(|folder| FILES.map(|file| folder.join(file))).find_map(|file| {
        let mut opened = File::open(&file).ok()?;
        let found = opened.metadata().ok()?;
        if is_trusted(found.uid(), found.mode(), user) {
            return read(&mut opened);
        }
        complain(&format!(
            "{} is passed over: it belongs to another user, or others may write to it; {FILE_VARIABLE} names it where it is meant",
            file.display()
        ));
        None
    })
}

/// Whether nobody but the user and root can have written a file.
fn is_trusted(owner: u32, mode: u32, user: u32) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    [user, 0].contains(&owner) && mode & OTHERS_WRITE == 0
}

fn read(file: &mut File) -> Option<Value> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    fn write(file: &Path, url: &str) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, json!({"url": url}).to_string()).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn what_runs_is_found_from_below_the_sandboxes_first() {
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let user = rustix::process::geteuid().as_raw();
        let found = || written_above(&below, user, &|passed_over| panic!("{passed_over}"));
        assert_eq!(found(), None);
        for (file, url) in FILES.into_iter().zip(["demo", "real"]).rev() {
            write(&top.path().join(file), url);
            assert_eq!(found().unwrap()["url"], url);
        }
    }

    #[test]
    fn the_settings_of_what_runs_are_named_to_a_shell_without_them() {
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("a");
        let up = top.path().join(FILES[0]);
        assert_eq!(unread_environment(&below, false), None);
        write(&up, "demo");
        assert_eq!(unread_environment(&below, false), None, "an older one wrote no settings");
        let settings = up.with_file_name("up.env");
        fs::write(&settings, "").unwrap();
        assert_eq!(unread_environment(&below, false), Some(settings));
        assert_eq!(unread_environment(&below, true), None);
    }

    #[test]
    fn a_file_that_another_may_have_written_is_passed_over_and_named() {
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("a");
        let (own, near) = (top.path().join(FILES[0]), below.join(FILES[0]));
        write(&own, "own");
        write(&near, "near");
        fs::set_permissions(&near, Permissions::from_mode(0o666)).unwrap();
        let said = RefCell::new(Vec::new());
        let user = fs::metadata(&own).unwrap().uid();
        let found = written_above(&below, user, &|passed_over| said.borrow_mut().push(passed_over.to_owned()));
        assert_eq!(found.unwrap()["url"], "own");
        assert!(matches!(&said.borrow()[..], [one] if one.contains(near.to_str().unwrap())), "{said:?}");
        for (owner, mode, trusted) in [
            (1000, 0o100_600, true),
            (0, 0o100_644, true),
            (1000, 0o100_664, false),
            (1000, 0o100_602, false),
            (1001, 0o100_600, false),
        ] {
            assert_eq!(is_trusted(owner, mode, 1000), trusted, "{owner} {mode:o}");
        }
    }

    #[test]
    fn the_key_that_was_written_down_goes_to_what_it_was_made_for_alone() {
        let written = || Some(json!({"url": "http://127.0.0.1:8080", "api_key": "made"}));
        let of = |url: Option<&str>, said: Option<&str>| {
            let at = At { url: url.map(str::to_owned), key: said.map(str::to_owned) };
            key(&at, written)
        };
        assert_eq!(of(None, None).as_deref(), Some("made"));
        assert_eq!(of(Some("http://127.0.0.1:8080/"), None).as_deref(), Some("made"));
        assert_eq!(of(Some("https://lockstep.example"), None), None);
        assert_eq!(of(None, Some("said")).as_deref(), Some("said"));
    }

    #[test]
    fn an_address_that_nobody_named_is_told_with_what_went_wrong_there() {
        let at = |url: Option<&str>| At { url: url.map(str::to_owned), key: None };
        let written = || Some(json!({"url": "http://127.0.0.1:8090"}));
        let refused = || client::Error::Unexpected { why: "no JSON".to_owned() };
        let said = |gateway: &Gateway| format!("{:#}", hint(gateway, refused()));
        let mut guessed = gateway(&at(None), || None);
        assert_eq!(guessed.url, GATEWAY);
        assert!(said(&guessed).contains(GATEWAY), "{}", said(&guessed));
        for (known, url) in [
            (gateway(&at(None), written), "http://127.0.0.1:8090"),
            (gateway(&at(Some("http://a")), || None), "http://a"),
        ] {
            assert_eq!((known.url.as_str(), &known.guess), (url, &None));
            assert_eq!(said(&known), refused().to_string());
        }
        let away =
            |gateway: &Gateway| format!("{:#}", hint(gateway, client::Error::Unavailable { why: "x".to_owned() }));
        assert!(away(&guessed).contains(GATEWAY));
        let mut told = Vec::new();
        guessed.tell_guess(|guess| told.push(guess.to_owned()));
        guessed.tell_guess(|guess| told.push(guess.to_owned()));
        assert!(matches!(&told[..], [once] if once.contains(GATEWAY)), "{told:?}");
        assert_eq!(said(&guessed), refused().to_string(), "it was told already");
        assert!(away(&guessed).contains(GATEWAY), "what to do is said all the same");
    }
}
