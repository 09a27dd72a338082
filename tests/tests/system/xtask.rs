//! `cargo xtask test` as a machine meets it: what it asks cargo for, and how it ends.

use anyhow::ensure;
use system_tests::demo::Checkout;

/// A `cargo` that notes what it is asked for, and fails where `FAILS` is the first word.
const CARGO: &str = r#"
echo "$@" >> cargo.log
[ "$1" != "$FAILS" ] || exit 1
[ "$1" != nextest ] || echo "Summary [ 1s] 3 tests run: 3 passed, 0 skipped"
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
