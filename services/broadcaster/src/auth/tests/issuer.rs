//! An issuer that publishes its keys over HTTP, or in a file.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use futures_util::future::join_all;
use model::Backoff;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::super::issuer::{Issuer, Pace, Source};
use super::super::tokens::Tokens;
use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A server of keys.
#[derive(Clone)]
struct Publisher(Arc<Publishing>);

struct Publishing {
    answer: Mutex<(u16, String)>,
    asked: AtomicUsize,
    /// One for each answer that may be given.
    may_answer: Semaphore,
}

impl Publisher {
    /// Serves, and says where.
    async fn start(signers: &[Signer]) -> (Self, String) {
        let answer = Mutex::new((200, published(signers).to_string()));
        let publisher =
            Self(Arc::new(Publishing { answer, asked: AtomicUsize::new(0), may_answer: Semaphore::new(1_000) }));
        let serving = publisher.clone();
        let answer = move || {
            let publisher = serving.clone();
            async move {
                publisher.0.asked.fetch_add(1, Ordering::SeqCst);
                publisher.0.may_answer.acquire().await.unwrap().forget();
                let (status, body) = publisher.0.answer.lock().unwrap().clone();
                Response::builder().status(status).header("location", "/keys").body(Body::from(body)).unwrap()
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (publisher, url)
    }

    fn publish(&self, signers: &[Signer]) {
        self.answers(200, published(signers).to_string());
    }

    fn answers(&self, status: u16, body: String) {
        *self.0.answer.lock().unwrap() = (status, body);
    }

    /// From now on it answers so often.
    fn may_answer(&self, times: usize) {
        let _ = self.0.may_answer.forget_permits(usize::MAX);
        self.0.may_answer.add_permits(times);
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

fn section(url: &str) -> JwtConfig {
    config(&json!({"jwt": {"jwks_url": url}})).jwt
}

const HASTY: Pace = Pace {
    every: Duration::from_millis(20),
    apart: Duration::from_secs(10),
    backoff: Backoff { first_ms: 10, max_ms: 20, attempts: u32::MAX },
};

async fn tokens(url: &str, process: &Process, pace: Pace) -> Tokens {
    let section = section(url);
    let source = Source::of(&section).unwrap().unwrap();
    Tokens::with(&section, Some(Issuer::start_at(source, process, pace).await.unwrap()))
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

fn code(outcome: Result<Rights, Denied>) -> &'static str {
    outcome.map_or_else(|denied| denied.code, |_| "ok")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_asked_for_once_however_many_bring_tokens_of_it() {
    let (publisher, url) = Publisher::start(&[Signer::rsa()]).await;
    let process = Process::new("broadcaster", None);
    let tokens = Tokens::new(&section(&url), &process).await.unwrap();
    assert_eq!(tokens.admit_now(&Signer::rsa().token(), NOW_MS).map(code), Some("ok"));
    assert_eq!(publisher.asked(), 1);
    publisher.publish(&[Signer::rsa(), Signer::next_rsa(), Signer::ec()]);
    let next = Signer::next_rsa().token();
    assert!(tokens.admit_now(&next, NOW_MS).is_none());
    let all = join_all((0..200).map(|_| tokens.admit(&next, NOW_MS))).await;
    assert!(all.into_iter().all(|admitted| admitted.is_ok()));
    assert_eq!(publisher.asked(), 2);
    // Within 10 s nobody's invention leads to another question.
    let invented = Signer::ec().named(Some("invented")).token();
    for _ in 0..10 {
        assert_eq!(code(tokens.admit(&invented, NOW_MS).await), "auth_failed");
    }
    assert_eq!(publisher.asked(), 2);
    assert_eq!(tokens.admit_now(&Signer::ec().token(), NOW_MS).map(code), Some("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_questions_of_all_who_wait_are_one_even_when_one_of_them_leaves() {
    let (publisher, url) = Publisher::start(&[Signer::rsa()]).await;
    let process = Process::new("broadcaster", None);
    let tokens = Arc::new(Tokens::new(&section(&url), &process).await.unwrap());
    publisher.publish(&[Signer::next_rsa()]);
    publisher.may_answer(0);
    // Made once: to sign takes longer than to ask.
    let token = Signer::next_rsa().token();
    let asking = |tokens: &Arc<Tokens>| {
        let (tokens, token) = (Arc::clone(tokens), token.clone());
        tokio::spawn(async move { code(tokens.admit(&token, NOW_MS).await) })
    };
    let first = asking(&tokens);
    until("the first asks", || publisher.asked() == 2).await;
    let others: Vec<_> = (0..50).map(|_| asking(&tokens)).collect();
    first.abort();
    publisher.may_answer(1);
    for other in others {
        assert_eq!(other.await.unwrap(), "ok");
    }
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_and_go_with_what_is_published() {
    let (publisher, url) = Publisher::start(&[Signer::rsa()]).await;
    let process = Process::new("broadcaster", None);
    let tokens = tokens(&url, &process, HASTY).await;
    publisher.publish(&[Signer::next_rsa()]);
    let (old, new) = (Signer::rsa().token(), Signer::next_rsa().token());
    until("the new key is known", || tokens.admit_now(&new, NOW_MS).map(code) == Some("ok")).await;
    assert!(tokens.admit_now(&old, NOW_MS).is_none());
    assert_eq!(code(tokens.admit(&old, NOW_MS).await), "auth_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_are_kept_while_none_can_be_fetched() {
    let (publisher, url) = Publisher::start(&[Signer::rsa()]).await;
    let process = Process::new("broadcaster", None);
    let tokens = tokens(&url, &process, HASTY).await;
    let wrong = [
        (500, published(&[Signer::next_rsa()]).to_string()),
        (302, String::new()),
        (200, "<html>".into()),
        (200, r#"{"keys": []}"#.into()),
        (200, format!("{}{}", published(&[Signer::next_rsa()]), " ".repeat(1024 * 1024))),
    ];
    for (status, body) in wrong {
        publisher.answers(status, body);
        let before = publisher.asked();
        // The second question after this one was answered as wrongly.
        until("it is asked again", || publisher.asked() >= before + 3).await;
        assert_eq!(tokens.admit_now(&Signer::rsa().token(), NOW_MS).map(code), Some("ok"), "{status}");
        assert!(tokens.admit_now(&Signer::next_rsa().token(), NOW_MS).is_none());
        // It may be there, and cannot be seen.
        assert_eq!(code(tokens.admit(&Signer::next_rsa().token(), NOW_MS).await), "auth_unavailable");
        assert_eq!(process.readiness()["jwks"], Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_issuer_goes_on_and_is_not_ready() {
    let (publisher, url) = Publisher::start(&[Signer::rsa()]).await;
    publisher.answers(503, String::new());
    let process = Process::new("broadcaster", None);
    let tokens = tokens(&url, &process, HASTY).await;
    let why = process.readiness()["jwks"].clone().unwrap_err();
    assert!(why.contains("jwks_url") && why.contains("503") && !why.contains("127.0.0.1"), "{why}");
    assert_eq!(code(tokens.admit(&Signer::rsa().token(), NOW_MS).await), "auth_unavailable");
    publisher.publish(&[Signer::rsa()]);
    until("it is ready", || process.readiness()["jwks"].is_ok()).await;
    assert_eq!(tokens.admit_now(&Signer::rsa().token(), NOW_MS).map(code), Some("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_longer_than_five_seconds_for_an_issuer_that_is_silent() {
    let (publisher, url) = Publisher::start(&[Signer::rsa()]).await;
    let process = Process::new("broadcaster", None);
    let tokens = Tokens::new(&section(&url), &process).await.unwrap();
    publisher.may_answer(0);
    let began = tokio::time::Instant::now();
    let unknown = Signer::next_rsa().token();
    let told = join_all((0..3).map(|_| tokens.admit(&unknown, NOW_MS))).await;
    assert!(told.into_iter().all(|told| code(told) == "auth_unavailable"));
    assert!((4_900..5_900).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    // Whoever brings a key that is known does not wait at all.
    assert_eq!(tokens.admit_now(&Signer::rsa().token(), NOW_MS).map(code), Some("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_file_are_read_again_when_a_token_names_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let section = config(&json!({"jwt": {"jwks_file": file}})).jwt;
    let process = Process::new("broadcaster", None);
    let missing = Tokens::new(&section, &process).await.err().unwrap().to_string();
    assert!(missing.contains("broadcaster.auth.jwt.jwks_file") && missing.contains("keys.json"), "{missing}");
    std::fs::write(&file, published(&[Signer::rsa()]).to_string()).unwrap();
    let tokens = Tokens::new(&section, &process).await.unwrap();
    assert_eq!(tokens.admit_now(&Signer::rsa().token(), NOW_MS).map(code), Some("ok"));
    std::fs::write(&file, published(&[Signer::ec()]).to_string()).unwrap();
    assert_eq!(code(tokens.admit(&Signer::ec().token(), NOW_MS).await), "ok");
    assert!(tokens.admit_now(&Signer::rsa().token(), NOW_MS).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_that_reads_keys_ends_with_the_process() {
    let (_publisher, url) = Publisher::start(&[Signer::rsa()]).await;
    let process = Process::new("broadcaster", None);
    let _tokens = tokens(&url, &process, HASTY).await;
    process.shutdown().cancel();
    process.finished(DEADLINE).await.unwrap();
}
