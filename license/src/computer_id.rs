//! The computer ID: identifies the host operating system without giving its machine id away.
//!
//! ```text
//! machine id text -> MachineId (16 bytes, secret) -> HMAC-SHA-256 -> ComputerId (21 bytes, public)
//! ```
//!
//! A machine id must never leave the host (machine-id(5) asks applications to hash it with a key of
//! their own), so what is kept, shown and sent is a version byte and 160 bits of an HMAC.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crockford::{self, CrockfordError};

/// The HMAC key. It makes the id differ from other applications' ids of the same host and is part
/// of the format: another one would change every computer ID.
const APPLICATION_KEY: &[u8] = b"quorate/computer-id/v1";

/// The format's version, in the low bits of the first byte.
const VERSION: u8 = 1;

/// Set in the first byte if the id comes from a volume.
const VOLUME_BIT: u8 = 0x80;

/// Where the machine id was read. The portal's policy may judge it: a volume is easier to copy than
/// a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputerIdSource {
    /// The operating system of the host.
    Host,
    /// A file on a volume, as containers need it, because their own machine id doesn't last.
    Volume,
}

impl ComputerIdSource {
    /// The source's name in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            ComputerIdSource::Host => "host",
            ComputerIdSource::Volume => "volume",
        }
    }
}

impl fmt::Display for ComputerIdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The machine id of a host: 16 bytes that must not leave it. Never printed, wiped after use.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MachineId([u8; 16]);

/// The text is no machine id that a host can be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MachineIdError {
    /// Nothing but white space, as on a machine that was prepared for cloning.
    #[error("the machine id is empty; run 'systemd-machine-id-setup' on this host and try again")]
    Empty,
    /// What systemd writes before the first boot.
    #[error("the machine id still says 'uninitialized'; finish the first boot of this host and try again")]
    Uninitialized,
    /// Every digit is zero.
    #[error("the machine id is all zeros; run 'systemd-machine-id-setup' on this host and try again")]
    AllZero,
    /// Too few or too many digits.
    #[error("the machine id has {found} digits instead of 32; check the file that it is read from")]
    WrongLength {
        /// How many digits it has, hyphens not counted.
        found: usize,
    },
    /// Something else than hexadecimal digits.
    #[error(
        "the machine id holds something else than hexadecimal digits; check the file that it is read from"
    )]
    NotHexadecimal,
}

impl MachineId {
    /// Reads a machine id as hosts write it: 32 hexadecimal digits, with or without the hyphens of a
    /// UUID, upper or lower case, white space around it ignored.
    ///
    /// # Errors
    ///
    /// [`MachineIdError`]: empty, `uninitialized`, all zero, wrong length, not hexadecimal. None of
    /// them quotes the text.
    pub fn parse(text: &str) -> Result<Self, MachineIdError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MachineIdError::Empty);
        }
        if text.eq_ignore_ascii_case("uninitialized") {
            return Err(MachineIdError::Uninitialized);
        }
        let digits: Zeroizing<Vec<u8>> = Zeroizing::new(text.bytes().filter(|b| *b != b'-').collect());
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(MachineIdError::NotHexadecimal);
        }
        let mut bytes = Zeroizing::new([0; 16]);
        if digits.len() != 2 * bytes.len() {
            return Err(MachineIdError::WrongLength { found: digits.len() });
        }
        HEXLOWER_PERMISSIVE
            .decode_mut(&digits, bytes.as_mut_slice())
            .map_err(|_| MachineIdError::NotHexadecimal)?;
        if *bytes == [0; 16] { Err(MachineIdError::AllZero) } else { Ok(MachineId(*bytes)) }
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MachineId(redacted)")
    }
}

/// Identifies the host operating system that a node runs on.
///
/// One byte of version and source, and 160 bits of HMAC-SHA-256 over the machine id. As text: seven
/// groups of five symbols, the last of which is a check symbol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputerId([u8; 21]);

/// The bytes or the text are no computer ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseComputerIdError {
    /// The text is mistyped.
    #[error("this is not a computer ID: {0}")]
    Text(#[from] CrockfordError),
    /// Not 21 bytes.
    #[error("a computer ID has 21 bytes, not {0}")]
    Length(usize),
    /// The first byte names a version that this release doesn't know.
    #[error("computer ID format {0:#04x} is not known to this release; update it and try again")]
    Version(u8),
}

impl ComputerId {
    /// The computer ID of the host with this machine id.
    pub fn derive(machine_id: &MachineId, source: ComputerIdSource) -> Self {
        // HMAC pads a short key with zeros to the block size, so a whole block is the same key.
        let mut key = [0; 64];
        key[..APPLICATION_KEY.len()].copy_from_slice(APPLICATION_KEY);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&key.into());
        mac.update(&machine_id.0);
        let tag = mac.finalize().into_bytes();
        let mut bytes = [0; 21];
        bytes[0] = match source {
            ComputerIdSource::Host => VERSION,
            ComputerIdSource::Volume => VERSION | VOLUME_BIT,
        };
        bytes[1..].copy_from_slice(&tag[..20]);
        ComputerId(bytes)
    }

    /// Takes the raw bytes.
    ///
    /// # Errors
    ///
    /// [`ParseComputerIdError::Version`] if the first byte is not of this format.
    pub fn from_bytes(bytes: [u8; 21]) -> Result<Self, ParseComputerIdError> {
        if bytes[0] & !VOLUME_BIT == VERSION {
            Ok(ComputerId(bytes))
        } else {
            Err(ParseComputerIdError::Version(bytes[0]))
        }
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 21] {
        &self.0
    }

    /// Where the machine id behind it was read.
    pub const fn source(&self) -> ComputerIdSource {
        if self.0[0] & VOLUME_BIT == 0 { ComputerIdSource::Host } else { ComputerIdSource::Volume }
    }
}

impl fmt::Display for ComputerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crockford::encode(&self.0))
    }
}

impl fmt::Debug for ComputerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ComputerId({self})")
    }
}

impl FromStr for ComputerId {
    type Err = ParseComputerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 21];
        crockford::decode(text, &mut bytes)?;
        ComputerId::from_bytes(bytes)
    }
}

impl TryFrom<&[u8]> for ComputerId {
    type Error = ParseComputerIdError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let bytes = bytes.try_into().map_err(|_| ParseComputerIdError::Length(bytes.len()))?;
        ComputerId::from_bytes(bytes)
    }
}

impl Serialize for ComputerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ComputerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            ComputerId::from_bytes(Deserialize::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

    fn derive(source: ComputerIdSource) -> ComputerId {
        ComputerId::derive(&MachineId::parse(MACHINE_ID).unwrap(), source)
    }

    #[test]
    fn machine_ids_are_read_in_every_form_that_hosts_write() {
        for text in [
            "0123456789abcdef0123456789abcdef\n",
            "0123456789ABCDEF0123456789ABCDEF",
            "  01234567-89ab-cdef-0123-456789abcdef\r\n",
        ] {
            assert_eq!(MachineId::parse(text).unwrap().0, MachineId::parse(MACHINE_ID).unwrap().0, "{text}");
        }
    }

    #[test]
    fn machine_ids_that_name_no_host_are_refused() {
        for (text, expected) in [
            ("", MachineIdError::Empty),
            (" \n", MachineIdError::Empty),
            ("uninitialized\n", MachineIdError::Uninitialized),
            ("00000000000000000000000000000000", MachineIdError::AllZero),
            ("00000000-0000-0000-0000-000000000000", MachineIdError::AllZero),
            ("0123", MachineIdError::WrongLength { found: 4 }),
            ("---", MachineIdError::WrongLength { found: 0 }),
            ("0123456789abcdef0123456789abcdef00", MachineIdError::WrongLength { found: 34 }),
            ("0123456789abcdef0123456789abcdeg", MachineIdError::NotHexadecimal),
            ("01234567 89abcdef0123456789abcdef", MachineIdError::NotHexadecimal),
        ] {
            assert_eq!(MachineId::parse(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_machine_id_is_never_printed() {
        let printed = format!("{:?}", MachineId::parse(MACHINE_ID).unwrap());
        assert_eq!(printed, "MachineId(redacted)");
    }

    #[test]
    fn the_derivation_never_changes() {
        // HMAC-SHA-256 by OpenSSL: printf of the 16 bytes | openssl dgst -sha256 -mac HMAC -macopt key:...
        let id = derive(ComputerIdSource::Host);
        assert_eq!(
            data_encoding::HEXLOWER.encode(id.as_bytes()),
            "01e12ba67af5b0ead4b1362009d5d5072ce5d4027d"
        );
        assert_eq!(id.to_string().len(), 41);
    }

    #[test]
    fn the_text_alone_carries_the_source() {
        let (host, volume) = (derive(ComputerIdSource::Host), derive(ComputerIdSource::Volume));
        assert_ne!(host, volume);
        assert_eq!(host.to_string().parse::<ComputerId>().unwrap().source(), ComputerIdSource::Host);
        assert_eq!(volume.to_string().parse::<ComputerId>().unwrap().source(), ComputerIdSource::Volume);
        assert_eq!(host.as_bytes()[1..], volume.as_bytes()[1..]);
    }

    #[test]
    fn other_versions_and_lengths_are_refused() {
        let mut bytes = *derive(ComputerIdSource::Host).as_bytes();
        bytes[0] = 2;
        assert_eq!(ComputerId::from_bytes(bytes), Err(ParseComputerIdError::Version(2)));
        assert_eq!(crockford::encode(&bytes).parse::<ComputerId>(), Err(ParseComputerIdError::Version(2)));
        bytes[0] = 0x41;
        assert_eq!(ComputerId::from_bytes(bytes), Err(ParseComputerIdError::Version(0x41)));
        assert_eq!(ComputerId::try_from(&bytes[..20]), Err(ParseComputerIdError::Length(20)));
    }

    #[test]
    fn json_holds_the_text() {
        let id = derive(ComputerIdSource::Volume);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<ComputerId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<ComputerId>("\"00000\"").is_err());
    }
}
