//! Sections 1, 3 and 4: sizes, reserved bits, reserved opcodes; and masks and lengths, of which Autobahn has no cases.

use super::case::{Case, Heard, answer, case, run};
use super::frame::{self, BINARY, CLOSE, Length, PING, RSV1, TEXT, asked, asked_in, frame, frame_as, unmasked};
use super::world;

const SIZES: [usize; 7] = [0, 125, 126, 127, 128, 65_535, 65_536];

#[tokio::test]
async fn texts_of_every_size_are_read() {
    let mut cases = Vec::new();
    for (number, size) in SIZES.into_iter().enumerate() {
        let name = format!("1.1.{}: a text of {size} bytes", number + 1);
        cases.push(match size {
            0 => case(name, frame(TEXT, ""), vec![Heard::Refused]),
            _ => case(name, frame(TEXT, asked_in("size", size)), vec![answer("size")]),
        });
    }
    cases.push(
        case("1.1.8: 65,536 bytes in pieces of 997", frame(TEXT, asked_in("size", 65_536)), vec![answer("size")])
            .in_pieces(997),
    );
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn bytes_of_every_size_end_a_connection_whose_messages_are_texts() {
    let mut cases = Vec::new();
    for (number, size) in SIZES.into_iter().enumerate() {
        let name = format!("1.2.{}: {size} bytes", number + 1);
        cases.push(case(name, frame(BINARY, vec![0xfe; size]), vec![Heard::Closed(1003)]));
    }
    let whole = frame(BINARY, vec![0xfe; 65_536]);
    cases.push(case("1.2.8: 65,536 bytes in pieces of 997", whole, vec![Heard::Closed(1003)]).in_pieces(997));
    let parts = frame::parts_of(BINARY, &[0xfe; 1_000], 100);
    cases.push(case("1.2: bytes in parts", parts, vec![Heard::Closed(1003)]));
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_reserved_bit_ends_the_connection() {
    let text = || frame(TEXT, asked("before"));
    let bits = |first: u8, bits: u8| frame(first | (bits << 4), "Hello, world!");
    let wrong = || vec![Heard::Closed(1002)];
    let after = || vec![answer("before"), Heard::Closed(1002)];
    let ping = || frame(PING, "");
    let cases = vec![
        case("3.1: RSV1 with nothing agreed on", bits(TEXT, 4), wrong()),
        case("3.1: RSV3", bits(TEXT, 1), wrong()),
        case("3.2: RSV2 after a text, and a ping that is not read", [text(), bits(TEXT, 2), ping()], after()),
        case("3.3: RSV2 and RSV3", [text(), bits(TEXT, 3), ping()], after()).in_pieces(20),
        case("3.4: RSV1 octet by octet", [text(), bits(TEXT, 4), ping()], after()).in_pieces(1),
        case("3.5: RSV1 and RSV3 on bytes", bits(BINARY, 5), wrong()),
        case("3.6: RSV1 and RSV2 on a ping", bits(PING, 6), wrong()),
        case("3.7: all on a close", bits(CLOSE, 7), wrong()),
    ];
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_reserved_opcode_ends_the_connection() {
    let mut cases = Vec::new();
    for (section, opcodes) in [("4.1", 3..=7_u8), ("4.2", 11..=15)] {
        for (number, opcode) in opcodes.enumerate() {
            let name = |what: &str| format!("{section}.{}: opcode {opcode} {what}", number + 1);
            let wrong = || vec![Heard::Closed(1002)];
            cases.push(case(name("alone"), frame(0x80 | opcode, ""), wrong()));
            cases.push(case(name("with a payload"), frame(0x80 | opcode, "reserved"), wrong()));
            let text = frame(TEXT, asked("before"));
            let bytes = [text, frame(0x80 | opcode, "reserved"), frame(PING, "")];
            let expected = || vec![answer("before"), Heard::Closed(1002)];
            cases.push(case(name("after a text"), bytes.clone(), expected()));
            cases.push(case(name("after a text, octet by octet"), bytes, expected()).in_pieces(1));
        }
    }
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_frame_that_is_not_masked_ends_the_connection() {
    let wrong = || vec![Heard::Closed(1002)];
    let text = asked("mask");
    let zero = frame_as(TEXT, text.as_bytes(), Length::Shortest, Some([0; 4]));
    let cases = vec![
        case("mask: a text without one", unmasked(TEXT, text.as_bytes()), wrong()),
        case("mask: a ping without one", unmasked(PING, b""), wrong()),
        case("mask: a close without one", unmasked(CLOSE, &[3, 232]), wrong()),
        case("mask: one of zeros is one", zero, vec![answer("mask")]),
    ];
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_length_is_written_in_the_shortest_form_and_believed_only_up_to_the_limit() {
    let mask = Some([1, 2, 3, 4]);
    let text = asked_in("length", 100);
    let medium = asked_in("length", 1_000);
    let longer = |payload: &[u8], length| frame_as(TEXT, payload, length, mask);
    let cases: Vec<Case> = vec![
        case("length: 100 in two bytes", longer(&text, Length::Medium), vec![Heard::Closed(1002)]),
        case("length: 100 in eight bytes", longer(&text, Length::Long), vec![Heard::Closed(1002)]),
        case("length: 1,000 in eight bytes", longer(&medium, Length::Long), vec![Heard::Closed(1002)]),
        case("length: its highest bit is set", longer(&text, Length::Claimed(1 << 63)), vec![Heard::Closed(1002)])
            .or(1009),
        case("length: all bits are set", longer(&text, Length::Claimed(u64::MAX)), vec![Heard::Closed(1002)]).or(1009),
        case("length: a tebibyte is claimed", longer(&text, Length::Claimed(1 << 40)), vec![Heard::Closed(1009)]),
        case(
            "length: a control frame in two bytes",
            frame_as(PING, &text, Length::Medium, mask),
            vec![Heard::Closed(1002)],
        ),
        case(
            "length: a control frame claims 64 KiB",
            frame_as(PING, &text, Length::Claimed(65_536), mask),
            vec![Heard::Closed(1002)],
        ),
        case("length: compressed, with nothing agreed on", frame(TEXT | RSV1, &text), vec![Heard::Closed(1002)]),
    ];
    run(world::start().await.address(), cases).await;
}
