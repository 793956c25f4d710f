//! Replaces the crate `wasm-opt`, which `substrate-wasm-builder` calls once it has built the runtime.
//!
//! That crate compiles binaryen, about 300 files of C++ and a fifth of a build from scratch. The builder
//! uses it for two passes, never for an optimization:
//!
//! - *Lower sign extension*, for nodes that only know WebAssembly 1.0. The runtime's target,
//!   `wasm32v1-none`, is exactly that, so there is nothing to lower. [`OptimizationOptions::run`] fails if
//!   that should change.
//! - *Strip DWARF*, which removes the custom sections `.debug_*`.
//!
//! Like binaryen, this crate writes the module anew, with the shortest encoding of every number; the
//! linker's output is 6 % longer.
//!
//! The root `Cargo.toml` replaces the other crate with this one (`[patch.crates-io]`). A version of the
//! builder that uses more of that crate does not compile with this one.

use parity_wasm::elements::{self, Module, Section};
use std::{fmt, fs, io, path::Path};

/// Pass of the optimizer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
	/// Remove debug information.
	StripDwarf,
	/// Replace operators of the sign extension.
	SignextLowering,
}

/// Reason why a module was not written.
#[derive(Debug)]
pub enum Error {
	/// A file could not be read or written.
	Io(io::Error),
	/// The module is not WebAssembly 1.0.
	Invalid(elements::Error),
}

impl fmt::Display for Error {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		match self {
			Self::Io(error) => error.fmt(f),
			Self::Invalid(why) => write!(f, "the module is not WebAssembly 1.0: {why}"),
		}
	}
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
	fn from(error: io::Error) -> Self {
		Self::Io(error)
	}
}

impl From<elements::Error> for Error {
	fn from(error: elements::Error) -> Self {
		Self::Invalid(error)
	}
}

/// Options of an optimization. Whatever they are, [`run`](Self::run) does the same.
#[derive(Default, Debug)]
pub struct OptimizationOptions(());

impl OptimizationOptions {
	/// Creates the options without an optimization.
	pub fn new_opt_level_0() -> Self {
		Self::default()
	}

	/// Accepts only WebAssembly 1.0.
	pub fn mvp_features_only(&mut self) -> &mut Self {
		self
	}

	/// Keeps the names of functions.
	pub fn debug_info(&mut self, _keep: bool) -> &mut Self {
		self
	}

	/// Adds a pass.
	pub fn add_pass(&mut self, _pass: Pass) -> &mut Self {
		self
	}

	/// Reads a module, which must be WebAssembly 1.0, and writes it without DWARF. The two files may be the
	/// same.
	pub fn run(&self, input: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<(), Error> {
		// The parser only knows the operators of WebAssembly 1.0.
		let mut module: Module = parity_wasm::deserialize_buffer(&fs::read(input)?)?;
		module.sections_mut().retain(|section| match section {
			Section::Custom(custom) => !custom.name().starts_with(".debug_"),
			_ => true,
		});
		fs::write(output, parity_wasm::serialize(module)?)?;
		Ok(())
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	/// Magic and version of a module.
	const HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";
	/// Id of a custom section.
	const CUSTOM: u8 = 0;

	/// Returns a section of at most 127 bytes.
	fn section(id: u8, content: &[u8]) -> Vec<u8> {
		let size = u8::try_from(content.len()).expect("the length fits a byte");
		assert!(size < 0x80);
		[&[id, size], content].concat()
	}

	fn custom(name: &str, content: &[u8]) -> Vec<u8> {
		let length = u8::try_from(name.len()).expect("the length fits a byte");
		section(CUSTOM, &[&[length], name.as_bytes(), content].concat())
	}

	/// Returns a module with one function from `i32` to `i32`: `local.get 0`, and an operator.
	fn module(operator: &[u8]) -> Vec<u8> {
		let body = [&[0, 0x20, 0], operator, &[0x0b]].concat();
		let size = u8::try_from(body.len()).expect("the length fits a byte");
		[
			HEADER.to_vec(),
			section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]),
			section(3, &[1, 0]),
			section(10, &[&[1, size], body.as_slice()].concat()),
		]
		.concat()
	}

	/// Runs the passes as the builder does, and returns the written module.
	fn run(module: &[u8]) -> Result<Vec<u8>, Error> {
		static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
		let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
		let name = format!("kaisar-wasm-opt-{}-{run}", std::process::id());
		let file = std::env::temp_dir().join(name);
		fs::write(&file, module).expect("the file can be written");
		let mut options = OptimizationOptions::new_opt_level_0();
		options.mvp_features_only().debug_info(true);
		options
			.add_pass(Pass::StripDwarf)
			.add_pass(Pass::SignextLowering);
		let result = options.run(&file, &file).map(|()| fs::read(&file));
		let read = result.map(|bytes| bytes.expect("the file can be read"));
		fs::remove_file(&file).expect("the file can be removed");
		read
	}

	#[test]
	fn debug_sections_are_stripped_and_nothing_else() {
		let bare = module(&[0x45]);
		let names = custom("name", b"\0");
		let version = custom("runtime_version", b".debug_");
		let full = [
			bare.clone(),
			custom(".debug_info", b"where"),
			names.clone(),
			custom(".debug_line", &[0; 40]),
			version.clone(),
		]
		.concat();
		assert_eq!(
			run(&full).expect("the module is valid"),
			[bare, names, version].concat()
		);
	}

	#[test]
	fn numbers_are_as_short_as_they_can_be() {
		// `i32.const 1` and `drop`, as a linker writes them to leave room for a greater number.
		let long = module(&[0x41, 0x81, 0x80, 0x80, 0x80, 0, 0x1a]);
		assert_eq!(
			run(&long).expect("the module is valid"),
			module(&[0x41, 1, 0x1a])
		);
	}

	#[test]
	fn fails_with_sign_extension() {
		for operator in 0xc0..=0xc4u8 {
			let error = run(&module(&[operator])).expect_err("the operator is not WebAssembly 1.0");
			assert!(matches!(error, Error::Invalid(_)), "{error}");
		}
	}

	#[test]
	fn fails_with_later_features() {
		// `memory.copy`, and `i32.trunc_sat_f32_s`.
		for operator in [&[0xfc, 10, 0, 0][..], &[0xfc, 0]] {
			assert!(run(&module(operator)).is_err());
		}
	}

	#[test]
	fn fails_where_a_section_is_cut_short() {
		let full = module(&[0x45]);
		assert!(run(&full[..full.len() - 1]).is_err());
	}
}
