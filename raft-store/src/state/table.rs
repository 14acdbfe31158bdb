//! Ordered tables of rows, the stuff that replicated state is made of.
//!
//! A table is a persistent map: a copy for readers costs nothing. It remembers what was changed
//! since the last [`Table::take_changes`], so that apply writes just that.

use std::{collections::BTreeMap, sync::Arc};

use imbl::OrdMap;
use serde::{Serialize, de::DeserializeOwned};

use crate::codec::{self, CodecError};

/// A row's key, with a byte form whose order is the key's order.
pub trait Key: Ord + Clone {
    /// The byte form.
    fn to_bytes(&self) -> Vec<u8>;
    /// Reads the byte form back.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// One changed row, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Table tag and key.
    pub key: Vec<u8>,
    /// The row before, if there was one.
    pub before: Option<Vec<u8>>,
    /// The row now, if there is one.
    pub after: Option<Vec<u8>>,
}

/// Rows of one kind, ordered by key.
#[derive(Debug, Clone)]
pub struct Table<K: Ord + Clone, V> {
    tag: u8,
    rows: OrdMap<K, Arc<V>>,
    /// The rows as they were before the changes since the last `take_changes`.
    before: BTreeMap<K, Option<Arc<V>>>,
}

impl<K: Key, V: Serialize + DeserializeOwned + PartialEq> Table<K, V> {
    /// An empty table. The tag names it on disk, for ever.
    pub fn new(tag: u8) -> Self {
        Table { tag, rows: OrdMap::new(), before: BTreeMap::new() }
    }

    /// The row of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(Arc::as_ref)
    }

    /// All keys and rows in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, row)| (key, row.as_ref()))
    }

    /// All rows in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, row)| row)
    }

    /// The first key and row.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.rows.get_min().map(|(key, row)| (key, row.as_ref()))
    }

    /// The last key and row.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.rows.get_max().map(|(key, row)| (key, row.as_ref()))
    }

    /// Keys and rows from this key on, in order.
    pub fn starting_at(&self, key: K) -> impl Iterator<Item = (&K, &V)> {
        self.rows.range(key..).map(|(key, row)| (key, row.as_ref()))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sets the row of `key`.
    pub fn put(&mut self, key: K, row: V) {
        let before = self.rows.insert(key.clone(), Arc::new(row));
        self.before.entry(key).or_insert(before);
    }

    /// Removes the row of `key`.
    pub fn remove(&mut self, key: &K) {
        if let Some(before) = self.rows.remove(key) {
            self.before.entry(key.clone()).or_insert(Some(before));
        }
    }

    fn row_key(&self, key: &K) -> Vec<u8> {
        let mut bytes = vec![self.tag];
        bytes.extend(key.to_bytes());
        bytes
    }
}

/// What the store does with every table, whatever its rows are.
pub trait AnyTable {
    /// The tag in front of the table's keys.
    fn tag(&self) -> u8;
    /// How many rows there are.
    fn count(&self) -> usize;
    /// Reads one row, when a node starts or installs a snapshot. It counts as unchanged.
    ///
    /// # Errors
    /// If key or row are not of this table's types.
    fn load(&mut self, key: &[u8], row: &[u8]) -> Result<(), CodecError>;
    /// Adds what was changed since the last call to `changes`, in key order, and forgets it.
    ///
    /// # Errors
    /// If a row can't be encoded, which no row type gives.
    fn take_changes(&mut self, changes: &mut Vec<Change>) -> Result<(), CodecError>;
    /// Calls `each` for every row as bytes, in key order.
    ///
    /// # Errors
    /// If a row can't be encoded, which no row type gives.
    fn rows(&self, each: &mut dyn FnMut(Vec<u8>, Vec<u8>)) -> Result<(), CodecError>;
}

impl<K: Key, V: Serialize + DeserializeOwned + PartialEq> AnyTable for Table<K, V> {
    fn tag(&self) -> u8 {
        self.tag
    }

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn load(&mut self, key: &[u8], row: &[u8]) -> Result<(), CodecError> {
        let key = K::from_bytes(key).ok_or_else(|| CodecError::Damaged("a row has a wrong key".into()))?;
        self.rows.insert(key, Arc::new(codec::decode(row)?));
        Ok(())
    }

    fn take_changes(&mut self, changes: &mut Vec<Change>) -> Result<(), CodecError> {
        for (key, before) in std::mem::take(&mut self.before) {
            let after = self.rows.get(&key);
            if before.as_ref() != after {
                changes.push(Change {
                    key: self.row_key(&key),
                    before: before.map(|row| codec::encode(row.as_ref())).transpose()?,
                    after: after.map(|row| codec::encode(row.as_ref())).transpose()?,
                });
            }
        }
        Ok(())
    }

    fn rows(&self, each: &mut dyn FnMut(Vec<u8>, Vec<u8>)) -> Result<(), CodecError> {
        for (key, row) in &self.rows {
            each(self.row_key(key), codec::encode(row.as_ref())?);
        }
        Ok(())
    }
}

/// The key of a table that has one row at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Only;

impl Key for Only {
    fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(Only)
    }
}

impl Key for u64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }
}

impl Key for crate::proposal::RequestId {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

impl Key for quorate_license::NodeId {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        u64::from_bytes(bytes).map(Self)
    }
}

impl Key for quorate_license::Nonce {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::try_from(bytes).ok()
    }
}

impl Key for quorate_license::TenantId {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(table: &mut Table<u64, String>) -> Vec<Change> {
        let mut changes = Vec::new();
        table.take_changes(&mut changes).unwrap();
        changes
    }

    #[test]
    fn changes_are_taken_once_and_in_key_order() {
        let mut table = Table::new(7);
        table.put(2, "two".to_owned());
        table.put(1, "one".to_owned());
        table.put(1, "uno".to_owned());
        let taken = changes(&mut table);
        assert_eq!(taken.iter().map(|c| c.key[8]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(taken[0].after, Some(codec::encode(&"uno").unwrap()));
        assert_eq!(taken[0].before, None);
        assert!(changes(&mut table).is_empty());

        table.remove(&2);
        table.put(3, "three".to_owned());
        table.remove(&3);
        let taken = changes(&mut table);
        assert_eq!(taken.len(), 1, "a row that came and went is no change");
        assert_eq!((taken[0].key[0], taken[0].after.clone()), (7, None));
    }

    #[test]
    fn a_copy_for_readers_does_not_see_later_changes() {
        let mut table = Table::new(1);
        table.put(1, "one".to_owned());
        let copy = table.clone();
        table.remove(&1);
        assert_eq!(copy.get(&1).map(String::as_str), Some("one"));
        assert!(table.is_empty());
    }
}
