//! Whether the environment or the configuration file names at least one real system, and each one whole.

use anyhow::Result;

use super::said::Said;
use crate::setting::wrong;
use crate::state;

/// The settings by which a system is known to be wanted, with the names that people expect.
const ONE_OF: [(&str, Option<&str>); 7] = [
    ("connector.linear.api_key", Some("LINEAR_API_KEY")),
    ("connector.linear.client_id", Some("LINEAR_CLIENT_ID")),
    ("connector.github.token", Some("GITHUB_TOKEN")),
    ("connector.github.app_id", Some("GITHUB_APP_ID")),
    ("connector.agentapi.url", Some("AGENT_API_URL")),
    ("connector.agentapi.agents", None),
    ("connector.postgres.tables", None),
];

/// Fails with the sentence for the first setting that is missing or wrong. The executable checks the rest; this is known before the build.
pub fn check(said: &Said) -> Result<()> {
    if ONE_OF.iter().all(|(key, expected)| said.find(key, *expected).is_none()) {
        return Err(wrong(
            "--real needs at least one system: set LINEAR_API_KEY or LINEAR_CLIENT_ID, GITHUB_TOKEN or GITHUB_APP_ID, or AGENT_API_URL, \
             or name one in lockstep.toml",
        ));
    }
    let linear = |key: &str, expected| said.find(&format!("connector.linear.{key}"), Some(expected));
    if let (Some((id, _)), None) =
        (linear("client_id", "LINEAR_CLIENT_ID"), linear("client_secret", "LINEAR_CLIENT_SECRET"))
    {
        return Err(wrong(format!("{id} needs LINEAR_CLIENT_SECRET")));
    }
    let github = |key: &str, expected| said.find(&format!("connector.github.{key}"), Some(expected));
    if let Some((place, id)) = github("app_id", "GITHUB_APP_ID") {
        if id.parse::<u64>().is_err() {
            return Err(wrong(format!("{place} must be the app's number")));
        }
        let file = github("private_key_path", "GITHUB_APP_PRIVATE_KEY_FILE");
        match (github("private_key", "GITHUB_APP_PRIVATE_KEY"), file) {
            (None, None) => {
                return Err(wrong(format!("{place} needs GITHUB_APP_PRIVATE_KEY_FILE or GITHUB_APP_PRIVATE_KEY")));
            }
            // The services start in the checkout.
            (None, Some((place, file))) if !state::root().join(&file).is_file() => {
                return Err(wrong(format!("{place} names a file that is not there")));
            }
            _ => {}
        }
    }
    let apis =
        [("linear.api_url", "LINEAR_API_URL"), ("github.api_url", "GITHUB_API_URL"), ("agentapi.url", "AGENT_API_URL")];
    for (key, expected) in apis {
        if let Some((place, url)) = said.find(&format!("connector.{key}"), Some(expected))
            && !url.split(',').all(|url| is_http(url.trim()))
        {
            return Err(wrong(format!("{place} must begin with http:// or https://")));
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
        let error = check(&Said::new("", environment)).err()?;
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
    fn a_system_may_stand_in_the_file() {
        for file in [
            "[connector.linear]\napi_key = \"lin_api_x\"",
            "[[connector.agentapi.agents]]\nname = \"a\"",
            "[[connector.postgres.tables]]\ntable = \"public.tasks\"",
        ] {
            assert!(check(&Said::new(file, &[])).is_ok(), "{file}");
        }
        let wrong = check(&Said::new("[connector.github]\napp_id = 1", &[])).unwrap_err().to_string();
        assert!(wrong.starts_with("connector.github.app_id in lockstep.toml needs"), "{wrong}");
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
