//! Draws of samples, and the reader of their openings.
//!
//! Openings are a sequence of fixed-size parts without counts or lengths, which both sides derive from sizes
//! and draw. So a verifier needs no memory beyond the message, whatever its contents.

use super::hash::{Hash, key, place_u64, stream};
use chacha20::rand_core::Rng;

/// Kinds of samples. The numbers select the streams of a draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
	/// Lines of a GPU's fill.
	Fill = 0,
	/// Lines of a GPU's products.
	Products = 1,
	/// Walks of a GPU.
	Walk = 2,
	/// Words of legs of lanes.
	Lanes = 3,
	/// Reads of the plot.
	Disk = 4,
	/// The one lane whose digests are all opened, and words of its legs.
	Lane = 5,
	/// Lines of the products of a GPU's fill whose results stay in memory.
	Kept = 6,
}

/// A checker's draw of a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Draw {
	/// Seed of one checker's samples.
	own: Hash,
	/// Seed of samples that all checkers of the proof share.
	shared: Hash,
}

impl Draw {
	/// Draws by `K(open; start, root, R(a + 1), nonce)`, and for all checkers by the same without the nonce.
	pub fn new(start: &Hash, root: &Hash, randomness: &Hash, nonce: &Hash) -> Self {
		Self {
			own: key("open", &[start, root, randomness, nonce]),
			shared: key("open all", &[start, root, randomness]),
		}
	}

	/// Returns the places of `samples` samples among `count`: one in each of as many equal spans. `gpu` is 0
	/// for other resources.
	pub fn places(&self, kind: Kind, gpu: u8, samples: u32, count: u64) -> Vec<u64> {
		self.from(kind, gpu, 0, samples, count)
	}

	/// Returns a place among `count` that is the same for all checkers of the proof.
	pub fn shared(&self, count: u64) -> u64 {
		place_u64(stream(&self.shared, 0, 0).next_u64(), count)
	}

	/// Returns places like [`places`](Self::places), from the streams from number `first` on.
	pub fn from(&self, kind: Kind, gpu: u8, first: u32, samples: u32, count: u64) -> Vec<u64> {
		let spans = u128::from(samples) << 32;
		let place = |k: u32| {
			let x = stream(&self.own, 16 * u32::from(gpu) + kind as u32, first + k).next_u32();
			let at = (u128::from(k) << 32 | u128::from(x)) * u128::from(count) / spans;
			at as u64
		};
		(0..samples).map(place).collect()
	}
}

/// Reason for rejecting openings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reject {
	/// A size is outside its limits.
	Size,
	/// Their length differs from the sum of their parts.
	Length,
	/// The roots are not those under the attested one.
	Root,
	/// A place is not in its tree.
	Place(Kind),
	/// A recomputed value differs.
	Wrong(Kind),
}

/// Reads openings.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
	/// Creates a reader at the beginning.
	pub fn new(bytes: &'a [u8]) -> Self {
		Self(bytes)
	}

	/// Reads the next `length` bytes.
	pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Reject> {
		let (bytes, rest) = self.0.split_at_checked(length).ok_or(Reject::Length)?;
		self.0 = rest;
		Ok(bytes)
	}

	/// Reads the next `N` bytes.
	pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Reject> {
		let (bytes, rest) = self.0.split_first_chunk().ok_or(Reject::Length)?;
		self.0 = rest;
		Ok(bytes)
	}

	/// Reads the next `count` pieces of `N` bytes.
	pub fn arrays<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], Reject> {
		let length = count.checked_mul(N).ok_or(Reject::Length)?;
		Ok(self.bytes(length)?.as_chunks().0)
	}

	/// Fails if bytes remain.
	pub fn end(self) -> Result<(), Reject> {
		self.0.is_empty().then_some(()).ok_or(Reject::Length)
	}
}

#[cfg(test)]
pub(super) mod tests {
	use super::*;

	/// Asserts that `check` accepts these openings, and rejects them when they are shorter, longer, or
	/// changed in any byte; tries one byte in `step`.
	pub fn believes_nothing_else(
		shown: &[u8],
		step: usize,
		check: impl Fn(&[u8]) -> Result<(), Reject>,
	) {
		assert_eq!(check(shown), Ok(()));
		assert_eq!(check(&shown[..shown.len() - 1]), Err(Reject::Length));
		assert_eq!(check(&[shown, &[0]].concat()), Err(Reject::Length));
		for at in (0..shown.len()).step_by(step) {
			let mut bad = shown.to_vec();
			bad[at] ^= 1;
			assert!(check(&bad).is_err(), "byte {at}");
		}
	}

	#[test]
	fn places_lie_one_in_each_span() {
		let draw = Draw::new(&[1; 32], &[2; 32], &[3; 32], &[4; 32]);
		for count in [64, 1_000, u64::MAX / 3] {
			let places = draw.places(Kind::Lanes, 0, 64, count);
			for (span, place) in places.iter().enumerate() {
				let edge = |span: usize| (span as u128 * u128::from(count) / 64) as u64;
				assert!((edge(span)..edge(span + 1) + 1).contains(place) && *place < count);
			}
		}
		let few = draw.places(Kind::Disk, 0, 64, 3);
		assert!(few.iter().all(|place| *place < 3));
		let lanes = draw.places(Kind::Lanes, 0, 8, 1 << 40);
		for other in [
			Draw::new(&[1; 32], &[2; 32], &[3; 32], &[5; 32]).places(Kind::Lanes, 0, 8, 1 << 40),
			draw.places(Kind::Lane, 0, 8, 1 << 40),
			draw.places(Kind::Lanes, 1, 8, 1 << 40),
			draw.from(Kind::Lanes, 0, 1, 8, 1 << 40),
		] {
			assert_ne!(other, lanes);
		}
	}
}
