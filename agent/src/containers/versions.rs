//! Versions of the engine and of NVIDIA's container toolkit, and the oldest that may run strangers' code.

use bollard::models::SystemVersion;
use std::{fmt, process::Stdio, time::Duration};
use tokio::process::Command;

/// Oldest Docker. Before it, other machines of the same network segment reached ports published on the
/// loopback address, and containers' addresses (release notes of Docker Engine 28).
const DOCKER: Version = Version(28, 0, 0);
/// Oldest Podman: the first with netavark, and with networks by its second API.
const PODMAN: Version = Version(4, 0, 0);
/// Oldest NVIDIA container toolkit. In earlier ones an image could become root on the machine
/// (CVE-2024-0132, CVE-2025-23266).
const TOOLKIT: Version = Version(1, 17, 8);
/// Timeout of the toolkit's program.
const ASK: Duration = Duration::from_secs(10);

/// A version, in order of age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
	fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
		let Self(major, minor, patch) = self;
		write!(formatter, "{major}.{minor}.{patch}")
	}
}

impl Version {
	/// Parses the first version in a text, e.g. `20.10.24+dfsg1` or a program's line about itself. A
	/// missing third number is 0.
	pub fn parse(text: &str) -> Option<Self> {
		text.split_whitespace().find_map(|word| {
			let word = word.strip_prefix('v').unwrap_or(word);
			let number = |part: &str| {
				let end = part
					.find(|symbol: char| !symbol.is_ascii_digit())
					.unwrap_or(part.len());
				part[..end].parse::<u32>().ok()
			};
			let mut parts = word.splitn(3, '.');
			let major = parts.next()?.parse().ok()?;
			let minor = number(parts.next()?)?;
			let patch = parts.next().map_or(Some(0), number)?;
			Some(Self(major, minor, patch))
		})
	}
}

/// Make of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Make {
	Docker,
	Podman,
	Other,
}

impl Make {
	/// Returns the make and the version in an engine's answer.
	pub fn of(answer: &SystemVersion) -> (Self, Option<Version>) {
		let mut components = answer.components.iter().flatten();
		let engine = components.find_map(|component| {
			let make = match component.name.as_str() {
				"Engine" => Self::Docker,
				"Podman Engine" => Self::Podman,
				_ => return None,
			};
			Some((make, Version::parse(&component.version)))
		});
		engine.unwrap_or((Self::Other, None))
	}

	/// Returns the reason why an engine of this version may not run containers, and the remedy.
	pub fn refusal(self, version: Option<Version>) -> Option<String> {
		const REMEDY: &str = "or accept the risk with --allow-old-engine";
		let (name, least, risk) = match self {
			Self::Docker => (
				"Docker",
				DOCKER,
				"in older ones, machines of the same network reach containers past the tunnel",
			),
			Self::Podman => ("Podman", PODMAN, "older ones do not keep networks apart"),
			Self::Other => {
				return Some(format!(
					"the engine is neither Docker nor Podman: install one of them, {REMEDY}"
				));
			}
		};
		match version {
			Some(version) if version >= least => None,
			Some(version) => Some(format!(
				"{name} {version} is too old ({risk}): install {name} {least} or later, {REMEDY}"
			)),
			None => Some(format!(
				"{name} does not tell its version: install {name} {least} or later, {REMEDY}"
			)),
		}
	}
}

/// Returns the version of NVIDIA's container toolkit, if its program tells it.
pub(super) async fn toolkit() -> Option<Version> {
	let asked = Command::new("nvidia-ctk")
		.arg("--version")
		.stdin(Stdio::null())
		.kill_on_drop(true)
		.output();
	let output = tokio::time::timeout(ASK, asked).await.ok()?.ok()?;
	Version::parse(&String::from_utf8_lossy(&output.stdout))
}

/// Returns the reason why NVIDIA GPUs may not be handed out with a toolkit, and the remedy. With
/// `allow_unknown`, a toolkit that does not tell its version may.
pub(super) fn toolkit_refusal(version: Option<Version>, allow_unknown: bool) -> Option<String> {
	match version {
		Some(version) if version >= TOOLKIT => None,
		Some(version) => Some(format!(
			"NVIDIA container toolkit {version} lets images out of their container: install {TOOLKIT} or later"
		)),
		None if allow_unknown => None,
		None => Some(format!(
			"`nvidia-ctk --version` does not tell the version of NVIDIA's container toolkit: install {TOOLKIT} \
			 or later, or answer for it with --allow-old-engine"
		)),
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use bollard::models::SystemVersionComponents;

	#[test]
	fn versions_are_read_as_programs_print_them() {
		for (text, version) in [
			("20.10.24+dfsg1", Some(Version(20, 10, 24))),
			("28.0.0-rc.1", Some(Version(28, 0, 0))),
			("v29.1", Some(Version(29, 1, 0))),
			("5.0-dev", Some(Version(5, 0, 0))),
			("4.3.1", Some(Version(4, 3, 1))),
			(
				"NVIDIA Container Toolkit CLI version 1.17.8\ncommit: f202b80a9b9d0db00d9b1d73c0128c8962c55f4d",
				Some(Version(1, 17, 8)),
			),
			("28", None),
			("a.b.c", None),
			("1.x", None),
			("1.2.x", None),
			("99999999999.1", None),
			("", None),
		] {
			assert_eq!(Version::parse(text), version, "{text}");
		}
		assert!(Version(28, 0, 0) > Version(27, 5, 1) && Version(1, 17, 10) > Version(1, 17, 8));
	}

	fn answer(name: &str, version: &str) -> SystemVersion {
		let component = |name: &str, version: &str| SystemVersionComponents {
			name: name.into(),
			version: version.into(),
			..Default::default()
		};
		SystemVersion {
			components: Some(vec![
				component(name, version),
				component("containerd", "1.6.20"),
			]),
			..Default::default()
		}
	}

	#[test]
	fn an_engine_is_known_by_its_own_name() {
		let docker = Make::of(&answer("Engine", "20.10.24+dfsg1"));
		assert_eq!(docker, (Make::Docker, Some(Version(20, 10, 24))));
		let podman = Make::of(&answer("Podman Engine", "4.3.1"));
		assert_eq!(podman, (Make::Podman, Some(Version(4, 3, 1))));
		assert_eq!(Make::of(&answer("Boat", "9.0.0")), (Make::Other, None));
		assert_eq!(Make::of(&SystemVersion::default()), (Make::Other, None));
	}

	#[test]
	fn old_and_unknown_engines_are_refused_with_a_remedy() {
		let refusal = |make: Make, version| make.refusal(version).unwrap_or_default();
		assert_eq!(refusal(Make::Docker, Some(Version(28, 0, 0))), "");
		assert_eq!(refusal(Make::Podman, Some(Version(4, 0, 0))), "");
		for (make, version, says) in [
			(Make::Docker, Some(Version(27, 5, 1)), "27.5.1 is too old"),
			(Make::Docker, None, "does not tell its version"),
			(Make::Podman, Some(Version(3, 4, 4)), "3.4.4 is too old"),
			(Make::Other, None, "neither Docker nor Podman"),
		] {
			let why = refusal(make, version);
			assert!(
				why.contains(says) && why.contains("--allow-old-engine"),
				"{why}"
			);
		}
	}

	#[test]
	fn a_toolkit_that_lets_images_out_is_refused() {
		assert_eq!(toolkit_refusal(Some(Version(1, 17, 8)), false), None);
		assert_eq!(toolkit_refusal(None, true), None);
		let unknown = toolkit_refusal(None, false).unwrap();
		assert!(unknown.contains("--allow-old-engine"), "{unknown}");
		// No flag allows a version that is known to be broken.
		for allow_unknown in [false, true] {
			let old = toolkit_refusal(Some(Version(1, 17, 7)), allow_unknown).unwrap();
			assert!(old.contains("1.17.8"), "{old}");
		}
	}
}
