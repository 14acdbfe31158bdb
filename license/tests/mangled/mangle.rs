//! What mail, forms and tired eyes do to a pasted key, with a seed that repeats it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use quorate_license::Place;

/// Repeats a run: the seed that it printed.
const SEED: &str = "QUORATE_SEED";

/// A small generator: the same seed, the same manglings.
pub(crate) struct Dice(u64);

impl Dice {
    /// From the seed in the environment, or from another one each time; which is printed.
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var(SEED)
            .map_or_else(|_| RandomState::new().build_hasher().finish(), |seed| seed.parse().unwrap());
        println!("{SEED}={seed}");
        Dice(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// A text as it arrives, and where a character of the key itself is wrong.
pub(crate) struct Mangled {
    pub(crate) text: String,
    pub(crate) wrong: Option<Place>,
}

/// Does some of it to an armoured text.
pub(crate) fn mangle(text: &str, dice: &mut Dice) -> Mangled {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.len() - 1;
    let checksum = last - 1;
    // What can't be forgiven: the case of the base64 text, or one character of it or of the checksum.
    let damaged = match dice.below(20) {
        0 => Some(lose_case(&mut lines[1..checksum], dice.one_in(2))),
        1..=9 => {
            let line = 1 + dice.below(last - 1);
            Some((line, flip(&mut lines[line], line != checksum, dice)))
        }
        _ => None,
    };
    // The frame: its case, a wrong letter, absence.
    for line in [0, last] {
        match dice.below(6) {
            0 => lines[line] = lines[line].to_lowercase(),
            1 => {
                let at = dice.below(lines[line].len());
                lines[line].replace_range(at..=at, "x");
            }
            2 => lines[line] = lines[line].replace("--", "\u{2014}"),
            3 => lines[line].clear(),
            _ => {}
        }
    }
    if dice.one_in(3) {
        lines[checksum] = lines[checksum].to_lowercase();
    }
    // Breaks and spaces within lines, quoting, empty lines, line ends, words around.
    let (quote, end) = (["", "> ", ">> ", "  | "][dice.below(4)], ["\n", "\r\n", " \n"][dice.below(3)]);
    let (breaks, spaces) = (dice.one_in(3), dice.one_in(3));
    let mut mangled = String::new();
    let mut wrong = None;
    if dice.one_in(3) {
        mangled.push_str("Dear colleague,\nhere it is.\n\n");
    }
    for (index, line) in lines.iter().enumerate() {
        mangled.push_str(quote);
        for (at, c) in line.chars().enumerate() {
            if spaces && dice.one_in(20) {
                mangled.push(' ');
            }
            if breaks && dice.one_in(40) {
                mangled.push_str(end);
                mangled.push_str(quote);
            }
            if damaged == Some((index, at)) {
                wrong = Some(next_place(&mangled));
            }
            mangled.push(c);
        }
        mangled.push_str(end);
        if dice.one_in(10) {
            mangled.push_str(end);
        }
    }
    if dice.one_in(3) {
        mangled.push_str("\n-- \nan administrator\n");
    }
    Mangled { text: mangled, wrong }
}

/// Writes the base64 text in capital letters, or in small ones, and tells where its first letter is.
fn lose_case(body: &mut [String], capital: bool) -> (usize, usize) {
    for line in body.iter_mut() {
        *line = if capital { line.to_uppercase() } else { line.to_lowercase() };
    }
    let letter = |line: &String| line.find(|c: char| c.is_ascii_alphabetic());
    let first = body.iter().position(|line| letter(line).is_some()).unwrap();
    (1 + first, letter(&body[first]).unwrap())
}

/// Makes another character of one of the line, and tells which. The case of a checksum says nothing.
fn flip(line: &mut String, case_counts: bool, dice: &mut Dice) -> usize {
    let mut bytes = std::mem::take(line).into_bytes();
    let at = dice.below(bytes.len());
    let good = bytes[at];
    bytes[at] = if case_counts && good.is_ascii_alphabetic() && dice.one_in(4) {
        good ^ b' '
    } else {
        let is_same = |other: u8| if case_counts { other == good } else { other.eq_ignore_ascii_case(&good) };
        std::iter::repeat_with(|| 33 + dice.below(94) as u8).find(|other| !is_same(*other)).unwrap()
    };
    *line = String::from_utf8(bytes).unwrap();
    at
}

/// Where the character stands that comes after this text.
fn next_place(text: &str) -> Place {
    let line = text.rsplit('\n').next().unwrap_or_default();
    Place { line: text.matches('\n').count() + 1, column: line.chars().count() + 1 }
}
