//! The agentapi sandbox as a client sees it: over HTTP and its event stream.

#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected ends there")]

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sandbox::agentapi::{AgentapiOptions, AgentapiSandbox, start};
use sandbox::faults::Faults;
use serde_json::{Value, json};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);
/// No test waits for a redraw that it did not ask for.
const NEVER: Duration = Duration::from_hours(1);

async fn agent(options: AgentapiOptions) -> (AgentapiSandbox, reqwest::Client) {
    // Refused when another test of this process was first, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    (start(AgentapiOptions { redraw: NEVER, ..options }).await.unwrap(), reqwest::Client::new())
}

async fn post(http: &reqwest::Client, url: &str, body: Value) -> (u16, String, Value) {
    let response = http.post(url).json(&body).send().await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status().as_u16(), kind, response.json().await.unwrap())
}

/// An open event stream.
struct Events {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    async fn open(http: &reqwest::Client, url: &str) -> Self {
        let response = http.get(format!("{url}/events")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { bytes: response.bytes_stream().boxed(), text: String::new() }
    }

    /// The next event's name and data; nothing when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                assert!(!event.lines().any(|line| line.starts_with("id:")), "events have no ids");
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
                let found = (field("event:"), serde_json::from_str(&field("data:")).unwrap());
                let rest = rest.len();
                self.text.drain(..self.text.len() - rest);
                return Some(found);
            }
            let chunk = timeout(DEADLINE, self.bytes.next()).await.expect("an event comes in time")?.ok()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await.expect("the stream goes on"));
        }
        all
    }
}

#[tokio::test]
async fn a_message_makes_the_agent_run_and_is_refused_while_it_does() {
    let (agent, http) = agent(AgentapiOptions::default()).await;
    let url = format!("{}/message", agent.url());
    let (status, _, body) = post(&http, &url, json!({"content": "Fix ENG-1", "type": "user"})).await;
    assert_eq!((status, body), (200, json!({"ok": true})));
    let shown: Value = http.get(format!("{}/status", agent.url())).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown, json!({"status": "running", "agent_type": "claude", "transport": "pty"}));
    let (status, kind, body) = post(&http, &url, json!({"content": "And ENG-2", "type": "user"})).await;
    assert_eq!((status, kind.as_str(), &body["status"]), (500, "application/problem+json", &json!(500)));
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("waiting for user input"));
    let (status, ..) = post(&http, &url, json!({"content": "\u{3}", "type": "raw"})).await;
    assert_eq!(status, 200, "keystrokes are taken at any time");
    let list: Value = http.get(format!("{}/messages", agent.url())).send().await.unwrap().json().await.unwrap();
    let roles: Vec<&str> =
        list["messages"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["agent", "user", "agent"]);
    agent.stand_still().unwrap();
    assert_eq!(agent.status(), "stable");
    let counts = agent.counters().counts();
    assert_eq!((counts.writes, counts.writes_by_record["agent-1"], counts.edits, counts.reads), (2, 2, 1, 2));
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_a_problem_with_its_place() {
    let (agent, http) = agent(AgentapiOptions::default()).await;
    let url = format!("{}/message", agent.url());
    let cases = [
        (json!({"type": "user"}), 422, "body"),
        (json!({"content": "x", "type": "shout"}), 422, "body.type"),
        (json!({"content": 7, "type": "user"}), 422, "body.content"),
        (json!({"content": "x", "type": "user", "loud": true}), 422, "body.loud"),
        (json!({"content": "", "type": "user"}), 500, ""),
        (json!({"content": " x", "type": "user"}), 500, ""),
    ];
    for (sent, status, location) in cases {
        let (got, kind, body) = post(&http, &url, sent.clone()).await;
        assert_eq!((got, kind.as_str()), (status, "application/problem+json"), "{sent}");
        assert_eq!(body["errors"][0]["location"].as_str().unwrap_or_default(), location, "{sent}");
    }
    let empty = http.post(&url).send().await.unwrap();
    assert_eq!(empty.status().as_u16(), 400);
    assert_eq!((agent.status(), agent.counters().counts().writes), ("stable", 0));
}

#[tokio::test]
async fn each_connection_is_told_all_messages_then_the_status_then_the_errors_then_what_happens() {
    let (agent, http) = agent(AgentapiOptions::default()).await;
    agent.run("Reading").unwrap();
    agent.fail("out of credit");
    let told = [("message_update", 0), ("message_update", 1), ("status_change", 0), ("agent_error", 0)];
    for _ in 0..2 {
        let mut events = Events::open(&http, &agent.url()).await;
        let first = events.take(4).await;
        assert_eq!(first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), told.map(|(name, _)| name));
        assert_eq!((&first[0].1["id"], &first[1].1["id"]), (&json!(0), &json!(1)));
        assert_eq!(first[2].1, json!({"status": "running", "agent_type": "claude"}));
        assert_eq!((&first[3].1["message"], &first[3].1["level"]), (&json!("out of credit"), &json!("error")));
    }
    let mut events = Events::open(&http, &agent.url()).await;
    events.take(4).await;
    agent.stand_still().unwrap();
    let live = events.take(2).await;
    assert_eq!((live[0].0.as_str(), &live[0].1["id"]), ("message_update", &json!(1)));
    assert_eq!(live[1].1["status"], "stable");
    agent.stop().await;
    assert!(events.next().await.is_none(), "stopping ends the streams");
}

#[tokio::test]
async fn a_running_agents_last_message_is_sent_again_as_it_changes() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = AgentapiOptions { redraw: Duration::from_millis(5), ..AgentapiOptions::default() };
    let agent = start(options).await.unwrap();
    agent.run("Thinking").unwrap();
    let mut events = Events::open(&reqwest::Client::new(), &agent.url()).await;
    events.take(3).await;
    let live = events.take(5).await;
    assert!(live.iter().all(|(name, data)| name == "message_update" && data["id"] == 1), "{live:?}");
    assert_ne!(live[0].1["message"], live[1].1["message"]);
}

#[tokio::test]
async fn a_restarted_agent_has_its_messages_and_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let options = || AgentapiOptions { data: Some(folder.path().to_owned()), ..AgentapiOptions::default() };
    let (first, http) = agent(options()).await;
    post(&http, &format!("{}/message", first.url()), json!({"content": "Fix ENG-1", "type": "user"})).await;
    let before = first.state()["messages"].clone();
    first.stop().await;
    let (second, _) = agent(options()).await;
    assert_eq!(second.state()["messages"], before);
    assert_eq!(second.status(), "stable");
}

#[tokio::test]
async fn control_routes_faults_and_the_host_list_do_as_they_say() {
    let (agent, http) = agent(AgentapiOptions::default()).await;
    let status = || http.get(format!("{}/status", agent.url()));
    for (host, code) in [("agent.example:3284", 400), ("localhost:3284", 200), ("[::1]:3284", 200), ("[::1]", 200)] {
        assert_eq!(status().header("host", host).send().await.unwrap().status().as_u16(), code, "{host}");
    }
    assert_eq!(status().send().await.unwrap().status().as_u16(), 200, "by its own address");
    let (code, _, state) = post(&http, &format!("{}/sandbox/run", agent.url()), json!({"message": "Testing"})).await;
    assert_eq!((code, &state["status"]), (200, &json!("running")));
    let (_, _, state) = post(&http, &format!("{}/sandbox/error", agent.url()), json!({"message": "no disk"})).await;
    assert_eq!(state["errors"][0]["message"], "no disk");
    let (_, _, state) = post(&http, &format!("{}/sandbox/stop", agent.url()), json!({})).await;
    assert_eq!(state["status"], "stable");
    agent.faults().set(Faults { error_5xx: 1.0, ..Faults::default() });
    assert_eq!(status().header("host", "localhost").send().await.unwrap().status().as_u16(), 500);
}

#[tokio::test]
async fn a_drawn_limit_is_429_and_a_slow_agent_takes_its_time() {
    let (agent, http) = agent(AgentapiOptions::default()).await;
    let status = || http.get(format!("{}/status", agent.url())).send();
    agent.faults().set(Faults { limit: 1.0, ..Faults::default() });
    let limited = status().await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    let counts = agent.counters().counts();
    assert_eq!((counts.limited, counts.reads), (1, 0));
    agent.faults().set(Faults { slow_ms: 50, ..Faults::default() });
    let started = Instant::now();
    assert_eq!(status().await.unwrap().status().as_u16(), 200);
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn an_upload_answers_where_the_file_lies_under_its_bare_name() {
    let (agent, http) = agent(AgentapiOptions::default()).await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../notes.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n";
    let request =
        http.post(format!("{}/upload", agent.url())).header("content-type", "multipart/form-data; boundary=b");
    let answer: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["ok"], true);
    assert!(answer["filePath"].as_str().unwrap().ends_with("/notes.txt"));
    assert!(!answer["filePath"].as_str().unwrap().contains(".."));
    let other = http.post(format!("{}/upload", agent.url())).json(&json!({})).send().await.unwrap();
    assert_eq!(other.status().as_u16(), 415);
}
