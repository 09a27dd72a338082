//! Where this checkout is, and where what runs for it keeps its state.

use std::env;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::files;

/// The top folder of the checkout.
pub fn root() -> PathBuf {
    // Cargo names the manifest it runs. An executable that is started by hand works on the checkout that it is started in: it may be a
    // copy, and must not start over what lies where it was built.
    let of = |manifest: &Path| manifest.ancestors().nth(2).map(Path::to_path_buf);
    let here = || env::current_dir().ok().and_then(|folder| checkout_around(&folder));
    let found = match env::var_os("CARGO_MANIFEST_DIR") {
        Some(manifest) => of(Path::new(&manifest)),
        None => here().or_else(|| of(Path::new(env!("CARGO_MANIFEST_DIR")))),
    };
    found.unwrap_or_else(|| PathBuf::from("."))
}

/// The checkout that a folder is in.
fn checkout_around(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join("crates/xtask/Cargo.toml").is_file()).map(Path::to_path_buf)
}

/// The folder for everything that is made and not committed.
pub fn shared() -> PathBuf {
    root().join(".lockstep")
}

/// A cargo command in the checkout.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // Set by the cargo that runs xtask, and nothing that another package should see.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// The folder with the executables of a profile: the one that holds xtask's own folder.
pub fn executables(release: bool) -> Result<PathBuf> {
    let own = env::current_exe().context("the place of this executable is not known")?;
    let target = own.ancestors().nth(2).context("this executable does not lie in a target folder")?;
    Ok(target.join(if release { "release" } else { "debug" }))
}

/// A state folder that belongs to this process until it ends, however it ends.
pub struct State {
    folder: PathBuf,
    _lock: File,
}

impl State {
    /// Takes the folder; fails while another xtask has it.
    pub fn take(folder: &Path) -> Result<Self> {
        files::folder(folder)?;
        let folder = folder.canonicalize()?;
        let lock =
            File::create(folder.join("lock")).with_context(|| format!("{} cannot be written to", folder.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!("another cargo xtask runs with {}; stop it first", folder.display()),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} cannot be locked", folder.display()))
            }
        }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_program_works_on_the_checkout_that_it_is_started_in() {
        let checkout = tempfile::tempdir().unwrap();
        let (inside, manifest) = (checkout.path().join("web/client"), checkout.path().join("crates/xtask"));
        std::fs::create_dir_all(&inside).unwrap();
        assert_eq!(checkout_around(&inside), None);
        std::fs::create_dir_all(&manifest).unwrap();
        std::fs::write(manifest.join("Cargo.toml"), "").unwrap();
        assert_eq!(checkout_around(&inside).as_deref(), Some(checkout.path()));
    }

    #[test]
    fn a_folder_has_one_holder_and_is_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::take(folder.path()).unwrap();
        assert!(State::take(folder.path()).is_err());
        drop(first);
        State::take(folder.path()).unwrap();
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("Cargo.toml").is_file() && root().join("crates/xtask").is_dir());
    }
}
