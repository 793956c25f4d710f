//! The chain's state without a trie: a sorted map with a journal.
//!
//! Native runtime code reads and writes through [`Externalities`]. This module implements them with a map in
//! memory, and keeps a journal to undo an open transaction, so that a failed call changes nothing, as on the
//! chain. It computes no state root: a root is a number that differs from block to block, and the runtime's
//! own logic needs no more. That makes a million workers affordable.
//!
//! Keys begin with the hashes of a pallet and of a storage item, 32 bytes together. The map is split there,
//! so that no entry repeats them.

use codec::{Compact, Decode, Encode};
use sp_core::storage::{ChildInfo, StateVersion, TrackedStorageKey};
use sp_externalities::{
	Error, Extension, ExtensionStore, Extensions, Externalities, MultiRemovalResults,
};
use std::{
	any::{Any, TypeId},
	collections::BTreeMap,
	ops::Bound,
};

/// Length of a storage item's prefix, in bytes: two hashes of 16 bytes.
const PREFIX: usize = 32;

/// Entries of one storage item, by the rest of their keys.
type Item = BTreeMap<Box<[u8]>, Vec<u8>>;

/// Inverse of a change, for a rollback.
enum Undo {
	/// Restores the entry's value.
	Place { key: Vec<u8>, old: Option<Vec<u8>> },
	/// Shortens the entry, a list, and restores its first bytes.
	Shorten {
		key: Vec<u8>,
		length: usize,
		count: Vec<u8>,
	},
}

/// The state of a chain.
#[derive(Default)]
pub struct Store {
	items: BTreeMap<Box<[u8]>, Item>,
	journal: Vec<Undo>,
	/// Length of the journal at the start of each open transaction.
	open: Vec<usize>,
	/// Number of requested roots.
	roots: u64,
	extensions: Extensions,
}

impl Clone for Store {
	/// Copies the state. Must not be called within a transaction, whose journal is not copied.
	fn clone(&self) -> Self {
		assert!(self.open.is_empty(), "a transaction is open");
		Self {
			items: self.items.clone(),
			roots: self.roots,
			..Default::default()
		}
	}
}

/// Splits a key after the prefix of its storage item.
fn split(key: &[u8]) -> (&[u8], &[u8]) {
	key.split_at(key.len().min(PREFIX))
}

impl Store {
	/// Runs native runtime code on this state.
	pub fn execute_with<R>(&mut self, run: impl FnOnce() -> R) -> R {
		sp_externalities::set_and_run_with_externalities(self, run)
	}

	/// Returns the number of entries.
	pub fn entries(&self) -> usize {
		self.items.values().map(BTreeMap::len).sum()
	}

	/// Returns the total length of all keys, without the prefixes, and values, in bytes.
	pub fn bytes(&self) -> usize {
		self.items
			.values()
			.flatten()
			.map(|(key, value)| key.len() + value.len())
			.sum()
	}

	fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
		let (prefix, rest) = split(key);
		self.items.get(prefix)?.get(rest)
	}

	fn get_mut(&mut self, key: &[u8]) -> Option<&mut Vec<u8>> {
		let (prefix, rest) = split(key);
		self.items.get_mut(prefix)?.get_mut(rest)
	}

	/// Sets or removes an entry without an entry in the journal, and returns its old value.
	fn replace(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Option<Vec<u8>> {
		let (prefix, rest) = split(key);
		match value {
			Some(value) => {
				let item = match self.items.get_mut(prefix) {
					Some(item) => item,
					None => self.items.entry(prefix.into()).or_default(),
				};
				match item.get_mut(rest) {
					Some(old) => Some(std::mem::replace(old, value)),
					None => item.insert(rest.into(), value),
				}
			}
			None => self.items.get_mut(prefix)?.remove(rest),
		}
	}

	fn note(&mut self, undo: impl FnOnce() -> Undo) {
		if !self.open.is_empty() {
			self.journal.push(undo());
		}
	}

	fn take_back(&mut self, undo: Undo) {
		match undo {
			Undo::Place { key, old } => {
				self.replace(&key, old);
			}
			Undo::Shorten { key, length, count } => {
				if let Some(value) = self.get_mut(&key) {
					value.truncate(length);
					value[..count.len()].copy_from_slice(&count);
				}
			}
		}
	}

	/// Returns the keys that begin with a prefix, at most `limit`.
	fn keys_below(&self, prefix: &[u8], limit: usize) -> Vec<Vec<u8>> {
		let mut keys = Vec::new();
		let mut next = self.get(prefix).map(|_| prefix.to_vec());
		let mut last = prefix.to_vec();
		while keys.len() < limit {
			let Some(key) = next.take().or_else(|| self.after(&last)) else {
				break;
			};
			if !key.starts_with(prefix) {
				break;
			}
			last.clone_from(&key);
			keys.push(key);
		}
		keys
	}

	/// Returns the next key after this one.
	fn after(&self, key: &[u8]) -> Option<Vec<u8>> {
		let (prefix, rest) = split(key);
		let within = self.items.get(prefix).and_then(|item| {
			item.range::<[u8], _>((Bound::Excluded(rest), Bound::Unbounded))
				.next()
		});
		if let Some((rest, _)) = within {
			return Some([prefix, rest].concat());
		}
		self.items
			.range::<[u8], _>((Bound::Excluded(prefix), Bound::Unbounded))
			.find_map(|(prefix, item)| Some([&prefix[..], item.keys().next()?].concat()))
	}
}

/// Message of a panic on child tries, which the pallets of this runtime do not use.
const NO_CHILDREN: &str = "the runtime has no child storage";
/// Message of a panic on benchmarking, which is not done here.
const NO_BENCHMARKS: &str = "reads and writes are counted by benchmarks only";

impl Externalities for Store {
	fn set_offchain_storage(&mut self, _: &[u8], _: Option<&[u8]>) {}

	fn storage(&mut self, key: &[u8]) -> Option<Vec<u8>> {
		self.get(key).cloned()
	}

	fn exists_storage(&mut self, key: &[u8]) -> bool {
		self.get(key).is_some()
	}

	fn storage_hash(&mut self, key: &[u8]) -> Option<Vec<u8>> {
		self.get(key)
			.map(|value| sp_io::hashing::blake2_256(value).to_vec())
	}

	fn next_storage_key(&mut self, key: &[u8]) -> Option<Vec<u8>> {
		self.after(key)
	}

	fn place_storage(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
		let old = self.replace(&key, value);
		self.note(|| Undo::Place { key, old });
	}

	fn clear_prefix(
		&mut self,
		prefix: &[u8],
		limit: Option<u32>,
		_: Option<&[u8]>,
	) -> MultiRemovalResults {
		let limit = limit.map_or(usize::MAX, |limit| limit as usize);
		let keys = self.keys_below(prefix, limit);
		let count = keys.len() as u32;
		for key in keys {
			self.place_storage(key, None);
		}
		let maybe_cursor = self.keys_below(prefix, 1).pop();
		MultiRemovalResults {
			maybe_cursor,
			backend: count,
			unique: count,
			loops: count,
		}
	}

	fn storage_append(&mut self, key: Vec<u8>, element: Vec<u8>) {
		let grown = self.get_mut(&key).and_then(|value| {
			let Compact(count) = Compact::<u32>::decode(&mut &value[..]).ok()?;
			let (old, new) = (Compact(count).encode(), Compact(count + 1).encode());
			let length = value.len();
			// If the length prefix grows, the list moves, and is written anew.
			(old.len() == new.len()).then(|| {
				value[..new.len()].copy_from_slice(&new);
				value.extend_from_slice(&element);
				(length, old)
			})
		});
		if let Some((length, count)) = grown {
			self.note(|| Undo::Shorten { key, length, count });
			return;
		}
		let (count, rest) = match self.get(&key) {
			Some(value) => {
				let mut rest = &value[..];
				let Compact(count) = Compact::<u32>::decode(&mut rest).unwrap_or(Compact(0));
				(count, rest.to_vec())
			}
			None => (0, Vec::new()),
		};
		let value = [Compact(count + 1).encode(), rest, element].concat();
		self.place_storage(key, Some(value));
	}

	/// Returns a number that is unique to the block, instead of the root.
	fn storage_root(&mut self, _: StateVersion) -> Vec<u8> {
		self.roots += 1;
		sp_io::hashing::blake2_256(&self.roots.to_le_bytes()).to_vec()
	}

	fn storage_start_transaction(&mut self) {
		self.open.push(self.journal.len());
	}

	fn storage_rollback_transaction(&mut self) -> Result<(), ()> {
		let mark = self.open.pop().ok_or(())?;
		while self.journal.len() > mark {
			if let Some(undo) = self.journal.pop() {
				self.take_back(undo);
			}
		}
		Ok(())
	}

	fn storage_commit_transaction(&mut self) -> Result<(), ()> {
		self.open.pop().ok_or(())?;
		if self.open.is_empty() {
			self.journal.clear();
		}
		Ok(())
	}

	fn child_storage(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
		panic!("{NO_CHILDREN}")
	}

	fn child_storage_hash(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
		panic!("{NO_CHILDREN}")
	}

	fn next_child_storage_key(&mut self, _: &ChildInfo, _: &[u8]) -> Option<Vec<u8>> {
		panic!("{NO_CHILDREN}")
	}

	fn kill_child_storage(
		&mut self,
		_: &ChildInfo,
		_: Option<u32>,
		_: Option<&[u8]>,
	) -> MultiRemovalResults {
		panic!("{NO_CHILDREN}")
	}

	fn clear_child_prefix(
		&mut self,
		_: &ChildInfo,
		_: &[u8],
		_: Option<u32>,
		_: Option<&[u8]>,
	) -> MultiRemovalResults {
		panic!("{NO_CHILDREN}")
	}

	fn place_child_storage(&mut self, _: &ChildInfo, _: Vec<u8>, _: Option<Vec<u8>>) {
		panic!("{NO_CHILDREN}")
	}

	fn child_storage_root(&mut self, _: &ChildInfo, _: StateVersion) -> Vec<u8> {
		panic!("{NO_CHILDREN}")
	}

	fn wipe(&mut self) {
		panic!("{NO_BENCHMARKS}")
	}

	fn commit(&mut self) {
		panic!("{NO_BENCHMARKS}")
	}

	fn read_write_count(&self) -> (u32, u32, u32, u32) {
		panic!("{NO_BENCHMARKS}")
	}

	fn reset_read_write_count(&mut self) {
		panic!("{NO_BENCHMARKS}")
	}

	fn get_whitelist(&self) -> Vec<TrackedStorageKey> {
		panic!("{NO_BENCHMARKS}")
	}

	fn set_whitelist(&mut self, _: Vec<TrackedStorageKey>) {
		panic!("{NO_BENCHMARKS}")
	}

	fn get_read_and_written_keys(&self) -> Vec<(Vec<u8>, u32, u32, bool)> {
		panic!("{NO_BENCHMARKS}")
	}
}

impl ExtensionStore for Store {
	fn extension_by_type_id(&mut self, id: TypeId) -> Option<&mut dyn Any> {
		self.extensions.get_mut(id)
	}

	fn register_extension_with_type_id(
		&mut self,
		id: TypeId,
		extension: Box<dyn Extension>,
	) -> Result<(), Error> {
		self.extensions.register_with_type_id(id, extension)
	}

	fn deregister_extension_by_type_id(&mut self, id: TypeId) -> Result<(), Error> {
		if self.extensions.deregister(id) {
			Ok(())
		} else {
			Err(Error::ExtensionIsNotRegistered(id))
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	/// Returns a key in the storage item `item`.
	fn key(item: u8, rest: &[u8]) -> Vec<u8> {
		[&[item; PREFIX], rest].concat()
	}

	fn filled() -> Store {
		let mut store = Store::default();
		for (item, rest) in [(1, &b"a"[..]), (1, b"ab"), (2, b"a"), (9, b"z")] {
			store.place_storage(key(item, rest), Some(vec![item]));
		}
		store.place_storage(b":short".to_vec(), Some(vec![0]));
		store
	}

	#[test]
	fn keys_follow_one_another_across_items() {
		let mut store = filled();
		let mut keys = Vec::new();
		let mut last = Vec::new();
		while let Some(next) = store.next_storage_key(&last) {
			keys.push(next.clone());
			last = next;
		}
		let mut sorted = keys.clone();
		sorted.sort();
		assert_eq!((keys.len(), &keys), (5, &sorted));
		// An item without entries is skipped.
		store.place_storage(key(2, b"a"), None);
		assert_eq!(store.next_storage_key(&key(1, b"ab")), Some(key(9, b"z")));
	}

	#[test]
	fn a_prefix_is_cleared_up_to_the_limit() {
		let mut store = filled();
		let first = store.clear_prefix(&[1; PREFIX], Some(1), None);
		assert_eq!((first.unique, first.maybe_cursor.is_some()), (1, true));
		let rest = store.clear_prefix(&[1; PREFIX], None, None);
		assert_eq!((rest.unique, rest.maybe_cursor), (1, None));
		assert_eq!(store.entries(), 3);
	}

	#[test]
	fn a_rollback_restores_what_was_put_removed_and_appended() {
		let mut store = filled();
		let list = key(3, b"");
		for n in 0..63u8 {
			store.storage_append(list.clone(), vec![n]);
		}
		let before = store.items.clone();
		store.storage_start_transaction();
		store.place_storage(key(1, b"a"), None);
		store.storage_start_transaction();
		// With the 64th element the encoded length of the list grows by a byte.
		for n in 63..70u8 {
			store.storage_append(list.clone(), vec![n]);
		}
		store.place_storage(key(1, b"new"), Some(vec![7]));
		store.storage_commit_transaction().expect("it is open");
		let grown = Vec::<u8>::decode(&mut &store.storage(&list).expect("a list")[..]);
		assert_eq!(grown, Ok((0..70u8).collect()));
		store.storage_rollback_transaction().expect("it is open");
		store.items.retain(|_, item| !item.is_empty());
		assert_eq!(store.items, before);
		assert!(store.storage_rollback_transaction().is_err());
	}

	#[test]
	fn roots_differ() {
		let mut store = Store::default();
		let root = |store: &mut Store| store.storage_root(StateVersion::V1);
		assert_ne!(root(&mut store), root(&mut store));
	}
}
