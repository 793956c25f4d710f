//! A disk's room.

use std::{
	ffi::CString,
	io,
	mem::MaybeUninit,
	os::unix::{ffi::OsStrExt, fs::MetadataExt},
	path::Path,
};

/// Bytes of a GB.
pub const GB: u64 = 1_000_000_000;
/// The least that stays free of the plot, and the part of the whole disk, in percent.
const FREE_LEAST: u64 = 20 * GB;
const FREE_PERCENT: u64 = 5;

/// Room on a disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
	/// The part that an ordinary user can still fill.
	pub free: u64,
	/// All of it.
	pub total: u64,
}

impl Space {
	/// The disk on which `path`, or its nearest parent that exists, lies.
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

	/// Bytes that stay free of any plot.
	pub fn reserve(&self) -> u64 {
		FREE_LEAST.max(self.total / 100 * FREE_PERCENT)
	}

	/// Free bytes beyond the reserve.
	pub fn beyond_reserve(&self) -> u64 {
		self.free.saturating_sub(self.reserve())
	}
}

/// Returns whether two paths, or their nearest parents that exist, lie on one disk.
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

/// Bytes in GB, with one decimal.
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
	fn a_folder_that_is_not_made_yet_lies_on_its_parents_disk() {
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
