//! What an agent remembers over a restart: small SCALE files with a date on which they go, by the agent's
//! own clock ([`now_ms`]).

use codec::{Decode, DecodeAll, Encode};
use kaisar_fs::{BY_UMASK, read_bounded, write_unsynced};
use std::path::{Path, PathBuf};

pub use super::clock::now_ms;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A folder of values of one kind.
#[derive(Clone, Debug)]
pub struct Store {
	dir: PathBuf,
}

impl Store {
	/// The folder `kind` below `data`, made if need be.
	pub fn new(data: &Path, kind: &str) -> std::io::Result<Self> {
		let dir = data.join(kind);
		std::fs::create_dir_all(&dir)?;
		Ok(Self { dir })
	}

	fn file(&self, name: &[u8]) -> PathBuf {
		self.dir.join(hex::encode(name))
	}

	/// Keeps a value until `expires`. A value that cannot be kept is lost in a restart only, so that
	/// is said and no more.
	pub fn put<T: Encode>(&self, name: &[u8], expires: u64, value: &T) {
		if let Err(error) = write_unsynced(&self.file(name), &(expires, value).encode(), BY_UMASK) {
			tracing::warn!(
				%error,
				dir = %self.dir.display(),
				"cannot write to the data folder: what belongs here is forgotten at the next restart. Free space on \
				 its disk"
			);
		}
	}

	/// Drops a value.
	pub fn remove(&self, name: &[u8]) {
		let _ = std::fs::remove_file(self.file(name));
	}

	/// All values that have not expired; what has, or is damaged, is removed.
	pub fn load<T: Decode>(&self) -> Vec<(u64, T)> {
		let Ok(files) = std::fs::read_dir(&self.dir) else {
			return Vec::new();
		};
		let now = now_ms();
		files
			.flatten()
			.filter_map(|file| {
				let value = read_bounded(&file.path(), MAX_FILE)
					.ok()
					.and_then(|bytes| <(u64, T)>::decode_all(&mut &bytes[..]).ok())
					.filter(|(expires, _)| *expires > now);
				if value.is_none() {
					let _ = std::fs::remove_file(file.path());
				}
				value
			})
			.collect()
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn values_stay_until_they_expire() {
		let dir = tempfile::tempdir().unwrap();
		let store = Store::new(dir.path(), "things").unwrap();
		store.put(&[1], now_ms() + 60_000, &7u32);
		store.put(&[2], now_ms() - 1, &8u32);
		store.put(&[3], now_ms() + 60_000, &9u32);
		store.remove(&[3]);
		std::fs::write(dir.path().join("things/04"), [1, 2, 3]).unwrap();
		std::fs::write(dir.path().join("things/05"), vec![0; 1 << 20]).unwrap();
		let values: Vec<u32> = store.load().into_iter().map(|(_, value)| value).collect();
		assert_eq!(values, [7]);
		assert_eq!(
			std::fs::read_dir(dir.path().join("things"))
				.unwrap()
				.count(),
			1
		);
	}
}
