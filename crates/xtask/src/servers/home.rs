//! A folder that PostgreSQL's user can use: in the state folder, or outside with a link where the checkout is closed to that user.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::account::Account;
use super::postgres::cluster;
use crate::{files, say};

/// Survives a restart of the machine, unlike `/tmp`.
const OUTSIDE: &str = "/var/tmp";

/// Finds or makes the folder that stands for `place`.
pub fn open(place: &Path, account: &Account) -> Result<PathBuf> {
    if let Ok(target) = fs::read_link(place) {
        return private(target, account);
    }
    let parent = place.parent().context("a folder at the top of the file system cannot be used")?;
    files::folder(parent)?;
    let inside = private(place.to_path_buf(), account)?;
    if account.reaches(&inside) {
        return Ok(inside);
    }
    // Someone may have closed the way to a folder that is in use: its data is not thrown away.
    if fs::read_dir(&inside)?.next().is_some() {
        bail!(
            "user {} cannot reach {} any more; open the folders above it, or start over with --fresh",
            account.user(),
            inside.display()
        );
    }
    fs::remove_dir(&inside)?;
    // One without a link is what a removed checkout left: its NATS is gone, and half of the data is worse than none.
    let target = private(outside(place), account)?;
    files::remove(&target)?;
    let target = private(target, account)?;
    if !account.reaches(&target) {
        bail!("user {} can write neither to {} nor to {}", account.user(), place.display(), target.display());
    }
    std::os::unix::fs::symlink(&target, place)?;
    say::step(format_args!("PostgreSQL's user cannot enter this checkout: its data lies in {}", target.display()));
    Ok(target)
}

/// Removes the folder that stands for `place`. Behind a link, which anybody may have made to a folder of their own, only what was made here.
pub fn wipe(place: &Path) -> Result<()> {
    if let Ok(target) = fs::read_link(place) {
        for name in cluster::NAMES {
            files::remove(&target.join(name))?;
        }
        // It stays where something else lies in it.
        let _ = fs::remove_dir(&target);
    }
    files::remove(place)
}

/// Makes the folder, for its user alone; refuses one that another user put there.
fn private(folder: PathBuf, account: &Account) -> Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => account.own(&folder)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("the folder {} cannot be made", folder.display())),
    }
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != account.user() {
        bail!("{} belongs to another user (number {}); remove it", folder.display(), found.uid());
    }
    Ok(folder)
}

fn outside(place: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    Path::new(OUTSIDE).join(format!("lockstep-{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_made_once_found_again_and_wiped() {
        let folder = tempfile::tempdir().unwrap();
        let account = Account::for_postgres().unwrap();
        let place = folder.path().join("data/postgres");
        let first = open(&place, &account).unwrap();
        assert!(account.reaches(&first));
        fs::write(first.join("kept"), "").unwrap();
        let second = open(&place, &account).unwrap();
        assert!(second.join("kept").exists());
        wipe(&place).unwrap();
        assert!(!second.exists() && fs::symlink_metadata(&place).is_err());
    }

    #[test]
    fn behind_a_link_nothing_is_removed_that_was_not_made_here() {
        let folder = tempfile::tempdir().unwrap();
        let (place, target) = (folder.path().join("postgres"), folder.path().join("elsewhere"));
        for kept in [false, true] {
            fs::create_dir_all(target.join("cluster/base")).unwrap();
            fs::write(target.join("password"), "").unwrap();
            if kept {
                fs::write(target.join("thesis"), "").unwrap();
            }
            std::os::unix::fs::symlink(&target, &place).unwrap();
            wipe(&place).unwrap();
            assert!(fs::symlink_metadata(&place).is_err() && !target.join("cluster").exists());
            assert_eq!((target.exists(), target.join("thesis").exists()), (kept, kept));
        }
    }
}
