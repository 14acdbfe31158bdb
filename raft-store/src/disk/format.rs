//! The format of a store as a whole, and how an older one becomes the present one.
//!
//! | format | what it is |
//! |---|---|
//! | 1 | families `log`, `meta`, `state`; no floor |
//! | 2 | the same, and a [floor](super::floor) beside the database |
//!
//! A step may be broken off at any point: the number is written last, so it is taken again.

/// The format that this version writes. Higher ones are refused, lower ones upgraded.
pub(super) const FORMAT: u32 = 2;

/// The first format with a floor file: from here on a missing one is damage.
pub(super) const WITH_FLOOR: u32 = 2;
