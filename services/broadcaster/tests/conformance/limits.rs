//! Sections 9 and 10: large messages, many messages, and where the limit is.

use super::case::{Case, Heard, answer, case, run};
use super::frame::{GOES_ON, Length, PING, TEXT, TEXT_BEGINS, asked, asked_in, frame, frame_as, parts};
use super::world;

/// `frame_max_bytes`, as it is unless something else is set.
const LIMIT: usize = 64 * 1024;

#[tokio::test]
async fn a_message_as_large_as_the_limit_is_read_however_it_comes() {
    let mut cases: Vec<Case> = Vec::new();
    for size in [1 << 10, 4 << 10, 16 << 10, LIMIT] {
        cases.push(case(format!("9.1: {size} bytes"), frame(TEXT, asked_in("x", size)), vec![answer("x")]));
    }
    for part in [64, 256, 1 << 10, 4 << 10, 16 << 10, LIMIT] {
        let name = format!("9.3: {LIMIT} bytes in parts of {part}");
        cases.push(case(name, parts(&asked_in("x", LIMIT), part), vec![answer("x")]));
    }
    for piece in [64, 128, 256, 512, 1 << 10, 2 << 10] {
        let name = format!("9.5: {LIMIT} bytes in pieces of {piece}");
        cases.push(case(name, frame(TEXT, asked_in("x", LIMIT)), vec![answer("x")]).in_pieces(piece));
    }
    let name = "10.1.1: 65,536 bytes in parts of 1,300";
    cases.push(case(name, parts(&asked_in("x", LIMIT), 1_300), vec![answer("x")]));
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection() {
    let over = asked_in("x", LIMIT + 1);
    let closed = || vec![Heard::Closed(1009)];
    let head = frame_as(TEXT, b"", Length::Claimed(LIMIT as u64 + 1), Some([1, 2, 3, 4]));
    let endless: Vec<Vec<u8>> = (0..100).map(|_| frame(GOES_ON, [b' '; 1_024])).collect();
    let cases = vec![
        case("9: one byte over the limit", frame(TEXT, &over), closed()),
        case("9: one byte over the limit, in parts", parts(&over, 1_000), closed()),
        case("9: a head that claims one byte over the limit", head, closed()),
        case("9: a message that goes on and on", [frame(TEXT_BEGINS, ""), endless.concat()], closed()),
    ];
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn many_messages_are_answered_in_their_order() {
    let references: Vec<String> = (0..300).map(|number| format!("{number}")).collect();
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for (number, reference) in references.iter().enumerate() {
        bytes.push(frame(TEXT, asked(reference)));
        expected.push(answer(reference));
        if number % 50 == 0 {
            bytes.push(frame(PING, reference));
            expected.push(Heard::Pong(reference.clone().into_bytes()));
        }
    }
    let cases = vec![
        case("9.7: three hundred messages at once", bytes.clone(), expected.clone()),
        case("9.8: three hundred messages in pieces of 7", bytes, expected).in_pieces(7),
    ];
    run(world::start().await.address(), cases).await;
}
