//! The protobuf wire format, read by hand: every value with the numbers of the fields that lead to it.
//!
//! A field with a length may be a message, a text or bytes; the wire doesn't say which. The integrity key's
//! messages are known from its published format: fields 4, 8, 11 and 16, and 1 within 8.

/// Fields that are messages, by the numbers that lead to them.
const MESSAGES: [&[u32]; 5] = [&[4], &[8], &[8, 1], &[11], &[16]];

/// A value that holds no further fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The numbers of the fields that lead to it.
    pub(crate) path: Vec<u32>,
    /// What it is.
    pub(crate) value: Value,
}

/// A value as the wire has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A varint.
    Number(u64),
    /// With a length in front.
    Bytes(Vec<u8>),
}

/// All values, in the order of the wire.
pub(crate) fn leaves(bytes: &[u8]) -> Vec<Leaf> {
    let mut found = Vec::new();
    walk(bytes, &[], &mut found);
    found
}

fn walk(mut bytes: &[u8], path: &[u32], found: &mut Vec<Leaf>) {
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let mut path = path.to_vec();
        path.push(u32::try_from(key >> 3).expect("a field number"));
        match key & 7 {
            0 => found.push(Leaf { path, value: Value::Number(varint(&mut bytes)) }),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).expect("a length");
                let (content, rest) = bytes.split_at_checked(length).expect("the field is complete");
                bytes = rest;
                if MESSAGES.contains(&path.as_slice()) {
                    walk(content, &path, found);
                } else {
                    found.push(Leaf { path, value: Value::Bytes(content.to_vec()) });
                }
            }
            other => panic!("field {path:?} has wire type {other}, which the format does not use"),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("the number is complete");
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return number;
        }
    }
    panic!("a number of more than ten bytes");
}

#[test]
fn the_wire_is_taken_apart() {
    // 3: "abc"; 4: { 1: 300 }; 15: 1.
    let bytes = [0x1a, 3, b'a', b'b', b'c', 0x22, 3, 0x08, 0xac, 0x02, 0x78, 1];
    let leaf = |path: &[u32], value| Leaf { path: path.to_vec(), value };
    assert_eq!(
        leaves(&bytes),
        [
            leaf(&[3], Value::Bytes(b"abc".to_vec())),
            leaf(&[4, 1], Value::Number(300)),
            leaf(&[15], Value::Number(1)),
        ]
    );
}
