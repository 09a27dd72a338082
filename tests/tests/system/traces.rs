//! One trace goes through everything: from whoever tells, over what is decided, to what is written.

use anyhow::{Context as _, ensure};
use bus::Stream;
use reqwest::StatusCode;
use sandbox::faults::Faults;
use serde_json::json;
use system_tests::collector::Collector;
use system_tests::settings::credentials;
use system_tests::signature::signature;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};

use crate::crash::now_ms;

const TOLD: &str = "0af7651916cd43dd8448eb211c80319c";
const HOOKED: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const STARTED: &str = "00000000000000000000000000000001";

fn parent(trace: &str) -> String {
    format!("00-{trace}-b7ad6b7169203331-01")
}

/// The subjects of all messages on a stream that carry this trace.
async fn carrying(world: &World, stream: Stream, trace: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for sequence in 1..=world.bus.stream_info(stream).await?.1 {
        let Some(message) = world.bus.peek(stream, sequence).await? else { continue };
        if message.header("traceparent").is_some_and(|parent| parent.contains(trace)) {
            found.push(message.subject.clone());
        }
    }
    Ok(found)
}

/// Waits until the change, the commands to these systems, and what became of those carry the trace.
async fn goes_on(world: &World, trace: &str, systems: &[&str]) -> anyhow::Result<()> {
    eventually(DEADLINE, "the trace goes through", async || {
        let changes = carrying(world, Stream::Changes, trace).await?;
        ensure!(changes.len() == 1 && changes[0].starts_with("lockstep.change.work."), "changes: {changes:?}");
        let commands = carrying(world, Stream::Commands, trace).await?;
        let observed = carrying(world, Stream::Observations, trace).await?;
        for system in systems {
            let of = format!(".{system}.");
            ensure!(commands.iter().any(|subject| subject.contains(&of)), "{system} has no command: {commands:?}");
            let reported = |subject: &String| subject.starts_with("lockstep.delivery.") && subject.contains(&of);
            ensure!(observed.iter().any(reported), "{system} reported nothing: {observed:?}");
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_whoever_tells_is_that_of_all_that_follows() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let settings = Settings { pieces: 2, otlp_endpoint: collector.url(), ..Settings::default() };
    with_world(settings, async |world| {
        let http = reqwest::Client::new();
        let tell = async |status: &str, trace: &str| -> anyhow::Result<()> {
            let body = json!({"record": "acme/job/1", "status": status, "mentions": ["ENG-1"]});
            let request = http.post(format!("{}/v1/status", world.face.url())).header("traceparent", parent(trace));
            let answer = request.json(&body).send().await?;
            ensure!(answer.status() == StatusCode::ACCEPTED, "{}", answer.status());
            Ok(())
        };
        tell("todo", STARTED).await?;
        eventually(DEADLINE, "the job is tied to ENG-1", async || {
            let item = world.face.item("acme/job/1").await?.context("no item")?;
            Ok((item["key"] == "ENG-1").then_some(()))
        })
        .await?;
        tell("in_review", TOLD).await?;
        goes_on(world, TOLD, &["linear", "postgres"]).await?;
        world.agrees(DEADLINE).await?;

        // A webhook as Linear's, which somebody on the way gave a trace.
        world.linear.faults().set(Faults { webhook_drop: 1.0, ..Faults::default() });
        world.linear.move_issue("ENG-2", "Done")?;
        let sent = world.linear.webhooks().deliveries();
        let mut body = sent.last().context("Linear made no webhook")?.body.clone();
        body["webhookTimestamp"] = now_ms()?.into();
        let body = body.to_string().into_bytes();
        let (signed, parent) = (signature(credentials::LINEAR_SECRET, &body)?, parent(HOOKED));
        let headers = [
            ("content-type", "application/json"),
            ("linear-event", "Issue"),
            ("linear-delivery", "5b3f1e1c-7a38-4b61-9f0e-3d1d0a4a7a01"),
            ("linear-signature", signed.as_str()),
            ("traceparent", parent.as_str()),
        ];
        let answered = world.face.webhook("linear", &headers, body).await?;
        ensure!(answered.is_success(), "the webhook was answered with {answered}");
        ensure!(!carrying(world, Stream::Webhooks, HOOKED).await?.is_empty(), "the stored webhook lost its trace");
        goes_on(world, HOOKED, &["github", "postgres"]).await?;
        world.agrees(DEADLINE).await?;

        // The spans are sent at the end at the latest.
        let status = world.lockstep.stop().await?;
        ensure!(status.success(), "{status}");
        for trace in [TOLD, HOOKED] {
            let names: Vec<_> = collector.of(trace).into_iter().map(|seen| seen.name).collect();
            for name in ["http request", "resolve", "command"] {
                ensure!(names.iter().any(|seen| seen == name), "{trace}: no span {name:?} among {names:?}");
            }
        }
        Ok(())
    })
    .await
}
