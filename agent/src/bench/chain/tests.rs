use super::*;
use crate::bench::proof::decode;
use proptest::prelude::*;

const SHAPE: Shape = Shape { n: 64, steps: 5 };

/// The definition, word for word.
fn naive(seed: &Hash, shape: Shape) -> Vec<Vec<u8>> {
	let n = shape.n;
	let a = matrix(seed, n, row_of_a);
	let mut all = vec![matrix(seed, n, row_of_x0)];
	for t in 0..shape.steps {
		let x = &all[t];
		let mut y = vec![0u8; n * n];
		for i in 0..n {
			for j in 0..n {
				let sum = (0..n).fold(0i32, |sum, k| {
					sum.wrapping_add(i32::from(a[i * n + k] as i8) * i32::from(x[j * n + k] as i8))
				});
				y[i * n + j] = mix(sum, t as u32, i as u32, j as u32) as u8;
			}
		}
		all.push(y);
	}
	all
}

#[test]
fn agrees_with_the_definition() {
	for n in [64, 128] {
		let shape = Shape { n, steps: 3 };
		let all = naive(&[3; 32], shape);
		let chain = Chain::compute([3; 32], shape, usize::MAX);
		assert_eq!(chain.checkpoints.len(), 4);
		for (t, x) in &chain.checkpoints {
			assert_eq!(x, &all[*t], "n = {n}, t = {t}");
		}
	}
}

#[test]
fn every_instruction_set_gives_the_same() {
	let n = 128;
	let a = widen(&matrix(&[5; 32], n, row_of_a));
	let x = matrix(&[5; 32], n, row_of_x0);
	let fast = step(&a, &x, n, 7);
	let x = widen(&x);
	let mut plain = vec![0u8; n * n];
	for (index, out) in plain.chunks_mut(BLOCK * n).enumerate() {
		let a = &a[index * BLOCK * n..][..BLOCK * n];
		tile_body(a, &x, n, 7, (index * BLOCK) as u32, out);
	}
	assert_eq!(fast, plain);
}

#[test]
fn openings_do_not_depend_on_checkpoints() {
	let n = SHAPE.n;
	let at = positions(&[9; 32], SHAPE, 40);
	let all = Chain::compute([1; 32], SHAPE, usize::MAX);
	let few = Chain::compute([1; 32], SHAPE, 2 * n * n);
	assert!(few.checkpoints.len() < all.checkpoints.len());
	assert_eq!(all.root(), few.root());
	assert_eq!(all.open(&at), few.open(&at));
	assert_eq!(
		verify(&[1; 32], SHAPE, &few.root(), &at, &few.open(&at)),
		Ok(())
	);
}

#[test]
fn fewer_steps_than_claimed_are_refused() {
	let short = Chain::compute([1; 32], Shape { steps: 4, ..SHAPE }, usize::MAX);
	let at = positions(&[2; 32], Shape { steps: 4, ..SHAPE }, 8);
	let opening = short.open(&at);
	assert_eq!(
		verify(&[1; 32], SHAPE, &short.root(), &at, &opening),
		Err(ChainError::Shape)
	);
	// As many leaves as there must be, the last of them missing.
	let five = Chain::compute([1; 32], SHAPE, usize::MAX);
	let six = Shape { steps: 6, ..SHAPE };
	let at = [Position { t: 1, i: 2, j: 3 }];
	assert_eq!(
		verify(&[1; 32], six, &five.root(), &at, &five.open(&at)),
		Err(ChainError::Shape)
	);
	// The same with the last step repeated: what is under it does not fit.
	let n = SHAPE.n;
	let roots: Vec<Hash> = [1, 2, 3, 4, 4]
		.into_iter()
		.map(|t| step_tree(short.kept(t).unwrap(), n, t).root())
		.collect();
	let padded = Steps::new(&roots);
	let at = [Position { t: 4, i: 5, j: 6 }];
	let mut rows = short.rows(&[(4, 6), (4, 5)].into());
	let last = rows.remove(&(4, 5)).unwrap();
	rows.insert((5, 5), last);
	let opening = padded.open(&at, &rows).unwrap();
	assert_eq!(
		verify(&[1; 32], SHAPE, &padded.root(), &at, &opening),
		Err(ChainError::Row)
	);
}

#[test]
fn long_chains_are_opened_below_a_level_that_is_sent_once() {
	let shape = Shape {
		n: 64,
		steps: 2_600,
	};
	let chain = Chain::compute([1; 32], shape, 32 * 64 * 64);
	let at = positions(&[2; 32], shape, 24);
	let opening = chain.open(&at);
	assert_eq!(opening.tops.0.len(), MAX_TOPS);
	assert!(
		opening
			.samples
			.iter()
			.all(|sample| sample.y.root_path.len() == 2)
	);
	let root = chain.root();
	assert_eq!(verify(&[1; 32], shape, &root, &at, &opening), Ok(()));
	// A row of another step under the same node of the level that was sent.
	let first = [Position { t: 4, i: 0, j: 0 }];
	let other = [Position { t: 5, i: 0, j: 0 }];
	let opening = chain.open(&other);
	assert_eq!(
		verify(&[1; 32], shape, &root, &first, &opening),
		Err(ChainError::Row)
	);
}

#[test]
fn another_seed_is_refused() {
	let chain = Chain::compute([1; 32], SHAPE, usize::MAX);
	let at = positions(&[2; 32], SHAPE, 8);
	let opening = chain.open(&at);
	assert_eq!(
		verify(&[1; 32], SHAPE, &chain.root(), &at, &opening),
		Ok(())
	);
	assert_eq!(
		verify(&[2; 32], SHAPE, &chain.root(), &at, &opening),
		Err(ChainError::Product)
	);
}

#[test]
fn bad_rows_are_found_as_often_as_promised() {
	// A share of 1/8 of all rows of all steps is made up. With s samples it stays hidden with
	// probability of at most (1 − g/2)^s; a sample that falls on a made-up row as the product
	// finds it unless the byte fits by chance, one that falls on it as the factor does too.
	let n = SHAPE.n;
	let chain = Chain::compute_with([4; 32], SHAPE, usize::MAX, |_, x| {
		for row in (0..n).step_by(8) {
			x[row * n..][..n].fill(0x55);
		}
	});
	let (tries, samples) = (200, 16);
	let found = (0..tries)
		.filter(|at: &u64| {
			let mut seed = [0; 32];
			seed[..8].copy_from_slice(&at.to_le_bytes());
			let at = positions(&seed, SHAPE, samples);
			verify(&[4; 32], SHAPE, &chain.root(), &at, &chain.open(&at)).is_err()
		})
		.count();
	let promised = 1.0 - (1.0f64 - 1.0 / 16.0).powi(samples as i32);
	// Three standard deviations of slack below what is promised.
	let slack = 3.0 * (promised * (1.0 - promised) / tries as f64).sqrt();
	assert!(
		found as f64 / tries as f64 >= promised - slack,
		"found {found} of {tries}, promised {promised}"
	);
}

#[test]
fn one_bad_row_among_many_is_found_when_it_is_drawn() {
	let n = SHAPE.n;
	let chain = Chain::compute_with([4; 32], SHAPE, usize::MAX, |t, x| {
		if t == 3 {
			x[17 * n] ^= 1;
		}
	});
	let bad = [Position { t: 2, i: 17, j: 0 }];
	let good = [Position { t: 2, i: 18, j: 0 }];
	assert_eq!(
		verify(&[4; 32], SHAPE, &chain.root(), &bad, &chain.open(&bad)),
		Err(ChainError::Product)
	);
	assert_eq!(
		verify(&[4; 32], SHAPE, &chain.root(), &good, &chain.open(&good)),
		Ok(())
	);
}

proptest! {
	#![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

	#[test]
	fn one_flipped_bit_is_rejected(bit in any::<prop::sample::Index>(), open in any::<[u8; 32]>()) {
		let chain = Chain::compute([6; 32], Shape { n: 64, steps: 3 }, usize::MAX);
		let shape = Shape { n: 64, steps: 3 };
		let at = positions(&open, shape, 3);
		let opening = chain.open(&at);
		prop_assert_eq!(verify(&[6; 32], shape, &chain.root(), &at, &opening), Ok(()));
		let mut bytes = opening.encode();
		let bit = bit.index(bytes.len() * 8);
		bytes[bit / 8] ^= 1 << (bit % 8);
		let accepted = decode::chain(&mut &bytes[..], at.len(), shape.n)
			.is_ok_and(|other| verify(&[6; 32], shape, &chain.root(), &at, &other).is_ok());
		prop_assert!(!accepted);
	}
}
