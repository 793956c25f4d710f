//! The checker's side: verifies openings.

use super::{
	Byte, Kind, LINE, Line, STEPS, Samples, Seeds, Size, byte_of, dot, fill_key, filled_key,
	first_row, kappa_of, line_at, lines_of_row, place_in_window, root_of, row_in, row_of_a,
	run::run_over, step_kappa, step_key, step_of, turn_key, walk_lane,
};
use crate::trial::{
	hash::{Compress, Hash, Running},
	sample::{Draw, Reader, Reject},
	tree::{TreeKey, path_length},
};

/// Verifies the openings of a draw of all GPUs of a worker against their roots, and returns the marks that
/// the worker sent if it is honest.
///
/// The openings begin with the fill root and the roots of all turns of each GPU; then comes each GPU's
/// samples.
pub fn verify(
	base: &Hash,
	start: &Hash,
	size: &Size,
	roots: &[Hash],
	draw: &Draw,
	mut shown: Reader,
) -> Result<Vec<Hash>, Reject> {
	size.check()?;
	if roots.is_empty() || roots.len() > Size::MAX_GPUS {
		return Err(Reject::Size);
	}
	let mut gpus = Vec::new();
	for number in 0..roots.len() as u8 {
		let fill: &Hash = shown.array()?;
		let turns: &[Hash] = shown.arrays(size.turns as usize)?;
		gpus.push((Seeds::new(base, start, number), fill, turns));
	}
	let heads: Vec<_> = gpus
		.iter()
		.map(|(seeds, fill, turns)| (seeds, *fill, *turns))
		.collect();
	let run = run_over(size, &heads);
	for (number, (seeds, fill, turns)) in gpus.iter().enumerate() {
		if root_of(run.last[number].state(), fill) != roots[number] {
			return Err(Reject::Root);
		}
		let one = One {
			compress: Compress::new(),
			seeds,
			size,
			fill,
			turns,
			hashes: &run.before[number],
		};
		one.verify(&Samples::new(draw, number as u8, size), &mut shown)?;
	}
	shown.end()?;
	Ok(run.marks)
}

/// One GPU that is verified.
struct One<'a> {
	compress: Compress,
	seeds: &'a Seeds,
	size: &'a Size,
	fill: &'a Hash,
	turns: &'a [Hash],
	/// The running hash before each turn.
	hashes: &'a [Running],
}

impl One<'_> {
	fn verify(&self, samples: &Samples, shown: &mut Reader) -> Result<(), Reject> {
		let n = self.size.n;
		for byte in &samples.fills {
			let (first, count) = lines_of_row(byte.j, n);
			let row = self.filled(byte.product, first, count, Kind::Fill, shown)?;
			if byte.product == 0
				&& row_in(&row, byte.j, n) != first_row(&self.seeds.fill, byte.j, n)
			{
				return Err(Reject::Wrong(Kind::Fill));
			}
			let line = self.filled(byte.product + 1, line_at(byte, n), 1, Kind::Fill, shown)?;
			self.check(
				&self.seeds.fill,
				byte,
				&row,
				&line,
				byte.product,
				0,
				Kind::Fill,
			)?;
		}
		for byte in &samples.products {
			let (first_line, count) = lines_of_row(byte.j, n);
			let step = step_of(byte.product, false);
			let running = &self.hashes[(step / STEPS) as usize];
			let mut kappa = kappa_of(running);
			let row = match step.checked_sub(1) {
				Some(before) => {
					let (root, row) =
						self.step(before, first_line, count, Kind::Products, shown)?;
					if !step.is_multiple_of(STEPS) {
						kappa = step_kappa(running, root, step);
					}
					row
				}
				None => {
					let mut lines = vec![[0; LINE]; count];
					let from = byte.j as usize * n as usize % LINE;
					lines.as_flattened_mut()[from..][..n as usize].copy_from_slice(&first_row(
						&self.seeds.trial,
						byte.j,
						n,
					));
					lines
				}
			};
			let (_, line) = self.step(step, line_at(byte, n), 1, Kind::Products, shown)?;
			self.check(
				&self.seeds.trial,
				byte,
				&row,
				&line,
				step,
				kappa,
				Kind::Products,
			)?;
		}
		let lines = self.size.window_lines();
		for (walk, lane) in &samples.walks {
			let step = step_of(*walk, true);
			let (product, before) = self.step(step - 1, *lane, 1, Kind::Walk, shown)?;
			let (_, after) = self.step(step, *lane, 1, Kind::Walk, shown)?;
			let kappa = step_kappa(&self.hashes[(step / STEPS) as usize], product, step);
			let right = walk_lane(&before[0], lines, kappa, |line| {
				let (t, line) = place_in_window(line, self.size);
				let shown = self.filled(t, line.into(), 1, Kind::Walk, shown)?;
				Ok(shown[0])
			})?;
			if right != after[0] {
				return Err(Reject::Wrong(Kind::Walk));
			}
		}
		Ok(())
	}

	#[allow(clippy::too_many_arguments)]
	fn check(
		&self,
		seed: &Hash,
		byte: &Byte,
		row: &[Line],
		line: &[Line],
		t: u32,
		kappa: u32,
		kind: Kind,
	) -> Result<(), Reject> {
		let n = self.size.n;
		let sum = dot(&row_of_a(seed, byte.i, n), row_in(row, byte.j, n));
		let at = (byte.i as usize * n as usize + byte.j as usize) % LINE;
		if byte_of(sum, t, byte.i, byte.j, kappa) != line[0][at] {
			return Err(Reject::Wrong(kind));
		}
		Ok(())
	}

	/// Reads and verifies lines of the matrix with this root.
	fn lines(
		&self,
		key: TreeKey,
		root: &Hash,
		first: u64,
		count: usize,
		kind: Kind,
		shown: &mut Reader,
	) -> Result<Vec<Line>, Reject> {
		let all = self.size.lines();
		(first..first + count as u64)
			.map(|place| {
				let line: &Line = shown.array()?;
				let path = shown.arrays(path_length(place, all))?;
				let leaf = key.leaf(self.compress, place, line);
				let there = key.climb(self.compress, 0, place, all, leaf, path) == Some(*root);
				there.then_some(*line).ok_or(Reject::Place(kind))
			})
			.collect()
	}

	fn filled(
		&self,
		t: u32,
		first: u64,
		count: usize,
		kind: Kind,
		shown: &mut Reader,
	) -> Result<Vec<Line>, Reject> {
		let root: &Hash = shown.array()?;
		let (place, all) = (u64::from(t), u64::from(self.size.filled()));
		let over = fill_key(&self.seeds.fill);
		let leaf = over.leaf(self.compress, place, root);
		let path = shown.arrays(path_length(place, all))?;
		if over.climb(self.compress, 0, place, all, leaf, path) != Some(*self.fill) {
			return Err(Reject::Place(kind));
		}
		self.lines(
			filled_key(&self.seeds.fill, t),
			root,
			first,
			count,
			kind,
			shown,
		)
	}

	/// Reads and verifies the root of a step, and lines of its result.
	fn step<'s>(
		&self,
		number: u32,
		first: u64,
		count: usize,
		kind: Kind,
		shown: &mut Reader<'s>,
	) -> Result<(&'s Hash, Vec<Line>), Reject> {
		let root: &'s Hash = shown.array()?;
		let (turn, place) = (number / STEPS, u64::from(number % STEPS));
		let over = turn_key(&self.seeds.trial, turn);
		let leaf = over.leaf(self.compress, place, root);
		let path = shown.arrays(path_length(place, STEPS.into()))?;
		let top = over.climb(self.compress, 0, place, STEPS.into(), leaf, path);
		if top != Some(self.turns[turn as usize]) {
			return Err(Reject::Place(kind));
		}
		let key = step_key(&self.seeds.trial, number);
		Ok((root, self.lines(key, root, first, count, kind, shown)?))
	}
}
