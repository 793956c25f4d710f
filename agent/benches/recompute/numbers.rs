//! A generator for searches, the same in each run: SplitMix64.

pub struct Numbers(u64);

impl Numbers {
	pub fn new(seed: u64) -> Self {
		Self(seed)
	}

	pub fn next(&mut self) -> u64 {
		self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
		let mut z = self.0;
		z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
		z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
		z ^ z >> 31
	}

	/// Draws a number below `count`.
	pub fn below(&mut self, count: usize) -> usize {
		((u128::from(self.next()) * count as u128) >> 64) as usize
	}

	/// Draws a number in 0 … 1.
	pub fn unit(&mut self) -> f64 {
		(self.next() >> 11) as f64 / (1u64 << 53) as f64
	}
}
