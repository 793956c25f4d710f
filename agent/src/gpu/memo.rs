//! The agent's record of a GPU's matrix units, kept in its data folder across restarts.
//!
//! - The chosen kernel, by model and driver: choosing takes seconds, and could go wrong while a customer
//!   uses the GPU. To choose again, remove the file.
//! - The attempt under way, by device: a driver that crashes takes the agent or the machine with it. After
//!   some such attempts a restarted agent leaves the matrix units alone for a day.

use crate::trial::device::Rated;
use kaisar_fs::{BY_UMASK, read_bounded, write_atomic};
use std::{
	fs, io,
	path::{Path, PathBuf},
	time::{Duration, SystemTime},
};

/// Unfinished attempts after which matrix units are left alone.
const MOST_ATTEMPTS: u32 = 2;
/// Time for which an unfinished attempt counts.
const COUNTS: Duration = Duration::from_secs(24 * 3_600);
/// Maximum size of a file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1_024;

/// The record of a GPU.
pub(super) struct Memo {
	choice: PathBuf,
	attempts: PathBuf,
	device: String,
}

/// An attempt under way. If it is never finished, the process died in it.
#[must_use]
#[derive(Debug)]
pub(super) struct Attempt(PathBuf);

/// Reasons not to try the matrix units.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
	/// The agent died in too many attempts.
	#[error(
		"the agent died while trying this GPU's kernels, which are left alone for a day; its log names \
		 the file to remove to try them at once"
	)]
	Deadly,
	/// The attempt cannot be recorded.
	#[error("cannot record the attempt to try this GPU's kernels in the data folder: {0}")]
	Unwritten(#[from] io::Error),
}

impl Memo {
	/// Makes the record of a device and its kernels' codes; another driver or other codes make another
	/// record. `model` holds the names of the GPU and of its driver, and the driver's version; `bus` tells
	/// GPUs of one model apart.
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

	/// Returns the correct kernels on record, the best first.
	pub fn choice(&self) -> Option<Vec<Rated>> {
		let bytes = read_bounded(&self.choice, MAX_FILE).ok()?;
		// An unreadable file means choosing again.
		let rated: Vec<Rated> = serde_json::from_slice(&bytes).ok()?;
		(!rated.is_empty()).then_some(rated)
	}

	/// Records the choice.
	pub fn choose(&self, rated: &[Rated]) {
		let written = serde_json::to_vec(rated)
			.map_err(io::Error::other)
			.and_then(|bytes| write_atomic(&self.choice, &bytes, BY_UMASK));
		if let Err(error) = written {
			tracing::warn!(
				%error,
				path = %self.choice.display(),
				"cannot save the choice of a kernel, which is made again at the next start. Check the data folder's \
				 permissions and free space"
			);
		}
	}

	/// Begins an attempt, which is on disk before anything is tried.
	pub fn attempt(&self) -> Result<Attempt, Refused> {
		let path = &self.attempts;
		let before = attempts(path)?;
		if before >= MOST_ATTEMPTS {
			tracing::warn!(
				device = self.device,
				path = %path.display(),
				"the agent died {before} times while trying this GPU's matrix units, so its driver may crash: leaving \
				 them unused for a day. To try them at once, remove the file",
			);
			return Err(Refused::Deadly);
		}
		write_atomic(path, format!("{}\n", before + 1).as_bytes(), BY_UMASK)?;
		Ok(Attempt(path.clone()))
	}

	/// Removes the recorded choice.
	pub fn forget(&self) {
		match fs::remove_file(&self.choice) {
			Err(error) if error.kind() != io::ErrorKind::NotFound => {
				tracing::warn!(
					%error,
					path = %self.choice.display(),
					"cannot remove the old choice of a kernel. Check the data folder's permissions"
				);
			}
			_ => (),
		}
	}
}

impl Attempt {
	/// Ends the attempt, successful or not.
	pub fn finish(self) {
		if let Err(error) = fs::remove_file(&self.0) {
			tracing::warn!(
				%error,
				path = %self.0.display(),
				"cannot remove the record of a finished attempt, which now counts as a crash. Remove the file, and \
				 check the data folder's permissions"
			);
		}
	}
}

/// Returns the number of recent unfinished attempts. A file that cannot be parsed counts as the maximum: a
/// crash left it.
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

/// Derives a file name from some texts.
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
		// Finished attempts never count.
		for _ in 0..5 {
			attempt("1", "a").unwrap().finish();
		}
		for _ in 0..MOST_ATTEMPTS {
			// As if the agent died.
			drop(attempt("1", "a").unwrap());
			// The success of another GPU changes nothing.
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
		// A file that a crash truncated.
		fs::write(&path, "").unwrap();
		assert!(attempt("1", "a").is_err());
		// As the warning says.
		fs::remove_file(&path).unwrap();
		attempt("1", "a").unwrap().finish();
		// An attempt that cannot be recorded is not made.
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
		// A damaged file means choosing again.
		for damage in ["[]", "{", "[{\"kernel\":7}]"] {
			fs::write(&first.choice, damage).unwrap();
			assert_eq!(first.choice(), None, "{damage}");
		}
	}
}
