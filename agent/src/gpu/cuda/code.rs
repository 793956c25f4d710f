//! The kernels' code: PTX, which the driver compiles for the machine's GPU. `scripts/ptx.sh` makes it from
//! `agent/cuda/`.

use super::driver::{Listed, Version};

/// A PTX file.
#[derive(Debug)]
pub struct Code {
	/// Its name.
	pub name: &'static str,
	/// Its text.
	pub ptx: &'static str,
	/// The oldest CUDA version whose driver reads it.
	pub needs: Version,
	/// The oldest such driver on Linux.
	pub driver: &'static str,
}

macro_rules! code {
	($name:literal, $version:literal, $driver:literal) => {
		Code {
			name: $name,
			ptx: include_str!(concat!("../../../cuda/ptx/", $name, ".ptx")),
			needs: Version($version),
			driver: $driver,
		}
	};
}

/// The kernels other than products, on Turing and newer.
pub static BASE: Code = code!("base_75", 10_000, "410.48");
/// The same on Hopper and newer, where a kernel can start before the previous one ends.
pub static BASE_EARLY: Code = code!("base_90", 11_080, "520.61.05");
/// Products with Turing's instructions.
static TURING: Code = code!("product_75", 10_020, "440.33");
/// Products with Ampere's instructions.
static AMPERE: Code = code!("product_80", 11_000, "450.36.06");
/// The same on Hopper and newer, where a product can start early.
static AMPERE_EARLY: Code = code!("product_90", 11_080, "520.61.05");
/// Products with Hopper's own instructions, which no other GPU has.
static HOPPER: Code = code!("product_90a", 12_000, "525.60.13");

/// All PTX files.
#[cfg(test)]
pub static ALL: [&Code; 6] = [&BASE, &BASE_EARLY, &TURING, &AMPERE, &AMPERE_EARLY, &HOPPER];

/// A kernel for the product.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
	/// The file that contains it.
	pub code: &'static Code,
	/// Its entry point there.
	pub entry: &'static str,
	/// Its name, for display.
	pub name: &'static str,
	/// Rows and columns of a block's tile.
	pub tile: (u32, u32),
	/// Threads of a block.
	pub threads: u32,
	/// Shared memory of a block, in bytes.
	pub shared: u32,
	/// Set for Hopper's own kernels: pairs of blocks take tiles until none are left, and mark finished
	/// parts.
	pub pairs: bool,
}

/// Bytes of each row of a tile that a block of `product.cu` holds in shared memory at a time.
const DEEP: u32 = 64;

const fn warps(
	code: &'static Code,
	entry: &'static str,
	name: &'static str,
	tile: (u32, u32),
	stages: u32,
) -> Recipe {
	Recipe {
		code,
		entry,
		name,
		tile,
		// A warp computes 64 × 64 sums.
		threads: tile.0 / 64 * (tile.1 / 64) * 32,
		shared: (tile.0 + tile.1) * DEEP * stages,
		pairs: false,
	}
}

static OF_TURING: [Recipe; 2] = [
	warps(
		&TURING,
		"product_128x256",
		"CUDA, Turing's units, 128 × 256",
		(128, 256),
		2,
	),
	warps(
		&TURING,
		"product_256x128",
		"CUDA, Turing's units, 256 × 128",
		(256, 128),
		2,
	),
];
static OF_AMPERE: [Recipe; 3] = of_ampere(&AMPERE);
static OF_AMPERE_EARLY: [Recipe; 3] = of_ampere(&AMPERE_EARLY);
static OF_HOPPER: [Recipe; 2] = [
	pairs("product_hopper", "CUDA, Hopper's units, 128 × 256", 256),
	pairs(
		"product_hopper_apart",
		"CUDA, Hopper's units, 128 × 256, copies apart",
		384,
	),
];

const fn pairs(entry: &'static str, name: &'static str, threads: u32) -> Recipe {
	Recipe {
		code: &HOPPER,
		entry,
		name,
		tile: (128, 256),
		threads,
		// Four stages of 128 bytes of each row, and the barriers.
		shared: 4 * (128 + 256) * 128 + 128,
		pairs: true,
	}
}

const fn of_ampere(code: &'static Code) -> [Recipe; 3] {
	[
		warps(
			code,
			"product_128x256",
			"CUDA, Ampere's units, 128 × 256",
			(128, 256),
			3,
		),
		warps(
			code,
			"product_256x128",
			"CUDA, Ampere's units, 256 × 128",
			(256, 128),
			3,
		),
		warps(
			code,
			"product_128x128",
			"CUDA, Ampere's units, 128 × 128",
			(128, 128),
			3,
		),
	]
}

/// The code that suits a GPU and its driver's version.
#[derive(Debug)]
pub struct Fitting {
	/// The kernels other than products; `None` if no code suits.
	pub base: Option<&'static Code>,
	/// The kernels for products, in order of preference.
	pub recipes: Vec<Recipe>,
	/// Code that needs a newer driver.
	pub too_new: Vec<&'static Code>,
}

/// Selects the code for a GPU.
pub fn fitting(gpu: &Listed, version: Version) -> Fitting {
	let (bases, products): (&[&'static Code], &[&[Recipe]]) = match gpu.capability {
		..75 => (&[], &[]),
		75..80 => (&[&BASE], &[&OF_TURING]),
		80..90 => (&[&BASE], &[&OF_AMPERE]),
		90 => (
			&[&BASE_EARLY, &BASE],
			&[&OF_HOPPER, &OF_AMPERE_EARLY, &OF_AMPERE],
		),
		91.. => (&[&BASE_EARLY, &BASE], &[&OF_AMPERE_EARLY, &OF_AMPERE]),
	};
	let all = bases
		.iter()
		.copied()
		.chain(products.iter().map(|some| some[0].code));
	let too_new = all.filter(|code| code.needs > version).collect();
	let mut recipes: Vec<Recipe> = Vec::new();
	for some in products.iter().filter(|some| some[0].code.needs <= version) {
		// Of two codes for the same instructions, the newer.
		if !recipes.iter().any(|recipe| recipe.entry == some[0].entry) {
			recipes.extend_from_slice(some);
		}
	}
	Fitting {
		base: bases.iter().copied().find(|code| code.needs <= version),
		recipes,
		too_new,
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::gpu::Kind;
	use crate::gpu::tests::card;

	fn names(capability: u32, version: u32) -> (Option<&'static str>, Vec<&'static str>, usize) {
		let gpu = Listed {
			ordinal: 0,
			card: card("NVIDIA", Kind::Discrete, "01:00.0", 80),
			capability,
			multiprocessors: 100,
		};
		let found = fitting(&gpu, Version(version));
		let mut codes: Vec<&str> = found
			.recipes
			.iter()
			.map(|recipe| recipe.code.name)
			.collect();
		codes.dedup();
		(found.base.map(|code| code.name), codes, found.too_new.len())
	}

	#[test]
	fn each_gpu_gets_its_code_and_an_old_driver_what_it_reads() {
		assert_eq!(
			names(61, 13_000),
			(None, vec![], 0),
			"Pascal has no matrix units"
		);
		assert_eq!(
			names(70, 12_000),
			(None, vec![], 0),
			"Volta's do not multiply bytes"
		);
		assert_eq!(names(75, 13_000), (Some("base_75"), vec!["product_75"], 0));
		assert_eq!(names(75, 10_010), (Some("base_75"), vec![], 1));
		assert_eq!(names(86, 11_000), (Some("base_75"), vec!["product_80"], 0));
		assert_eq!(names(86, 10_020), (Some("base_75"), vec![], 1));
		assert_eq!(
			names(90, 12_000),
			(Some("base_90"), vec!["product_90a", "product_90"], 0)
		);
		assert_eq!(names(90, 11_080), (Some("base_90"), vec!["product_90"], 1));
		assert_eq!(names(90, 11_040), (Some("base_75"), vec!["product_80"], 3));
		assert_eq!(
			names(120, 12_080),
			(Some("base_90"), vec!["product_90"], 0),
			"Blackwell"
		);
	}

	#[test]
	fn a_code_asks_for_no_newer_ptx_than_its_driver_reads() {
		for code in ALL {
			let line = |start: &str| {
				let line = code.ptx.lines().find_map(|line| line.strip_prefix(start));
				line.unwrap_or_else(|| panic!("{}: no {start}", code.name))
					.trim()
			};
			// The CUDA version that introduced each PTX version.
			let brought = match line(".version") {
				"6.3" => 10_000,
				"6.5" => 10_020,
				"7.0" => 11_000,
				"7.8" => 11_080,
				"8.0" => 12_000,
				other => panic!("{}: PTX {other}", code.name),
			};
			assert_eq!(code.needs, Version(brought), "{}", code.name);
			let target = code.name.rsplit('_').next().unwrap();
			assert_eq!(line(".target"), format!("sm_{target}"), "{}", code.name);
		}
	}

	#[test]
	fn a_recipe_names_a_kernel_of_its_code() {
		let all = [&OF_TURING[..], &OF_AMPERE, &OF_AMPERE_EARLY, &OF_HOPPER];
		for recipe in all.into_iter().flatten() {
			let entry = format!(".entry {}(", recipe.entry);
			assert!(recipe.code.ptx.contains(&entry), "{recipe:?}");
		}
	}
}
