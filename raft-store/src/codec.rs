//! The persistent encoding: every record on disk and every consensus message on the wire.
//!
//! ```text
//! record := version byte | bincode (standard configuration: little endian, varint)
//! ```
//!
//! A kind of record that was changed has a further form under a version of its own ([`encode_as`]); the older form
//! stays readable.
//!
//! This is the only file that names the `bincode` crate. Its format is fixed by the order of struct
//! fields and enum variants, so both are append-only for enums and frozen for structs: a changed
//! struct is a new variant or a new record type. Golden files hold every released format.

use bincode::config;
use serde::{Serialize, de::DeserializeOwned};

/// The version byte in front of every record that this build writes.
pub const VERSION: u8 = 1;

/// The largest record that is decoded, so that a damaged length can't ask for all memory.
pub const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;

/// No value claims more bytes than this for each that it is written with: a number of 16 bytes that is written as one.
const CLAIMED_FOR_EACH: usize = 16;
/// What records of up to 4 KiB may claim.
const SHORT: usize = 64 << 10;
/// What records of up to 256 KiB may claim.
const MEDIUM: usize = 4 << 20;

/// Why bytes could not be turned into a value, or a value into bytes.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is not even a version byte.
    #[error("the record is empty")]
    Empty,
    /// The record was written by another version of this software.
    #[error("the record has format version {found}; this build reads version {reads}")]
    Version {
        /// The version byte that was found.
        found: u8,
        /// The highest one that this build reads of such a record.
        reads: u8,
    },
    /// The record is larger than [`MAX_RECORD_BYTES`].
    #[error("the record has {0} bytes, more than the {MAX_RECORD_BYTES} allowed")]
    TooLarge(usize),
    /// Bytes are left over behind the value.
    #[error("{0} bytes are left over behind the record")]
    TrailingBytes(usize),
    /// The bytes are not a value of the expected type.
    #[error("the record is damaged: {0}")]
    Damaged(String),
    /// The value can't be encoded.
    #[error("the value can't be encoded: {0}")]
    Unencodable(String),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Encodes `value` as one record.
///
/// # Errors
/// [`CodecError::Unencodable`] if the value's `Serialize` refuses, which no type of this crate does.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    encode_as(VERSION, value)
}

/// Encodes `value` as a record of this version.
///
/// # Errors
/// See [`encode`].
pub fn encode_as<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut record = Vec::with_capacity(64);
    record.push(version);
    bincode::serde::encode_into_std_write(value, &mut record, config::standard())
        .map_err(|error| CodecError::Unencodable(error.to_string()))?;
    Ok(record)
}

/// Decodes one record. All bytes must be used up.
///
/// # Errors
/// Every variant of [`CodecError`] but `Unencodable`.
pub fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, CodecError> {
    decode_as(VERSION, record)
}

/// Decodes a record of this version.
///
/// # Errors
/// See [`decode`].
pub fn decode_as<T: DeserializeOwned>(reads: u8, record: &[u8]) -> Result<T, CodecError> {
    let (&found, body) = record.split_first().ok_or(CodecError::Empty)?;
    if found != reads {
        return Err(CodecError::Version { found, reads });
    }
    if record.len() > MAX_RECORD_BYTES {
        return Err(CodecError::TooLarge(record.len()));
    }
    // A length in a short record that asks for much is refused before anything is made room for.
    let most = record.len() * CLAIMED_FOR_EACH;
    let (value, used) = if most <= SHORT {
        bincode::serde::decode_from_slice(body, config::standard().with_limit::<SHORT>())
    } else if most <= MEDIUM {
        bincode::serde::decode_from_slice(body, config::standard().with_limit::<MEDIUM>())
    } else {
        bincode::serde::decode_from_slice(body, config::standard().with_limit::<MAX_RECORD_BYTES>())
    }
    .map_err(|error| CodecError::Damaged(error.to_string()))?;
    if used == body.len() { Ok(value) } else { Err(CodecError::TrailingBytes(body.len() - used)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let value = (7u64, String::from("license"), Some(vec![1u8, 2, 3]));
        let record = encode(&value).unwrap();
        assert_eq!(record[0], VERSION);
        assert_eq!(decode::<(u64, String, Option<Vec<u8>>)>(&record).unwrap(), value);
    }

    #[test]
    fn damaged_records_are_refused_by_name() {
        let mut record = encode(&(1u8, 2u8)).unwrap();
        assert!(matches!(decode::<(u8, u8)>(&[]), Err(CodecError::Empty)));
        assert!(matches!(decode::<(u8, u8)>(&record[..2]), Err(CodecError::Damaged(_))));
        record.push(0);
        assert!(matches!(decode::<(u8, u8)>(&record), Err(CodecError::TrailingBytes(1))));
        record[0] = 9;
        assert!(matches!(decode::<(u8, u8)>(&record), Err(CodecError::Version { found: 9, reads: 1 })));
    }

    #[test]
    fn a_damaged_length_does_not_ask_for_all_memory() {
        let huge = [VERSION, 253, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(matches!(decode::<Vec<u8>>(&huge), Err(CodecError::Damaged(_))));
    }

    #[test]
    fn the_widest_numbers_of_records_of_every_size_are_read() {
        for length in [1, 4000, 5000, 200_000, 300_000] {
            let numbers = vec![0_u128; length];
            let record = encode(&numbers).unwrap();
            assert_eq!(decode::<Vec<u128>>(&record).unwrap(), numbers);
        }
    }
}
