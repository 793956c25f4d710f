//! Primitives of the proof's definitions: keys, compressions, streams and running hashes.

use blake3::platform::{Platform, le_bytes_from_words_32, words_from_le_bytes_32};
use chacha20::{
	ChaCha8Rng,
	rand_core::{Rng, SeedableRng},
};
use std::sync::LazyLock;

/// 32 bytes of BLAKE3.
pub type Hash = [u8; 32];
/// Input and output of a compression.
pub type Block = [u8; 64];

/// The widest implementation of BLAKE3's compression on this processor.
pub(crate) static PLATFORM: LazyLock<Platform> = LazyLock::new(Platform::detect);

/// `K(name; parts)`: a key for one purpose. Each part is preceded by its length.
pub fn key(name: &str, parts: &[&[u8]]) -> Hash {
	let mut hasher = blake3::Hasher::new_derive_key(&format!("kaisar/proof 2 {name}"));
	for part in parts {
		hasher.update(&(part.len() as u64).to_le_bytes());
		hasher.update(part);
	}
	*hasher.finalize().as_bytes()
}

/// BLAKE3's compression, with the platform detected once.
#[derive(Clone, Copy)]
pub struct Compress(Platform);

impl Compress {
	/// Returns the compression on this processor.
	pub fn new() -> Self {
		Self(*PLATFORM)
	}

	/// `C(cv, m, n)`: one compression of a whole block with counter `n` and no flags.
	#[inline]
	pub fn whole(self, cv: &Hash, block: &Block, counter: u64) -> Block {
		self.0
			.compress_xof(&words_from_le_bytes_32(cv), block, 64, counter, 0)
	}

	/// Returns the first half of `C(cv, m, n)`.
	#[inline]
	pub fn half(self, cv: &Hash, block: &Block, counter: u64) -> Hash {
		let mut words = words_from_le_bytes_32(cv);
		self.0.compress_in_place(&mut words, block, 64, counter, 0);
		le_bytes_from_words_32(&words)
	}
}

impl Default for Compress {
	fn default() -> Self {
		Self::new()
	}
}

/// The xor of a block's halves.
#[inline]
pub fn fold(block: &Block) -> Hash {
	let mut folded = [0; 32];
	for (at, byte) in folded.iter_mut().enumerate() {
		*byte = block[at] ^ block[at + 32];
	}
	folded
}

/// `S(key, a, b)`: a ChaCha8 stream from its beginning.
pub fn stream(key: &Hash, a: u32, b: u32) -> ChaCha8Rng {
	let mut rng = ChaCha8Rng::from_seed(*key);
	rng.set_stream(u64::from(a) | u64::from(b) << 32);
	rng
}

/// Fills `out` with the beginning of `S(key, a, b)`.
pub fn fill(key: &Hash, a: u32, b: u32, out: &mut [u8]) {
	stream(key, a, b).fill_bytes(out);
}

/// A running hash over roots or digests. Its first word depends on all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Running {
	state: Hash,
	/// Number of absorbed roots.
	count: u64,
}

impl Running {
	/// `h₀` of the chain with this seed.
	pub fn new(seed: &Hash) -> Self {
		Self::over(&[seed])
	}

	/// `h₀` of a chain that depends on several hashes.
	pub fn over(seeds: &[&Hash]) -> Self {
		let parts: Vec<&[u8]> = seeds.iter().map(|seed| &seed[..]).collect();
		Self {
			state: key("chain", &parts),
			count: 0,
		}
	}

	/// Resumes a running hash with this state after `count` roots.
	pub fn at(state: Hash, count: u64) -> Self {
		Self { state, count }
	}

	/// Absorbs a root, or a digest padded with zeros.
	pub fn take(&mut self, compress: Compress, root: &[u8]) {
		let mut block = [0; 64];
		block[..root.len()].copy_from_slice(root);
		self.state = compress.half(&self.state, &block, self.count);
		self.count += 1;
	}

	/// Binds the hash to those of all GPUs of the worker; `own` is its own number.
	pub fn bind(&mut self, all: &[Hash], own: u8) {
		let own = [own];
		let parts: Vec<&[u8]> = all.iter().map(|one| &one[..]).chain([&own[..]]).collect();
		self.state = key("span", &parts);
	}

	/// Returns the current hash.
	pub fn state(&self) -> &Hash {
		&self.state
	}
}

/// The little-endian word that begins at a byte.
#[inline]
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
	let mut word = [0; 8];
	word.copy_from_slice(&bytes[at..at + 8]);
	u64::from_le_bytes(word)
}

/// The little-endian 32-bit word that begins at a byte.
#[inline]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
	let mut word = [0; 4];
	word.copy_from_slice(&bytes[at..at + 4]);
	u32::from_le_bytes(word)
}

/// `(word · count) ≫ 64`: a place below `count`.
#[inline]
pub fn place_u64(word: u64, count: u64) -> u64 {
	((u128::from(word) * u128::from(count)) >> 64) as u64
}

/// `(word · count) ≫ 32`: a place below `count`.
#[inline]
pub fn place_u32(word: u32, count: u32) -> u32 {
	((u64::from(word) * u64::from(count)) >> 32) as u32
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_keys_parts_cannot_move() {
		let all = [
			key("base", &[b"ab", b"c"]),
			key("base", &[b"a", b"bc"]),
			key("base", &[b"abc"]),
			key("start", &[b"ab", b"c"]),
		];
		for (at, one) in all.iter().enumerate() {
			assert!(!all[at + 1..].contains(one));
		}
	}

	/// BLAKE3's compression from its specification, for blocks of 64 bytes without flags.
	fn plain(cv: &Hash, block: &Block, counter: u64) -> Block {
		const IV: [u32; 4] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A];
		const ORDER: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
		let cv: [u32; 8] = std::array::from_fn(|at| u32_at(cv, 4 * at));
		let mut m: [u32; 16] = std::array::from_fn(|at| u32_at(block, 4 * at));
		let mut v = [0u32; 16];
		v[..8].copy_from_slice(&cv);
		v[8..12].copy_from_slice(&IV);
		v[12..].copy_from_slice(&[counter as u32, (counter >> 32) as u32, 64, 0]);
		fn mix(v: &mut [u32; 16], [a, b, c, d]: [usize; 4], x: u32, y: u32) {
			for (word, turns) in [(x, [16, 12]), (y, [8, 7])] {
				v[a] = v[a].wrapping_add(v[b]).wrapping_add(word);
				v[d] = (v[d] ^ v[a]).rotate_right(turns[0]);
				v[c] = v[c].wrapping_add(v[d]);
				v[b] = (v[b] ^ v[c]).rotate_right(turns[1]);
			}
		}
		for _ in 0..7 {
			for at in 0..4 {
				mix(
					&mut v,
					[at, at + 4, at + 8, at + 12],
					m[2 * at],
					m[2 * at + 1],
				);
			}
			for at in 0..4 {
				let diagonal = [at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4];
				mix(&mut v, diagonal, m[8 + 2 * at], m[9 + 2 * at]);
			}
			m = ORDER.map(|at| m[at]);
		}
		let mut out = [0; 64];
		for at in 0..8 {
			out[4 * at..][..4].copy_from_slice(&(v[at] ^ v[at + 8]).to_le_bytes());
			out[32 + 4 * at..][..4].copy_from_slice(&(v[at + 8] ^ cv[at]).to_le_bytes());
		}
		out
	}

	#[test]
	fn a_compression_is_blake3s() {
		let mut block = [0; 64];
		for counter in [0, 1, u64::from(u32::MAX) + 5, u64::MAX] {
			fill(&[3; 32], 1, counter as u32, &mut block);
			let cv = key("test", &[&block]);
			let whole = Compress::new().whole(&cv, &block, counter);
			assert_eq!(whole, plain(&cv, &block, counter));
			assert_eq!(Compress::new().half(&cv, &block, counter), whole[..32]);
		}
	}

	#[test]
	fn streams_differ_by_each_number() {
		let first = |key: u8, a, b| {
			let mut bytes = [0u8; 16];
			fill(&[key; 32], a, b, &mut bytes);
			bytes
		};
		let all = [
			first(1, 0, 0),
			first(2, 0, 0),
			first(1, 1, 0),
			first(1, 0, 1),
		];
		for (at, one) in all.iter().enumerate() {
			assert!(!all[at + 1..].contains(one));
		}
	}

	#[test]
	fn what_runs_depends_on_each_and_their_order() {
		let run = |roots: &[u8]| {
			let mut running = Running::new(&[1; 32]);
			for root in roots {
				running.take(Compress::new(), &[*root; 32]);
			}
			*running.state()
		};
		let all = [
			run(&[1, 2]),
			run(&[2, 1]),
			run(&[1]),
			run(&[]),
			run(&[1, 2, 0]),
		];
		for (at, one) in all.iter().enumerate() {
			assert!(!all[at + 1..].contains(one));
		}
	}
}
