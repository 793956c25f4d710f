//! What an agent remembers of a GPU's matrix units over a restart, in its data folder.
//!
//! - Which kernel was chosen, by model and driver: a trial takes seconds, and while a customer uses the GPU it could go
//!   wrong. Removing the file has it tried anew.
//! - That they are being tried, by device: a driver that crashes takes the agent with it, or the machine. The agent is
//!   started again, and after some such attempts leaves the matrix units alone for a day.

use crate::trial::device::Rated;
use kaisar_fs::{BY_UMASK, read_bounded, write_atomic};
use std::{
	fs, io,
	path::{Path, PathBuf},
	time::{Duration, SystemTime},
};

/// Attempts after which matrix units are left alone.
const MOST_ATTEMPTS: u32 = 2;
/// How long an attempt that came to nothing counts.
const COUNTS: Duration = Duration::from_secs(24 * 3_600);
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1_024;

/// What is remembered of a GPU.
pub(super) struct Memo {
	choice: PathBuf,
	attempts: PathBuf,
	device: String,
}

/// An attempt that has begun. If it is not finished, the process did not outlive it.
#[must_use]
#[derive(Debug)]
pub(super) struct Attempt(PathBuf);

/// They are not to be tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
	/// They were, too often.
	#[error("they were tried before, and the agent did not live to tell")]
	Deadly,
	/// It could not be written down that they are.
	#[error("attempts cannot be counted: {0}")]
	Unwritten(#[from] io::Error),
}

impl Memo {
	/// Of a device and the codes that there are for it. Another driver, or other codes, are another matter. `model` is the
	/// names of the GPU and of its driver, and the driver's version; `bus` tells one GPU of a model from another.
	pub fn new(dir: &Path, model: [&str; 3], bus: &str, codes: &[String]) -> Self {
		let codes = codes.iter().map(String::as_str);
		let choice: Vec<&str> = model.into_iter().chain(codes).collect();
		let device = [&model[..], &[bus]].concat();
		Self {
			choice: dir.join(format!("kernel-{}", named(&choice))),
			attempts: dir.join(format!("trying-{}", named(&device))),
			device: device.join(" "),
		}
	}

	/// The kernels that were found right, the best first.
	pub fn choice(&self) -> Option<Vec<Rated>> {
		let bytes = read_bounded(&self.choice, MAX_FILE).ok()?;
		// What cannot be read is found out anew.
		let rated: Vec<Rated> = serde_json::from_slice(&bytes).ok()?;
		(!rated.is_empty()).then_some(rated)
	}

	/// Remembers what was found.
	pub fn choose(&self, rated: &[Rated]) {
		let written = serde_json::to_vec(rated)
			.map_err(io::Error::other)
			.and_then(|bytes| write_atomic(&self.choice, &bytes, BY_UMASK));
		if let Err(error) = written {
			tracing::warn!(%error, path = %self.choice.display(), "the choice of a kernel cannot be kept; it is made again at the next start");
		}
	}

	/// Begins an attempt. It is on the disk before anything is tried.
	pub fn attempt(&self) -> Result<Attempt, Refused> {
		let path = &self.attempts;
		let before = attempts(path)?;
		if before >= MOST_ATTEMPTS {
			tracing::warn!(
				device = self.device,
				path = %path.display(),
				"its matrix units were tried {before} times and the agent did not live to tell: the driver may crash. \
				 They are not used for a day. To have them tried at once, remove the file",
			);
			return Err(Refused::Deadly);
		}
		write_atomic(path, format!("{}\n", before + 1).as_bytes(), BY_UMASK)?;
		Ok(Attempt(path.clone()))
	}

	/// Forgets what was found.
	pub fn forget(&self) {
		match fs::remove_file(&self.choice) {
			Err(error) if error.kind() != io::ErrorKind::NotFound => {
				tracing::warn!(%error, path = %self.choice.display(), "cannot be removed");
			}
			_ => (),
		}
	}
}

impl Attempt {
	/// It came to an end, whichever.
	pub fn finish(self) {
		if let Err(error) = fs::remove_file(&self.0) {
			tracing::warn!(%error, path = %self.0.display(), "cannot be removed");
		}
	}
}

/// Attempts that came to nothing of late. What cannot be understood was written by one that did not end well.
fn attempts(path: &Path) -> io::Result<u32> {
	let written = match fs::metadata(path) {
		Ok(metadata) => metadata.modified()?,
		Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
		Err(error) => return Err(error),
	};
	let age = SystemTime::now().duration_since(written);
	if age.is_ok_and(|age| age > COUNTS) {
		return Ok(0);
	}
	let bytes = read_bounded(path, MAX_FILE)?;
	let text = String::from_utf8_lossy(&bytes);
	Ok(text.trim().parse().unwrap_or(MOST_ATTEMPTS))
}

/// A name for a file, of some texts.
fn named(parts: &[&str]) -> String {
	let mut hasher = blake3::Hasher::new();
	for part in parts {
		hasher.update(&(part.len() as u64).to_le_bytes());
		hasher.update(part.as_bytes());
	}
	hex::encode(&hasher.finalize().as_bytes()[..8])
}

#[cfg(test)]
mod tests {
	use super::*;

	fn memo_of(dir: &Path, bus: &str, driver: &str, codes: [&str; 2]) -> Memo {
		Memo::new(
			dir,
			["a GPU", "a driver", driver],
			bus,
			&codes.map(String::from),
		)
	}

	fn memo(dir: &Path, bus: &str, driver: &str) -> Memo {
		memo_of(dir, bus, driver, ["one", "two"])
	}

	#[test]
	fn attempts_that_came_to_nothing_are_the_last() {
		let dir = tempfile::tempdir().unwrap();
		let attempt = |bus, driver| memo(dir.path(), bus, driver).attempt();
		// One that comes to its end, however often, is no reason to stop.
		for _ in 0..5 {
			attempt("1", "a").unwrap().finish();
		}
		for _ in 0..MOST_ATTEMPTS {
			// As if the agent ended, whatever happens to what it had in hand.
			drop(attempt("1", "a").unwrap());
			// That the one beside it is well changes nothing.
			attempt("2", "a").unwrap().finish();
		}
		assert!(attempt("1", "a").is_err());
		attempt("2", "a").unwrap().finish();
		attempt("1", "another driver").unwrap().finish();
		// A day later.
		let path = memo(dir.path(), "1", "a").attempts;
		let long_ago = SystemTime::now() - COUNTS - Duration::from_secs(1);
		let file = fs::File::options().append(true).open(&path).unwrap();
		file.set_modified(long_ago).unwrap();
		attempt("1", "a").unwrap().finish();
		// What a crash left of the file.
		fs::write(&path, "").unwrap();
		assert!(attempt("1", "a").is_err());
		// As the warning says.
		fs::remove_file(&path).unwrap();
		attempt("1", "a").unwrap().finish();
		// What cannot be written down is not tried.
		assert!(memo(&dir.path().join("gone"), "1", "a").attempt().is_err());
	}

	#[test]
	fn a_choice_is_for_the_model_and_its_driver() {
		let dir = tempfile::tempdir().unwrap();
		let found = vec![
			Rated {
				kernel: "two".into(),
				gops: Some(1_234.5),
			},
			Rated {
				kernel: "one".into(),
				gops: None,
			},
		];
		let first = memo(dir.path(), "1", "a");
		assert_eq!(first.choice(), None);
		first.choose(&found);
		assert_eq!(memo(dir.path(), "2", "a").choice(), Some(found.clone()));
		assert_eq!(memo(dir.path(), "1", "b").choice(), None);
		let others = memo_of(dir.path(), "1", "a", ["one", "three"]);
		assert_eq!(others.choice(), None);
		first.forget();
		assert_eq!(first.choice(), None);
		first.forget();
		// What is damaged is found out anew.
		for damage in ["[]", "{", "[{\"kernel\":7}]"] {
			fs::write(&first.choice, damage).unwrap();
			assert_eq!(first.choice(), None, "{damage}");
		}
	}
}
