//! Makes inputs out of seeds: cut, doubled, spliced, and with what parsers stumble over. The same number makes the same input.

/// What parsers stumble over.
const WORDS: [&[u8]; 26] = [
    b"null",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"\"\"",
    b"{}",
    b"[]",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":",
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xf0\x9f\x98\x80",
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"\r\n",
    b"\n\n",
    b"data:",
    b"event: status_change",
    b"=",
    b"\"\"\"",
    b"9999-12-31T23:59:60Z",
    b"../..",
    b"%00",
    b"sha256=",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
];
/// The longest input.
const LENGTH_MAX: usize = 64 * 1024;

/// Numbers that look random and are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let below = (mixed ^ (mixed >> 31)) % u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from(below).unwrap_or(0)
    }
}

/// Input number `number` that is made of these seeds; the first ones are the seeds themselves.
pub fn input(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    if let Some(seed) = usize::try_from(number).ok().and_then(|number| seeds.get(number)) {
        return seed.clone();
    }
    let mut dice = Dice(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut bytes = seeds.get(dice.below(seeds.len())).cloned().unwrap_or_default();
    for _ in 0..=dice.below(8) {
        mutate(&mut bytes, seeds, &mut dice);
    }
    bytes.truncate(LENGTH_MAX);
    bytes
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let length = dice.below(bytes.len() - at + 1).min(1 << dice.below(12));
    match dice.below(8) {
        0 => drop(bytes.drain(at..at + length)),
        1 => bytes.truncate(at),
        2 => {
            let word = WORDS[dice.below(WORDS.len())];
            bytes.splice(at..at + length.min(word.len()), word.iter().copied());
        }
        3 => {
            let word = WORDS[dice.below(WORDS.len())];
            bytes.splice(at..at, word.iter().copied());
        }
        4 => {
            let part = bytes[at..at + length].repeat(1 + dice.below(3));
            bytes.splice(at..at, part);
        }
        5 => {
            let other = seeds.get(dice.below(seeds.len())).map_or(&[][..], Vec::as_slice);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[dice.below(other.len() + 1)..]);
        }
        6 => {
            // One word many times: what is deep or long.
            let word = WORDS[dice.below(WORDS.len())].repeat(1 << dice.below(12));
            bytes.splice(at..at, word);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
    bytes.truncate(LENGTH_MAX);
}
