//! Identity of GPUs: PCI bus ids and UUIDs, the names that an operator gives, and the order of use.

use super::names::by_driver_name;
use serde::{Serialize, Serializer};
use std::{
	cmp::Reverse,
	fmt::{self, Display, Formatter},
	str::FromStr,
};

/// Reasons for rejecting an operator's name for a GPU.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
	/// A MIG instance: a part of a GPU, which Vulkan does not show as a device of its own.
	#[error("a MIG instance cannot be used by itself: name the whole GPU")]
	Mig,
	/// Neither a bus id nor a UUID.
	#[error(
		"expected a PCI bus id (0000:01:00.0 or 01:00.0) or a UUID (GPU-… as in `nvidia-smi -L`); \
		 `kaisar-agent detect` lists both"
	)]
	Text,
}

/// Address of a device on the PCI bus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BusId {
	domain: u32,
	bus: u8,
	device: u8,
	function: u8,
}

impl Display for BusId {
	/// Writes it like the Linux kernel: `0000:01:00.0`.
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		let Self {
			domain,
			bus,
			device,
			function,
		} = self;
		write!(to, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
	}
}

impl FromStr for BusId {
	type Err = BadName;

	/// Parses `0000:01:00.0`, `00000000:01:00.0` (from `nvidia-smi`), `01:00.0` and `01:00`.
	fn from_str(text: &str) -> Result<Self, BadName> {
		let number = |text: &str, most: u32| {
			let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
			let number = u32::from_str_radix(text, 16).ok().filter(|_| digits);
			number.filter(|number| *number <= most).ok_or(BadName::Text)
		};
		let (place, function) = text.split_once('.').unwrap_or((text, "0"));
		let parts: Vec<&str> = place.split(':').collect();
		let (domain, bus, device) = match parts[..] {
			[domain, bus, device] => (domain, bus, device),
			[bus, device] => ("0", bus, device),
			_ => return Err(BadName::Text),
		};
		Ok(Self {
			domain: number(domain, u32::MAX)?,
			bus: number(bus, 0xff)? as u8,
			device: number(device, 0x1f)? as u8,
			function: number(function, 7)? as u8,
		})
	}
}

/// A device's UUID, from its driver. NVIDIA's is the one that `nvidia-smi -L` prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Uuid([u8; 16]);

impl Uuid {
	/// Makes a UUID from these bytes; `None` if they are all zero, which drivers without UUIDs report.
	pub(super) fn new(bytes: [u8; 16]) -> Option<Self> {
		(bytes != [0; 16]).then_some(Self(bytes))
	}
}

impl Display for Uuid {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		for (at, byte) in self.0.iter().enumerate() {
			if matches!(at, 4 | 6 | 8 | 10) {
				to.write_str("-")?;
			}
			write!(to, "{byte:02x}")?;
		}
		Ok(())
	}
}

impl FromStr for Uuid {
	type Err = BadName;

	/// Parses `GPU-` and 32 hexadecimal digits, with or without dashes; the prefix is optional.
	fn from_str(text: &str) -> Result<Self, BadName> {
		let prefix = |of: &str| {
			let start = text.get(..of.len())?;
			start.eq_ignore_ascii_case(of).then_some(&text[of.len()..])
		};
		if prefix("MIG-").is_some() {
			return Err(BadName::Mig);
		}
		let digits = prefix("GPU-").unwrap_or(text).replace('-', "");
		let mut bytes = [0; 16];
		hex::decode_to_slice(digits, &mut bytes).map_err(|_| BadName::Text)?;
		Ok(Self(bytes))
	}
}

/// An operator's name for a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GpuName {
	/// Its PCI bus id.
	Bus(BusId),
	/// Its UUID.
	Uuid(Uuid),
}

impl FromStr for GpuName {
	type Err = BadName;

	fn from_str(text: &str) -> Result<Self, BadName> {
		let text = text.trim();
		if text.contains(':') {
			text.parse().map(Self::Bus)
		} else {
			text.parse().map(Self::Uuid)
		}
	}
}

impl Display for GpuName {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		match self {
			Self::Bus(bus) => bus.fmt(to),
			Self::Uuid(uuid) => uuid.fmt(to),
		}
	}
}

/// The kind of a device, in order of preference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
	/// A card with its own memory.
	Discrete,
	/// A GPU that a hypervisor shares or passes through.
	Virtual,
	/// A GPU in the processor.
	Integrated,
	/// Software Vulkan.
	Software,
}

/// The vendor of a device's driver, which decides the device files a container gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
	/// NVIDIA.
	Nvidia,
	/// AMD.
	Amd,
	/// Intel, and others whose drivers need only their device files.
	Other,
}

fn text<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
	match value {
		Some(value) => to.collect_str(value),
		None => to.serialize_none(),
	}
}

/// A driver's description of a GPU: for people, and to tell GPUs apart. Never evidence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Card {
	/// Its name, from the driver.
	pub name: String,
	/// Its kind.
	pub kind: Kind,
	/// The vendor of its driver.
	pub vendor: Vendor,
	/// Its PCI bus id, if it has one and the driver reports it.
	#[serde(serialize_with = "text")]
	pub bus: Option<BusId>,
	/// Its UUID, if the driver reports one.
	#[serde(serialize_with = "text")]
	pub uuid: Option<Uuid>,
	/// Its memory, in bytes.
	pub memory: u64,
}

impl Display for Card {
	/// Writes the name, and the bus id or UUID if known.
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		match (&self.bus, &self.uuid) {
			(Some(bus), _) => write!(to, "{} ({bus})", self.name),
			(None, Some(uuid)) => write!(to, "{} ({uuid})", self.name),
			(None, None) => to.write_str(&self.name),
		}
	}
}

impl Card {
	/// Returns whether two descriptions are of the same GPU.
	pub fn is_same(&self, other: &Self) -> bool {
		match (self.bus, other.bus) {
			(Some(one), Some(two)) => one == two,
			(None, None) => self.uuid == other.uuid && self.name == other.name,
			// Only one of the drivers reports the bus id.
			_ => self.uuid.is_some() && self.uuid == other.uuid,
		}
	}

	fn goes_by(&self, name: &GpuName) -> bool {
		match name {
			GpuName::Bus(bus) => self.bus == Some(*bus),
			GpuName::Uuid(uuid) => self.uuid == Some(*uuid),
		}
	}

	/// Returns its sort key: cards before virtual GPUs before integrated ones; then the class that pays
	/// most, so that GPUs of a class are adjacent; then the most memory; then the bus id.
	fn rank(&self) -> impl Ord + use<> {
		let score = by_driver_name(&self.name).map_or(0, |class| class.score);
		(self.kind, Reverse(score), Reverse(self.memory), self.bus)
	}
}

/// Selects the named GPUs in the order of the names; without names, all of them, the most capable first.
/// Also returns the names that match nothing.
pub(super) fn choose<T>(
	mut found: Vec<T>,
	names: &[GpuName],
	card: impl Fn(&T) -> &Card,
) -> (Vec<T>, Vec<GpuName>) {
	found.sort_by_cached_key(|each| card(each).rank());
	if names.is_empty() {
		return (found, Vec::new());
	}
	let (mut chosen, mut missing): (Vec<T>, _) = (Vec::new(), Vec::new());
	for name in names {
		match found.iter().position(|each| card(each).goes_by(name)) {
			Some(at) => chosen.push(found.remove(at)),
			// A GPU named twice is used once.
			None if chosen.iter().any(|each| card(each).goes_by(name)) => (),
			None => missing.push(*name),
		}
	}
	(chosen, missing)
}

/// Lists cards for people, one per line.
pub(super) fn list<'a>(cards: impl IntoIterator<Item = &'a Card>) -> String {
	let lines: Vec<String> = cards.into_iter().map(line).collect();
	if lines.is_empty() {
		return "  none: neither CUDA's driver nor a Vulkan driver shows one".into();
	}
	lines.join("\n")
}

fn line(card: &Card) -> String {
	let bus = card.bus.map_or("no bus id".into(), |bus| bus.to_string());
	let uuid = match (card.vendor, card.uuid) {
		(Vendor::Nvidia, Some(uuid)) => format!("GPU-{uuid}"),
		(_, Some(uuid)) => uuid.to_string(),
		(_, None) => "no UUID".into(),
	};
	let gb = card.memory / 1_000_000_000;
	format!("  {bus}  {uuid}  {} ({gb} GB)", card.name)
}

#[cfg(test)]
pub(crate) mod tests {
	use super::*;

	/// A card as some driver could describe it.
	pub fn card(name: &str, kind: Kind, bus: &str, gb: u64) -> Card {
		let mut bytes = [0xab; 16];
		bytes[..bus.len().min(16)].copy_from_slice(&bus.as_bytes()[..bus.len().min(16)]);
		Card {
			name: name.into(),
			kind,
			vendor: if name.starts_with("NVIDIA") {
				Vendor::Nvidia
			} else {
				Vendor::Amd
			},
			bus: bus.parse().ok(),
			uuid: Some(Uuid(bytes)),
			memory: gb << 30,
		}
	}

	#[test]
	fn names_are_read_as_tools_print_them() {
		for text in [
			"0000:0a:00.0",
			"00000000:0A:00.0",
			"0a:00.0",
			"0a:00",
			"a:0.0",
		] {
			let GpuName::Bus(bus) = text.parse().unwrap() else {
				panic!("{text}: not a bus id")
			};
			assert_eq!(bus.to_string(), "0000:0a:00.0", "{text}");
		}
		let long = "00012:81:1f.7".parse::<BusId>().unwrap();
		assert_eq!(long.to_string(), "0012:81:1f.7");
		let plain = "7d1a2b3c-0102-0304-0506-0708090a0b0c";
		for text in [
			plain.to_owned(),
			format!("GPU-{plain}"),
			format!("gpu-{}", plain.to_uppercase()),
			plain.replace('-', ""),
		] {
			let GpuName::Uuid(uuid) = text.parse().unwrap() else {
				panic!("{text}: not a UUID")
			};
			assert_eq!(uuid.to_string(), plain, "{text}");
		}
		for text in [
			"", "0", "1", ":", "0:0:0:0", "0g:00.0", "100:00.0", "01:20.0", "01:00.8", "01:00.",
			"+1:00",
		] {
			assert_eq!(text.parse::<GpuName>(), Err(BadName::Text), "{text}");
		}
		let text = format!("MIG-{plain}");
		assert_eq!(text.parse::<GpuName>(), Err(BadName::Mig));
	}

	fn buses(found: &[Card], names: &[&str]) -> (Vec<String>, usize) {
		let names: Vec<GpuName> = names.iter().map(|name| name.parse().unwrap()).collect();
		let (chosen, missing) = choose(found.to_vec(), &names, |card| card);
		let bus = |card: &Card| card.bus.unwrap().to_string();
		(chosen.iter().map(bus).collect(), missing.len())
	}

	#[test]
	fn the_most_capable_come_first_and_integrated_ones_last() {
		// In the order a loader may list them: the one with the screen first.
		let found = [
			card(
				"AMD Radeon Graphics (RADV RAPHAEL_MENDOCINO)",
				Kind::Integrated,
				"0b:00.0",
				60,
			),
			card("Some vGPU", Kind::Virtual, "0a:00.0", 48),
			card("NVIDIA GeForce GT 710", Kind::Discrete, "01:00.0", 2),
			card("NVIDIA GeForce RTX 3090", Kind::Discrete, "02:00.0", 24),
			card("NVIDIA GeForce RTX 4090", Kind::Discrete, "06:00.0", 24),
			card("NVIDIA GeForce RTX 3090", Kind::Discrete, "03:00.0", 24),
			card("NVIDIA GeForce RTX 4090", Kind::Discrete, "04:00.0", 24),
		];
		let expected = ["04", "06", "02", "03", "01", "0a", "0b"];
		let (order, _) = buses(&found, &[]);
		assert_eq!(order, expected.map(|bus| format!("0000:{bus}:00.0")));
		let mut turned = found.clone();
		turned.reverse();
		assert_eq!(buses(&turned, &[]).0, order, "whatever the loader's order");
	}

	#[test]
	fn what_is_named_is_used_in_that_order_and_nothing_else() {
		let found = [
			card("NVIDIA GeForce RTX 4090", Kind::Discrete, "01:00.0", 24),
			card("NVIDIA GeForce RTX 3090", Kind::Discrete, "02:00.0", 24),
		];
		let uuid = format!("GPU-{}", found[0].uuid.unwrap());
		let (order, missing) = buses(&found, &["02:00.0", &uuid, "0000:01:00.0"]);
		assert_eq!(order, ["0000:02:00.0", "0000:01:00.0"]);
		assert_eq!(missing, 0, "twice by two names");
		assert_eq!(buses(&found, &["02:00.0", "07:00.0"]).1, 1);
		assert!(list(&found).contains(&uuid) && list(&found).contains("0000:02:00.0"));
	}
}
