//! Changing bytes: what strangers, and broken disks, do to them.

use crate::random::Random;

/// Bytes that lengths, numbers and texts of our formats turn on.
const TELLING: [&[u8]; 16] = [
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xfb",
    b"\xfc\xff\xff\xff\xff",
    b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"-----BEGIN ",
    b"\r\n\r\n",
    b"..",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"18446744073709551616",
    "\u{202e}\u{0}".as_bytes(),
];
/// No input grows beyond this.
const MOST_BYTES: usize = 64 << 10;

/// Makes the next input out of a seed.
pub(crate) fn change(seeds: &[Vec<u8>], random: &mut Random, input: &mut Vec<u8>) {
    input.clone_from(&seeds[at(random, seeds.len())]);
    for _ in 0..=random.below(4) {
        once(seeds, random, input);
    }
    input.truncate(MOST_BYTES);
}

fn at(random: &mut Random, end: usize) -> usize {
    random.below(end as u64) as usize
}

fn once(seeds: &[Vec<u8>], random: &mut Random, input: &mut Vec<u8>) {
    let place = at(random, input.len() + 1);
    let rest = input.len() - place;
    match random.below(9) {
        0 if rest > 0 => input[place] ^= 1 << random.below(8),
        1 if rest > 0 => input[place] = random.next() as u8,
        2 => input.truncate(place),
        3 => {
            let end = place + at(random, rest.min(64) + 1);
            input.drain(place..end);
        }
        4 => {
            let end = place + at(random, rest.min(256) + 1);
            let copy = input[place..end].to_vec();
            let to = at(random, input.len() + 1);
            for _ in 0..=random.below(8) {
                input.splice(to..to, copy.iter().copied());
            }
        }
        5 => {
            let telling = TELLING[at(random, TELLING.len())];
            input.splice(place..place, telling.iter().copied());
        }
        6 => {
            let telling = TELLING[at(random, TELLING.len())];
            let end = (place + telling.len()).min(input.len());
            input.splice(place..end, telling.iter().copied());
        }
        7 => {
            // The end of another seed.
            let other = &seeds[at(random, seeds.len())];
            input.truncate(place);
            input.extend_from_slice(&other[at(random, other.len() + 1)..]);
        }
        _ => {
            let bytes = (0..random.below(16)).map(|_| random.next() as u8).collect::<Vec<u8>>();
            input.splice(place..place, bytes);
        }
    }
}
