//! Sections 12 and 13: permessage-deflate (RFC 7692): what is agreed on, and messages compressed by a client.

use flate2::{Compress, Compression, FlushCompress};

use super::case::{Case, Heard, answer, case, run, run_compressed};
use super::client::Client;
use super::frame::{BINARY, CLOSE, ENDS, GOES_ON, PING, RSV1, TEXT, TEXT_BEGINS, asked, asked_in, frame};
use super::{case, world};

const LIMIT: usize = 64 * 1024;

/// A message compressed by itself at this level.
fn deflated(payload: &[u8], level: u32) -> Vec<u8> {
    deflated_by(&mut Compress::new(Compression::new(level), false), payload)
}

fn deflated_by(deflate: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 10 + 128);
    deflate.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "it all fitted");
    out.truncate(out.len() - 4);
    out
}

/// A message whose last block says that it is the last, and the empty block after it that RFC 7692 asks for (7.2.3.4).
fn ended(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 128);
    Compress::new(Compression::new(6), false).compress_vec(payload, &mut out, FlushCompress::Finish).unwrap();
    out.push(0);
    out
}

/// Two blocks in one message (7.2.3.5).
fn in_two_blocks(payload: &[u8]) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::new(6), false);
    let (begin, end) = payload.split_at(payload.len() / 2);
    let mut out = Vec::with_capacity(payload.len() + 256);
    deflate.compress_vec(begin, &mut out, FlushCompress::Sync).unwrap();
    deflate.compress_vec(end, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

fn small(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(TEXT | RSV1, deflated(payload.as_ref(), 6))
}

#[tokio::test]
async fn compressed_messages_are_read_however_they_are_compressed_and_cut() {
    let mut cases: Vec<Case> = Vec::new();
    for (number, size) in [64, 256, 1 << 10, 4 << 10, 16 << 10, LIMIT].into_iter().enumerate() {
        let text = asked_in("x", size);
        for level in [0, 1, 6, 9] {
            let name = format!("12.1.{}: {size} bytes at level {level}", number + 1);
            let compressed = deflated(&text, level);
            // Stored, it is larger than what may come.
            if compressed.len() <= LIMIT {
                cases.push(case(name, frame(TEXT | RSV1, compressed), vec![answer("x")]));
            }
        }
    }
    let text = asked_in("x", 2_000);
    let compressed = deflated(&text, 6);
    let (begin, end) = compressed.split_at(compressed.len() / 2);
    let parts = [frame(TEXT_BEGINS | RSV1, begin), frame(PING, "amid"), frame(ENDS, end)];
    let interrupted = || vec![Heard::Pong(b"amid".to_vec()), answer("x")];
    cases.extend([
        case("12.2: in two parts, a ping between them", parts.clone(), interrupted()),
        case("12.2: the same, octet by octet", parts, interrupted()).in_pieces(1),
        case(
            "12.3: one compressed, one not, one compressed",
            [small(asked("a")), frame(TEXT, asked("b")), small(asked("c"))],
            vec![answer("a"), answer("b"), answer("c")],
        ),
        case("12.4: in two blocks", frame(TEXT | RSV1, in_two_blocks(&text)), vec![answer("x")]),
        case("12.5: the last block says so", frame(TEXT | RSV1, ended(asked("x").as_bytes())), vec![answer("x")]),
        case("12: an empty message", frame(TEXT | RSV1, [0]), vec![Heard::Refused]),
        case("12: letters of several bytes", small(asked("κόσμε")), vec![answer("κόσμε")]),
        case("12: many", (0..100).map(|number| small(asked(&number.to_string()))).collect::<Vec<_>>(), {
            (0..100).map(|number| answer(&number.to_string())).collect()
        }),
    ]);
    run_compressed(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_compressed_message_ends_the_connection() {
    let wrong = || vec![Heard::Closed(1002)];
    let garbage = || vec![Heard::Closed(1007)];
    let bomb = deflated(&vec![b' '; 16 * 1024 * 1024], 9);
    assert!(bomb.len() < LIMIT, "the bomb is small: {}", bomb.len());
    let over = asked_in("x", LIMIT + 1);
    let (begin, end) = bomb.split_at(bomb.len() / 2);
    let text = deflated(asked("x").as_bytes(), 6);
    let cases = vec![
        case(
            "13: RSV1 on what goes on",
            [frame(TEXT_BEGINS | RSV1, &text[..3]), frame(ENDS | RSV1, &text[3..])],
            wrong(),
        ),
        case("13: RSV1 on a ping", frame(PING | RSV1, "x"), wrong()),
        case("13: RSV1 on a close", frame(CLOSE | RSV1, [3, 232]), wrong()),
        case("13: RSV2 although RSV1 is agreed on", frame(TEXT | 0x20, "x"), wrong()),
        case("13: RSV1 on nothing to go on with", frame(GOES_ON | RSV1, "x"), wrong()),
        case("13: no compressed data", frame(TEXT | RSV1, [0xff; 40]), garbage()).or(1002),
        case("13: a block of a kind that is not there", frame(TEXT | RSV1, [0x07, 0, 0, 0]), garbage()).or(1002),
        case("13: a stored block whose length is not its length", frame(TEXT | RSV1, [0, 5, 0, 9, 9, b'x']), garbage())
            .or(1002),
        case("13: a reference to before the beginning", frame(TEXT | RSV1, BEFORE), garbage()).or(1002),
        case(
            "13: compressed, and no UTF-8",
            small([b"{\"ref\":\"", &[0xed, 0xa0, 0x80][..], b"\"}"].concat()),
            garbage(),
        ),
        case("13: compressed bytes", frame(BINARY | RSV1, deflated(b"x", 6)), vec![Heard::Closed(1003)]),
        case("13: one byte over the limit", small(&over), vec![Heard::Closed(1009)]),
        case("13: a bomb", frame(TEXT | RSV1, &bomb), vec![Heard::Closed(1009)]),
        case(
            "13: a bomb in two parts",
            [frame(TEXT_BEGINS | RSV1, begin), frame(ENDS, end)],
            vec![Heard::Closed(1009)],
        ),
    ];
    run_compressed(world::start().await.address(), cases).await;
}

/// A block of fixed codes that copies three bytes from one byte before the first.
const BEFORE: [u8; 3] = [0x03, 0x02, 0x00];

#[tokio::test]
async fn nothing_is_compressed_unless_it_is_agreed_on() {
    let text = small(asked("x"));
    run(world::start().await.address(), vec![case("13: RSV1, and nothing offered", text, vec![Heard::Closed(1002)])])
        .await;
}

#[tokio::test]
async fn what_is_told_comes_compressed_where_it_is_large_and_that_is_agreed_on() {
    let world = world::start().await;
    let deflated = Client::offer(world.address(), "permessage-deflate").await.0;
    let (plain, mut all) = (Client::connect(world.address()).await, Vec::new());
    for mut client in [deflated, plain] {
        client.send(&frame(TEXT, r#"{"type":"subscribe","rooms":["all"],"snapshot":false}"#)).await;
        // The welcome, and the answer.
        for _ in 0..2 {
            assert_eq!(client.frame().await.unwrap().first, TEXT);
        }
        all.push(client);
    }
    for (number, size, first) in
        [(1, 1_000, TEXT | RSV1), (2, 10, TEXT), (3, 100_000, TEXT | RSV1), (4, 1_000, TEXT | RSV1)]
    {
        world.announce(number..number + 1, size).await;
        let [compressed, plain] = [all[0].frame().await.unwrap(), all[1].frame().await.unwrap()];
        assert_eq!((compressed.first, plain.first), (first, TEXT), "{size}");
        assert!(compressed.payload.len() <= plain.payload.len());
        let text = if first == TEXT { compressed.payload } else { all[0].inflated(&compressed.payload) };
        assert!(text == plain.payload && text.len() > size, "{size}: each says the same");
    }
}

/// What an offer must and must not lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreed {
    Yes,
    No,
}

const OFFERS: &[(&str, Agreed)] = &[
    ("permessage-deflate", Agreed::Yes),
    ("permessage-deflate; client_no_context_takeover", Agreed::Yes),
    ("permessage-deflate; server_no_context_takeover", Agreed::Yes),
    ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Agreed::Yes),
    ("permessage-deflate; client_max_window_bits", Agreed::Yes),
    ("permessage-deflate; client_max_window_bits=15", Agreed::Yes),
    ("permessage-deflate; client_max_window_bits=\"10\"", Agreed::Yes),
    ("permessage-deflate;client_no_context_takeover;client_max_window_bits=9", Agreed::Yes),
    ("permessage-bzip2, permessage-deflate", Agreed::Yes),
    ("permessage-deflate; mystery=1, permessage-deflate", Agreed::Yes),
    ("permessage-bzip2", Agreed::No),
    ("permessage-deflate; mystery", Agreed::No),
    ("permessage-deflate; client_max_window_bits=7", Agreed::No),
    ("permessage-deflate; client_max_window_bits=16", Agreed::No),
    ("permessage-deflate; client_max_window_bits=x", Agreed::No),
    ("permessage-deflate; server_max_window_bits", Agreed::No),
    ("permessage-deflate; server_max_window_bits=16", Agreed::No),
    ("permessage-deflate; server_no_context_takeover=1", Agreed::No),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", Agreed::No),
];

#[tokio::test]
async fn an_offer_is_agreed_to_only_as_it_was_made() {
    let world = world::start().await;
    for (offer, expected) in OFFERS {
        let (mut client, agreed) = Client::offer(world.address(), offer).await;
        assert_eq!(agreed.is_some(), *expected == Agreed::Yes, "{offer}: {agreed:?}");
        let agreed = agreed.unwrap_or_default();
        let mut parameters = agreed.split(';').map(str::trim).skip(1);
        let names: Vec<&str> = parameters.clone().map(|one| one.split('=').next().unwrap_or(one).trim()).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{offer}: {name} stands twice: {agreed}");
        }
        if !offer.contains("client_max_window_bits") {
            assert!(!names.contains(&"client_max_window_bits"), "{offer}: nobody offered that: {agreed}");
        }
        if offer.contains("server_no_context_takeover") && *expected == Agreed::Yes {
            assert!(parameters.any(|one| one == "server_no_context_takeover"), "{offer}: {agreed}");
        }
        // In effect it is as agreed: twice the same message, the second in terms of the first where that is allowed.
        let mut deflate = Compress::new(Compression::new(6), false);
        for reference in ["one", "two"] {
            let text = asked_in(reference, 300);
            if *expected == Agreed::No {
                client.send(&frame(TEXT, text)).await;
            } else {
                if names.contains(&"client_no_context_takeover") {
                    deflate.reset();
                }
                let text = if names.contains(&"client_max_window_bits") {
                    deflated(&text, 0)
                } else {
                    deflated_by(&mut deflate, &text)
                };
                client.send(&frame(TEXT | RSV1, text)).await;
            }
            assert_eq!(case::hear(&mut client).await, answer(reference), "{offer}");
        }
    }
}

/// RFC 7692 leaves only these (7.1.2.1), also for the window that everybody has.
#[tokio::test]
async fn a_window_of_the_server_is_granted_or_the_offer_is_not_taken() {
    let world = world::start().await;
    for bits in 8..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let (mut client, agreed) = Client::offer(world.address(), &offer).await;
        if let Some(agreed) = agreed {
            let granted = agreed.split(';').find_map(|one| one.trim().strip_prefix("server_max_window_bits="));
            let granted: u32 = granted.expect("the window is granted").parse().unwrap();
            assert!(granted <= bits, "{offer}: {agreed}");
        }
        client.send(&frame(TEXT, asked("x"))).await;
        assert_eq!(case::hear(&mut client).await, answer("x"), "{offer}");
    }
}
