//! Where a checker looks, and the bytes in which it is shown.
//!
//! Openings are what their places ask for, one after the other, without a count or a length among them: both sides
//! know them beforehand. So a verifier takes no memory but the message's, whatever is in it.

use super::hash::{Hash, key, stream};
use chacha20::rand_core::Rng;

/// What is sampled. The numbers are those of the draws' streams.
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
	/// The lane whose digests are all shown, and words of its legs.
	Lane = 5,
}

/// A checker's draw of a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Draw(Hash);

impl Draw {
	/// `K(open; start, root, R(a + 1), nonce)`.
	pub fn new(start: &Hash, root: &Hash, randomness: &Hash, nonce: &Hash) -> Self {
		Self(key("open", &[start, root, randomness, nonce]))
	}

	/// The places of `samples` samples among `count`: one in each of as many equal spans. `gpu` is 0 for what is
	/// no GPU's.
	pub fn places(&self, kind: Kind, gpu: u8, samples: u32, count: u64) -> Vec<u64> {
		self.from(kind, gpu, 0, samples, count)
	}

	/// The same by the streams from number `first` on.
	pub fn from(&self, kind: Kind, gpu: u8, first: u32, samples: u32, count: u64) -> Vec<u64> {
		let spans = u128::from(samples) << 32;
		let place = |k: u32| {
			let x = stream(&self.0, 16 * u32::from(gpu) + kind as u32, first + k).next_u32();
			let at = (u128::from(k) << 32 | u128::from(x)) * u128::from(count) / spans;
			at as u64
		};
		(0..samples).map(place).collect()
	}
}

/// Why openings are no proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reject {
	/// They are shorter or longer than what they have to show.
	Length,
	/// The roots are not those under the attested one.
	Root,
	/// A place is not in its tree.
	Place(Kind),
	/// What was computed is wrong.
	Wrong(Kind),
}

/// Reads openings.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
	/// From the beginning.
	pub fn new(bytes: &'a [u8]) -> Self {
		Self(bytes)
	}

	/// The next bytes.
	pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Reject> {
		let (bytes, rest) = self.0.split_at_checked(length).ok_or(Reject::Length)?;
		self.0 = rest;
		Ok(bytes)
	}

	/// The next bytes, so many that the type says.
	pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Reject> {
		let (bytes, rest) = self.0.split_first_chunk().ok_or(Reject::Length)?;
		self.0 = rest;
		Ok(bytes)
	}

	/// The next pieces of `N` bytes.
	pub fn arrays<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], Reject> {
		let length = count.checked_mul(N).ok_or(Reject::Length)?;
		Ok(self.bytes(length)?.as_chunks().0)
	}

	/// Nothing may be left.
	pub fn end(self) -> Result<(), Reject> {
		self.0.is_empty().then_some(()).ok_or(Reject::Length)
	}
}

#[cfg(test)]
mod tests {
	use super::*;

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
