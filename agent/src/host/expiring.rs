//! Bounded maps of values that expire. Values that their owner stores outlive a restart.

use super::store::{Store, now_ms};
use codec::{Decode, Encode};
use parking_lot::{Mutex, MutexGuard};
use std::{collections::BTreeMap, io, ops::RangeInclusive, path::Path};

/// A value with a date of expiry.
#[derive(Clone, Debug)]
pub struct Expiring<V> {
	/// Date of expiry, by [`now_ms`].
	pub expires: u64,
	/// The value.
	pub value: V,
}

/// A bounded map, with a folder of the values that outlive a restart.
///
/// The map has its own lock, which is never held during a write to the disk.
pub struct ExpiringMap<K, V> {
	values: Mutex<Values<K, V>>,
	files: Files<K>,
}

/// The values of an [`ExpiringMap`] while its lock is held.
pub struct Values<K, V> {
	map: BTreeMap<K, Expiring<V>>,
	most: usize,
}

/// The folder, and the name of each key's file in it.
struct Files<K> {
	store: Store,
	name: fn(&K) -> [u8; 32],
}

impl<K: Ord + Copy, V> ExpiringMap<K, V> {
	/// Creates an empty map of at most `most` values, whose files are in the folder `kind` below `data`.
	pub fn new(data: &Path, kind: &str, most: usize, name: fn(&K) -> [u8; 32]) -> io::Result<Self> {
		let store = Store::new(data, kind)?;
		let files = Files { store, name };
		let values = Values {
			map: BTreeMap::new(),
			most,
		};
		Ok(Self {
			values: Mutex::new(values),
			files,
		})
	}

	/// Fills the map with at most `most` values that were stored before the last stop and have not expired.
	/// `restore` converts the stored data into a value, or returns `None` to omit it.
	pub fn load<S: Decode>(&self, most: usize, mut restore: impl FnMut(u64, S) -> Option<(K, V)>) {
		for (expires, stored) in self.files.store.load(most) {
			if let Some((key, value)) = restore(expires, stored) {
				self.lock().insert(key, expires, value);
			}
		}
	}

	/// Locks the values until the guard is dropped.
	pub fn lock(&self) -> MutexGuard<'_, Values<K, V>> {
		self.values.lock()
	}

	/// Stores the data to restore a value from after a restart. The caller does not hold the lock. If the
	/// value was dropped meanwhile, no file stays.
	pub fn store<S: Encode>(&self, key: &K, expires: u64, stored: &S) {
		let name = (self.files.name)(key);
		self.files.store.put(&name, expires, stored);
		if self.lock().get(key).is_none() {
			self.files.remove(key);
		}
	}

	/// Removes the files of dropped values. The caller does not hold the lock. If a value was inserted again
	/// meanwhile, its owner stores it again.
	pub fn forget(&self, dropped: impl IntoIterator<Item = K>) {
		for key in dropped {
			self.files.remove(&key);
		}
	}

	/// Drops expired values, except those that `holds` reports as in use. Calls `holds` for every value.
	pub fn sweep(&self, mut holds: impl FnMut(&mut V) -> bool) {
		let now = now_ms();
		let mut gone = Vec::new();
		self.lock().map.retain(|key, timed| {
			let stays = holds(&mut timed.value) || timed.expires > now;
			if !stays {
				gone.push(*key);
			}
			stays
		});
		self.forget(gone);
	}
}

impl<K: Ord + Copy, V> Values<K, V> {
	/// Returns a value with its date of expiry.
	pub fn get(&self, key: &K) -> Option<&Expiring<V>> {
		self.map.get(key)
	}

	/// Returns a value to change.
	pub fn get_mut(&mut self, key: &K) -> Option<&mut Expiring<V>> {
		self.map.get_mut(key)
	}

	/// Iterates over all values.
	pub fn iter(&self) -> impl Iterator<Item = &Expiring<V>> {
		self.map.values()
	}

	/// Returns whether the map holds as many values as it may.
	pub fn is_full(&self) -> bool {
		self.map.len() >= self.most
	}

	/// Inserts or replaces the value of a key. The caller has made room.
	pub fn insert(&mut self, key: K, expires: u64, value: V) -> &mut Expiring<V> {
		let entry = self
			.map
			.entry(key)
			.insert_entry(Expiring { expires, value });
		entry.into_mut()
	}

	/// Iterates over all keys and values, to change values.
	pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut Expiring<V>)> {
		self.map.iter_mut()
	}

	/// If the map is full, drops the value that expires first and returns it. The caller removes its file
	/// with [`ExpiringMap::forget`] after the lock.
	#[must_use = "its file is to be removed"]
	pub fn make_room(&mut self) -> Option<(K, V)> {
		if !self.is_full() {
			return None;
		}
		let first = self.map.iter().min_by_key(|(_, timed)| timed.expires);
		let first = first.map(|(key, _)| *key)?;
		self.remove(first)
	}

	/// Does the same for a range of keys that may have `most` values.
	#[must_use = "its file is to be removed"]
	pub fn make_room_in(&mut self, range: RangeInclusive<K>, most: usize) -> Option<(K, V)> {
		if self.map.range(range.clone()).count() < most {
			return None;
		}
		let values = self.map.range(range);
		let first = values.min_by_key(|(_, timed)| timed.expires);
		let first = first.map(|(key, _)| *key)?;
		self.remove(first)
	}

	fn remove(&mut self, key: K) -> Option<(K, V)> {
		self.map.remove(&key).map(|timed| (key, timed.value))
	}
}

impl<K> Files<K> {
	fn remove(&self, key: &K) {
		self.store.remove(&(self.name)(key));
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use tempfile::TempDir;

	type Things = ExpiringMap<u8, &'static str>;

	fn things(dir: &TempDir, most: usize) -> Things {
		ExpiringMap::new(dir.path(), "things", most, |key| [*key; 32]).unwrap()
	}

	fn files(dir: &TempDir) -> usize {
		std::fs::read_dir(dir.path().join("things"))
			.unwrap()
			.count()
	}

	fn later() -> u64 {
		now_ms() + 60_000
	}

	#[test]
	fn stored_values_outlive_a_restart() {
		let dir = tempfile::tempdir().unwrap();
		let before = things(&dir, 8);
		let (first, second) = (later(), later() + 1);
		before.lock().insert(1, first, "one");
		before.lock().insert(2, second, "two");
		before.lock().insert(3, first, "three");
		before.lock().insert(4, first, "four");
		before.store(&2, second, &2u8);
		before.store(&3, now_ms() - 1, &3u8);
		before.store(&4, later(), &4u8);
		let after = things(&dir, 8);
		after.load(8, |_, key: u8| (key != 4).then_some((key, "restored")));
		let values = after.lock();
		assert_eq!(values.iter().count(), 1, "neither expired nor left out");
		let two = values.get(&2).unwrap();
		assert_eq!((two.expires, two.value), (second, "restored"));
	}

	#[test]
	fn boundary_a_full_map_drops_the_value_that_expires_first() {
		let dir = tempfile::tempdir().unwrap();
		let kept = things(&dir, 2);
		let date = later();
		for (key, expires) in [(1, date + 1), (2, date)] {
			kept.lock().insert(key, expires, "");
			kept.store(&key, expires, &key);
		}
		assert!(kept.lock().is_full());
		let dropped = kept.lock().make_room().map(|(key, _)| key);
		assert_eq!(files(&dir), 2, "no file is touched under the lock");
		kept.forget(dropped);
		assert!(kept.lock().get(&2).is_none());
		assert!(kept.lock().get(&1).is_some());
		assert_eq!(files(&dir), 1, "its file is gone too");
		assert_eq!(kept.lock().make_room(), None, "there was room");
		assert!(kept.lock().get(&1).is_some());
	}

	#[test]
	fn a_range_of_keys_is_bounded_on_its_own() {
		let dir = tempfile::tempdir().unwrap();
		let kept = things(&dir, 100);
		let date = later();
		for key in [10, 11, 20] {
			kept.lock().insert(key, date + u64::from(key), "");
		}
		assert_eq!(kept.lock().make_room_in(10..=19, 3), None);
		assert_eq!(kept.lock().iter().count(), 3);
		let dropped = kept.lock().make_room_in(10..=19, 2);
		assert_eq!(dropped, Some((10, "")), "it expires first of them");
		assert_eq!(kept.lock().iter().count(), 2);
	}

	#[test]
	fn a_value_that_was_dropped_before_it_was_stored_leaves_no_file() {
		let dir = tempfile::tempdir().unwrap();
		let kept = things(&dir, 1);
		for key in 0..10 {
			let mut values = kept.lock();
			let _never_stored = values.make_room();
			values.insert(key, later(), "");
		}
		for key in 0..10 {
			kept.store(&key, later(), &key);
		}
		assert_eq!(files(&dir), 1);
	}

	#[test]
	fn expired_values_are_dropped_unless_they_are_in_use() {
		let dir = tempfile::tempdir().unwrap();
		let kept = things(&dir, 8);
		for (key, expires, value) in [(1, 0, "used"), (2, 0, ""), (3, later(), "")] {
			kept.lock().insert(key, expires, value);
			kept.store(&key, later(), &key);
		}
		kept.sweep(|value| *value == "used");
		let values = kept.lock();
		assert!(values.get(&1).is_some() && values.get(&3).is_some());
		assert!(values.get(&2).is_none());
		assert_eq!(files(&dir), 2);
	}
}
