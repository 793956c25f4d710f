//! Openings of the full size without the work: a chain of 8,192 × 8,192 that is made up everywhere but
//! where it is looked at. Only who knows beforehand where that is can make them, so they serve to
//! measure the verifier and for nothing else.

use kaisar_agent::bench::{
	chain::{self, ChainOpening, Place, Position, Rows, Shape, Steps, Tops},
	hash::{Hash, Tree, TreeTag, fill, leaf},
	proof::GpuOpening,
	walk::{self, Done, Kept, LINE, Leg, LegOpening, Walk},
};
use std::collections::{BTreeMap, BTreeSet};

/// As an H100's would be with tensor cores: ten seconds of steps, and three quarters of 80 GB.
pub const SHAPE: Shape = Shape {
	n: 8_192,
	steps: 14_400,
};
/// Of fewer stages than it takes for seconds; what is opened hardly depends on it.
pub const WALK: Walk = Walk {
	shape: SHAPE,
	window: 900,
	lanes: 16_384,
	stages: 4,
	legs: 128,
};
/// The samples of production.
pub const SAMPLES: usize = 256;
/// The chain's seed.
pub const SEED: Hash = [1; 32];
/// The walk's seed.
pub const WALK_SEED: Hash = [2; 32];

/// Everything that the verifier is given.
pub struct Made {
	/// The chain's root.
	pub chain_root: Hash,
	/// The walk's root.
	pub walk_root: Hash,
	/// Where it looks in the chain.
	pub positions: Vec<Position>,
	/// What it is shown there.
	pub chain: ChainOpening,
	/// The legs that it looks at.
	pub legs: Vec<Leg>,
	/// What it is shown of them.
	pub walk: Vec<LegOpening>,
}

impl Made {
	/// As it is shown.
	pub fn opening(&self) -> GpuOpening {
		GpuOpening {
			chain_root: self.chain_root,
			walk_root: self.walk_root,
			chain: self.chain.clone(),
			walk: self.walk.clone(),
		}
	}

	/// As the verifier goes about it.
	pub fn verify(&self) -> bool {
		self.verify_chain() && self.verify_walk()
	}

	/// The chain alone.
	pub fn verify_chain(&self) -> bool {
		chain::verify(&SEED, SHAPE, &self.chain_root, &self.positions, &self.chain).is_ok()
	}

	/// The walk alone.
	pub fn verify_walk(&self) -> bool {
		let tops: &Tops = &self.chain.tops;
		walk::verify(
			&WALK_SEED,
			&WALK,
			tops,
			&self.walk_root,
			&self.legs,
			&self.walk,
		)
		.is_ok()
	}
}

fn random_row((t, row): Place) -> Vec<u8> {
	let mut bytes = vec![0; SHAPE.n];
	fill(&[3; 32], ((t as u64) << 32) | row as u64, &mut bytes);
	bytes
}

/// Makes them.
pub fn make() -> Made {
	let positions = chain::positions(&[4; 32], SHAPE, SAMPLES);
	let legs = walk::positions(&[4; 32], &WALK);

	let mut rows: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
	let mut sorted = positions.clone();
	// A row is complete before it is multiplied.
	sorted.sort_by_key(|at| at.t);
	for at in &sorted {
		let (mut a, mut x0) = (vec![0; SHAPE.n], vec![0; SHAPE.n]);
		chain::row_of_a(&SEED, at.i, &mut a);
		chain::row_of_x0(&SEED, at.j, &mut x0);
		let place = (at.t, at.j);
		let x = match at.t {
			0 => &x0,
			_ => rows.entry(place).or_insert_with(|| random_row(place)),
		};
		let sum = a.iter().zip(x.iter()).fold(0i32, |sum, (a, x)| {
			sum.wrapping_add(i32::from(*a as i8) * i32::from(*x as i8))
		});
		let place = (at.t + 1, at.i);
		let y = rows.entry(place).or_insert_with(|| random_row(place));
		y[at.j] = chain::mix(sum, at.t as u32, at.i as u32, at.j as u32) as u8;
	}

	// The sampled legs are walked; the states around them are made up, and digested.
	let mut kept: Vec<Kept> = (0..WALK.lanes * WALK.stages)
		.map(|index| {
			let (state, digest) = walk::first(&[5; 32], index);
			Kept { state, digest }
		})
		.collect();
	let mut all_states = Vec::new();
	for leg in &legs {
		let index = leg.stage * WALK.lanes + leg.lane;
		let mut before = match leg.stage {
			0 => {
				let (state, digest) = walk::first(&WALK_SEED, leg.lane);
				Kept { state, digest }
			}
			_ => kept[index - WALK.lanes],
		};
		let mut states = Vec::new();
		let mut state = before.state;
		for number in 0..WALK.legs {
			if number == leg.leg {
				walk::leg(&mut state, WALK.lines(), |line| {
					let (place, chunk) = WALK.place_of(line);
					let row = rows.entry(place).or_insert_with(|| random_row(place));
					let mut out = [0; LINE];
					out.copy_from_slice(&row[chunk * LINE..][..LINE]);
					Ok::<_, ()>(out)
				})
				.expect("it never fails");
			} else {
				(state, _) = walk::first(&[6; 32], number);
			}
			before.digest = walk::digest(&before.digest, &state);
			states.push(state);
		}
		kept[index] = Kept {
			state,
			digest: before.digest,
		};
		all_states.push(states);
	}

	// The trees over the rows of the steps that are looked at; all other leaves are made up.
	let steps_seen: BTreeSet<usize> = rows.keys().map(|(t, _)| *t).collect();
	let mut roots = vec![[7; 32]; SHAPE.steps];
	let mut opened = Rows::new();
	for t in steps_seen {
		let mut leaves = vec![[8; 32]; SHAPE.n];
		for ((_, row), bytes) in rows.range((t, 0)..(t + 1, 0)) {
			leaves[*row] = leaf(TreeTag::Rows, chain::row_index(t, *row), bytes);
		}
		let tree = Tree::new(TreeTag::Rows, leaves);
		roots[t - 1] = tree.root();
		for ((_, row), bytes) in rows.range((t, 0)..(t + 1, 0)) {
			opened.insert((t, *row), (bytes.clone(), tree.path(*row)));
		}
	}
	let steps = Steps::new(&roots);
	let done = Done::new(WALK, WALK_SEED, kept);
	let traced = walk::trace(&done, &legs, all_states, |line| {
		let (place, chunk) = WALK.place_of(line);
		let mut out = [0; LINE];
		out.copy_from_slice(&rows[&place][chunk * LINE..][..LINE]);
		Ok::<_, ()>(out)
	})
	.expect("it never fails");
	Made {
		chain_root: steps.root(),
		walk_root: done.root(),
		chain: steps.open(&positions, &opened).expect("all rows are there"),
		walk: walk::open(&done, &steps, &legs, traced, &opened).expect("all rows are there"),
		positions,
		legs,
	}
}
