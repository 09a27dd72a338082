//! What strangers send: every answer says in one form what is wrong, nothing gets stuck, and no secret comes out anywhere.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use reqwest::{Client, Method, RequestBuilder};
use system_tests::lockstep::Lockstep;
use system_tests::settings::credentials;
use system_tests::signature::signature;
use system_tests::{DEADLINE, Settings, World, eventually, with_world};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, timeout};

/// Stands for what nobody may ever see; each place where it is planted has a letter of its own after it.
const PLANTED: &str = "planted-c0ffee";

struct Hostile<'a> {
    world: &'a World,
    http: Client,
    /// All that was answered.
    heard: String,
}

impl Hostile<'_> {
    fn request(&self, method: &Method, path: &str) -> RequestBuilder {
        self.http.request(method.clone(), format!("{}{path}", self.world.face.url()))
    }

    /// Sends, and wants this status in the one form.
    async fn refused(&mut self, status: u16, what: &str, request: RequestBuilder) -> anyhow::Result<()> {
        let answer = timeout(DEADLINE, request.send()).await.with_context(|| format!("{what}: no answer"))??;
        let (answered, kind) = (answer.status().as_u16(), answer.headers().get("content-type").cloned());
        let body = answer.text().await?;
        self.heard.push_str(&body);
        ensure!(answered == status, "{what}: {answered}, not {status}: {body}");
        ensure!(kind.is_some_and(|kind| kind == "application/problem+json"), "{what}: {body}");
        Ok(())
    }

    async fn operators_face(&mut self) -> anyhow::Result<()> {
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        let deep = "[".repeat(200_000);
        let large = format!("{{\"status\": \"{}\"}}", "x".repeat(3_000_000));
        for (status, method, path) in [
            (400, &get, "/v1/items?limit=x"),
            (400, &get, "/v1/items?nonsense=1"),
            (400, &get, "/v1/items/%ff"),
            (400, &get, "/v1/conflicts/nonsense"),
            (404, &get, "/v1/items/%00%2e%2e%2f"),
            (404, &get, "/nowhere"),
            (405, &delete, "/v1/status"),
            (426, &get, "/v1/ws"),
            (400, &get, "/v1/sse?room=nonsense"),
            (400, &delete, "/v1/items/ENG-1/links/nonsense"),
        ] {
            self.refused(status, path, self.request(method, path)).await?;
        }
        let force = "/v1/items/ENG-1/status";
        for (status, kind, body) in [
            (415, "text/plain", "{}"),
            (400, "application/json", "{"),
            (422, "application/json", deep.as_str()),
            (422, "application/json", "{\"status\": 5}"),
            (422, "application/json", "{\"status\": \"nonsense\"}"),
            (413, "application/json", large.as_str()),
        ] {
            let request = self.request(&post, force).header("content-type", kind).body(body.to_owned());
            self.refused(status, &format!("{force} {}", &body[..body.len().min(30)]), request).await?;
        }
        Ok(())
    }

    async fn status_face(&mut self) -> anyhow::Result<()> {
        let deep = format!("{{\"record\": {}", "[".repeat(200_000)).into_bytes();
        let bodies: [(u16, &str, Vec<u8>); 6] = [
            (400, "deep", deep),
            (400, "not UTF-8", b"{\"record\": \"a/b/\xff\", \"status\": \"x\"}".to_vec()),
            (413, "large", vec![b' '; 5 * 1024 * 1024]),
            (422, "nested metadata", br#"{"record":"a/b/c","status":"x","metadata":{"a":{"b":1}}}"#.to_vec()),
            (422, "a control character", br#"{"record":"a/b/c","status":"x\u0000"}"#.to_vec()),
            (422, "an unknown lifecycle", br#"{"record":"a/b/c","status":"x","lifecycle":"cooking"}"#.to_vec()),
        ];
        for (status, what, body) in bodies {
            let request =
                self.request(&Method::POST, "/v1/status").header("content-type", "application/json").body(body);
            let request = request.header("authorization", format!("Bearer {PLANTED}-a"));
            self.refused(status, what, request).await?;
        }
        Ok(())
    }

    /// What is shown in an address to get in, which is neither taken from there nor noted.
    async fn addresses(&mut self) -> anyhow::Result<()> {
        for (status, path) in [
            (426, format!("/v1/ws?ticket={PLANTED}-p")),
            (400, format!("/v1/sse?room=nonsense&ticket={PLANTED}-q")),
            (400, format!("/v1/sse?token={PLANTED}-r")),
        ] {
            self.refused(status, &path, self.request(&Method::GET, &path)).await?;
        }
        Ok(())
    }

    async fn webhooks(&mut self) -> anyhow::Result<()> {
        let post = |path: &str| self.request(&Method::POST, path).header("content-type", "application/json");
        let github = |body: &str, secret: &str| -> anyhow::Result<RequestBuilder> {
            let digest = signature(secret, body.as_bytes())?;
            Ok(post("/webhooks/github")
                .header("x-hub-signature-256", format!("sha256={digest}"))
                .header("x-github-event", "issues")
                .header("x-github-delivery", "hostile-1")
                .header("authorization", format!("Bearer {PLANTED}-b"))
                .body(body.to_owned()))
        };
        let linear = |at_ms: i64, id: &str| -> anyhow::Result<RequestBuilder> {
            let body = format!("{{\"webhookTimestamp\": {at_ms}, \"note\": \"{PLANTED}-c\"}}");
            let digest = signature(credentials::LINEAR_SECRET, body.as_bytes())?;
            let request = post("/webhooks/linear").header("linear-signature", digest).body(body);
            Ok(request.header("linear-event", "Issue").header("linear-delivery", id))
        };
        let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
        let cases = [
            (401, "unsigned", post("/webhooks/github").body("{}")),
            (401, "forged", github("{}", "another secret")?),
            (401, "stale", linear(now - 9 * 3_600_000, "hostile-2")?),
        ];
        // What is signed and makes no sense is stored, and given up by the connector; the same once more is a copy.
        let (poison, copy) = (linear(now, "hostile-3")?, linear(now, "hostile-4")?);
        let nonsense = github("[[[[", credentials::GITHUB_SECRET)?;
        for (status, what, request) in cases {
            self.refused(status, what, request).await?;
        }
        for (request, wanted) in [(poison, "stored"), (copy, "duplicate"), (nonsense, "stored")] {
            let said = request.send().await?.text().await?;
            ensure!(said.contains(wanted), "{said}");
        }
        let metrics = self.world.face.text("/metrics").await?;
        for (system, outcome) in
            [("github", "unsigned"), ("github", "forged"), ("linear", "stale"), ("linear", "duplicate")]
        {
            let line = format!("lockstep_webhooks_total{{outcome=\"{outcome}\",system=\"{system}\"}}");
            ensure!(metrics.contains(&line), "{line} is not counted");
        }
        Ok(())
    }

    /// A head that is too long, one that never ends, and a body that trickles: each is let go, and others are served meanwhile.
    async fn sockets(&mut self) -> anyhow::Result<()> {
        let address = self.world.face.url().trim_start_matches("http://").to_owned();
        let mut long = tokio::net::TcpStream::connect(&address).await?;
        let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(200_000));
        // It may be refused before all of it was sent.
        let _ = long.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let read = timeout(DEADLINE, long.read_to_end(&mut answer)).await.context("a long head is not let go")?;
        ensure!(read.is_err() || String::from_utf8_lossy(&answer).contains(" 431 "), "{answer:?}");

        let mut trickle = tokio::net::TcpStream::connect(&address).await?;
        let head =
            "POST /v1/status HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
        trickle.write_all(head.as_bytes()).await?;
        let mut slow = tokio::net::TcpStream::connect(&address).await?;
        slow.write_all(b"GET /livez HTTP/1.1\r\nhost").await?;
        let mut answer = [0; 12];
        timeout(DEADLINE, trickle.read_exact(&mut answer)).await.context("a trickling body is not let go")??;
        ensure!(&answer == b"HTTP/1.1 408", "{}", String::from_utf8_lossy(&answer));
        ensure!(self.world.face.text("/livez").await?.contains("ok"));
        let mut rest = Vec::new();
        timeout(DEADLINE, slow.read_to_end(&mut rest)).await.context("a head that never ends is not let go")??;
        Ok(())
    }

    /// Everything that can be seen from outside.
    async fn seen(&self) -> anyhow::Result<String> {
        let world = self.world;
        let mut all = self.heard.clone();
        for path in ["/metrics", "/health", "/alerts", "/readyz", "/v1/items", "/v1/conflicts"] {
            all.push_str(&self.http.get(format!("{}{path}", world.face.url())).send().await?.text().await?);
        }
        eventually(DEADLINE, "both poisons are given up", async || {
            let letters = world.bus.letters(&bus::Filter::default(), 1, 100).await?;
            Ok((letters.len() >= 2).then_some(()))
        })
        .await?;
        for letter in world.bus.letters(&bus::Filter::default(), 1, 100).await? {
            all.push_str(&letter.facts().to_string());
        }
        all.push_str(&world.lockstep.output());
        Ok(all)
    }
}

/// All that our own crates say, as a log filter. Libraries write at these levels what is sent and received.
fn everything() -> anyhow::Result<String> {
    let mut level = "info".to_owned();
    for folder in ["crates", "services"] {
        for package in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder))? {
            let name = package?.file_name().to_string_lossy().replace('-', "_");
            let _ = write!(level, ",{name}=trace");
        }
    }
    Ok(level)
}

/// What is said of a server that is away, whose address has a password.
async fn outage(world: &mut World) -> anyhow::Result<()> {
    let is_well = async |wanted: bool| {
        let answer = reqwest::get(format!("{}/health", world.face.url())).await?;
        Ok((answer.status().is_success() == wanted).then_some(()))
    };
    world.nats.kill();
    eventually(DEADLINE, "NATS is missed", async || is_well(false).await).await?;
    world.nats.restart()?;
    eventually(DEADLINE, "NATS is back", async || is_well(true).await).await
}

fn without_secrets(what: &str, text: &str) -> anyhow::Result<()> {
    let ours = [
        credentials::LINEAR_TOKEN,
        credentials::LINEAR_SECRET,
        credentials::GITHUB_TOKEN,
        credentials::GITHUB_SECRET,
        credentials::NATS_PASSWORD,
        credentials::AGENT_PASSWORD,
        PLANTED,
    ];
    for secret in ours {
        if let Some(at) = text.find(secret) {
            let around: String = text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
            anyhow::bail!("{what} shows {secret}: …{around}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_answered_in_one_form_hold_up_nothing_and_learn_no_secret() -> anyhow::Result<()> {
    let settings = Settings { pieces: 1, level: everything()?, ..Settings::default() };
    with_world(settings, async |world| {
        outage(world).await?;
        let mut hostile = Hostile { world, http: Client::new(), heard: String::new() };
        hostile.operators_face().await?;
        hostile.status_face().await?;
        hostile.addresses().await?;
        hostile.webhooks().await?;
        hostile.sockets().await?;
        let seen = hostile.seen().await?;
        ensure!(seen.contains(" DEBUG "), "not all is logged");
        without_secrets("a face, a log or a dead letter", &seen)?;
        let database = world.database.url()?;
        let (who, _) = database.split_once('@').context("the database wants no password")?;
        let (_, password) = who.rsplit_once("://").context("no address")?;
        ensure!(!seen.contains(&format!("{password}@")), "the password of the database is shown");
        world.linear.move_issue("ENG-1", "Done")?;
        world.agrees(DEADLINE).await
    })
    .await
}

#[tokio::test]
async fn no_error_of_the_configuration_repeats_a_secret() -> anyhow::Result<()> {
    let (folder, everything) = (tempfile::tempdir()?, everything()?);
    let base = "[database]\nurl = \"postgres://a@127.0.0.1:1/b\"\n";
    for text in [
        format!("[connector.linear]\napi_kye = \"{PLANTED}-d\""),
        format!("[connector.github]\ntoken = [\"{PLANTED}-e\"]"),
        format!("[ingest.github]\nsecrets = {{ a = \"{PLANTED}-f\" }}"),
        format!("[nats]\nurl = \"nats://user:{PLANTED}-g@127.0.0.1:1\"\nconnect_timeout_ms = 200"),
        format!("[nats]\nurl = \"nats://127.0.0.1:1\"\ntoken = \"{PLANTED}-h\"\nconnect_timeout_ms = 200"),
        format!("[database]\nurl = \"postgres://a:{PLANTED}-i@[b\""),
        format!("[database]\nurl = \"{PLANTED}-j\""),
        format!("[resolver]\nbatch = \"{PLANTED}-k\""),
        format!("[connector.github]\napp_id = 1\ninstallation_id = 1\nprivate_key = \"{PLANTED}-l\""),
        format!("[resolver]\napi_keys = [\"{PLANTED}-m\"]\nallow_anonymous = true"),
        format!("[ingest.linear\nsecrets = \"{PLANTED}-n\""),
        format!("[telemetry]\notlp_endpoint = \"ftp://{PLANTED}-o@x\""),
    ] {
        let text = if text.contains("[database]") { text } else { format!("{base}{text}\n") };
        // Nobody answers there, and nobody is waited for.
        let nats = "[nats]\nurl = \"nats://127.0.0.1:1\"\nconnect_timeout_ms = 200\n";
        let text = if text.contains("[nats]") { text } else { format!("{nats}{text}\n") };
        let lockstep = Lockstep::new(folder.path(), &text)?;
        let file = folder.path().join("lockstep.toml").display().to_string();
        for words in [["check", "--config", &file], ["up", "--config", &file]] {
            let mut command = lockstep.command(&words);
            let ran = timeout(Duration::from_mins(1), command.env("RUST_LOG", &everything).output()).await;
            let ran = ran.with_context(|| format!("{words:?} does not end: {text}"))??;
            let said = [ran.stdout, ran.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            ensure!(words[0] == "check" || !ran.status.success(), "it runs: {text}");
            without_secrets(&format!("{words:?} with {text}"), &said)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_a_server_or_system_that_is_away_no_password_is_told() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let away = |letter: char| format!("somebody:{PLANTED}-{letter}@{}", "127.0.0.1:1");
    let text = format!(
        r#"[nats]
url = "nats://{}"
connect_timeout_ms = 200
[database]
url = "postgres://{}/lockstep"
[connector.linear]
api_url = "http://{}/graphql"
api_key = "{PLANTED}-w"
[connector.github]
api_url = "http://{}"
token = "{PLANTED}-x"
repositories = ["acme/web"]
[connector.postgres]
url = "postgres://{}/tasks"
tables = [{{ table = "public.tasks", kind = "task" }}]
[connector.agentapi]
agents = [{{ name = "agent-1", url = "http://{}" }}]
"#,
        away('s'),
        away('t'),
        away('u'),
        away('v'),
        away('y'),
        away('z'),
    );
    let lockstep = Lockstep::new(folder.path(), &text)?;
    let file = folder.path().join("lockstep.toml").display().to_string();
    let ran = timeout(Duration::from_mins(1), lockstep.command(&["doctor", "--config", &file]).output()).await;
    let ran = ran.context("the doctor does not end")??;
    let said = String::from_utf8([ran.stdout, ran.stderr].concat())?;
    for system in ["nats", "postgresql", "linear", "github", "postgres", "agentapi"] {
        ensure!(said.contains(system), "nothing is said of {system}: {said}");
    }
    without_secrets("the doctor", &said)
}
