//! Image references of customers, and the images that this agent pulled.

use super::engine::{Engine, Fault};
use crate::{
	host::store::{Store, now_ms},
	trial::hash::{Hash, key},
};
use kaisar_primitives::MAX_IMAGE;
use parking_lot::Mutex;
use std::{collections::BTreeMap, net::IpAddr, path::Path};

/// Number of pulled images that stay for the next customers.
const KEPT_IMAGES: usize = 8;
/// Registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A valid, complete OCI reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reference {
	registry: String,
	full: String,
}

impl Reference {
	/// Parses a customer's reference. Invalid references never reach the engine.
	pub fn parse(text: &str) -> Result<Self, &'static str> {
		if text.is_empty() || text.len() > MAX_IMAGE as usize {
			return Err("an image reference has 1 to 255 bytes");
		}
		let (rest, digest) = match text.split_once('@') {
			Some((rest, digest)) => (rest, Some(digest)),
			None => (text, None),
		};
		if digest.is_some_and(|digest| !is_digest(digest)) {
			return Err("the image's digest is malformed");
		}
		// A colon after the last slash begins the tag; one before it, a port.
		let path_at = rest.rfind('/').map_or(0, |slash| slash + 1);
		let (name, tag) = match rest[path_at..].find(':') {
			Some(colon) => (&rest[..path_at + colon], Some(&rest[path_at + colon + 1..])),
			None => (rest, None),
		};
		if tag.is_some_and(|tag| !is_tag(tag)) {
			return Err("the image's tag is malformed");
		}
		let (registry, path) = match name.split_once('/') {
			Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
				(first, path.to_owned())
			}
			Some(_) => (DEFAULT_REGISTRY, name.to_owned()),
			None => (DEFAULT_REGISTRY, format!("library/{name}")),
		};
		if !is_registry(registry) {
			return Err("the image's registry is malformed");
		}
		if !path.split('/').all(is_component) {
			return Err("the image's name is malformed");
		}
		let full = match (digest, tag) {
			// The digest decides, and not every engine takes both.
			(Some(digest), _) => format!("{registry}/{path}@{digest}"),
			// Without a tag, some engines would pull every tag.
			(None, tag) => format!("{registry}/{path}:{}", tag.unwrap_or("latest")),
		};
		Ok(Self {
			registry: registry.to_owned(),
			full,
		})
	}

	/// Returns the whole reference, registry and tag included.
	pub fn full(&self) -> &str {
		&self.full
	}

	/// Returns whether it may be pulled over the network. A customer must not make the engine connect to
	/// hosts of the provider's network, so the registry must have a public-looking name.
	pub fn may_be_pulled(&self) -> bool {
		let host = self
			.registry
			.split_once(':')
			.map_or(self.registry.as_str(), |(host, _)| host);
		host.contains('.') && host.parse::<IpAddr>().is_err() && !host.ends_with(".local")
	}
}

fn is_digest(text: &str) -> bool {
	text.split_once(':').is_some_and(|(algorithm, hex)| {
		matches!((algorithm, hex.len()), ("sha256", 64) | ("sha512", 128))
			&& hex
				.bytes()
				.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
	})
}

fn is_tag(text: &str) -> bool {
	(1..=128).contains(&text.len())
		&& !text.starts_with(['.', '-'])
		&& text
			.bytes()
			.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn is_registry(text: &str) -> bool {
	let (host, port) = match text.split_once(':') {
		Some((host, port)) => (host, Some(port)),
		None => (text, None),
	};
	let label = |label: &str| {
		!label.is_empty()
			&& !label.starts_with('-')
			&& !label.ends_with('-')
			&& label
				.bytes()
				.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
	};
	host.split('.').all(label)
		&& port.is_none_or(|port| {
			port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
		})
}

/// Returns whether a text has lower-case letters and digits, with single separators between them: `.`, `_`,
/// `__`, or dashes.
fn is_component(text: &str) -> bool {
	let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
	let bytes = text.as_bytes();
	let ends =
		bytes.first().copied().is_some_and(plain) && bytes.last().copied().is_some_and(plain);
	ends && bytes.split(|byte| plain(*byte)).all(|separator| {
		matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
	})
}

/// Images that this agent pulled and that may still exist. The engine's disk must not fill with images of
/// past customers, so the least recently used are removed.
#[derive(Debug)]
pub(super) struct Pulled {
	store: Store,
	/// Last use of each, by [`now_ms`].
	used: Mutex<BTreeMap<String, u64>>,
}

impl Pulled {
	pub fn new(data_dir: &Path) -> std::io::Result<Self> {
		let store = Store::new(data_dir, "images")?;
		// The engine's disk limits their number.
		let used = store.load::<(String, u64)>(usize::MAX);
		Ok(Self {
			used: Mutex::new(used.into_iter().map(|(_, image)| image).collect()),
			store,
		})
	}

	/// Records a pulled image.
	pub fn add(&self, reference: &str) {
		let now = now_ms();
		self.used.lock().insert(reference.to_owned(), now);
		self.store
			.put(&file_name(reference), u64::MAX, &(reference, now));
	}

	/// Records another use of a pulled image. Images that the provider installed are never recorded.
	pub fn used(&self, reference: &str) {
		if self.used.lock().contains_key(reference) {
			self.add(reference);
		}
	}

	/// Removes images until there is room for one more. Images of existing containers stay.
	pub async fn make_room(&self, engine: &Engine) -> Result<(), Fault> {
		for reference in self.least_used(KEPT_IMAGES - 1) {
			match engine.remove_image(&reference).await {
				Ok(()) => {
					self.used.lock().remove(&reference);
					self.store.remove(&file_name(&reference));
				}
				Err(fault @ Fault::Silent(_)) => return Err(fault),
				Err(fault) => tracing::debug!(reference, %fault, "the image stays"),
			}
		}
		Ok(())
	}

	/// Returns all but the `kept` most recently used images.
	fn least_used(&self, kept: usize) -> Vec<String> {
		let mut all: Vec<(u64, String)> = self
			.used
			.lock()
			.iter()
			.map(|(reference, used)| (*used, reference.clone()))
			.collect();
		all.sort_unstable_by(|a, b| b.cmp(a));
		all.into_iter()
			.skip(kept)
			.map(|(_, reference)| reference)
			.collect()
	}
}

fn file_name(reference: &str) -> Hash {
	key("image file", &[reference.as_bytes()])
}

/// Returns whether a registry's answer is a lasting refusal, so that a retry is pointless.
pub(super) fn is_final(message: &str) -> bool {
	let message = message.to_ascii_lowercase();
	[
		"manifest unknown",
		"not found",
		"does not exist",
		"denied",
		"unauthorized",
		"authentication required",
		"no matching manifest",
		"no image found in",
		"no such host",
		"invalid reference",
	]
	.iter()
	.any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
	use super::*;

	fn full(text: &str) -> String {
		Reference::parse(text).unwrap().full().to_owned()
	}

	#[test]
	fn references_are_completed() {
		let digest = format!("sha256:{}", "0a".repeat(32));
		for (text, expected) in [
			("nginx", "docker.io/library/nginx:latest"),
			("nginx:1.27", "docker.io/library/nginx:1.27"),
			("a/b", "docker.io/a/b:latest"),
			("ghcr.io/a/b-c__d.e:V1_x", "ghcr.io/a/b-c__d.e:V1_x"),
			("localhost/kaisar-web:1", "localhost/kaisar-web:1"),
			("r.example.org:5000/a", "r.example.org:5000/a:latest"),
		] {
			assert_eq!(full(text), expected);
		}
		assert_eq!(
			full(&format!("r.io/a:1@{digest}")),
			format!("r.io/a@{digest}")
		);
	}

	#[test]
	fn invalid_references_are_refused() {
		let long = "a".repeat(256);
		for text in [
			"",
			"-v",
			"--privileged",
			"a b",
			"a\n",
			"A",
			"a//b",
			"/a",
			"a/",
			"a:",
			"a:.x",
			"a@sha256:00",
			"a@",
			"a@b@c",
			"r.io:x/a",
			"r.io:99999/a",
			"r..io/a",
			"../a",
			"a/../b",
			"a___b",
			"a._b",
			"a?b",
			"a%2fb",
			"ü",
			&long,
		] {
			assert!(Reference::parse(text).is_err(), "{text:?}");
		}
	}

	#[test]
	fn hosts_of_the_providers_network_are_refused() {
		let may = |text| Reference::parse(text).unwrap().may_be_pulled();
		assert!(may("nginx") && may("ghcr.io/a/b") && may("r.example.org:5000/a"));
		assert!(!may("localhost/a"));
		assert!(!may("localhost:5000/a"));
		assert!(!may("router:80/a"));
		assert!(!may("10.0.0.1/a"));
		assert!(!may("169.254.169.254:80/a"));
		assert!(!may("printer.local/a"));
	}

	#[test]
	fn the_images_used_last_stay() {
		let dir = tempfile::tempdir().unwrap();
		let pulled = Pulled::new(dir.path()).unwrap();
		for (name, at) in [("a", 1), ("b", 3), ("c", 2)] {
			pulled.used.lock().insert(name.into(), at);
		}
		assert_eq!(pulled.least_used(2), ["a"]);
		pulled.used("a");
		pulled.used("the provider's own");
		assert_eq!(pulled.least_used(2), ["c"]);
		assert_eq!(pulled.least_used(0).len(), 3);
		// Records outlive a restart.
		assert_eq!(Pulled::new(dir.path()).unwrap().least_used(0), ["a"]);
	}

	#[test]
	fn only_a_lasting_refusal_is_final() {
		assert!(is_final("manifest for x not found: manifest unknown"));
		assert!(is_final("pull access denied for x"));
		assert!(!is_final("dial tcp: i/o timeout"));
		assert!(!is_final("toomanyrequests: rate exceeded"));
	}
}
