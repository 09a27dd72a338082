//! A disk that is full for JetStream, and then is not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;
use system_tests::face::Face;
use system_tests::{DEADLINE, eventually};
use tempfile::TempDir;

use crate::round::{Ground, rounds};

/// More than the streams set aside, because JetStream wants a quarter left.
const SIZE: &str = "size=600m";
/// How long JetStream may take to go on by itself when there is room again.
const BY_ITSELF: Duration = Duration::from_secs(5);

/// A small disk of its own.
struct Disk(TempDir);

impl Disk {
    /// Mounted, where that is allowed.
    fn mount() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "none"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        Ok(mounted.then_some(Self(folder)))
    }

    /// Leaves not one byte.
    fn fill(&self) -> anyhow::Result<()> {
        let ballast = format!("of={}", self.ballast().display());
        let filled = Command::new("dd").args(["if=/dev/zero", &ballast, "bs=64k"]).stderr(Stdio::null()).status()?;
        ensure!(!filled.success(), "the disk has no end");
        Ok(())
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.path().join("ballast")
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The server may still be closing its files.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// What a status of a new record is answered: whether it was accepted.
async fn is_accepted(face: &Face) -> anyhow::Result<bool> {
    let record = format!("acme/probe/{}", uuid::Uuid::new_v4());
    match face.publish(&[(record, "todo".to_owned())]).await {
        Ok(_) => Ok(true),
        Err(error) => {
            ensure!(error.to_string().contains("503"), "{error:#}");
            Ok(false)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing() -> anyhow::Result<()> {
    let Some(disk) = Disk::mount()? else {
        // The bus's own tests fill a stream to its limit, which gives publishers the same answer.
        eprintln!("fault: JetStream's disk full: not tried, for nothing can be mounted here");
        return Ok(());
    };
    let ground = Ground { disk: Some(disk.path().to_owned()), ..Ground::default() };
    rounds("JetStream's disk full", ground, async |parts| {
        disk.fill()?;
        let refuses = async || Ok((!is_accepted(parts.face).await?).then_some(()));
        eventually(DEADLINE, "ingest answers 503", refuses).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        std::fs::remove_file(disk.ballast())?;
        let accepts = async || Ok(is_accepted(parts.face).await?.then_some(()));
        if eventually(BY_ITSELF, "it goes on by itself", accepts).await.is_err() {
            eprintln!("JetStream goes on only after a restart");
            parts.nats.restart()?;
            eventually(DEADLINE, "ingest accepts again", accepts).await?;
        }
        Ok(())
    })
    .await
}
