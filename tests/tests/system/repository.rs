//! The repository's own rules: quick checks of its text, its dependencies and its documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use model::Lane;
use regex::Regex;

/// Longer ones hold a second idea.
const LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Every file that belongs to the repository, by its path in it, with its text; what is not text is left out.
fn files() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    fn collect(folder: &Path, found: &mut BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
        const NOT_OURS: [&str; 4] = [".git", ".lockstep", "node_modules", "target"];
        for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
            let (entry, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
            // In a second working tree `.git` is a file.
            if NOT_OURS.iter().any(|name| entry == *name) {
                continue;
            }
            if path.is_dir() {
                collect(&path, found)?;
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                found.insert(path.strip_prefix(root())?.to_owned(), text);
            }
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    collect(root(), &mut found)?;
    ensure!(found.contains_key(Path::new("Cargo.toml")), "these are not the files of the repository");
    Ok(found)
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Whether a file holds nothing but tests.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.file_name().is_some_and(|name| name == "tests.rs")
}

fn none(what: &str, found: &[String]) -> anyhow::Result<()> {
    ensure!(found.is_empty(), "{what}:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn no_source_file_is_longer_than_five_hundred_lines() -> anyhow::Result<()> {
    let long: Vec<String> = files()?
        .iter()
        .filter(|(path, text)| is_rust(path) && !is_test(path) && text.lines().count() > LINES_MAX)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    none("look for a second idea in", &long)
}

#[test]
fn modules_are_named_after_their_file() -> anyhow::Result<()> {
    let found: Vec<String> =
        files()?.keys().filter(|path| path.ends_with("mod.rs")).map(|path| path.display().to_string()).collect();
    none("a folder's module is the file beside it", &found)
}

#[test]
fn nothing_outside_tests_panics_on_what_it_did_not_expect() -> anyhow::Result<()> {
    let panics = Regex::new(r"\.unwrap\(\)|\.unwrap_err\(\)|\btodo!|\bunimplemented!|\bdbg!")?;
    let mut found = Vec::new();
    for (path, text) in files()?.iter().filter(|(path, _)| is_rust(path) && !is_test(path)) {
        // Unit tests stand at the end of a file.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(code.lines()) {
            if panics.is_match(line) && !line.trim_start().starts_with("//") {
                found.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    none("say what to do instead", &found)
}

#[test]
fn a_machine_runs_what_a_person_does_and_heeds_how_it_ends() -> anyhow::Result<()> {
    let script = std::fs::read_to_string(root().join(".ci/run"))?;
    let lines: Vec<&str> = script.lines().filter(|line| !line.starts_with('#')).collect();
    ensure!(lines.first() == Some(&"set -e") && lines.last() == Some(&"cargo xtask test"), "{script}");
    Ok(())
}

#[test]
fn every_crate_takes_the_workspace_s_lints() -> anyhow::Result<()> {
    let mut found = Vec::new();
    for (path, text) in files()?.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        let manifest: toml::Table = text.parse().with_context(|| format!("{}", path.display()))?;
        let inherits =
            manifest.get("lints").and_then(|lints| lints.get("workspace")) == Some(&toml::Value::Boolean(true));
        // A workspace of its own has nothing to inherit.
        if manifest.contains_key("package") && !manifest.contains_key("workspace") && !inherits {
            found.push(path.display().to_string());
        }
    }
    none("without [lints] workspace = true", &found)
}

#[test]
fn nothing_names_the_machine_it_was_written_on() -> anyhow::Result<()> {
    // In pieces, or this file would find itself.
    let words = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/tmp/", "bash")];
    let mut found = Vec::new();
    for (path, text) in &files()? {
        for (number, line) in (1..).zip(text.lines()) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!(
                    "{}:{number}: {}",
                    path.display(),
                    line.trim().chars().take(120).collect::<String>()
                ));
            }
        }
    }
    none("paths of one machine", &found)
}

#[test]
fn packages_come_from_the_public_registries() -> anyhow::Result<()> {
    let files = files()?;
    let address = Regex::new(r##""resolved": "(https?://[^/"]+)|source = "([^"#]+)""##)?;
    let known = ["https://registry.npmjs.org", "registry+https://github.com/rust-lang/crates.io-index"];
    let mut hosts = BTreeSet::new();
    for (_, text) in
        files.iter().filter(|(path, _)| path.ends_with("Cargo.lock") || path.ends_with("package-lock.json"))
    {
        for found in address.captures_iter(text) {
            hosts.extend(found.get(1).or(found.get(2)).map(|host| host.as_str().to_owned()));
        }
    }
    hosts.retain(|host| !known.contains(&host.as_str()));
    none("packages from elsewhere", &hosts.into_iter().collect::<Vec<_>>())
}

#[test]
fn what_only_decides_knows_no_runtime_no_socket_and_no_driver() -> anyhow::Result<()> {
    const IMPURE: [&str; 13] = [
        "tokio",
        "mio",
        "socket2",
        "async-nats",
        "sqlx",
        "hyper",
        "reqwest",
        "axum",
        "rustls",
        "rand",
        "chrono",
        "tracing",
        "prost",
    ];
    let clocks =
        Regex::new(r"SystemTime::now|Instant::now|std::(net|fs|process|thread)\b|\basync fn\b|Uuid::(new_v4|now_v)")?;
    let files = files()?;
    // The messages of the bus are what intake makes; they are values, too.
    for (package, may) in [("model", None), ("intake", Some("prost"))] {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([
                "tree",
                "--package",
                package,
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
                "--offline",
            ])
            .current_dir(root())
            .output()?;
        ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout)?;
        let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        ensure!(names.contains(package) && names.contains("serde"), "cargo tree says nothing: {tree}");
        let impure = IMPURE.iter().filter(|name| may != Some(**name) && names.contains(*name));
        none(&format!("{package} depends on"), &impure.map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        let code = files
            .iter()
            .filter(|(path, _)| path.starts_with(format!("crates/{package}/src")) && is_rust(path) && !is_test(path));
        let found: Vec<String> =
            code.filter(|(_, text)| clocks.is_match(text)).map(|(path, _)| path.display().to_string()).collect();
        none("a decision that looks at the world", &found)?;
    }
    Ok(())
}

#[test]
fn services_do_not_depend_on_each_other() -> anyhow::Result<()> {
    let services: BTreeSet<String> = std::fs::read_dir(root().join("services"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let mut found = Vec::new();
    for service in services.iter().filter(|name| *name != "lockstep") {
        let text = std::fs::read_to_string(root().join("services").join(service).join("Cargo.toml"))?;
        let manifest: toml::Table = text.parse()?;
        let depends = manifest.get("dependencies").and_then(toml::Value::as_table).context(service.clone())?;
        found.extend(depends.keys().filter(|name| services.contains(*name)).map(|name| format!("{service} on {name}")));
    }
    none("between services there is only the bus", &found)
}

/// The rows of the first table whose head starts with these cells, each as its cells.
fn table(text: &str, head: &[&str]) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines =
        text.lines().skip_while(|line| !(line.starts_with('|') && cells(line).iter().take(head.len()).eq(head)));
    lines.by_ref().take(2).for_each(drop);
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What of the streams a folder's code does, by the calls that it makes.
fn streams_in(folder: &str, calls: &[(&str, &str)], files: &BTreeMap<PathBuf, String>) -> BTreeSet<String> {
    let code = files.iter().filter(|(path, _)| path.starts_with(folder) && is_rust(path) && !is_test(path));
    let code: Vec<&String> = code.filter(|(path, _)| !path.ends_with("compliance.rs")).map(|(_, text)| text).collect();
    let made = calls.iter().filter(|(call, _)| code.iter().any(|text| text.contains(call)));
    made.map(|(_, stream)| (*stream).to_owned()).collect()
}

/// The streams that a cell names.
fn streams_named(cell: &str) -> BTreeSet<String> {
    bus::topology::STREAMS
        .iter()
        .map(|spec| spec.name.to_owned())
        .filter(|name| cell.contains(&format!("`{name}`")))
        .collect()
}

#[test]
fn the_stages_of_the_readme_read_and_write_what_the_code_does() -> anyhow::Result<()> {
    const READS: [(&str, &str); 13] = [
        (".webhooks(&", "WEBHOOKS"),
        (".observations(", "OBSERVATIONS"),
        (".deliveries(", "OBSERVATIONS"),
        ("tail(Stream::Observations", "OBSERVATIONS"),
        (".commands(&", "COMMANDS"),
        (".changes(C::SYSTEM", "CHANGES"),
        ("tail(Stream::Changes", "CHANGES"),
        ("tail(Stream::DeadLetters", "DEAD_LETTERS"),
        ("tail(Stream::Alerts", "ALERTS"),
        ("(&[Feed::Changes], Stream::Changes,", "CHANGES"),
        ("(&[Feed::Deliveries], Stream::Observations,", "OBSERVATIONS"),
        ("(&[Feed::Alerts], Stream::Alerts,", "ALERTS"),
        ("(&[Feed::Live, Feed::Metrics], Stream::Live,", "LIVE"),
    ];
    const WRITES: [(&str, &str); 8] = [
        ("Outgoing::webhook(", "WEBHOOKS"),
        ("Outgoing::observation(", "OBSERVATIONS"),
        ("Outgoing::delivery(", "OBSERVATIONS"),
        ("Outgoing::command(", "COMMANDS"),
        ("Outgoing::change(", "CHANGES"),
        ("Outgoing::live(", "LIVE"),
        ("Outgoing::alert(", "ALERTS"),
        (".dead_letter(", "DEAD_LETTERS"),
    ];
    let files = files()?;
    let text = files.get(Path::new("README.md")).context("there is no README.md")?;
    let rows = table(text, &["stage", "folder", "reads", "writes"]);
    let mut folders = BTreeSet::new();
    for row in &rows {
        let [stage, folder, reads, writes] = row.as_slice() else {
            anyhow::bail!("a row of {} cells: {row:?}", row.len())
        };
        folders.extend(folder.split(", ").map(|folder| folder.trim_matches('`').to_owned()));
        // What connectors do with the bus, their one loop does for them.
        let place = if stage == "connect" { "crates/connector" } else { folder.trim_matches('`') };
        for (what, cell, calls) in [("reads", reads, &READS[..]), ("writes", writes, &WRITES[..])] {
            let (named, made) = (streams_named(cell), streams_in(place, calls, &files));
            ensure!(named == made, "README.md, {stage}, {what}: {named:?}, and the code {made:?}");
        }
    }
    let mut there: BTreeSet<String> = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("services"))? {
        there.insert(format!("services/{}", entry?.file_name().to_string_lossy()));
    }
    there.remove("services/lockstep");
    ensure!(folders == there, "README.md names {folders:?}, and there are {there:?}");
    Ok(())
}

#[test]
fn the_documented_reasons_of_dead_letters_are_those_of_the_code() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(root().join("docs/operations.md"))?;
    let told = table(&text, &["reason", "what happened", "what to do"]);
    let known: Vec<Vec<String>> = bus::REASONS
        .iter()
        .map(|reason| vec![format!("`{}`", reason.code), reason.means.to_owned(), reason.to_do.to_owned()])
        .collect();
    ensure!(told == known, "docs/operations.md tells {told:#?}, and the code {known:#?}");
    Ok(())
}

/// Whoever tells a status must find which there are.
#[test]
fn the_documented_lifecycles_are_those_of_the_code() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(root().join("docs/api.md"))?;
    let told = table(&text, &["lifecycle", "statuses", "also understood"]);
    let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let told: BTreeMap<String, Vec<String>> =
        told.iter().map(|row| (words(&row[0]).concat(), words(&format!("{}{}", row[1], row[2])))).collect();
    let known = model::Lifecycles::built_in()?;
    let known: BTreeMap<String, BTreeSet<String>> = known
        .iter()
        .map(|lifecycle| {
            let synonyms = lifecycle.synonyms().flat_map(|(word, status)| [word, status]);
            (
                lifecycle.name().to_string(),
                lifecycle.statuses().iter().chain(synonyms).map(ToString::to_string).collect(),
            )
        })
        .collect();
    let told = told.into_iter().map(|(name, words)| (name, words.into_iter().collect())).collect();
    ensure!(known == told, "docs/api.md tells {told:#?}, and the code {known:#?}");
    Ok(())
}

#[test]
fn the_documented_reasons_of_histories_are_those_of_the_code() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(root().join("docs/operations.md"))?;
    let told = table(&text, &["reason", "meaning"]);
    let told: BTreeSet<&str> =
        told.iter().flat_map(|row| row[0].split(", ")).map(|word| word.trim_matches('`')).collect();
    let known: BTreeSet<&str> = model::Reason::ALL.iter().map(|reason| reason.code()).collect();
    ensure!(told == known, "docs/operations.md tells {told:#?}, and the code {known:#?}");
    Ok(())
}

/// An alert on a name that nothing counts under never fires.
#[test]
fn the_documented_metrics_are_counted() -> anyhow::Result<()> {
    // The schema of the outbox begins as they do.
    const SCHEMA: &str = "lockstep_outbox";
    let (files, name) = (files()?, Regex::new(r"\blockstep_[a-z_]+")?);
    let constant = Regex::new(r#"pub const [A-Z_]+: &str = "(lockstep_[a-z_]+)";"#)?;
    let counts = files.iter().filter(|(path, _)| path.ends_with("src/metrics.rs") || path.ends_with("src/counts.rs"));
    let known: BTreeSet<&str> = counts
        .flat_map(|(_, text)| constant.captures_iter(text).filter_map(|found| found.get(1)))
        .map(|found| found.as_str())
        .collect();
    let documents = files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "md"));
    let told: Vec<String> = documents
        .flat_map(|(path, text)| name.find_iter(text).map(|found| (path.display(), found.as_str())))
        .filter(|(_, told)| !known.contains(told) && *told != SCHEMA)
        .map(|(path, told)| format!("{path}: {told}"))
        .collect();
    ensure!(known.contains("lockstep_consumer_lag"), "these are not the metrics: {known:?}");
    none("named as metrics, and nothing counts them", &told)
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let headings = text.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).collect()
}

#[test]
fn the_links_of_the_documents_lead_somewhere() -> anyhow::Result<()> {
    let link = Regex::new(r"\]\(([^)\s]+)\)")?;
    let files = files()?;
    let mut dead = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "md")) {
        for to in link.captures_iter(text).map(|found| found[1].to_owned()).filter(|to| !to.starts_with("http")) {
            let (file, heading) = to.split_once('#').unwrap_or((&to, ""));
            let target = if file.is_empty() { root().join(path) } else { root().join(path).with_file_name(file) };
            let there = target.exists()
                && (heading.is_empty() || anchors(&std::fs::read_to_string(&target)?).contains(heading));
            if !there {
                dead.push(format!("{}: {to}", path.display()));
            }
        }
    }
    none("links that lead nowhere", &dead)
}

#[test]
fn every_reason_that_the_code_gives_is_in_the_one_list() -> anyhow::Result<()> {
    // A letter's reason, a refusal's code, and the resolver's own: all are words in the code.
    let words = Regex::new(
        r#"(?x) refused\(\s*"([a-z_]+)"\s*, | DeadLetter::of\([^"]{0,40}"([a-z_]+)" | Poison\s*\{\s*reason:\s*"([a-z_]+)"
            | \bcode:\s*"([a-z_]+)" | GiveUp\s*\{[^}"]*reason:\s*"([a-z_]+)""#,
    )?;
    let (mut given, mut unknown) = (BTreeSet::new(), Vec::new());
    for (path, text) in files()?.iter().filter(|(path, _)| is_rust(path) && !is_test(path)) {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let about_letters = ["services/connector-", "services/resolver", "crates/connector"];
        if !about_letters.iter().any(|folder| path.starts_with(folder) || path.to_string_lossy().starts_with(folder)) {
            continue;
        }
        for found in words.captures_iter(code) {
            let word = found.iter().skip(1).flatten().next().map(|word| word.as_str()).unwrap_or_default();
            if bus::reason(word).is_none() {
                unknown.push(format!("{}: {word}", path.display()));
            }
            given.insert(word.to_owned());
        }
    }
    // What the model says goes out under its own word.
    given.insert(model::Reason::NoSuchThing.code().to_owned());
    given.insert(model::Reason::UnmappedStatus.code().to_owned());
    given.insert(model::Reason::OtherLifecycle.code().to_owned());
    none("not in bus::REASONS", &unknown)?;
    let idle: Vec<String> =
        bus::REASONS.iter().map(|known| known.code.to_owned()).filter(|code| !given.contains(code)).collect();
    none("nobody gives these reasons of bus::REASONS", &idle)
}

/// A subject as documents write it, with words for the wildcards of the topology.
fn with_wildcards(subject: &str) -> anyhow::Result<String> {
    Ok(Regex::new("<[^>]+>")?.replace_all(subject, "*").into_owned())
}

#[test]
fn the_documented_streams_are_those_of_the_topology() -> anyhow::Result<()> {
    let mut documented = 0;
    for document in ["README.md", "ARCHITECTURE.md"] {
        let Ok(text) = std::fs::read_to_string(root().join(document)) else { continue };
        let rows = table(&text, &["stream", "subjects", "kept"]);
        if rows.is_empty() {
            continue;
        }
        documented += 1;
        let mut told: BTreeMap<String, (BTreeSet<String>, String)> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.len() > 2 && row[1].contains("lockstep.")) {
            // The lanes stand there by their names: of another nothing is taken.
            let in_lanes =
                |subject: &str| Lane::ALL.map(|lane| with_wildcards(&subject.replace("<lane>", lane.as_str())));
            let subjects = row[1].split(", ").flat_map(|subject| in_lanes(subject.trim_matches('`')));
            told.insert(
                row[0].trim_matches('`').to_owned(),
                (subjects.collect::<anyhow::Result<_>>()?, row[2].clone()),
            );
        }
        for spec in bus::topology::STREAMS {
            let (subjects, kept) =
                told.remove(spec.name).with_context(|| format!("{document} does not tell of {}", spec.name))?;
            let real: BTreeSet<String> = spec.subjects.iter().map(|&subject| subject.to_owned()).collect();
            ensure!(subjects == real, "{document}, {}: {subjects:?}, and in the topology {real:?}", spec.name);
            let medium = if spec.memory { "memory" } else { "file" };
            ensure!(
                kept.starts_with(medium),
                "{document}, {}: {kept}, and in the topology it is in {medium}",
                spec.name
            );
            let days = spec.max_age_s / 86_400;
            ensure!(
                days == 0 || kept.contains(&format!("{days} days")),
                "{document}, {}: {kept}, not {days} days",
                spec.name
            );
        }
        ensure!(told.is_empty(), "{document} tells of streams that are not there: {told:?}");
    }
    ensure!(documented > 0, "no document has the table of the streams");
    Ok(())
}

#[test]
fn the_example_of_the_configuration_is_one_and_names_every_setting_rightly() -> anyhow::Result<()> {
    let executable = std::env::var_os("LOCKSTEP_TEST_EXECUTABLE").context("LOCKSTEP_TEST_EXECUTABLE is not set")?;
    let text = std::fs::read_to_string(root().join("lockstep.example.toml"))?;
    // A commented setting stands for itself: without its mark it must be right, too.
    let setting = Regex::new(r"(?m)^# ((\[{1,2}[a-z_.]+\]{1,2}|[a-z_]+ = .*)$)")?;
    let folder = tempfile::tempdir()?;
    for (name, text) in
        [("as it is", text.clone()), ("with every setting", setting.replace_all(&text, "$1").into_owned())]
    {
        let file = folder.path().join("lockstep.toml");
        std::fs::write(&file, text)?;
        let output = Command::new(&executable)
            .args(["check", "--config"])
            .arg(&file)
            .env_clear()
            .env("DATABASE_URL", "postgres://lockstep@127.0.0.1:5432/lockstep")
            .current_dir(folder.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name}: {}\n{said}", output.status);
    }
    Ok(())
}

#[test]
fn the_typescript_client_needs_nothing_but_itself_when_it_runs() -> anyhow::Result<()> {
    let package: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("web/client/package.json"))?)?;
    for list in ["dependencies", "peerDependencies", "optionalDependencies", "bundleDependencies"] {
        ensure!(package.get(list).is_none(), "web/client/package.json has {list}");
    }
    let from = Regex::new("(?m)^(?:import|export|\\}).* from \"([^\"]+)\";$")?;
    let mut others = Vec::new();
    for (path, text) in files()?.iter().filter(|(path, _)| path.starts_with("web/client/src")) {
        let imported = from.captures_iter(text).filter_map(|found| found.get(1)).map(|name| name.as_str());
        others.extend(imported.filter(|name| !name.starts_with('.')).map(|name| format!("{}: {name}", path.display())));
    }
    none("These import what is not the client's own", &others)
}
