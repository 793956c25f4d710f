//! Space on a disk.

use std::{
	ffi::CString,
	io,
	mem::MaybeUninit,
	os::unix::{ffi::OsStrExt, fs::MetadataExt},
	path::Path,
};

/// Bytes of a GB.
pub const GB: u64 = 1_000_000_000;
/// Minimum of the reserve that plots leave free.
const FREE_LEAST: u64 = 20 * GB;
/// Part of the whole disk that is the reserve, in percent, if it is more.
const FREE_PERCENT: u64 = 5;

/// Space on a disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
	/// Free part for an ordinary user.
	pub free: u64,
	/// Whole size.
	pub total: u64,
}

impl Space {
	/// Returns the space of the disk that holds `path`, or its nearest existing parent.
	pub fn of(path: &Path) -> io::Result<Self> {
		let path = existing(path);
		let path = CString::new(path.as_os_str().as_bytes())?;
		let mut found = MaybeUninit::<libc::statvfs>::uninit();
		// SAFETY: the path ends with a zero, and the structure is as large as the call expects.
		let result = unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) };
		if result != 0 {
			return Err(io::Error::last_os_error());
		}
		// SAFETY: the call has filled it.
		let found = unsafe { found.assume_init() };
		let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
		Ok(Self {
			free: bytes(found.f_bavail),
			total: bytes(found.f_blocks),
		})
	}

	/// Returns the bytes that plots leave free.
	pub fn reserve(&self) -> u64 {
		FREE_LEAST.max(self.total / 100 * FREE_PERCENT)
	}

	/// Returns the free bytes beyond the reserve.
	pub fn beyond_reserve(&self) -> u64 {
		self.free.saturating_sub(self.reserve())
	}
}

/// Returns whether two paths, or their nearest existing parents, are on one disk.
pub fn is_shared(one: &Path, other: &Path) -> io::Result<bool> {
	let disk = |path: &Path| Ok::<_, io::Error>(existing(path).metadata()?.dev());
	Ok(disk(one)? == disk(other)?)
}

fn existing(path: &Path) -> &Path {
	let relative = Path::new(".");
	path.ancestors()
		.find(|path| path.exists())
		.map_or(relative, |path| match path.as_os_str().is_empty() {
			true => relative,
			false => path,
		})
}

/// Formats bytes in GB with one decimal.
pub fn gigabytes(bytes: u64) -> String {
	format!("{:.1} GB", bytes as f64 / GB as f64)
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_disk_keeps_its_reserve() {
		let with = |free, total| Space {
			free: free * GB,
			total: total * GB,
		};
		assert_eq!(with(100, 100).beyond_reserve(), 80 * GB);
		assert_eq!(with(19, 100).beyond_reserve(), 0);
		assert_eq!(with(9_000, 10_000).beyond_reserve(), 8_500 * GB);
	}

	#[test]
	fn a_missing_folder_is_on_its_parents_disk() {
		let dir = tempfile::tempdir().unwrap();
		let deep = dir.path().join("a/b/c");
		let (there, later) = (Space::of(dir.path()).unwrap(), Space::of(&deep).unwrap());
		assert!(there.total > 0 && there.free <= there.total);
		assert_eq!(there.total, later.total);
		assert!(is_shared(dir.path(), &deep).unwrap());
		assert!(!is_shared(dir.path(), Path::new("/proc/1")).unwrap());
		assert!(Space::of(Path::new("not/there")).unwrap().total > 0);
	}
}
