//! An integrity key leaves an air-gapped room by a phone's camera: the QR codes are read out of the image files and
//! off the terminal, and what they hold is pasted into the portal's page.

use std::{fs::File, io::BufReader, path::Path};

use quorate_license::IntegrityKey;
use rqrr::PreparedImage;

use crate::{ANSWER, KEY_FIELD, install, refused, stage};

/// A gray image, as a camera sees it.
struct Gray {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Gray {
    fn of_png(path: &Path) -> Self {
        let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.color_type, png::ColorType::Grayscale);
        Gray { width: info.width as usize, height: info.height as usize, pixels }
    }

    /// Lines of half blocks, light letters on a dark ground: each character is two points, one over the other.
    fn of_terminal(lines: &[&str]) -> Self {
        const POINT: usize = 4;
        let width = lines[0].chars().count();
        let mut rows: Vec<Vec<u8>> = Vec::new();
        for line in lines {
            let halves: Vec<(u8, u8)> = line
                .chars()
                .map(|letter| match letter {
                    '\u{2588}' => (255, 255),
                    '\u{2580}' => (255, 0),
                    '\u{2584}' => (0, 255),
                    ' ' => (0, 0),
                    other => panic!("{other:?} in a code"),
                })
                .collect();
            assert_eq!(halves.len(), width, "{line}");
            rows.push(halves.iter().map(|half| half.0).collect());
            rows.push(halves.iter().map(|half| half.1).collect());
        }
        let enlarge = |row: &Vec<u8>| row.iter().flat_map(|point| [*point; POINT]).collect::<Vec<u8>>();
        let pixels = rows.iter().flat_map(|row| enlarge(row).repeat(POINT)).collect();
        Gray { width: width * POINT, height: rows.len() * POINT, pixels }
    }

    /// What the one code in it says.
    fn read(&self) -> String {
        let mut image = PreparedImage::prepare_from_greyscale(self.width, self.height, |x, y| {
            self.pixels[y * self.width + x]
        });
        let codes = image.detect_grids();
        assert_eq!(codes.len(), 1, "one code in an image");
        codes[0].decode().unwrap().1
    }
}

/// The codes that a terminal shows.
fn on_the_terminal(shown: &str) -> Vec<Gray> {
    let is_code = |line: &&str| {
        !line.is_empty() && line.chars().all(|letter| " \u{2580}\u{2584}\u{2588}".contains(letter))
    };
    let parts = shown.split("QR code ").skip(1);
    let lines = parts.map(|part| part.lines().skip(1).take_while(is_code).collect::<Vec<_>>());
    lines.map(|lines| Gray::of_terminal(&lines)).collect()
}

#[test]
fn what_a_phone_reads_off_the_codes_is_taken_by_the_page_in_any_order() {
    let (mut stage, browser) = stage(3);
    let order = stage.portal.order().unwrap();
    let folder = stage.folder.path().to_owned();
    let image = folder.join("key.png");
    let mut words = vec!["license", "activate", "--offline", "--yes", "--key-file", "-"];
    words.extend(["--qr", "--qr-file", image.to_str().unwrap()]);
    let answer = stage.cluster.nodes[0].cli(words).stdin(&order.activation_key).run().unwrap();
    let shown = answer.success().unwrap().stdout.clone();
    let armoured = &shown[shown.find("-----BEGIN").unwrap()..];
    let key = IntegrityKey::from_text(armoured).unwrap();

    // The terminal's codes are for small windows, so there are more of them.
    let on_screen: Vec<String> = on_the_terminal(&shown).iter().map(Gray::read).collect();
    assert!(on_screen.len() > 1, "{shown}");
    assert_eq!(IntegrityKey::from_text(&on_screen.concat()).unwrap(), key);

    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "png"));
    let mut parts: Vec<String> = files.iter().map(|path| Gray::of_png(path).read()).collect();
    parts.sort();
    assert!(parts.len() > 1 && parts.len() < on_screen.len(), "{files:?}");
    parts.reverse();

    // One is forgotten: the page says which. Then all of them, the last one first.
    let page = format!("{}/activate", stage.portal.link.url);
    let enter = |text: &str| {
        browser.open(&page).unwrap();
        browser.find("textbox", KEY_FIELD).unwrap().enter(text).unwrap();
        browser.find("button", "Get license key").unwrap().click().unwrap();
    };
    enter(&parts[1..].concat());
    let said = refused(&browser);
    assert!(said.contains(&format!("f the {0} parts, these are missing: {0}", parts.len())), "{said}");
    enter(&parts.concat());
    browser.find("heading", "Your license key").unwrap();
    let license_key = browser.find("textbox", ANSWER).unwrap().value().unwrap();
    install(&mut stage, &license_key);
}
