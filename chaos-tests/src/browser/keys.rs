//! Keys of the keyboard, as WebDriver writes them.

use serde_json::{Value, json};

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// To the next thing that can have the focus.
    Tab,
    /// What submits a form, follows a link or presses a button.
    Enter,
    /// What presses a button.
    Space,
    /// Held together with another one.
    Control,
    /// A character.
    Character(char),
}

impl Key {
    fn code(self) -> char {
        match self {
            Key::Tab => '\u{e004}',
            Key::Enter => '\u{e007}',
            Key::Space => ' ',
            Key::Control => '\u{e009}',
            Key::Character(character) => character,
        }
    }
}

/// Pressed in this order, let go in the opposite one.
pub(super) fn chord(keys: &[Key]) -> Vec<Value> {
    let action = |kind: &str, key: &Key| json!({ "type": kind, "value": key.code() });
    let down = keys.iter().map(|key| action("keyDown", key));
    down.chain(keys.iter().rev().map(|key| action("keyUp", key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_chord_are_let_go_in_the_opposite_order() {
        let actions = chord(&[Key::Control, Key::Character('v')]);
        let kinds: Vec<&str> = actions.iter().filter_map(|action| action["type"].as_str()).collect();
        assert_eq!(kinds, ["keyDown", "keyDown", "keyUp", "keyUp"]);
        assert_eq!((&actions[0]["value"], &actions[2]["value"]), (&json!('\u{e009}'), &json!('v')));
    }
}
