//! Where a run keeps its data: what was seen of stand-ins and of real systems never meets.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::setting::wrong;
use crate::{files, state};

/// What the systems are, as the folder and the shell remember it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Systems {
    /// Stand-ins.
    Sandboxes,
    /// Those that the environment names.
    Real,
}

/// Says in a shell that read `up.env` of which run it was.
pub const SHELL: &str = "LOCKSTEP_UP";
/// The file in the folder that says of which systems its data is.
const FILE: &str = "systems";
/// The folders in it that starting over removes.
const DATA: [&str; 2] = ["data", "sandbox"];

impl Systems {
    /// The word for them.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sandboxes => "sandboxes",
            Self::Real => "real",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        [Self::Sandboxes, Self::Real].into_iter().find(|systems| systems.word() == word.trim())
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Sandboxes => "the sandboxes",
            Self::Real => "real systems",
        }
    }

    /// The folder where nobody names one.
    pub fn folder(self) -> PathBuf {
        match self {
            Self::Sandboxes => state::shared(),
            Self::Real => state::shared().join("real"),
        }
    }

    /// Refuses a shell with the settings of the others: their addresses and keys would be taken for a person's own. `given` reads the
    /// environment.
    pub fn check_shell(self, given: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        match given(SHELL).as_deref().and_then(Self::of_word) {
            Some(other) if other != self => Err(wrong(format!(
                "this shell has read the up.env of {}; use another for {}",
                other.in_words(),
                self.in_words()
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a folder with the data of the others, unless it is to be thrown away, and one whose `data` or `sandbox` is not Lockstep's.
    pub fn check(self, folder: &Path, fresh: bool) -> Result<()> {
        let noted = fs::read_to_string(folder.join(FILE)).ok().and_then(|word| Self::of_word(&word));
        let has = |names: [&str; 2]| names.map(|name| folder.join(name).exists());
        // Older ones noted nothing, and had the folders that every run makes.
        if noted.is_none() && has(["run", "logs"]) != [true, true] && has(DATA) != [false, false] {
            return Err(wrong(format!(
                "{} has a folder `data` or `sandbox` that is not Lockstep's; name another with --data",
                folder.display()
            )));
        }
        let found = noted.or_else(|| folder.join("sandbox").is_dir().then_some(Self::Sandboxes));
        if let Some(other) = found.filter(|other| *other != self && !fresh) {
            return Err(wrong(format!(
                "{} has the data of {}; name another folder with --data, or start over with --fresh",
                folder.display(),
                other.in_words()
            )));
        }
        Ok(())
    }

    /// Notes whose data the folder has.
    pub fn note(self, folder: &Path) -> Result<()> {
        files::write_private(&folder.join(FILE), &format!("{}\n", self.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_the_data_of_one_kind_of_systems_until_it_is_started_over() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        Systems::Sandboxes.check(folder, false).unwrap();
        Systems::Sandboxes.note(folder).unwrap();
        fs::create_dir(folder.join("data")).unwrap();
        Systems::Sandboxes.check(folder, false).unwrap();
        let refused = Systems::Real.check(folder, false).unwrap_err().to_string();
        assert!(refused.contains("has the data of the sandboxes") && refused.contains("--fresh"), "{refused}");
        Systems::Real.check(folder, true).unwrap();
        Systems::Real.note(folder).unwrap();
        assert!(Systems::Sandboxes.check(folder, false).is_err());
    }

    #[test]
    fn a_folder_with_somebodys_own_data_is_refused_and_never_started_over() {
        for name in DATA {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join(name)).unwrap();
            for (systems, fresh) in [(Systems::Sandboxes, true), (Systems::Real, true), (Systems::Sandboxes, false)] {
                let refused = systems.check(folder.path(), fresh).unwrap_err().to_string();
                assert!(refused.contains("not Lockstep's"), "{refused}");
            }
        }
    }

    #[test]
    fn a_folder_of_before_is_known_by_the_sandboxes_own() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sandbox", "run", "logs"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert!(Systems::Real.check(folder.path(), false).is_err());
        Systems::Sandboxes.check(folder.path(), false).unwrap();
    }

    #[test]
    fn the_two_have_folders_of_their_own() {
        assert_eq!(Systems::Sandboxes.folder(), state::shared());
        assert_eq!(Systems::Real.folder(), state::shared().join("real"));
    }

    #[test]
    fn a_shell_with_the_settings_of_the_others_is_refused() {
        let shell = |word: &'static str| move |name: &str| (name == SHELL && !word.is_empty()).then(|| word.to_owned());
        for word in ["", "real", "else"] {
            Systems::Real.check_shell(&shell(word)).unwrap();
        }
        let refused = Systems::Real.check_shell(&shell("sandboxes")).unwrap_err().to_string();
        assert!(refused.contains("up.env of the sandboxes"), "{refused}");
        assert!(Systems::Sandboxes.check_shell(&shell("real")).is_err());
    }
}
