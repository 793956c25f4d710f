//! What it costs a checker to verify one GPU's openings of the full size (n = 8,192, 256 samples), on
//! one core: `cargo bench -p kaisar-agent --bench verify`.

#[path = "../tests/compute/made.rs"]
mod made;

use codec::Encode;
use criterion::{Criterion, criterion_group, criterion_main};
use kaisar_agent::bench::{
	hash::{Hash, Tree, TreeTag, leaf},
	proof::{Counts, GpuOpening},
};
use std::hint::black_box;

fn verify(criterion: &mut Criterion) {
	// The bound is for one core.
	rayon::ThreadPoolBuilder::new()
		.num_threads(1)
		.build_global()
		.expect("nothing used the pool before");
	let made = made::make();
	let bytes = made.opening().encode();
	let counts = Counts::of_gpu(made::SAMPLES, &made::WALK);
	println!("openings: {} bytes", bytes.len());
	assert!(made.verify());
	let mut group = criterion.benchmark_group("verify one GPU, n = 8192, 256 samples");
	group.bench_function("decode", |bencher| {
		bencher.iter(|| GpuOpening::decode_within(black_box(&bytes), &counts).is_ok());
	});
	group.bench_function("chain", |bencher| {
		bencher.iter(|| black_box(&made).verify_chain())
	});
	group.bench_function("walk", |bencher| {
		bencher.iter(|| black_box(&made).verify_walk())
	});
	group.bench_function("all", |bencher| {
		bencher.iter(|| {
			let shown =
				GpuOpening::decode_within(black_box(&bytes), &counts).expect("they are whole");
			let shown = made::Made {
				chain: shown.chain,
				walk: shown.walk,
				positions: made.positions.clone(),
				legs: made.legs.clone(),
				..made
			};
			shown.verify()
		});
	});
	group.finish();
}

/// What it costs a worker, besides its GPU, to open rows of one step.
fn open(criterion: &mut Criterion) {
	let leaves: Vec<Hash> = (0..8_192)
		.map(|row| leaf(TreeTag::Rows, row, &[0]))
		.collect();
	criterion.bench_function("tree over a step's 8192 rows", |bencher| {
		bencher.iter(|| Tree::new(TreeTag::Rows, black_box(leaves.clone())).root());
	});
}

criterion_group!(benches, verify, open);
criterion_main!(benches);
