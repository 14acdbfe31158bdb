//! Small turns from what a node answers to what a command shows.

use quorate_license::Timestamp;

/// A time; 0 stands for none.
pub(super) fn time(ms: i64) -> Option<Timestamp> {
    (ms > 0).then(|| Timestamp::from_unix_ms(ms))
}

/// A text; an empty one stands for none.
pub(super) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
