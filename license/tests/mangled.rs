//! What mail, forms and tired eyes do to a pasted key: 20,000 random manglings, each forgiven, or refused with the
//! place. Never a panic, never another key than the one that was copied.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking what failed")]
#![allow(clippy::print_stdout, reason = "a test tells its seed")]

use quorate_license::*;

#[allow(dead_code, reason = "shared with the crate's own tests, which use all of it")]
#[path = "../src/samples.rs"]
mod samples;

const MANGLINGS: u64 = 20_000;

/// A small generator: the same seed, the same manglings.
struct Dice(u64);

impl Dice {
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

/// A text as it arrives, and in which line a character of the key itself is wrong.
struct Mangled {
    text: String,
    wrong_line: Option<usize>,
}

fn mangle(text: &str, dice: &mut Dice) -> Mangled {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.len() - 1;
    // One flipped character, of the base64 text or the checksum.
    let mut wrong = None;
    if dice.one_in(2) {
        let line = 1 + dice.below(last - 1);
        let mut bytes = lines[line].clone().into_bytes();
        let at = dice.below(bytes.len());
        let other = loop {
            let other = 33 + dice.below(94) as u8;
            if !other.eq_ignore_ascii_case(&bytes[at]) {
                break other;
            }
        };
        bytes[at] = other;
        lines[line] = String::from_utf8(bytes).unwrap();
        wrong = Some(line);
    }
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
    let checksum = last - 1;
    if dice.one_in(3) {
        lines[checksum] = lines[checksum].to_lowercase();
    }
    // Breaks and spaces within lines, quoting, empty lines, line ends, words around.
    let (quote, end) = (["", "> ", ">> ", "  | "][dice.below(4)], ["\n", "\r\n", " \n"][dice.below(3)]);
    let (breaks, spaces) = (dice.one_in(3), dice.one_in(3));
    let mut mangled = String::new();
    let mut number = 0;
    let mut wrong_line = None;
    if dice.one_in(3) {
        mangled.push_str("Dear colleague,\nhere it is.\n\n");
        number += 3;
    }
    for (index, line) in lines.iter().enumerate() {
        mangled.push_str(quote);
        for c in line.chars() {
            if spaces && dice.one_in(20) {
                mangled.push(' ');
            }
            if breaks && dice.one_in(40) {
                mangled.push_str(end);
                mangled.push_str(quote);
                number += 1;
            }
            mangled.push(c);
        }
        number += 1;
        if wrong == Some(index) {
            wrong_line = Some(number);
        }
        mangled.push_str(end);
        if dice.one_in(10) {
            mangled.push_str(end);
            number += 1;
        }
    }
    if dice.one_in(3) {
        mangled.push_str("\n-- \nan administrator\n");
    }
    Mangled { text: mangled, wrong_line: wrong_line.filter(|_| !breaks) }
}

/// How an attempt may end: with the same key, or with a refusal that names a place.
fn judge<T: PartialEq>(
    read: Result<T, ArmourError>,
    good: &T,
    mangled: &Mangled,
    flipped: bool,
) -> &'static str {
    match read {
        Ok(key) => {
            assert!(key == *good, "another key was read:\n{}", mangled.text);
            "forgiven"
        }
        Err(error) => {
            assert!(flipped, "refused without damage: {error}\n{}", mangled.text);
            let lines = error.lines();
            assert!(!lines.is_empty(), "no place: {error:?}\n{}", mangled.text);
            if let Some(line) = mangled.wrong_line {
                assert!(lines.contains(&line), "{error}, but line {line} is wrong:\n{}", mangled.text);
            }
            "refused"
        }
    }
}

fn run<T: PartialEq>(text: &str, good: &T, seed: u64, read: impl Fn(&str) -> Result<T, ArmourError>) {
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut forgiven, mut refused) = (0, 0);
    for _ in 0..MANGLINGS / 2 {
        let before = dice.0;
        let mangled = mangle(text, &mut dice);
        let flipped = flips(before);
        match judge(read(&mangled.text), good, &mangled, flipped) {
            "forgiven" => forgiven += 1,
            _ => refused += 1,
        }
    }
    println!("{forgiven} forgiven, {refused} refused with the place");
    assert!(forgiven > MANGLINGS / 8 && refused > MANGLINGS / 8, "{forgiven} {refused}");
}

/// Whether the mangling that begins here flips a character: its first throw.
fn flips(state: u64) -> bool {
    Dice(state).one_in(2)
}

#[test]
fn a_mangled_integrity_key_is_forgiven_or_refused_with_the_place() {
    let good = samples::integrity_key();
    run(&good.to_text(), &good, 5, |text| match IntegrityKey::from_text(text) {
        Ok(key) => Ok(key),
        Err(IntegrityKeyError::Text(error)) => Err(error),
        Err(error) => panic!("{error}"),
    });
}

#[test]
fn a_mangled_license_key_is_forgiven_or_refused_with_the_place() {
    let issuing = samples::issuing_key();
    let binding = issuing.sign(&samples::binding()).unwrap();
    let license = issuing.sign(&samples::license()).unwrap();
    let good = LicenseKey::new(&binding, &[license]);
    run(&good.to_text().unwrap(), &good, 6, |text| match LicenseKey::from_text(text) {
        Ok(key) => Ok(key),
        Err(LicenseKeyError::Text(error)) => Err(error),
        Err(error) => panic!("{error}"),
    });
}
