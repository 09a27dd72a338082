//! The demo's repository: issues and pull requests that name the demo's Linear issues.

use super::pull_edits::NewPull;
use super::record::Repo;
use super::refusal::{Outcome, Refusal};
use super::shape::{PERSON, sha};
use super::state::{State, now, repo_key};

/// Makes an empty repository.
pub(super) fn create_repo(held: &mut State, owner: &str, name: &str) -> Outcome<()> {
    let key = repo_key(owner, name);
    if held.repos.contains_key(&key) {
        return Err(Refusal::invalid("Repository", "name", "already_exists"));
    }
    let at = now();
    let repo = Repo {
        id: held.fresh_id(),
        owner: owner.to_owned(),
        name: name.to_owned(),
        description: None,
        default_branch: "main".to_owned(),
        head_sha: sha(&format!("{key} main")),
        created_at: at,
        updated_at: at,
        pushed_at: at,
        labels: Vec::new(),
    };
    held.keep_repo(repo)
}

/// Fills an empty sandbox: `acme/web` with two issues, a draft, an issue and two pull requests for one piece of work.
pub(super) fn seed(held: &mut State) -> Outcome<()> {
    if held.repos.contains_key("acme/web") {
        return Ok(());
    }
    create_repo(held, "acme", "web")?;
    let issue = |held: &mut State, title: &str, key: &str| {
        let body = format!("Tracked as {key}.");
        held.open_issue("acme/web", title, Some(body), &[], PERSON).map(|_| ())
    };
    let pull = |held: &mut State, title: &str, key: &str, head: &str, draft: bool| {
        let new = NewPull { title, body: Some(format!("Part of {key}.")), head, base: None, draft };
        held.open_pull("acme/web", new, PERSON).map(|_| ())
    };
    issue(held, "ENG-1: The login page forgets the return address", "ENG-1")?;
    issue(held, "ENG-2: Search is slow for long queries", "ENG-2")?;
    pull(held, "ENG-2: Index long queries", "ENG-2", "eng-2-index-long-queries", true)?;
    issue(held, "ENG-3: Export to CSV loses the header", "ENG-3")?;
    pull(held, "ENG-4: Store settings by user", "ENG-4", "eng-4-store-settings", false)?;
    pull(held, "ENG-4: Page for settings", "ENG-4", "eng-4-settings-page", false)
}
