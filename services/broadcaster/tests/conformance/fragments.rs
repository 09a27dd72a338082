//! Section 5: messages in parts, with and without other frames between them.

use super::case::{Case, Heard, answer, case, run};
use super::frame::{ENDS, GOES_ON, PING, TEXT, TEXT_BEGINS, asked, frame};
use super::world;

/// Our message in two parts, and what stands between them.
fn around(reference: &str, between: &[Vec<u8>]) -> Vec<u8> {
    let text = asked(reference).into_bytes();
    let (begin, end) = text.split_at(9);
    [frame(TEXT_BEGINS, begin), between.concat(), frame(ENDS, end)].concat()
}

fn pong(payload: &str) -> Heard {
    Heard::Pong(payload.as_bytes().to_vec())
}

#[tokio::test]
async fn a_message_in_parts_is_one_and_control_frames_may_stand_between_them() {
    let ping = |payload: &str| frame(PING, payload);
    let text = asked("five").into_bytes();
    let fifths: Vec<&[u8]> = text.chunks(text.len().div_ceil(5)).collect();
    let five = |between: bool| -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for (at, part) in fifths.iter().enumerate() {
            let first = if at == 0 { TEXT_BEGINS } else { GOES_ON };
            frames.push(frame(if at + 1 == fifths.len() { ENDS } else { first }, part));
            if between && (at == 1 || at == 3) {
                frames.push(ping(&format!("ping {at}")));
            }
        }
        frames
    };
    let interrupted = || vec![pong("ping 1"), pong("ping 3"), answer("five")];
    let mut cases: Vec<Case> = vec![
        case("5.3: two parts", around("two", &[]), vec![answer("two")]),
        case("5.4: two parts, frame by frame", around("two", &[]), vec![answer("two")]).in_pieces(15),
        case("5.5: two parts, octet by octet", around("two", &[]), vec![answer("two")]).in_pieces(1),
        case("5.6: a ping between them", around("two", &[ping("x")]), vec![pong("x"), answer("two")]),
        case("5.7: the same, frame by frame", around("two", &[ping("x")]), vec![pong("x"), answer("two")])
            .in_pieces(15),
        case("5.8: the same, octet by octet", around("two", &[ping("x")]), vec![pong("x"), answer("two")]).in_pieces(1),
        case("5.19: five parts with two pings", five(true), interrupted()),
        case("5.20: the same, octet by octet", five(true), interrupted()).in_pieces(1),
        case("5: five parts", five(false), vec![answer("five")]),
    ];
    let empty: Vec<Vec<u8>> = (0..500).map(|_| frame(GOES_ON, "")).collect();
    cases.push(case("5: five hundred empty parts", around("empty", &empty), vec![answer("empty")]));
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn parts_that_belong_to_nothing_end_the_connection() {
    let text = || frame(TEXT, asked("after"));
    let wrong = || vec![Heard::Closed(1002)];
    let whole = || around("two", &[]);
    let after = || vec![answer("two"), Heard::Closed(1002)];
    let mut cases = vec![
        case("5.1: a ping in two parts", [frame(0x09, "one"), frame(ENDS, "two")], wrong()),
        case("5.2: a pong in two parts", [frame(0x0a, "one"), frame(ENDS, "two")], wrong()),
        case("5.15: a message in parts, and a part too many", [whole(), frame(GOES_ON, "more"), text()], after()),
        case("5.18: a message begins amid another", [frame(TEXT_BEGINS, "{"), text()], wrong()),
        case("5: bytes begin amid a text", [frame(TEXT_BEGINS, "{"), frame(0x82, "x")], wrong()),
    ];
    for (number, first) in [(9, ENDS), (12, GOES_ON)] {
        let bytes = || [frame(first, "nothing before"), text()];
        let name = |offset: u32, what: &str| format!("5.{}: a part of nothing{what}", number + offset);
        cases.push(case(name(0, ""), bytes(), wrong()));
        cases.push(case(name(1, ", frame by frame"), bytes(), wrong()).in_pieces(20));
        cases.push(case(name(2, ", octet by octet"), bytes(), wrong()).in_pieces(1));
    }
    for (number, first) in [(16, GOES_ON), (17, ENDS)] {
        let bytes = [frame(first, "one"), frame(TEXT_BEGINS, "{"), frame(ENDS, "}")];
        cases.push(case(format!("5.{number}: a part of nothing, then a message in parts"), bytes, wrong()));
    }
    run(world::start().await.address(), cases).await;
}
