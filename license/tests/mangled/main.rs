//! What mail, forms and tired eyes do to a pasted key: 20,000 random manglings, each forgiven, or refused with the
//! place. Never a panic, never another key than the one that was copied.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking what failed")]
#![allow(clippy::print_stdout, reason = "a test tells its seed")]

mod mangle;

use mangle::{Dice, Mangled, mangle};
use quorate_license::*;

#[allow(dead_code, reason = "shared with the crate's own tests, which use all of it")]
#[path = "../../src/samples.rs"]
mod samples;

/// As many for each kind of key.
const MANGLINGS: u64 = 20_000;
/// How an attempt may end: with the same key, or with a refusal that names the place.
fn judge<T: PartialEq>(read: Result<T, ArmourError>, good: &T, mangled: &Mangled) -> Judged {
    let text = &mangled.text;
    let error = match read {
        Ok(key) => {
            assert!(key == *good, "another key was read:\n{text}");
            return Judged::Forgiven;
        }
        Err(error) => error,
    };
    let Some(wrong) = mangled.wrong else { panic!("refused without damage: {error}\n{text}") };
    match &error {
        ArmourError::Character { at, .. } | ArmourError::CaseLost { at } if *at == wrong => Judged::Exact,
        ArmourError::Damaged { places } if places.contains(&wrong) => Judged::Exact,
        // The character looks like a part of the frame now.
        error if error.lines().contains(&wrong.line) => Judged::Line,
        // It reads as quoting, or its line as somebody's words: then one is missing, and nobody can tell where.
        _ => Judged::Text,
    }
}

enum Judged {
    Forgiven,
    Exact,
    Line,
    Text,
}

fn run<T: PartialEq>(text: &str, good: &T, read: impl Fn(&str) -> Result<T, ArmourError>) {
    let mut dice = Dice::seeded();
    let (mut forgiven, mut exact, mut line, mut whole) = (0, 0, 0, 0);
    for _ in 0..MANGLINGS {
        let mangled = mangle(text, &mut dice);
        match judge(read(&mangled.text), good, &mangled) {
            Judged::Forgiven => forgiven += 1,
            Judged::Exact => exact += 1,
            Judged::Line => line += 1,
            Judged::Text => whole += 1,
        }
    }
    println!(
        "{forgiven} forgiven, {exact} refused with the character, {line} with the line, {whole} as a whole"
    );
    assert!(forgiven > MANGLINGS / 4 && exact > MANGLINGS / 3, "{forgiven} {exact} {line}");
    assert!(whole < MANGLINGS / 1000, "{whole}");
}

#[test]
fn a_mangled_integrity_key_is_forgiven_or_refused_with_the_place() {
    let good = samples::integrity_key();
    run(&good.to_text(), &good, |text| match IntegrityKey::from_text(text) {
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
    run(&good.to_text().unwrap(), &good, |text| match LicenseKey::from_text(text) {
        Ok(key) => Ok(key),
        Err(LicenseKeyError::Text(error)) => Err(error),
        Err(error) => panic!("{error}"),
    });
}
