//! QR codes of an integrity key's parts: in the terminal, and as PNG or SVG.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use qrcode::{Color, EcLevel};
use zeroize::Zeroizing;

use super::super::error::CliError;

/// The light margin that readers need, in modules.
const QUIET: usize = 4;
/// Pixels of a module in a PNG.
const PIXELS: usize = 6;
/// Modules below the code, with its number.
const CAPTION: usize = 10;

/// One code, as its modules.
pub(super) struct QrCode {
    width: usize,
    dark: Vec<bool>,
}

/// The codes of parts.
pub(super) fn codes(parts: &[Zeroizing<String>]) -> Result<Vec<QrCode>, CliError> {
    parts.iter().map(|part| QrCode::new(part)).collect()
}

impl QrCode {
    fn new(text: &str) -> Result<Self, CliError> {
        let code = qrcode::QrCode::with_error_correction_level(text, EcLevel::L).map_err(|error| {
            CliError::System { what: "a QR code can't be drawn", cause: io::Error::other(error) }
        })?;
        let dark = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        Ok(QrCode { width: code.width(), dark })
    }

    /// Width and height with the margin.
    fn side(&self) -> usize {
        self.width + 2 * QUIET
    }

    /// Whether a module is dark; counted with the margin.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inner = |at: usize| at.checked_sub(QUIET).filter(|at| *at < self.width);
        match (inner(x), inner(y)) {
            (Some(x), Some(y)) => self.dark[y * self.width + x],
            _ => false,
        }
    }

    /// For a terminal with light letters on a dark ground; two modules in one character.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.side()).step_by(2).map(|y| {
            (0..self.side())
                .map(|x| match (self.is_dark(x, y), y + 1 >= self.side() || self.is_dark(x, y + 1)) {
                    (false, false) => '\u{2588}',
                    (false, true) => '\u{2580}',
                    (true, false) => '\u{2584}',
                    (true, true) => ' ',
                })
                .collect()
        })
    }

    fn svg(&self, caption: &str) -> String {
        let (side, height) = (self.side(), self.side() + CAPTION);
        let mut modules = String::new();
        for y in 0..side {
            for x in (0..side).filter(|x| self.is_dark(*x, y)) {
                // Writing to a string doesn't fail.
                let _ = write!(modules, "M{x} {y}h1v1h-1z");
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {height}\" width=\"{}\" height=\"{}\">\n\
             <title>Integrity key, {caption}</title>\n\
             <rect width=\"{side}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <path d=\"{modules}\" fill=\"#000\" shape-rendering=\"crispEdges\"/>\n\
             <text x=\"{}\" y=\"{}\" font-family=\"sans-serif\" font-size=\"7\" text-anchor=\"middle\">{caption}</text>\n\
             </svg>\n",
            side * PIXELS,
            height * PIXELS,
            side as f64 / 2.0,
            side + 5,
        )
    }

    fn png(&self, caption: &str) -> Result<Vec<u8>, CliError> {
        let (side, height) = (self.side(), self.side() + CAPTION);
        let letters = lettering(caption);
        let indent = side.saturating_sub(letters.iter().map(Vec::len).max().unwrap_or_default()) / 2;
        let is_dark = |x: usize, y: usize| {
            let letter = || letters.get(y.checked_sub(side)?)?.get(x.checked_sub(indent)?).copied();
            self.is_dark(x, y) || letter().unwrap_or(false)
        };
        let mut pixels = Vec::with_capacity(side * height * PIXELS * PIXELS);
        for y in 0..height * PIXELS {
            pixels
                .extend((0..side * PIXELS).map(|x| if is_dark(x / PIXELS, y / PIXELS) { 0u8 } else { 255 }));
        }
        let failed = |error: png::EncodingError| CliError::System {
            what: "a PNG can't be written",
            cause: io::Error::other(error),
        };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, (side * PIXELS) as u32, (height * PIXELS) as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

/// Letters of 3 x 5 points, as rows of points.
fn lettering(text: &str) -> Vec<Vec<bool>> {
    let mut rows = vec![Vec::new(); 5];
    for letter in text.chars() {
        let points: [u8; 5] = match letter {
            '0' => [7, 5, 5, 5, 7],
            '1' => [2, 6, 2, 2, 7],
            '2' => [7, 1, 7, 4, 7],
            '3' => [7, 1, 7, 1, 7],
            '4' => [5, 5, 7, 1, 1],
            '5' => [7, 4, 7, 1, 7],
            '6' => [7, 4, 7, 5, 7],
            '7' => [7, 1, 1, 1, 1],
            '8' => [7, 5, 7, 5, 7],
            '9' => [7, 5, 7, 1, 7],
            'o' => [0, 7, 5, 5, 7],
            'f' => [3, 4, 7, 4, 4],
            _ => [0; 5],
        };
        for (row, bits) in rows.iter_mut().zip(points) {
            row.extend([4, 2, 1, 0].map(|bit| bits & bit != 0));
        }
    }
    rows
}

/// The form of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Png,
    Svg,
}

/// A file of an image, or several with numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    path: PathBuf,
    form: Form,
}

impl Image {
    /// The name tells the form.
    pub(super) fn new(path: &Path) -> Option<Self> {
        let form = match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "png" => Form::Png,
            "svg" => Form::Svg,
            _ => return None,
        };
        Some(Image { path: path.to_owned(), form })
    }

    /// Files and what they hold: one for each part.
    pub(super) fn draw(&self, parts: &[Zeroizing<String>]) -> Result<Vec<(PathBuf, Vec<u8>)>, CliError> {
        let total = parts.len();
        let codes = codes(parts)?;
        let files = codes.iter().enumerate().map(|(index, code)| {
            let number = index + 1;
            let caption = format!("{number} of {total}");
            let bytes = match self.form {
                Form::Png => code.png(&caption)?,
                Form::Svg => code.svg(&caption).into_bytes(),
            };
            Ok((self.name(number, total), bytes))
        });
        files.collect()
    }

    fn name(&self, number: usize, total: usize) -> PathBuf {
        if total == 1 {
            return self.path.clone();
        }
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
        let ending = self.path.extension().map(|ending| ending.to_string_lossy()).unwrap_or_default();
        self.path.with_file_name(format!("{stem}-{number}-of-{total}.{ending}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules of a PNG, read back, without margin and caption.
    fn modules(png: &[u8]) -> Vec<bool> {
        let mut reader = png::Decoder::new(io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let side = info.width as usize / PIXELS;
        let inner = QUIET..side - QUIET;
        let at = |x: usize, y: usize| pixels[(y * PIXELS) * info.width as usize + x * PIXELS] == 0;
        inner.clone().flat_map(|y| inner.clone().map(move |x| (x, y))).map(|(x, y)| at(x, y)).collect()
    }

    #[test]
    fn images_hold_the_modules_of_the_code() {
        let part = Zeroizing::new("(QUORATE INTEGRITY KEY 1 of 1, 5F3A91)\nCAEQ.\n".to_owned());
        let expected: Vec<bool> = qrcode::QrCode::with_error_correction_level(part.as_bytes(), EcLevel::L)
            .unwrap()
            .to_colors()
            .into_iter()
            .map(|color| color == Color::Dark)
            .collect();
        let png = Image::new(Path::new("a.png")).unwrap().draw(std::slice::from_ref(&part)).unwrap();
        assert_eq!(modules(&png[0].1), expected);
        let svg = Image::new(Path::new("a.SVG")).unwrap().draw(std::slice::from_ref(&part)).unwrap();
        let svg = String::from_utf8(svg[0].1.clone()).unwrap();
        assert_eq!(svg.matches("h1v1h-1z").count(), expected.iter().filter(|dark| **dark).count());
        let code = QrCode::new(&part).unwrap();
        let lines: Vec<String> = code.lines().collect();
        assert!(
            lines.len() * 2 >= code.side() && lines.iter().all(|line| line.chars().count() == code.side())
        );
    }

    #[test]
    fn several_codes_are_several_files_with_their_number() {
        let parts = ["a", "b", "c"].map(|part| Zeroizing::new(part.to_owned()));
        let files = Image::new(Path::new("/tmp/key.svg")).unwrap().draw(&parts).unwrap();
        let names: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
        assert_eq!(names, ["/tmp/key-1-of-3.svg", "/tmp/key-2-of-3.svg", "/tmp/key-3-of-3.svg"]);
        assert!(String::from_utf8_lossy(&files[1].1).contains(">2 of 3</text>"));
        assert_eq!(Image::new(Path::new("key.jpg")), None);
        assert_eq!(Image::new(Path::new("key")), None);
    }
}
