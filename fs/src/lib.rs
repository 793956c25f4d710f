//! Atomic writes and bounded reads of files.
//!
//! A file has its mode from the first byte on, and its name only once all of it is written. So a secret is
//! never readable by others, not even for a moment, and nobody ever reads half of a file. When
//! [`write_atomic`] or [`write_new`] returns, the file is on the disk: a crash leaves either the old file or
//! the new one.

#![warn(missing_docs)]

use std::{
	fs::{File, Permissions},
	io::{self, Read, Write},
	os::unix::fs::PermissionsExt,
	path::Path,
};
use tempfile::NamedTempFile;

/// Mode of a secret, which only its owner can read and write.
pub const OWNER_ONLY: u32 = 0o600;
/// Mode of every other file, which everybody can read and write that the umask allows.
pub const BY_UMASK: u32 = 0o666;

/// Writes a file, and replaces an existing one of that name.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
	synced(path, bytes, mode)?.persist(path)?;
	sync_folder(path)
}

/// Writes a file as [`write_atomic`] does, but lets the system choose when it reaches the disk. This is for
/// files that are written often, also at the request of strangers, and that a loss of power may damage.
pub fn write_unsynced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
	unnamed(path, bytes, mode)?.persist(path)?;
	Ok(())
}

/// Writes a new file. Fails with [`io::ErrorKind::AlreadyExists`] if one of that name exists.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
	synced(path, bytes, mode)?.persist_noclobber(path)?;
	sync_folder(path)
}

/// Reads a file. Fails if it is longer than `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
	let mut bytes = Vec::new();
	File::open(path)?
		.take(limit.saturating_add(1))
		.read_to_end(&mut bytes)?;
	if bytes.len() as u64 > limit {
		return Err(io::Error::other(format!(
			"the file is longer than {limit} bytes"
		)));
	}
	Ok(bytes)
}

/// Writes the bytes into a temporary file beside `path`, which is removed unless it gets that name.
fn unnamed(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
	let mut file = tempfile::Builder::new()
		.permissions(Permissions::from_mode(mode))
		.tempfile_in(folder(path))?;
	file.write_all(bytes)?;
	Ok(file)
}

/// Writes the bytes into a temporary file as [`unnamed`] does, and waits until they are on the disk.
fn synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
	let file = unnamed(path, bytes, mode)?;
	file.as_file().sync_all()?;
	Ok(file)
}

/// Waits until the file's name is on the disk, by syncing its folder.
fn sync_folder(path: &Path) -> io::Result<()> {
	match File::open(folder(path))?.sync_all() {
		// Not every file system can sync folders. The file is complete there as well.
		Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
		result => result,
	}
}

fn folder(path: &Path) -> &Path {
	match path.parent() {
		Some(folder) if !folder.as_os_str().is_empty() => folder,
		_ => Path::new("."),
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use std::fs;

	type Writer = fn(&Path, &[u8], u32) -> io::Result<()>;

	fn mode(path: &Path) -> u32 {
		fs::metadata(path).unwrap().permissions().mode() & 0o777
	}

	fn names(folder: &Path) -> Vec<String> {
		fs::read_dir(folder)
			.unwrap()
			.map(|file| file.unwrap().file_name().into_string().unwrap())
			.collect()
	}

	#[test]
	fn a_file_is_replaced_with_its_mode_and_nothing_else_stays() {
		let dir = tempfile::tempdir().unwrap();
		let path = dir.path().join("key");
		fs::write(&path, "the old one, which is longer").unwrap();
		fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
		for (write, bytes) in [(write_atomic as Writer, "new"), (write_unsynced, "newer")] {
			write(&path, bytes.as_bytes(), OWNER_ONLY).unwrap();
			assert_eq!(fs::read_to_string(&path).unwrap(), bytes);
			assert_eq!(mode(&path), 0o600);
			assert_eq!(names(dir.path()), ["key"]);
		}
	}

	#[test]
	fn the_umask_decides_who_reads_what_is_no_secret() {
		let dir = tempfile::tempdir().unwrap();
		let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
		write_atomic(&ours, b"", BY_UMASK).unwrap();
		fs::write(&plain, b"").unwrap();
		assert_eq!(mode(&ours), mode(&plain));
	}

	#[test]
	fn a_new_file_replaces_none() {
		let dir = tempfile::tempdir().unwrap();
		let path = dir.path().join("wallet");
		write_new(&path, b"one", OWNER_ONLY).unwrap();
		let error = write_new(&path, b"two", OWNER_ONLY).unwrap_err();
		assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
		assert_eq!(fs::read(&path).unwrap(), b"one");
		assert_eq!(mode(&path), 0o600);
		assert_eq!(names(dir.path()), ["wallet"]);
	}

	#[test]
	fn fails_when_the_folder_is_missing() {
		let dir = tempfile::tempdir().unwrap();
		let path = dir.path().join("missing/key");
		for write in [write_atomic as Writer, write_unsynced, write_new] {
			let error = write(&path, b"", OWNER_ONLY).unwrap_err();
			assert_eq!(error.kind(), io::ErrorKind::NotFound);
		}
	}

	#[test]
	fn boundary_a_file_is_read_up_to_the_limit() {
		let dir = tempfile::tempdir().unwrap();
		let path = dir.path().join("file");
		fs::write(&path, [1, 2, 3]).unwrap();
		assert_eq!(read_bounded(&path, 3).unwrap(), [1, 2, 3]);
		assert_eq!(read_bounded(&path, u64::MAX).unwrap(), [1, 2, 3]);
		assert!(read_bounded(&path, 2).is_err());
	}

	#[test]
	fn a_bare_name_is_in_the_current_folder() {
		assert_eq!(folder(Path::new("wallet.json")), Path::new("."));
		assert_eq!(folder(Path::new("a/wallet.json")), Path::new("a"));
		assert_eq!(folder(Path::new("/wallet.json")), Path::new("/"));
	}
}
