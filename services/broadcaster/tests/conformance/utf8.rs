//! Section 6: texts that are UTF-8 and texts that are not, after Markus Kuhn's decoder test, whole and over every boundary.

use super::case::{Case, Heard, answer, case, run};
use super::frame::{ENDS, GOES_ON, TEXT, TEXT_BEGINS, asked, frame, parts};
use super::world;

/// What a text must hold to be taken, by section.
const VALID: &[(&str, &str)] = &[
    ("6.2: letters with and without marks", "Hello-µ@ßöäüàá-UTF-8!!"),
    ("6.5: a Greek word", "κόσμε"),
    ("6.7.1: the first of one byte that JSON takes", "\u{20}"),
    ("6.7.2: the first of two bytes", "\u{80}"),
    ("6.7.3: the first of three bytes", "\u{800}"),
    ("6.7.4: the first of four bytes", "\u{10000}"),
    ("6.9.1: the last of one byte", "\u{7f}"),
    ("6.9.2: the last of two bytes", "\u{7ff}"),
    ("6.9.3: the last of three bytes", "\u{ffff}"),
    ("6.9.4: the last there is", "\u{10ffff}"),
    ("6.11.1: the last before the surrogates", "\u{d7ff}"),
    ("6.11.2: the first after the surrogates", "\u{e000}"),
    ("6.11.3: the replacement character", "\u{fffd}"),
    ("6.11.4: the last but fifteen", "\u{10fff0}"),
    ("6.22.1: no character, and valid", "\u{fffe}"),
    ("6.22.2: no character, and valid", "\u{ffff}"),
    ("6.22.3: no character in the first plane", "\u{1fffe}\u{1ffff}"),
    ("6.22.4: no character in the second plane", "\u{2fffe}\u{2ffff}"),
    ("6.22.5: no character in the eighth plane", "\u{8fffe}\u{8ffff}"),
    ("6.22.6: no character in the last plane", "\u{10fffe}\u{10ffff}"),
    ("6.23.1: annotations and the byte order mark", "\u{fff9}\u{fffa}\u{fffb}\u{feff}"),
    ("6.23.2: an emoji of several", "👩\u{200d}🔧"),
];

/// What no text may hold, by section.
const INVALID: &[(&str, &[u8])] = &[
    ("6.3: a surrogate after a word", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),
    ("6.4: beyond the last after a word", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited"),
    ("6.8.1: the first of five bytes", b"\xf8\x88\x80\x80\x80"),
    ("6.8.2: the first of six bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("6.10.1: the last of four bytes", b"\xf7\xbf\xbf\xbf"),
    ("6.10.2: the last of five bytes", b"\xfb\xbf\xbf\xbf\xbf"),
    ("6.10.3: the last of six bytes", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    ("6.11.5: the first beyond the last", b"\xf4\x90\x80\x80"),
    ("6.12.1: the first continuation alone", b"\x80"),
    ("6.12.2: the last continuation alone", b"\xbf"),
    ("6.12.3: two continuations", b"\x80\xbf"),
    ("6.12.4: three continuations", b"\x80\xbf\x80"),
    ("6.12.5: four continuations", b"\x80\xbf\x80\xbf"),
    ("6.12.6: five continuations", b"\x80\xbf\x80\xbf\x80"),
    ("6.12.7: six continuations", b"\x80\xbf\x80\xbf\x80\xbf"),
    ("6.13.1: starts of two bytes, a blank after each", b"\xc0 \xc1 \xc2 \xdf "),
    ("6.13.2: starts of three bytes", b"\xe0 \xe7 \xef "),
    ("6.13.3: starts of four bytes", b"\xf0 \xf3 \xf7 "),
    ("6.13.4: starts of five bytes", b"\xf8 \xf9 \xfb "),
    ("6.13.5: starts of six bytes", b"\xfc \xfd "),
    ("6.14.1: two bytes without the last", b"\xc0"),
    ("6.14.2: three bytes without the last", b"\xe0\x80"),
    ("6.14.3: four bytes without the last", b"\xf0\x80\x80"),
    ("6.14.4: five bytes without the last", b"\xf8\x80\x80\x80"),
    ("6.14.5: six bytes without the last", b"\xfc\x80\x80\x80\x80"),
    ("6.14.6: the last of two bytes without its last", b"\xdf"),
    ("6.14.7: the last of three bytes without its last", b"\xef\xbf"),
    ("6.14.8: the last of four bytes without its last", b"\xf7\xbf\xbf"),
    ("6.14.9: the last of five bytes without its last", b"\xfb\xbf\xbf\xbf"),
    ("6.14.10: the last of six bytes without its last", b"\xfd\xbf\xbf\xbf\xbf"),
    ("6.15.1: all of those", b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf"),
    ("6.16.1: a byte that never stands", b"\xfe"),
    ("6.16.2: the other one", b"\xff"),
    ("6.16.3: both", b"\xfe\xfe\xff\xff"),
    ("6.17.1: a slash in two bytes", b"\xc0\xaf"),
    ("6.17.2: a slash in three bytes", b"\xe0\x80\xaf"),
    ("6.17.3: a slash in four bytes", b"\xf0\x80\x80\xaf"),
    ("6.17.4: a slash in five bytes", b"\xf8\x80\x80\x80\xaf"),
    ("6.17.5: a slash in six bytes", b"\xfc\x80\x80\x80\x80\xaf"),
    ("6.18.1: the longest too long of two bytes", b"\xc1\xbf"),
    ("6.18.2: the longest too long of three bytes", b"\xe0\x9f\xbf"),
    ("6.18.3: the longest too long of four bytes", b"\xf0\x8f\xbf\xbf"),
    ("6.18.4: the longest too long of five bytes", b"\xf8\x87\xbf\xbf\xbf"),
    ("6.18.5: the longest too long of six bytes", b"\xfc\x83\xbf\xbf\xbf\xbf"),
    ("6.19.1: zero in two bytes", b"\xc0\x80"),
    ("6.19.2: zero in three bytes", b"\xe0\x80\x80"),
    ("6.19.3: zero in four bytes", b"\xf0\x80\x80\x80"),
    ("6.19.4: zero in five bytes", b"\xf8\x80\x80\x80\x80"),
    ("6.19.5: zero in six bytes", b"\xfc\x80\x80\x80\x80\x80"),
    ("6.20.1: U+D800", b"\xed\xa0\x80"),
    ("6.20.2: U+DB7F", b"\xed\xad\xbf"),
    ("6.20.3: U+DB80", b"\xed\xae\x80"),
    ("6.20.4: U+DBFF", b"\xed\xaf\xbf"),
    ("6.20.5: U+DC00", b"\xed\xb0\x80"),
    ("6.20.6: U+DF80", b"\xed\xbe\x80"),
    ("6.20.7: U+DFFF", b"\xed\xbf\xbf"),
    ("6.21.1: a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("6.21.2: a pair of surrogates", b"\xed\xa0\x80\xed\xbf\xbf"),
    ("6.21.3: a pair of surrogates", b"\xed\xad\xbf\xed\xb0\x80"),
    ("6.21.4: a pair of surrogates", b"\xed\xad\xbf\xed\xbf\xbf"),
    ("6.21.5: a pair of surrogates", b"\xed\xae\x80\xed\xb0\x80"),
    ("6.21.6: a pair of surrogates", b"\xed\xae\x80\xed\xbf\xbf"),
    ("6.21.7: a pair of surrogates", b"\xed\xaf\xbf\xed\xb0\x80"),
    ("6.21.8: a pair of surrogates", b"\xed\xaf\xbf\xed\xbf\xbf"),
];

/// Our message around bytes of its `ref`.
fn holding(bytes: &[u8]) -> Vec<u8> {
    [b"{\"type\":\"ping\",\"ref\":\"", bytes, b"\"}"].concat()
}

/// A message whole, in two parts cut amid the bytes, in parts of one byte, and octet by octet.
fn every_way(name: &str, text: &[u8], cut: usize, expected: &[Heard]) -> Vec<Case> {
    let (begin, end) = text.split_at(cut);
    let named = |way: &str| format!("{name}{way}");
    vec![
        case(named(""), frame(TEXT, text), expected.to_vec()),
        case(named(", in two parts"), [frame(TEXT_BEGINS, begin), frame(ENDS, end)], expected.to_vec()),
        case(named(", in parts of one byte"), parts(text, 1), expected.to_vec()),
        case(named(", octet by octet"), frame(TEXT, text), expected.to_vec()).in_pieces(1),
    ]
}

/// Where the bytes begin in [`holding`], and one further: amid them where they are several.
const AMID: usize = 23;

#[tokio::test]
async fn a_text_that_is_utf_8_is_taken_wherever_it_is_cut() {
    let mut cases = vec![
        case("6.1.1: an empty text", frame(TEXT, ""), vec![Heard::Refused]),
        case(
            "6.1.2: three empty parts",
            [frame(TEXT_BEGINS, ""), frame(GOES_ON, ""), frame(ENDS, "")],
            vec![Heard::Refused],
        ),
        case(
            "6.1.3: an empty part before and after",
            [frame(TEXT_BEGINS, ""), frame(GOES_ON, asked("middle")), frame(ENDS, "")],
            vec![answer("middle")],
        ),
    ];
    for (name, text) in VALID {
        cases.extend(every_way(name, &holding(text.as_bytes()), AMID, &[answer(text)]));
    }
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_text_that_is_not_utf_8_ends_the_connection_wherever_it_is_cut() {
    let mut cases = Vec::new();
    for (name, bytes) in INVALID {
        cases.extend(every_way(name, &holding(bytes), AMID, &[Heard::Closed(1007)]));
    }
    run(world::start().await.address(), cases).await;
}

#[tokio::test]
async fn a_text_that_ends_amid_a_character_is_not_utf_8() {
    let word = "κόσμε".as_bytes();
    let mut cases = Vec::new();
    for length in 1..=word.len() {
        let part = &word[..length];
        // Alone, so that nothing after it makes it whole.
        let expected = if std::str::from_utf8(part).is_ok() { Heard::Refused } else { Heard::Closed(1007) };
        let name = format!("6.6.{length}: the first {length} bytes of a word");
        cases.extend(every_way(&name, part, length.min(1), &[expected]));
    }
    run(world::start().await.address(), cases).await;
}

/// No sooner than now need it be noticed, and no later than when the message is whole: Autobahn takes both.
#[tokio::test]
async fn a_broken_text_is_noticed_when_its_message_ends_at_the_latest() {
    let broken = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80";
    let cases = vec![
        case(
            "6.4.1: broken in the first of three parts",
            [frame(TEXT_BEGINS, broken), frame(GOES_ON, "edited"), frame(ENDS, "")],
            vec![Heard::Closed(1007)],
        ),
        case(
            "6.4.2: broken by what the second begins with",
            [frame(TEXT_BEGINS, &broken[..12]), frame(GOES_ON, &broken[12..]), frame(ENDS, "edited")],
            vec![Heard::Closed(1007)],
        ),
        case(
            "6.4.3: broken in the first of three pieces",
            frame(TEXT, [&broken[..], b"edited"].concat()),
            vec![Heard::Closed(1007)],
        )
        .in_pieces(11),
    ];
    run(world::start().await.address(), cases).await;
}
