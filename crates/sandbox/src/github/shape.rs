//! The JSON that GitHub makes of users, repositories, issues and pull requests.
//!
//! It knows no state: a caller brings the records and the address that links start with.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::record::{Comment, CommitStatus, Label, Pull, Repo, Review, Thread};

/// The person whose edits come through the control routes.
pub(super) const PERSON: &str = "ada";
/// The person who reviews and who wrote the demo's pull requests' reviews: nobody can approve their own.
pub(super) const REVIEWER: &str = "grace";
/// The account of an app's or bot's credential.
pub(super) const BOT: &str = "lockstep[bot]";

/// `2026-11-21T03:52:00Z`: whole seconds, as GitHub writes times.
pub(super) fn instant(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// A time that may not have come.
pub(super) fn instant_or_null(seconds: Option<i64>) -> Value {
    seconds.map_or(Value::Null, |at| Value::String(instant(at)))
}

/// A stable global id, with the prefix of its type (`I`, `PR`, `R` …).
pub(super) fn node_id(prefix: &str, id: u64) -> String {
    format!("{prefix}_kwDO{id:010x}")
}

/// Forty hexadecimal digits that depend on `seed` alone.
pub(super) fn sha(seed: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(seed.as_bytes()));
    digest.truncate(40);
    digest
}

/// An account's number: the known ones have small fixed ones, others one made from their name.
fn user_id(login: &str) -> u64 {
    match login {
        PERSON => 1001,
        REVIEWER => 1002,
        BOT => 1003,
        other => other.bytes().fold(5_381, |id: u64, byte| (id * 33 + u64::from(byte)) % 90_000_000) + 10_000,
    }
}

/// Makes JSON with links that start at `base`.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The API root, without a slash at its end.
    pub(super) base: String,
}

impl Shape {
    /// An account, in the short form that other objects carry.
    pub(super) fn user(&self, login: &str) -> Value {
        let base = &self.base;
        let id = user_id(login);
        let bot = login.ends_with("[bot]");
        let url = format!("{base}/users/{login}");
        json!({
            "login": login, "id": id, "node_id": node_id(if bot { "BOT" } else { "U" }, id),
            "avatar_url": format!("{base}/avatars/u/{id}?v=4"), "gravatar_id": "",
            "url": url, "html_url": format!("{base}/{login}"),
            "followers_url": format!("{url}/followers"), "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"), "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"), "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"), "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": if bot { "Bot" } else { "User" }, "user_view_type": "public", "site_admin": false,
        })
    }

    fn user_or_null(&self, login: Option<&String>) -> Value {
        login.map_or(Value::Null, |login| self.user(login))
    }

    /// The API address of a repository.
    pub(super) fn repo_url(&self, repo: &Repo) -> String {
        format!("{}/repos/{}", self.base, repo.full_name())
    }

    /// A repository; `open_issues` counts its open issues and pull requests.
    pub(super) fn repo(&self, repo: &Repo, open_issues: usize) -> Value {
        const LINKS: [(&str, &str); 37] = [
            ("forks_url", "/forks"),
            ("keys_url", "/keys{/key_id}"),
            ("collaborators_url", "/collaborators{/collaborator}"),
            ("teams_url", "/teams"),
            ("hooks_url", "/hooks"),
            ("issue_events_url", "/issues/events{/number}"),
            ("events_url", "/events"),
            ("assignees_url", "/assignees{/user}"),
            ("branches_url", "/branches{/branch}"),
            ("tags_url", "/tags"),
            ("blobs_url", "/git/blobs{/sha}"),
            ("git_tags_url", "/git/tags{/sha}"),
            ("git_refs_url", "/git/refs{/sha}"),
            ("trees_url", "/git/trees{/sha}"),
            ("statuses_url", "/statuses/{sha}"),
            ("languages_url", "/languages"),
            ("stargazers_url", "/stargazers"),
            ("contributors_url", "/contributors"),
            ("subscribers_url", "/subscribers"),
            ("subscription_url", "/subscription"),
            ("commits_url", "/commits{/sha}"),
            ("git_commits_url", "/git/commits{/sha}"),
            ("comments_url", "/comments{/number}"),
            ("issue_comment_url", "/issues/comments{/number}"),
            ("contents_url", "/contents/{+path}"),
            ("compare_url", "/compare/{base}...{head}"),
            ("merges_url", "/merges"),
            ("archive_url", "/{archive_format}{/ref}"),
            ("downloads_url", "/downloads"),
            ("issues_url", "/issues{/number}"),
            ("pulls_url", "/pulls{/number}"),
            ("milestones_url", "/milestones{/number}"),
            ("notifications_url", "/notifications{?since,all,participating}"),
            ("labels_url", "/labels{/name}"),
            ("releases_url", "/releases{/id}"),
            ("deployments_url", "/deployments"),
            ("url", ""),
        ];
        let url = self.repo_url(repo);
        let full = repo.full_name();
        let html = format!("{}/{full}", self.base);
        let host = self.base.split_once("://").map_or("", |(_, host)| host);
        let mut owner = self.user(&repo.owner);
        owner["type"] = json!("Organization");
        let plain = json!({
            "id": repo.id, "node_id": node_id("R", repo.id), "name": repo.name, "full_name": full, "private": true,
            "owner": owner, "html_url": html, "description": repo.description, "fork": false,
            "created_at": instant(repo.created_at), "updated_at": instant(repo.updated_at), "pushed_at": instant(repo.pushed_at),
            "git_url": format!("git://{host}/{full}.git"), "ssh_url": format!("git@{host}:{full}.git"),
            "clone_url": format!("{html}.git"), "svn_url": html, "homepage": null, "size": 0,
        });
        let rest = json!({
            "stargazers_count": 0, "watchers_count": 0, "language": null,
            "has_issues": true, "has_projects": true, "has_downloads": true, "has_wiki": true, "has_pages": false, "has_discussions": false,
            "forks_count": 0, "mirror_url": null, "archived": false, "disabled": false,
            "open_issues_count": open_issues, "license": null, "allow_forking": true, "is_template": false,
            "web_commit_signoff_required": false, "topics": [], "visibility": "private",
            "forks": 0, "open_issues": open_issues, "watchers": 0, "default_branch": repo.default_branch, "custom_properties": {},
        });
        let links = LINKS.iter().map(|(name, path)| ((*name).to_owned(), Value::String(format!("{url}{path}"))));
        joined(joined(plain, rest), Value::Object(links.collect()))
    }

    /// A label.
    pub(super) fn label(&self, repo: &Repo, label: &Label) -> Value {
        json!({
            "id": label.id, "node_id": node_id("LA", label.id),
            "url": format!("{}/labels/{}", self.repo_url(repo), label.name.replace(' ', "%20")),
            "name": label.name, "color": label.color, "default": false, "description": label.description,
        })
    }

    /// The labels of an issue, in the order they were added.
    pub(super) fn labels(&self, repo: &Repo, thread: &Thread) -> Value {
        let known = |name: &String| repo.labels.iter().find(|label| label.name.eq_ignore_ascii_case(name));
        thread.labels.iter().filter_map(known).map(|label| self.label(repo, label)).collect()
    }

    /// An issue; a pull request looks like one too, with a `pull_request` key.
    pub(super) fn issue(&self, repo: &Repo, thread: &Thread) -> Value {
        let root = self.repo_url(repo);
        let url = format!("{root}/issues/{}", thread.number);
        let kind = if thread.pull.is_some() { "pull" } else { "issues" };
        let html = format!("{}/{}/{kind}/{}", self.base, repo.full_name(), thread.number);
        let prefix = if thread.pull.is_some() { "PR" } else { "I" };
        let id = thread.pull.as_ref().map_or(thread.id, |pull| pull.id);
        let mut issue = json!({
            "url": url, "repository_url": root, "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"), "events_url": format!("{url}/events"), "html_url": html,
            "id": thread.id, "node_id": node_id(prefix, id), "number": thread.number, "title": thread.title,
            "user": self.user(&thread.author), "labels": self.labels(repo, thread), "state": thread.state(), "locked": false,
            "assignee": null, "assignees": [], "milestone": null, "comments": thread.comments.len(),
            "created_at": instant(thread.created_at), "updated_at": instant(thread.updated_at),
            "closed_at": instant_or_null(thread.closed_at), "author_association": "MEMBER", "type": null,
            "active_lock_reason": null, "sub_issues_summary": {"total": 0, "completed": 0, "percent_completed": 0},
            "body": thread.body, "closed_by": self.user_or_null(thread.closed_by.as_ref()),
            "reactions": reactions(&format!("{url}/reactions")), "timeline_url": format!("{url}/timeline"),
            "performed_via_github_app": null, "state_reason": thread.state_reason,
        });
        if let Some(pull) = &thread.pull {
            issue["draft"] = json!(pull.draft);
            issue["pull_request"] = json!({
                "url": format!("{root}/pulls/{}", thread.number), "html_url": html,
                "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"), "merged_at": instant_or_null(pull.merged_at),
            });
        }
        issue
    }

    /// A comment on an issue.
    pub(super) fn comment(&self, repo: &Repo, thread: &Thread, comment: &Comment) -> Value {
        let root = self.repo_url(repo);
        let url = format!("{root}/issues/comments/{}", comment.id);
        json!({
            "url": url, "html_url": format!("{}/{}/issues/{}#issuecomment-{}", self.base, repo.full_name(), thread.number, comment.id),
            "issue_url": format!("{root}/issues/{}", thread.number), "id": comment.id, "node_id": node_id("IC", comment.id),
            "user": self.user(&comment.author), "created_at": instant(comment.created_at), "updated_at": instant(comment.created_at),
            "author_association": "MEMBER", "body": comment.body, "reactions": reactions(&format!("{url}/reactions")),
            "performed_via_github_app": null,
        })
    }

    /// One status of a commit.
    pub(super) fn status(&self, status: &CommitStatus, root: &str) -> Value {
        json!({
            "url": format!("{root}/statuses/{}", status.sha), "avatar_url": format!("{}/avatars/{}", self.base, status.creator),
            "id": status.id, "node_id": node_id("SC", status.id), "state": status.state, "description": status.description,
            "target_url": status.target_url, "context": status.context, "created_at": instant(status.created_at),
            "updated_at": instant(status.created_at), "creator": self.user(&status.creator),
        })
    }

    /// A review of a pull request.
    pub(super) fn review(&self, repo: &Repo, thread: &Thread, review: &Review) -> Value {
        let html = format!("{}/{}/pull/{}#pullrequestreview-{}", self.base, repo.full_name(), thread.number, review.id);
        let pull = format!("{}/pulls/{}", self.repo_url(repo), thread.number);
        json!({
            "id": review.id, "node_id": node_id("PRR", review.id), "user": self.user(&review.author), "body": review.body,
            "state": review.state, "html_url": html, "pull_request_url": pull, "author_association": "MEMBER",
            "_links": {"html": {"href": html}, "pull_request": {"href": pull}},
            "submitted_at": instant(review.submitted_at), "commit_id": review.commit,
        })
    }

    /// A pull request as lists show it: without `merged`, `mergeable` and the counts, which only the single one has.
    pub(super) fn pull_in_list(&self, repo: &Repo, thread: &Thread, pull: &Pull, open_issues: usize) -> Value {
        let root = self.repo_url(repo);
        let url = format!("{root}/pulls/{}", thread.number);
        let issue = format!("{root}/issues/{}", thread.number);
        let html = format!("{}/{}/pull/{}", self.base, repo.full_name(), thread.number);
        let owner = self.user(&repo.owner);
        let repository = self.repo(repo, open_issues);
        let branch = |name: &str, sha: &str| json!({"label": format!("{}:{name}", repo.owner), "ref": name, "sha": sha, "user": owner, "repo": repository});
        let statuses = format!("{root}/statuses/{}", pull.head_sha());
        let plain = json!({
            "url": url, "id": pull.id, "node_id": node_id("PR", pull.id), "html_url": html, "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"), "issue_url": issue, "number": thread.number, "state": thread.state(), "locked": false,
            "title": thread.title, "user": self.user(&thread.author), "body": thread.body,
            "created_at": instant(thread.created_at), "updated_at": instant(thread.updated_at),
            "closed_at": instant_or_null(thread.closed_at), "merged_at": instant_or_null(pull.merged_at), "merge_commit_sha": pull.merge_sha,
            "assignee": null, "assignees": [], "requested_reviewers": [], "requested_teams": [],
            "labels": self.labels(repo, thread), "milestone": null, "draft": pull.draft,
        });
        let rest = json!({
            "commits_url": format!("{url}/commits"), "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{root}/pulls/comments{{/number}}"), "comments_url": format!("{issue}/comments"), "statuses_url": statuses,
            "head": branch(&pull.head_ref, pull.head_sha()), "base": branch(&pull.base_ref, &pull.base_sha),
            "_links": {
                "self": {"href": url}, "html": {"href": html}, "issue": {"href": issue}, "comments": {"href": format!("{issue}/comments")},
                "review_comments": {"href": format!("{url}/comments")}, "review_comment": {"href": format!("{root}/pulls/comments{{/number}}")},
                "commits": {"href": format!("{url}/commits")}, "statuses": {"href": statuses},
            },
            "author_association": "MEMBER", "auto_merge": null, "active_lock_reason": null,
        });
        joined(plain, rest)
    }

    /// A pull request in full.
    pub(super) fn pull(&self, repo: &Repo, thread: &Thread, pull: &Pull, open_issues: usize) -> Value {
        let mut full = self.pull_in_list(repo, thread, pull, open_issues);
        let merged = pull.merged_at.is_some();
        let mergeable_state = match (thread.open, pull.draft, pull.review_decision()) {
            (false, ..) => "unknown",
            (true, true, _) => "draft",
            (true, false, Some("CHANGES_REQUESTED")) => "blocked",
            (true, false, _) => "clean",
        };
        full["merged"] = json!(merged);
        full["mergeable"] = if thread.open { json!(true) } else { Value::Null };
        full["rebaseable"] = if thread.open { json!(true) } else { Value::Null };
        full["mergeable_state"] = json!(mergeable_state);
        full["merged_by"] = self.user_or_null(pull.merged_by.as_ref());
        full["comments"] = json!(thread.comments.len());
        full["review_comments"] = json!(0);
        full["maintainer_can_modify"] = json!(false);
        full["commits"] = json!(pull.commits.len());
        full["additions"] = json!(1);
        full["deletions"] = json!(1);
        full["changed_files"] = json!(1);
        full
    }

    /// A commit, as a `status` event carries it.
    pub(super) fn commit(&self, repo: &Repo, sha: &str, author: &str) -> Value {
        let root = self.repo_url(repo);
        let person = json!({"name": author, "email": format!("{author}@users.noreply.invalid"), "date": instant(repo.pushed_at)});
        let verification = json!({"verified": false, "reason": "unsigned", "signature": null, "payload": null});
        json!({
            "sha": sha, "node_id": format!("C_kwDO{sha}"),
            "commit": {
                "author": person, "committer": person, "message": "A commit", "tree": {"sha": sha, "url": format!("{root}/git/trees/{sha}")},
                "url": format!("{root}/git/commits/{sha}"), "comment_count": 0, "verification": verification,
            },
            "url": format!("{root}/commits/{sha}"), "html_url": format!("{}/{}/commit/{sha}", self.base, repo.full_name()),
            "comments_url": format!("{root}/commits/{sha}/comments"), "author": self.user(author), "committer": self.user(author), "parents": [],
        })
    }
}

/// The fields of both objects in one; the compiler's limit for one `json!` is below the size of GitHub's largest objects.
pub(super) fn joined(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut all), Value::Object(more)) => {
            all.extend(more);
            Value::Object(all)
        }
        (first, _) => first,
    }
}

fn reactions(url: &str) -> Value {
    json!({"url": url, "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0})
}
