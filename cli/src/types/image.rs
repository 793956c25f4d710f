//! Images and templates.

use super::keys::Key;
use crate::wrapper;
use kaisar_primitives::order;
use std::{fmt, str::FromStr};
use subxt::ext::scale_encode::EncodeAsType;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// Image of a container.
	enum Image {
		/// An OCI reference.
		Reference(Text),
		/// Number of a template in the chain's list.
		Template(u32),
	}

	/// The workload of an order.
	struct Workload {
		/// The image.
		pub image: Image,
		/// Arguments, in place of the image's own.
		pub args: Vec<Text>,
		/// Variables of the environment.
		pub env: Vec<Text>,
		/// Ports that customers are connected to; by default those that the image exposes.
		pub ports: Vec<u16>,
		/// The agent waits for a sealed part before it deploys.
		pub sealed: bool,
		/// Blocks until the deployment's deadline; 0 for the default.
		pub deploy_blocks: u16,
		/// If the worker fails, the remaining time is matched again.
		pub failover: bool,
	}

	/// A template of the chain's list, or an image in the form of a template.
	struct Template {
		/// The OCI reference.
		pub image: Text,
		/// Arguments, in place of the image's own.
		pub args: Vec<Text>,
		/// Variables of the environment.
		pub env: Vec<Text>,
		/// Ports that customers are connected to; by default those that the image exposes.
		pub ports: Vec<u16>,
		/// Capabilities that the container keeps.
		pub capabilities: Vec<Capability>,
		/// Hash of the document that describes it.
		pub metadata: Option<Key>,
	}

	/// A capability that a template names.
	#[derive(Copy)]
	enum Capability {
		Chown,
		DacOverride,
		Fowner,
		Kill,
		NetBindService,
		SetGid,
		SetUid,
	}
}

impl Workload {
	/// Returns the workload of an image without further settings.
	pub fn of(image: Image) -> Self {
		Self {
			image,
			args: Vec::new(),
			env: Vec::new(),
			ports: Vec::new(),
			sealed: false,
			deploy_blocks: 0,
			failover: false,
		}
	}
}

impl Capability {
	/// Returns the name that container engines use.
	pub const fn name(self) -> &'static str {
		match self {
			Self::Chown => "CHOWN",
			Self::DacOverride => "DAC_OVERRIDE",
			Self::Fowner => "FOWNER",
			Self::Kill => "KILL",
			Self::NetBindService => "NET_BIND_SERVICE",
			Self::SetGid => "SETGID",
			Self::SetUid => "SETUID",
		}
	}
}

impl FromStr for Image {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		if let Some(id) = text.strip_prefix("template:") {
			return id
				.parse()
				.map(Self::Template)
				.map_err(|_| "expected the number of a template, e.g. template:3".into());
		}
		let form = |byte: u8| byte.is_ascii_alphanumeric() || b"./:@_-".contains(&byte);
		if text.is_empty() || text.len() > order::MAX_IMAGE as usize {
			Err(format!(
				"an image reference has 1 to {} characters",
				order::MAX_IMAGE
			))
		} else if !text.bytes().all(form) || !text.as_bytes()[0].is_ascii_alphanumeric() {
			Err("not an image reference; expected e.g. docker.io/library/nginx:1.27".into())
		} else {
			Ok(Self::Reference(Text(text.into())))
		}
	}
}

impl fmt::Display for Image {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		match self {
			Self::Reference(text) => text.fmt(f),
			Self::Template(id) => f.pad(&format!("template:{id}")),
		}
	}
}

/// Text from the chain: arbitrary bytes.
#[derive(Clone, PartialEq, Eq, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Text(pub Vec<u8>);
wrapper!(Text, Vec<u8>);

impl fmt::Display for Text {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		// Strangers wrote it: control characters must not reach the terminal.
		let text = String::from_utf8_lossy(&self.0);
		f.pad(&text.replace(|letter: char| letter.is_control(), "\u{fffd}"))
	}
}

as_displayed!(Text);

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn images_are_references_or_templates() {
		assert_eq!("template:3".parse(), Ok(Image::Template(3)));
		let nginx: Image = "docker.io/library/nginx:1.27@sha256:ab"
			.parse()
			.expect("it is a reference");
		assert_eq!(nginx.to_string(), "docker.io/library/nginx:1.27@sha256:ab");
		let long = "a".repeat(256);
		for text in ["", "-v", "a b", "nginx\n", "template:x", "nginx;ls", &long] {
			assert!(text.parse::<Image>().is_err(), "{text:?}");
		}
		assert!("a".repeat(255).parse::<Image>().is_ok());
	}

	#[test]
	fn control_characters_do_not_reach_the_terminal() {
		let image = Image::Reference(Text(b"a\x1b[2Jb\xff".to_vec()));
		assert_eq!(image.to_string(), "a\u{fffd}[2Jb\u{fffd}");
	}
}
