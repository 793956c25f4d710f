//! State that outlives a restart: small SCALE files with a date of expiry by the agent's own clock
//! ([`now_ms`]).

use codec::{Decode, DecodeAll, Encode};
use kaisar_fs::{BY_UMASK, read_bounded, write_unsynced};
use std::path::{Path, PathBuf};
use tokio::runtime::{Handle, RuntimeFlavor};

pub use super::clock::now_ms;

/// Maximum length of a file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Runs file operations off the threads that the runtime's tasks share, so that a slow disk delays no
/// connection.
pub fn with_files<T>(work: impl FnOnce() -> T) -> T {
	match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
		Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
		_ => work(),
	}
}

/// A folder of values of one kind.
#[derive(Clone, Debug)]
pub struct Store {
	dir: PathBuf,
}

impl Store {
	/// Opens the folder `kind` below `data`. Creates it if it is missing.
	pub fn new(data: &Path, kind: &str) -> std::io::Result<Self> {
		let dir = data.join(kind);
		std::fs::create_dir_all(&dir)?;
		Ok(Self { dir })
	}

	fn file(&self, name: &[u8]) -> PathBuf {
		self.dir.join(hex::encode(name))
	}

	/// Stores a value until `expires`. A failure is only logged: the value is lost at the next restart, not
	/// before.
	pub fn put<T: Encode>(&self, name: &[u8], expires: u64, value: &T) {
		let (file, bytes) = (self.file(name), (expires, value).encode());
		if let Err(error) = with_files(|| write_unsynced(&file, &bytes, BY_UMASK)) {
			tracing::warn!(
				%error,
				dir = %self.dir.display(),
				"cannot write to the data folder: this state is lost at the next restart. Free space on its disk"
			);
		}
	}

	/// Removes a value.
	pub fn remove(&self, name: &[u8]) {
		let _ = with_files(|| std::fs::remove_file(self.file(name)));
	}

	/// Loads at most `most` values that have not expired. Removes the files of all others, and damaged ones.
	pub fn load<T: Decode>(&self, most: usize) -> Vec<(u64, T)> {
		let Ok(files) = std::fs::read_dir(&self.dir) else {
			return Vec::new();
		};
		let now = now_ms();
		let mut values = Vec::new();
		for file in files.flatten() {
			let value = (values.len() < most)
				.then(|| read_bounded(&file.path(), MAX_FILE).ok())
				.flatten()
				.and_then(|bytes| <(u64, T)>::decode_all(&mut &bytes[..]).ok())
				.filter(|(expires, _)| *expires > now);
			match value {
				Some(value) => values.push(value),
				None => {
					let _ = std::fs::remove_file(file.path());
				}
			}
		}
		values
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
		let values: Vec<u32> = store.load(8).into_iter().map(|(_, value)| value).collect();
		assert_eq!(values, [7]);
		assert_eq!(
			std::fs::read_dir(dir.path().join("things"))
				.unwrap()
				.count(),
			1
		);
	}

	#[test]
	fn boundary_surplus_files_are_not_read_and_are_removed() {
		let dir = tempfile::tempdir().unwrap();
		let store = Store::new(dir.path(), "things").unwrap();
		for name in 0..10 {
			store.put(&[name], now_ms() + 60_000, &name);
		}
		assert_eq!(store.load::<u8>(4).len(), 4);
		assert_eq!(store.load::<u8>(10).len(), 4);
	}
}
