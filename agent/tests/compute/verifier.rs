//! What a checker gets for one GPU of the full size.

use crate::made::{self, Made};
use codec::Encode;
use kaisar_agent::bench::proof::{Counts, GpuOpening};

#[test]
fn openings_of_the_full_size_stay_below_five_megabytes() {
	let made = made::make();
	let bytes = made.opening().encode();
	assert!(bytes.len() < 5_000_000, "{} bytes", bytes.len());
	println!("{} bytes", bytes.len());
	// As they come over the wire.
	let counts = Counts::of_gpu(made::SAMPLES, &made::WALK);
	let shown = GpuOpening::decode_within(&bytes, &counts).unwrap();
	let mut made = Made {
		chain: shown.chain,
		walk: shown.walk,
		..made
	};
	assert!(made.verify());
	made.chain.samples[200].y.bytes[1] ^= 1;
	assert!(!made.verify_chain());
	assert!(made.verify_walk());
	made.walk[3].lines[31].line[1_023] ^= 1;
	assert!(!made.verify_walk());
}
