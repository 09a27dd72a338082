//! `lockstep check`: everything that can be known to be wrong without starting anything.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use model::{Mapping, Native, Policy, System};
use runtime::EXIT_CONFIG;

use crate::connectors;
use crate::output;
use crate::places;
use crate::settings::Settings;

/// Reads it all, and says what is wrong or what would run.
pub fn run(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    places::tell_environment();
    let settings = Settings::load(file)?;
    let policy = settings.policy()?;
    let wrong = settings.wrong();
    let mut lines = vec![format!(
        "{} lifecycles, {} mappings: lawful",
        policy.lifecycles.iter().count(),
        policy.mappings.iter().count()
    )];
    for listed in &connectors::ALL {
        let service = listed.service();
        match listed.missing(&settings.connector(listed)) {
            Some(missing) => lines.push(format!("{service}: would be left out, {missing}")),
            None if settings.check_connector(listed).is_ok() => lines.push(format!("{service}: would run")),
            // It is among what is wrong.
            None => {}
        }
    }
    lines.extend(without_idle(&policy));
    lines.extend(strangers(&policy));
    lines.extend(unfilled(&settings));
    for line in lines {
        output::line(&line);
    }
    for error in &wrong {
        output::complain(&error.to_string());
    }
    if wrong.is_empty() {
        output::line("the configuration can be run with");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(u8::try_from(EXIT_CONFIG).unwrap_or(1)))
}

/// Tells of mappings of agents that lack a word which came after they were written.
fn without_idle(policy: &Policy) -> Vec<String> {
    let Ok(idle) = Native::new("idle") else { return Vec::new() };
    let lacks = |mapping: &Mapping| {
        let lens = policy.lifecycles.get(&mapping.lifecycle).and_then(|of| mapping.lens(of, None).ok());
        lens.is_some_and(|lens| !lens.knows(&idle))
    };
    let agents = policy.mappings.iter().filter(|of| of.system.as_str() == "agentapi" && of.kind.as_str() == "agent");
    let told = |mapping: &Arc<Mapping>| {
        format!(
            "warning: the mapping of agentapi/agent for {} does not know idle, which an agent shows that is found standing still after an \
             outage: add it to `silent`, and `idle = \"stable\"` to `alias`",
            mapping.lifecycle
        )
    };
    agents.filter(|mapping| lacks(mapping)).map(told).collect()
}

/// Tells of priorities of systems that nothing else here names: they count for what somebody tells of such a system, and for nothing where
/// the name is a slip.
fn strangers(policy: &Policy) -> Vec<String> {
    let mapped = policy.mappings.iter().map(|mapping| &mapping.system);
    let of_kinds = policy.lifecycle_of.keys().map(|(system, _)| system);
    let known: BTreeSet<&str> = mapped.chain(of_kinds).map(System::as_str).chain(connectors::names()).collect();
    let strangers = policy.priorities.keys().map(System::as_str).filter(|system| !known.contains(system));
    let told = |system: &str| {
        let known = known.iter().copied().collect::<Vec<_>>().join(", ");
        format!(
            "warning: policy.priorities.{system} counts only for statuses that are published of it: no connector or mapping is for \
             it; there are {known}"
        )
    };
    strangers.map(told).collect()
}

/// Tells of words in braces in messages to agents that stay as they are.
fn unfilled(settings: &Settings) -> Option<String> {
    let agentapi = settings.connector(connectors::ALL.iter().find(|listed| listed.registration.name == "agentapi")?);
    let words = connector_agentapi::left_as_they_are(&agentapi).into_iter().collect::<Vec<_>>().join(", ");
    let told =
        format!("warning: connector.agentapi.messages: nothing is filled in for {words}, which is sent as it is");
    (!words.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use model::{Lifecycles, Mappings};

    use super::*;

    #[test]
    fn a_mapping_of_agents_from_before_idle_is_told() {
        let told = |silent: &str| {
            let mapping = format!(
                "[[mapping]]\nsystem = 'agentapi'\nkind = 'agent'\nlifecycle = 'operation'\nwritable = []\nsilent = [{silent}]\n\
                 get = {{ pending = 'stable', executing = 'running', completed = 'done', failed = 'error' }}\n\
                 put = {{ running = 'executing', stable = 'pending', done = 'completed', error = 'failed' }}"
            );
            let (lifecycles, mut mappings) = (Lifecycles::built_in().unwrap(), Mappings::default());
            mappings.add_toml(&mapping, &lifecycles).unwrap();
            without_idle(&Policy::new(lifecycles, mappings, "work".parse().unwrap()))
        };
        let lacking = told("'offline', 'unknown'");
        assert!(lacking.len() == 1 && lacking[0].contains("for operation"), "{lacking:?}");
        assert_eq!(told("'offline', 'unknown', 'idle'"), [""; 0]);
    }

    #[test]
    fn a_priority_of_a_system_that_nothing_else_names_is_told() {
        let (lifecycles, mappings) = (Lifecycles::built_in().unwrap(), Mappings::default());
        let mut policy = Policy::new(lifecycles, mappings, "work".parse().unwrap());
        assert_eq!(strangers(&policy), [""; 0]);
        policy.priorities.insert("linaer".parse().unwrap(), 1);
        let told = strangers(&policy);
        assert!(
            told.len() == 1 && told[0].contains("policy.priorities.linaer") && told[0].contains("linear"),
            "{told:?}"
        );
    }
}
