//! Local credentials: enough randomness that no other user of the machine guesses them.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::files;

/// 32 hexadecimal digits from the system's generator.
pub fn secret() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("/dev/urandom cannot be read")?;
    Ok(bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect())
}

/// The secret in a file that only its owner may read; made if there is none.
pub fn kept(file: &Path) -> Result<String> {
    if let Ok(found) = fs::read_to_string(file)
        && !found.trim().is_empty()
    {
        return Ok(found.trim().to_owned());
    }
    let made = secret()?;
    if let Some(folder) = file.parent() {
        files::folder(folder)?;
    }
    files::write_private(file, &format!("{made}\n"))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::secret;

    #[test]
    fn two_secrets_differ_and_are_hexadecimal() {
        let (one, two) = (secret().unwrap(), secret().unwrap());
        assert_ne!(one, two);
        assert!(one.len() == 32 && one.chars().all(|c| c.is_ascii_hexdigit()), "{one}");
    }
}
