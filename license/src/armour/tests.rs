use super::*;

const MAX: usize = 1000;

fn text() -> String {
    encode(Label::IntegrityKey, &(0..=99).collect::<Vec<u8>>())
}

fn read(text: &str) -> Result<Vec<u8>, ArmourError> {
    decode(Label::IntegrityKey, MAX, text)
}

#[test]
fn the_text_survives_mail() {
    let bytes: Vec<u8> = (0..=99).collect();
    let text = text();
    assert!(text.lines().all(|line| line.len() <= COLUMNS));
    assert_eq!(read(&text).unwrap(), bytes);
    assert_eq!(read(&text.replace('\n', "\r\n")).unwrap(), bytes);
    assert_eq!(
        read(&format!("Dear portal,\n\n  \n{}\n-- \nan administrator", text.replace('\n', "  \n"))).unwrap(),
        bytes
    );
    assert_eq!(read(&text.replace('\n', "\n\n")).unwrap(), bytes);
    assert_eq!(read(&text.to_string().replace("=C", "=c")).unwrap(), bytes);
}

#[test]
fn the_frame_is_forgiven() {
    let bytes: Vec<u8> = (0..=99).collect();
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    let (last, body) = (lines.len() - 1, text.len());
    assert!(body > 200);
    for (what, mangled) in [
        ("no first line", lines[1..].join("\n")),
        ("no last line", lines[..last].join("\n")),
        ("neither", lines[1..last].join("\n")),
        ("neither, between words", format!("Hello,\nhere it is:\n\n{}\n\nBye\n", lines[1..last].join("\n"))),
        ("one line", text.replace('\n', " ")),
        ("no white space", text.replace(['\n', ' '], "")),
        ("quoted", text.lines().map(|line| format!("> > {line}\n")).collect()),
        (
            "small frame",
            text.to_lowercase()
                .lines()
                .zip(&lines)
                .map(|(small, line)| {
                    format!("{}\n", if line.contains('-') || line.starts_with('=') { small } else { *line })
                })
                .collect(),
        ),
        ("long dashes", text.replace("--", "\u{2014}")),
        ("wrong dash", text.replacen("--B", "x-B", 1)),
        ("wrong dash behind", text.replacen("KEY-----", "KEY----x", 1)),
        ("wrong letters", text.replacen("BEGIN QUORATE", "BEG1N QU0RATE", 1)),
        ("broken lines", text.replace("QUORATE", "QUO\nRATE").replace("AAEC", "AA\n>EC")),
        ("hard spaces", text.replace('\n', "\u{a0}\r\n\u{200b}")),
        ("wrong sign", text.replacen("\n=", "\n#", 1)),
        ("no sign", text.replacen("\n=", "\n>", 1)),
    ] {
        assert_eq!(read(&mangled).as_ref(), Ok(&bytes), "{what}: {mangled}");
    }
}

#[test]
fn damage_is_named() {
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    let without = |index: usize| {
        let mut left = lines.clone();
        left.remove(index);
        left.join("\n")
    };
    let expected = "QUORATE INTEGRITY KEY";
    let last = lines.len() - 1;
    let at = |line, column| Place { line, column };
    assert_eq!(read("").unwrap_err(), ArmourError::NoBegin { expected });
    assert_eq!(read("Dear portal,").unwrap_err(), ArmourError::NoBegin { expected });
    assert_eq!(
        read(&lines[..last - 1].join("\n")).unwrap_err(),
        ArmourError::Truncated { expected, line: last - 1 }
    );
    assert_eq!(read(&without(last - 1)).unwrap_err(), ArmourError::NoChecksum);
    assert_eq!(read(&without(1)).unwrap_err(), ArmourError::Checksum { first: 2, last: 3 });
    assert_eq!(read(&text.replacen("AAEC", "AAE", 1)).unwrap_err(), ArmourError::Encoding { line: 2 });
    let found = '\u{20ac}';
    assert_eq!(
        read(&text.replacen("AAEC", "AA\u{20ac}C", 1)).unwrap_err(),
        ArmourError::Character { at: at(2, 3), found }
    );
    assert_eq!(
        read(&text.replacen("AAEC", "AAED", 1)).unwrap_err(),
        ArmourError::Damaged { places: vec![at(2, 4)] }
    );
    let checksum = lines[last - 1].replacen('=', "=x", 1);
    let wrong_digit = text.replace(lines[last - 1], &checksum[..7]);
    let error = read(&wrong_digit).unwrap_err();
    assert_eq!(error, ArmourError::Character { at: at(last, 2), found: 'x' });
    assert!(error.to_string().starts_with(&format!("line {last}, column 2 holds 'x'")), "{error}");
    assert_eq!(decode(Label::IntegrityKey, 99, &text).unwrap_err(), ArmourError::TooLarge { max_bytes: 99 });
    assert_eq!(read(&"x".repeat(MAX * 5)).unwrap_err(), ArmourError::TooLarge { max_bytes: MAX });
}

#[test]
fn a_text_in_one_case_is_told_so() {
    let text = text();
    let body = text.lines().nth(1).unwrap();
    for changed in [body.to_lowercase(), body.to_uppercase()] {
        let rest: String = text
            .lines()
            .skip(2)
            .map(|line| {
                let line =
                    if body.to_lowercase() == changed { line.to_lowercase() } else { line.to_uppercase() };
                format!("{line}\n")
            })
            .collect();
        let error = read(&format!("{}\n{changed}\n{rest}", text.lines().next().unwrap())).unwrap_err();
        assert_eq!(error, ArmourError::CaseLost { at: Place { line: 2, column: 1 } });
    }
}

#[test]
fn parts_are_joined_in_any_order() {
    let bytes: Vec<u8> = (0..=99).collect();
    let parts = split(Label::IntegrityKey, &bytes, 30);
    assert_eq!(parts.len(), 5);
    assert!(parts[1].starts_with("(QUORATE INTEGRITY KEY 2 of 5, "), "{}", parts[1]);
    let order = [3, 0, 4, 4, 2, 1];
    let joined: String = order.iter().map(|index| parts[*index].as_str()).collect();
    assert_eq!(read(&joined).as_ref(), Ok(&bytes));
    assert_eq!(read(&joined.replace('\n', " \n> ").replace("QUORATE", "quorate")).as_ref(), Ok(&bytes));
    let missing = read(&[&*parts[3], &parts[0], &parts[4]].concat()).unwrap_err();
    assert_eq!(missing, ArmourError::PartsMissing { missing: vec![2, 3], total: 5 });
    let mixed = [&*parts[0], &split(Label::IntegrityKey, b"other", 30)[0]].concat();
    assert_eq!(read(&mixed).unwrap_err(), ArmourError::PartsMixed);
    let damaged = joined.replacen("AAEC", "AAED", 1);
    assert_eq!(
        read(&damaged).unwrap_err(),
        ArmourError::Damaged { places: vec![Place { line: 4, column: 4 }] }
    );
    assert_eq!(split(Label::IntegrityKey, &bytes, 1000).len(), 1);
    assert_eq!(read(&split(Label::IntegrityKey, &bytes, 1000)[0]).as_ref(), Ok(&bytes));
}

#[test]
fn a_license_key_in_place_of_an_integrity_key_is_named() {
    let license_key = encode(Label::LicenseKey, b"{}");
    assert_eq!(
        read(&license_key).unwrap_err(),
        ArmourError::WrongKind { expected: "QUORATE INTEGRITY KEY", found: "QUORATE LICENSE KEY" }
    );
}
