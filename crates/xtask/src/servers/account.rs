//! The user that PostgreSQL runs as. It refuses to run as root, so root lends it to a user without rights.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// A user of this machine, or whoever runs this if it is not root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    other: Option<(u32, u32)>,
}

impl Account {
    /// The user for PostgreSQL: ours, or for root the package's own user, or nobody.
    pub fn for_postgres() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { other: None });
        }
        let users = fs::read_to_string("/etc/passwd").context("/etc/passwd cannot be read")?;
        let found = ["postgres", "nobody"].into_iter().find_map(|name| ids(&users, name));
        let ids = found.context("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`; run this as another user, or set DATABASE_URL")?;
        Ok(Self { other: Some(ids) })
    }

    /// A command that runs as this user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.other {
            // Groups of root are dropped by the standard library with the user.
            command.uid(user).gid(group);
        }
        // The folder that xtask is in may be closed to that user.
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// The user's number.
    pub fn user(&self) -> u32 {
        self.other.map_or_else(|| rustix::process::geteuid().as_raw(), |(user, _)| user)
    }

    /// Gives a file or folder to this user.
    pub fn own(&self, path: &Path) -> Result<()> {
        let Some((user, group)) = self.other else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(user), Some(group))
            .with_context(|| format!("{} cannot be given to user {user}", path.display()))
    }

    /// Whether this user gets into the folder and can write there; it may be closed further up.
    pub fn reaches(&self, folder: &Path) -> bool {
        let probe = "cd \"$0\" && : > .probe && rm .probe";
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", probe]).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// User and group number in the lines of `/etc/passwd`.
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_for_the_whole_name_only() {
        let users = "postgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:PostgreSQL,,,:/var:/bin/bash\n";
        assert_eq!(ids(users, "postgres"), Some((101, 104)));
        assert_eq!(ids(users, "nobody"), None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_reached() {
        let account = Account { other: None };
        let folder = tempfile::tempdir().unwrap();
        assert!(account.reaches(folder.path()));
        assert!(!account.reaches(&folder.path().join("nothing")));
    }
}
