//! Access control: the number of clients, and the list of allowed keys.

use anyhow::{Context, Result, bail};
use iroh_base::EndpointId;
use iroh_relay::server::{Access, AccessControl, ClientRequest, ConnectionId};
use kaisar_fs::read_bounded;
use parking_lot::Mutex;
use std::{
	collections::BTreeSet,
	path::{Path, PathBuf},
	sync::atomic::{AtomicUsize, Ordering},
	time::{Duration, Instant, SystemTime},
};

/// Maximum length of the list of keys, in bytes: 64 hex digits for each of 100,000 keys.
const MAX_FILE: u64 = 8 * 1024 * 1024;
/// Minimum interval between two looks for changes of the list.
const LOOK: Duration = Duration::from_secs(5);

type Key = [u8; 32];

/// Access control of a relay: it counts clients, and compares their keys with the list.
#[derive(Debug)]
pub struct Guests {
	most: usize,
	present: AtomicUsize,
	list: Option<Mutex<List>>,
}

#[derive(Debug)]
struct List {
	file: PathBuf,
	keys: BTreeSet<Key>,
	changed: Option<SystemTime>,
	looked: Instant,
}

impl Guests {
	/// Creates an access control that admits at most this number of clients, and if a file is given, only
	/// the keys in it.
	pub fn new(most: usize, file: Option<PathBuf>) -> Result<Self> {
		let list = file.map(List::read).transpose()?;
		Ok(Self {
			most,
			present: AtomicUsize::new(0),
			list: list.map(Mutex::new),
		})
	}

	fn refusal(&self, key: &Key) -> Option<String> {
		if let Some(list) = &self.list
			&& !list.lock().has(key)
		{
			return Some("this key is not on the relay's list; ask its operator to add it".into());
		}
		let counted = self
			.present
			.try_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
				(count < self.most).then_some(count + 1)
			});
		counted.err().map(|_| {
			"the relay has its maximum number of clients; use another, or try again later".into()
		})
	}
}

impl AccessControl for Guests {
	async fn on_connect(&self, request: &ClientRequest) -> Access {
		match self.refusal(request.endpoint_id().as_bytes()) {
			None => Access::Allow,
			reason => {
				tracing::debug!(key = hex::encode(request.endpoint_id().as_bytes()), ?reason);
				Access::Deny { reason }
			}
		}
	}

	fn on_disconnect(&self, _: EndpointId, _: ConnectionId) {
		self.present.fetch_sub(1, Ordering::Relaxed);
	}
}

impl List {
	fn read(file: PathBuf) -> Result<Self> {
		let (keys, changed) = read(&file)?;
		Ok(Self {
			file,
			keys,
			changed,
			looked: Instant::now(),
		})
	}

	fn has(&mut self, key: &Key) -> bool {
		if self.looked.elapsed() >= LOOK {
			self.looked = Instant::now();
			if modified(&self.file) != self.changed {
				match read(&self.file) {
					Ok((keys, changed)) => {
						tracing::info!(keys = keys.len(), "the list of keys has changed");
						(self.keys, self.changed) = (keys, changed);
					}
					Err(error) => tracing::warn!("{error:#}; the previous list stays in force"),
				}
			}
		}
		self.keys.contains(key)
	}
}

fn modified(file: &Path) -> Option<SystemTime> {
	std::fs::metadata(file).ok()?.modified().ok()
}

fn read(file: &Path) -> Result<(BTreeSet<Key>, Option<SystemTime>)> {
	let changed = modified(file);
	let bytes = read_bounded(file, MAX_FILE)
		.with_context(|| format!("cannot read the list of keys {}", file.display()))?;
	let text = String::from_utf8(bytes)
		.with_context(|| format!("the list of keys {} is not text", file.display()))?;
	let mut keys = BTreeSet::new();
	for (number, line) in text.lines().enumerate() {
		let line = line.split('#').next().unwrap_or_default().trim();
		if line.is_empty() {
			continue;
		}
		let mut key = [0; 32];
		if hex::decode_to_slice(line.trim_start_matches("0x"), &mut key).is_err() {
			bail!(
				"line {} of {} is not a key; expected 64 hex digits",
				number + 1,
				file.display()
			);
		}
		keys.insert(key);
	}
	Ok((keys, changed))
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn keys_of_the_list_are_let_in_until_the_relay_is_full() {
		let dir = tempfile::tempdir().unwrap();
		let file = dir.path().join("keys");
		let text = format!(
			"# providers\n{} # one\n\n0x{}\n",
			hex::encode([1; 32]),
			hex::encode([2; 32])
		);
		std::fs::write(&file, text).unwrap();
		let guests = Guests::new(2, Some(file.clone())).unwrap();
		assert!(guests.refusal(&[3; 32]).unwrap().contains("list"));
		assert_eq!(guests.refusal(&[1; 32]), None);
		assert_eq!(guests.refusal(&[2; 32]), None);
		assert!(guests.refusal(&[2; 32]).unwrap().contains("maximum number"));
		std::fs::write(&file, "ab").unwrap();
		let refused = Guests::new(1, Some(file)).unwrap_err().to_string();
		assert!(refused.starts_with("line 1 of"), "{refused}");
		let missing = dir.path().join("none");
		assert!(Guests::new(1, Some(missing)).is_err());
	}
}
