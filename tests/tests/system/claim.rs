//! What `cargo xtask up` asks of servers that are a person's own: a demo takes over neither somebody else's, nor those of real systems.

use anyhow::ensure;
use bus::testing::Server;
use sqlx::AssertSqlSafe;
use system_tests::{Database, Lockstep};

/// The exit code and what was said.
async fn claim(url: (&str, &str), words: &[&str]) -> anyhow::Result<(i32, String)> {
    let folder = tempfile::tempdir()?;
    let lockstep = Lockstep::new(folder.path(), "")?;
    let words: Vec<&str> = ["claim"].into_iter().chain(words.iter().copied()).collect();
    let output = lockstep.command(&words).env(url.0, url.1).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.lines().count() <= 1, "one sentence: {said}");
    Ok((output.status.code().unwrap_or(-1), said))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_the_data_of_one_kind_of_systems_and_a_demo_takes_over_none() -> anyhow::Result<()> {
    for (made, demo, real) in [
        ("select 1", None, Some("has the data of the sandboxes")),
        ("create table public.users (id int)", Some("the table public.users"), None),
        ("create schema app; create table app.users (id int)", Some("the table app.users"), None),
        ("create schema lockstep", Some("no demo has started"), None),
    ] {
        let database = Database::create().await?;
        let url = database.url()?;
        sqlx::raw_sql(AssertSqlSafe(made)).execute(database.pool()).await?;
        for (systems, refused) in [("sandboxes", demo), ("real", real)] {
            for _ in 0..2 {
                let (code, said) = claim(("DATABASE_URL", &url), &[systems, "--database"]).await?;
                ensure!(code == if refused.is_some() { 64 } else { 0 }, "{made}: {systems}: {code} {said}");
                ensure!(
                    refused.is_none_or(|part| said.contains(part) && said.contains("unset DATABASE_URL")),
                    "{said}"
                );
            }
        }
        if real.is_none() {
            let (code, said) = claim(("DATABASE_URL", &url), &["sandboxes", "--database"]).await?;
            ensure!(code == 64 && said.contains("has the data of real systems"), "{made}: {code} {said}");
        }
        database.remove().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_has_the_data_of_one_kind_of_systems() -> anyhow::Result<()> {
    let server = Server::start()?;
    let url = server.url();
    for (systems, expected) in [("real", 0), ("real", 0), ("sandboxes", 64)] {
        let (code, said) = claim(("NATS_URL", &url), &[systems, "--nats"]).await?;
        ensure!(code == expected, "{systems}: {code} {said}");
        ensure!(code == 0 || said.contains("has the data of real systems"), "{said}");
    }
    Ok(())
}
