//! Whether the environment names at least one real system, and each one whole.

use std::path::Path;

use anyhow::Result;

use crate::setting::wrong;

/// Fails with the sentence for the first setting that is missing or wrong. `given` reads the environment.
pub fn check(given: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    const ONE_OF: [&str; 5] = ["LINEAR_API_KEY", "LINEAR_CLIENT_ID", "GITHUB_TOKEN", "GITHUB_APP_ID", "AGENT_API_URL"];
    if ONE_OF.iter().all(|name| given(name).is_none()) {
        return Err(wrong(
            "--real needs at least one system: set LINEAR_API_KEY or LINEAR_CLIENT_ID, GITHUB_TOKEN or GITHUB_APP_ID, or AGENT_API_URL",
        ));
    }
    if given("LINEAR_CLIENT_ID").is_some() && given("LINEAR_CLIENT_SECRET").is_none() {
        return Err(wrong("LINEAR_CLIENT_ID needs LINEAR_CLIENT_SECRET"));
    }
    if let Some(id) = given("GITHUB_APP_ID") {
        if id.parse::<u64>().is_err() {
            return Err(wrong("GITHUB_APP_ID must be the app's number"));
        }
        match (given("GITHUB_APP_PRIVATE_KEY"), given("GITHUB_APP_PRIVATE_KEY_FILE")) {
            (None, None) => {
                return Err(wrong("GITHUB_APP_ID needs GITHUB_APP_PRIVATE_KEY_FILE or GITHUB_APP_PRIVATE_KEY"));
            }
            (None, Some(file)) if !Path::new(&file).is_file() => {
                return Err(wrong("GITHUB_APP_PRIVATE_KEY_FILE names a file that is not there"));
            }
            _ => {}
        }
    }
    for name in ["LINEAR_API_URL", "GITHUB_API_URL", "AGENT_API_URL"] {
        if let Some(url) = given(name)
            && !url.split(',').all(|url| is_http(url.trim()))
        {
            return Err(wrong(format!("{name} must begin with http:// or https://")));
        }
    }
    Ok(())
}

fn is_http(url: &str) -> bool {
    ["http://", "https://"].into_iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Wrong;

    fn sentence(environment: &[(&str, &str)]) -> Option<String> {
        let given =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let error = check(&given).err()?;
        assert!(error.is::<Wrong>());
        Some(error.to_string())
    }

    #[test]
    fn one_system_is_enough() {
        assert_eq!(sentence(&[("LINEAR_API_KEY", "lin_api_x")]), None);
        assert_eq!(sentence(&[("LINEAR_CLIENT_ID", "mine"), ("LINEAR_CLIENT_SECRET", "x")]), None);
        assert_eq!(sentence(&[("GITHUB_TOKEN", "ghp_x")]), None);
        assert_eq!(sentence(&[("AGENT_API_URL", "http://localhost:3284")]), None);
        assert_eq!(sentence(&[("GITHUB_APP_ID", "1"), ("GITHUB_APP_PRIVATE_KEY", "-----BEGIN")]), None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], "--real needs"),
            (&[("LINEAR_CLIENT_ID", "mine")], "LINEAR_CLIENT_ID needs"),
            (&[("GITHUB_APP_ID", "mine")], "GITHUB_APP_ID must"),
            (&[("GITHUB_APP_ID", "1")], "GITHUB_APP_ID needs"),
            (
                &[("GITHUB_APP_ID", "1"), ("GITHUB_APP_PRIVATE_KEY_FILE", "/nothing/here")],
                "GITHUB_APP_PRIVATE_KEY_FILE",
            ),
            (&[("AGENT_API_URL", "localhost:3284")], "AGENT_API_URL must"),
        ];
        for (environment, start) in cases {
            assert!(sentence(environment).is_some_and(|why| why.starts_with(start)), "{environment:?}");
        }
    }
}
