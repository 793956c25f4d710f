//! A checker's cost of verifying one GPU's openings of the full size (n = 4,096), on one core: `cargo bench
//! -p kaisar-agent --bench verify`.

#[path = "../tests/compute/made.rs"]
mod made;

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn verify(criterion: &mut Criterion) {
	let made = made::make();
	println!("openings: {} bytes", made.shown.len());
	assert!(made.verify(&made.shown).is_ok());
	criterion.bench_function("verify one GPU, n = 4096", |bencher| {
		bencher.iter(|| black_box(&made).verify(black_box(&made.shown)).is_ok());
	});
}

criterion_group!(benches, verify);
criterion_main!(benches);
