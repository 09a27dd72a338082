//! Sections 2 and 7: pings, pongs, and how a connection is closed.

use super::case::{Case, Heard, answer, case, run};
use super::frame::{CLOSE, ENDS, PING, PONG, TEXT, TEXT_BEGINS, asked, asked_in, close, frame};
use super::world;

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_and_a_pong_is_not() {
    let echoed = |name: &str, payload: &[u8]| case(name, frame(PING, payload), vec![Heard::Pong(payload.to_vec())]);
    let many: Vec<Vec<u8>> = (0..10).map(|number| format!("payload {number}").into_bytes()).collect();
    let pings = || many.iter().map(|payload| frame(PING, payload)).collect::<Vec<_>>();
    let answers = || many.iter().cloned().map(Heard::Pong).collect::<Vec<_>>();
    let cases: Vec<Case> = vec![
        echoed("2.1: an empty ping", b""),
        echoed("2.2: a ping with words", b"Hello, world!"),
        echoed("2.3: a ping with bytes", &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]),
        echoed("2.4: a ping with 125 bytes", &[0xfe; 125]),
        case("2.5: a ping with 126 bytes", frame(PING, [0xfe; 126]), vec![Heard::Closed(1002)]),
        echoed("2.6: a ping with 125 bytes, octet by octet", &[0xfe; 125]).in_pieces(1),
        case("2.7: an empty pong that nobody asked for", frame(PONG, ""), vec![]),
        case("2.8: a pong with words that nobody asked for", frame(PONG, "unsolicited"), vec![]),
        case(
            "2.9: such a pong, then a ping",
            [frame(PONG, "unsolicited"), frame(PING, "asked")],
            vec![Heard::Pong(b"asked".to_vec())],
        ),
        case("2.10: ten pings", pings(), answers()),
        case("2.11: ten pings, octet by octet", pings(), answers()).in_pieces(1),
    ];
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_close_is_answered_and_nothing_is_said_after_it() {
    let text = |reference: &str| frame(TEXT, asked(reference));
    let bye = || close(1000, "");
    let closed = || vec![Heard::Closed(1000)];
    let reason = |length: usize| close(1000, "*".repeat(length));
    let cases = vec![
        case("7.1.1: a text, then a close", [text("a"), bye()], vec![answer("a"), Heard::Closed(1000)]),
        case("7.1.2: two closes", [bye(), bye()], closed()),
        case("7.1.3: a ping after the close", [bye(), frame(PING, "late")], closed()),
        case("7.1.4: a text after the close", [bye(), text("late")], closed()),
        case("7.1.5: a close amid a message", [frame(TEXT_BEGINS, "{"), bye(), frame(ENDS, "}")], closed()),
        case(
            "7.1.6: a large text, a close, a ping",
            [frame(TEXT, asked_in("large", 65_536)), bye(), frame(PING, "late")],
            vec![answer("large"), Heard::Closed(1000)],
        ),
        case("7.3.1: a close with nothing", frame(CLOSE, ""), vec![Heard::Closed(1005)]).or(1000),
        case("7.3.2: a close with one byte", frame(CLOSE, [3]), vec![Heard::Closed(1002)]),
        case("7.3.3: a close with a code", bye(), closed()),
        case("7.3.4: a close with a reason", close(1000, "Hello World!"), closed()),
        case("7.3.5: a close with the longest reason", reason(123), closed()),
        case("7.3.6: a close with a reason too long", reason(124), vec![Heard::Closed(1002)]),
        case("7.3: a close octet by octet", close(1000, "Hello World!"), closed()).in_pieces(1),
        case("7.5.1: a reason that is no UTF-8", close(1000, KOSME_BROKEN), vec![Heard::Closed(1007)]),
        case("7: a close that is not the end of its message", frame(0x08, [3, 232]), vec![Heard::Closed(1002)]),
    ];
    run(world::start().await.address(), cases).await;
}

/// A Greek word, and half of a surrogate pair after it.
const KOSME_BROKEN: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";

#[tokio::test]
async fn codes_that_may_be_sent_are_taken_and_others_are_not() {
    let mut cases = Vec::new();
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    for (number, code) in valid.into_iter().enumerate() {
        let name = |what| format!("7.7.{}: code {code} {what}", number + 1);
        cases.push(case(name("alone"), close(code, ""), vec![Heard::Closed(code)]).or(1000));
        cases.push(case(name("with a reason"), close(code, "reason"), vec![Heard::Closed(code)]).or(1000));
    }
    let invalid = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    for (number, code) in invalid.into_iter().enumerate() {
        let name = |what| format!("7.9.{}: code {code} {what}", number + 1);
        cases.push(case(name("alone"), close(code, ""), vec![Heard::Closed(1002)]));
        cases.push(case(name("with a reason"), close(code, "reason"), vec![Heard::Closed(1002)]));
    }
    run(world::start().await.address(), cases).await;
}
