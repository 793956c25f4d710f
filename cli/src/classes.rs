//! Names of GPU classes, and texts of tiers.

use kaisar_math::{
	classes::{self, CLASSES, GpuClassInfo},
	tiers,
};
use kaisar_primitives::GpuClass;

/// Parses a class by its number or name: `11`, `rtx4090`, `RTX 4090`, `GPU_RTX_4090`, `none`.
///
/// A number need not be in this program's table, since governance can append to the chain's. A number of
/// 1000 or more is taken as part of a name, e.g. 4090, if a name contains it.
pub fn parse(text: &str) -> Result<GpuClass, String> {
	let wanted = plain(text);
	if let Ok(id) = text.parse::<GpuClass>()
		&& (id < 1_000
			|| CLASSES
				.iter()
				.all(|class| !plain(class.name).contains(&wanted)))
	{
		return Ok(id);
	}
	if wanted == "none" || wanted == "cpu" {
		return Ok(0);
	}
	if let Some(class) = CLASSES.iter().find(|class| plain(class.name) == wanted) {
		return Ok(class.id);
	}
	let close: Vec<&GpuClassInfo> = CLASSES
		.iter()
		.filter(|class| !wanted.is_empty() && plain(class.name).contains(&wanted))
		.collect();
	match close[..] {
		[class] => Ok(class.id),
		[] => Err(format!(
			"no GPU class is named {text:?}; `kaisar classes` lists them"
		)),
		_ => Err(format!(
			"{text:?} is ambiguous: {}",
			close
				.iter()
				.map(|class| name(class.id))
				.collect::<Vec<_>>()
				.join(" or ")
		)),
	}
}

/// Returns the short name of a class: `RTX_4090`; `class 34` for an unknown one, `none` for 0.
pub fn name(class: GpuClass) -> String {
	match (class, classes::get(class)) {
		(0, _) => "none".into(),
		(_, Some(info)) => info.name.strip_prefix("GPU_").unwrap_or(info.name).into(),
		(id, None) => format!("class {id}"),
	}
}

/// Formats the GPUs of a machine: `2 × RTX_4090`, `no GPU`.
pub fn gpus(class: GpuClass, count: u8) -> String {
	if class == 0 || count == 0 {
		"no GPU".into()
	} else {
		format!("{count} × {}", name(class))
	}
}

/// Formats a tier by the lower edges of all tiers: `≥ 32`, or `any`.
pub fn tier(edges: &[u32; 4], tier: u8) -> String {
	match usize::from(tier).checked_sub(1).and_then(|i| edges.get(i)) {
		Some(least) => format!("≥ {least}"),
		None => "any".into(),
	}
}

/// Formats a bandwidth tier: `≥ 400/300`, or `any`.
pub fn bandwidth(tier: u8) -> String {
	let edge = usize::from(tier).checked_sub(1);
	match edge.and_then(|i| tiers::BANDWIDTH.get(i)) {
		Some((down, up)) => format!("≥ {down}/{up}"),
		None => "any".into(),
	}
}

/// Normalizes a name: `GPU_RTX_4090`, `Nvidia RTX 4090` → `rtx4090`.
fn plain(text: &str) -> String {
	let text: String = text
		.chars()
		.filter(char::is_ascii_alphanumeric)
		.map(|letter| letter.to_ascii_lowercase())
		.collect();
	["gpu", "nvidia", "geforce"]
		.iter()
		.fold(text.as_str(), |text, prefix| {
			text.strip_prefix(prefix).unwrap_or(text)
		})
		.into()
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_class_has_many_names() {
		for (text, id) in [
			("11", 11),
			("rtx4090", 11),
			("RTX 4090", 11),
			("GPU_RTX_4090", 11),
			("Nvidia GeForce RTX 4090", 11),
			("4090", 11),
			("t4", 20),
			("h200", 33),
			// Not 4070 Super Ti, though its name begins with it.
			("rtx4070", 14),
			("none", 0),
			("0", 0),
			("999", 999),
			("9999", 9_999),
		] {
			assert_eq!(parse(text), Ok(id), "{text}");
		}
	}

	#[test]
	fn every_class_is_found_by_its_name() {
		for class in &CLASSES {
			assert_eq!(parse(class.name), Ok(class.id));
			assert_eq!(parse(&name(class.id)), Ok(class.id));
		}
	}

	#[test]
	fn ambiguous_and_unknown_names_are_refused() {
		assert!(parse("3080").is_err(), "there is a Ti too");
		let several = parse("h100").expect_err("there are two");
		assert!(several.contains("H100_80GB_SXM") && several.contains("H100_80GB_PCIE"));
		for text in ["rtx9999", "", "gpu", "70000", "-1"] {
			assert!(parse(text).is_err(), "{text:?}");
		}
	}

	#[test]
	fn tiers_are_formatted_by_their_lower_edges() {
		assert_eq!(tier(&tiers::MEMORY, 2), "≥ 32");
		assert_eq!(tier(&tiers::MEMORY, 0), "any");
		assert_eq!(bandwidth(2), "≥ 400/300");
		assert_eq!(bandwidth(0), "any");
		assert_eq!(gpus(11, 2), "2 × RTX_4090");
		assert_eq!(gpus(0, 0), "no GPU");
	}
}
