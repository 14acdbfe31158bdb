//! Making Support IDs: `QS-XXXX-XXXX-XXXX`, 60 random bits in Crockford's base 32.
//!
//! Read out on the telephone, so without I, L, O and U. The unique index on the records tells the
//! odd collision, and the activation is tried again with another one.

use quorate_license::SupportId;

use crate::entropy;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new Support ID.
pub fn make() -> SupportId {
    loop {
        // Always valid: what the loop is for is only that parsing can't be told so.
        if let Ok(support_id) = text(entropy::id()).parse() {
            return support_id;
        }
    }
}

fn text(random: [u8; 12]) -> String {
    let mut text = String::from("QS");
    for (index, byte) in random.iter().enumerate() {
        if index % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn support_ids_have_one_form() {
        assert_eq!(text([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255]), "QS-0123-4567-89AZ");
        let (one, other) = (make(), make());
        assert_eq!(one.as_str().len(), 17);
        assert_ne!(one, other);
    }
}
