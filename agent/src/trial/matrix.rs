//! The GPU's part in plain code: the checker's verifier, and the oracle for every kernel.
//!
//! Matrices are n × n bytes, and are kept and shown in lines of 1 KiB.

use super::{
	hash::{Compress, Hash, Running, fill, key, place_u32, u32_at},
	sample::{Draw, Kind, Reader, Reject},
	tree::{Tree, TreeKey, path_length},
};
use rayon::prelude::*;

/// Bytes of a line: what one read of a walk takes, and the state of a walk's lane.
pub const LINE: usize = 1_024;
/// Words of it.
const WORDS: usize = LINE / 4;
/// One of this number of the fill's matrices stays in memory.
pub const KEPT: u32 = 8;
/// Steps of a turn: products and walks, one after the other.
pub const STEPS: u32 = 16;
/// Products of a turn, and walks.
const HALF: u32 = STEPS / 2;
/// Dependent reads of a lane in a walk.
pub const READS: usize = 8;
/// Most spans of a trial.
const SPANS: u32 = 64;
/// Samples of each kind.
const FILLS: u32 = 128;
const PRODUCTS: u32 = 128;
const WALKS: u32 = 64;

/// A line.
pub type Line = [u8; LINE];

/// Sizes of a GPU's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
	/// Rows and columns of the matrices: a power of two, 64 … 16,384.
	pub n: u32,
	/// Matrices that stay in memory, 2 … 2²⁰, and fewer than 2³² lines in all.
	pub window: u32,
	/// Turns, 1 … 2²⁰.
	pub turns: u32,
}

impl Size {
	/// Most GPUs of a worker.
	pub const MAX_GPUS: usize = 16;

	/// Fails on sizes outside their limits.
	pub fn check(&self) -> Result<(), Reject> {
		let within = (64..=16_384).contains(&self.n)
			&& self.n.is_power_of_two()
			&& (2..=1 << 20).contains(&self.window)
			&& (1..=1 << 20).contains(&self.turns)
			// A walk addresses all lines of the window by 32 bits.
			&& self.lines() * u64::from(self.window) <= u64::from(u32::MAX);
		within.then_some(()).ok_or(Reject::Size)
	}

	/// Lines of the window.
	fn window_lines(&self) -> u32 {
		self.lines() as u32 * self.window
	}

	/// Lines of a matrix.
	pub fn lines(&self) -> u64 {
		u64::from(self.n) * u64::from(self.n) / LINE as u64
	}

	/// Matrices of the fill, those that do not stay among them.
	pub fn filled(&self) -> u32 {
		(self.window - 1) * KEPT + 1
	}

	/// The turns before which the GPUs of a worker are bound to each other: the first of each span but the first.
	pub fn span_begins(&self, turn: u32) -> bool {
		let spans = self.turns.min(SPANS);
		let each = self.turns / spans;
		turn > 0 && turn.is_multiple_of(each) && turn / each < spans
	}
}

/// A GPU's seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seeds {
	/// Of the fill.
	pub fill: Hash,
	/// Of the trial.
	pub trial: Hash,
}

impl Seeds {
	/// GPU `number` of the proof.
	pub fn new(base: &Hash, start: &Hash, number: u8) -> Self {
		Self {
			fill: key("fill", &[base, &[number]]),
			trial: key("gpu", &[start, &[number]]),
		}
	}
}

/// `f(sum, t, i, j, κ)`: the byte that a product's sum becomes.
#[inline]
pub fn byte_of(sum: i32, t: u32, i: u32, j: u32, kappa: u32) -> u8 {
	let place = t
		.wrapping_mul(0x9E37_79B1)
		.wrapping_add(i.wrapping_mul(0x85EB_CA77))
		.wrapping_add(j.wrapping_mul(0xC2B2_AE3D))
		.wrapping_add(kappa);
	let mut h = sum as u32 ^ place;
	h ^= h >> 15;
	h = h.wrapping_mul(0x2C1B_3C6D);
	h ^= h >> 12;
	h = h.wrapping_mul(0x297A_2D39);
	h ^= h >> 15;
	(h >> 24) as u8
}

/// A row of the fixed factor.
fn row_of_a(seed: &Hash, i: u32, n: u32) -> Vec<u8> {
	let mut row = vec![0; n as usize];
	fill(seed, 0, i, &mut row);
	row
}

/// A row of the matrix that a seed begins with.
fn first_row(seed: &Hash, i: u32, n: u32) -> Vec<u8> {
	let mut row = vec![0; n as usize];
	fill(seed, 1, i, &mut row);
	row
}

/// The matrix that a seed begins with.
fn first(seed: &Hash, n: u32) -> Vec<u8> {
	(0..n).flat_map(|i| first_row(seed, i, n)).collect()
}

fn dot(a: &[u8], x: &[u8]) -> i32 {
	a.iter().zip(x).fold(0i32, |sum, (a, x)| {
		sum.wrapping_add(i32::from(*a as i8) * i32::from(*x as i8))
	})
}

/// The matrix after `x` in step `t`.
pub fn product_of(seed: &Hash, x: &[u8], n: u32, t: u32, kappa: u32) -> Vec<u8> {
	let mut next = vec![0; x.len()];
	let rows = next.par_chunks_exact_mut(n as usize).enumerate();
	rows.for_each(|(i, row)| {
		let a = row_of_a(seed, i as u32, n);
		for (j, (byte, x)) in (0..).zip(row.iter_mut().zip(x.chunks_exact(n as usize))) {
			*byte = byte_of(dot(&a, x), t, i as u32, j, kappa);
		}
	});
	next
}

/// Mixes a word of a lane.
#[inline]
fn mix(mut h: u32) -> u32 {
	h ^= h >> 15;
	h = h.wrapping_mul(0x2C1B_3C6D);
	h ^ h >> 13
}

/// The line of the window that a lane reads next.
#[inline]
fn line_of(s: &[u32; WORDS], lines: u32, kappa: u32) -> u32 {
	let all = s.iter().fold(0, |all, word| all ^ word);
	place_u32(all.wrapping_mul(0x9E37_79B1) ^ kappa, lines)
}

/// A lane after one read.
#[inline]
fn read(s: &[u32; WORDS], line: &Line) -> [u32; WORDS] {
	std::array::from_fn(|k| {
		let x = u32_at(line, 4 * k);
		mix((s[k].rotate_left(5) ^ x).wrapping_add(s[(k + 1) % WORDS]))
	})
}

fn words_of(line: &Line) -> [u32; WORDS] {
	std::array::from_fn(|at| u32_at(line, 4 * at))
}

fn line_from(words: &[u32; WORDS]) -> Line {
	let mut line = [0; LINE];
	for (bytes, word) in line.chunks_exact_mut(4).zip(words) {
		bytes.copy_from_slice(&word.to_le_bytes());
	}
	line
}

/// A lane after all its reads; `window` gives a line, of `lines`.
fn walk_lane<E>(
	state: &Line,
	lines: u32,
	kappa: u32,
	mut window: impl FnMut(u32) -> Result<Line, E>,
) -> Result<Line, E> {
	let mut s = words_of(state);
	for _ in 0..READS {
		let line = window(line_of(&s, lines, kappa))?;
		s = read(&s, &line);
	}
	Ok(line_from(&s))
}

/// Lines of bytes.
fn lines_of(matrix: &[u8]) -> &[Line] {
	matrix.as_chunks().0
}

fn tree_over(key: &TreeKey, matrix: &[u8]) -> Tree {
	let lines = lines_of(matrix);
	let mut leaves = vec![[0; 32]; lines.len()];
	key.leaves(0, lines, &mut leaves);
	Tree::over(key, 0, leaves)
}

/// The tree over matrix `t` of the fill.
fn filled_key(seeds: &Seeds, t: u32) -> TreeKey {
	TreeKey::new(&seeds.fill, "matrix", t.into())
}

/// The tree over the result of a step, counted over all turns.
fn step_key(seeds: &Seeds, step: u32) -> TreeKey {
	TreeKey::new(&seeds.trial, "step", step.into())
}

/// The tree over the matrices of the fill.
fn fill_key(seeds: &Seeds) -> TreeKey {
	TreeKey::new(&seeds.fill, "fill", 0)
}

/// The tree over the roots of a turn's steps.
fn turn_tree<'a>(seeds: &Seeds, turn: u32, roots: impl Iterator<Item = &'a Hash>) -> Tree {
	let key = turn_key(seeds, turn);
	let leaf = |(step, root): (u64, &Hash)| key.leaf(Compress::new(), step, root);
	Tree::over(&key, 0, (0..).zip(roots).map(leaf).collect())
}

/// The key of that tree.
fn turn_key(seeds: &Seeds, turn: u32) -> TreeKey {
	TreeKey::new(&seeds.trial, "turn", turn.into())
}

/// κ of a turn's products.
fn kappa_of(running: &Running) -> u32 {
	u32_at(running.state(), 0)
}

/// κ of the walk after a product with this root, in step `step`. With the turn's κ alone a prover could change a byte of
/// a line until its lane reads only lines that it holds; so a changed byte sends all lanes elsewhere.
fn walk_kappa(running: &Running, product: &Hash, step: u32) -> u32 {
	let mut block = [0; 64];
	block[..32].copy_from_slice(product);
	let counter = 1 << 63 | u64::from(step);
	let hash = Compress::new().half(running.state(), &block, counter);
	u32_at(&hash, 0)
}

/// The first running hash of a GPU. It depends on the fill, so that the window is fixed before it is walked.
fn first_hash(seeds: &Seeds, fill: &Hash) -> Running {
	Running::over(&[&seeds.trial, fill])
}

/// Binds the running hashes of a worker's GPUs to each other: h ← K(span; all of them, its own number).
pub fn bind(running: &mut [Running]) {
	let before: Vec<Hash> = running.iter().map(|one| *one.state()).collect();
	for (number, one) in (0u8..).zip(running) {
		one.bind(&before, number);
	}
}

/// `K(root of gpu; last hash, fill root)`.
pub fn root_of(last: &Hash, fill: &Hash) -> Hash {
	key("root of gpu", &[last, fill])
}

/// A GPU in plain code: its window, and the state of its trial.
pub struct Gpu {
	seeds: Seeds,
	size: Size,
	/// The matrices that stay, one after the other.
	window: Vec<u8>,
	fill: Tree,
	z: Vec<u8>,
	running: Running,
	/// Roots of the turns so far.
	turns: Vec<Hash>,
}

impl Gpu {
	/// Fills the memory.
	pub fn prepare(seeds: Seeds, size: Size) -> Self {
		let mut x = first(&seeds.fill, size.n);
		let mut window = Vec::new();
		let mut roots = Vec::new();
		for t in 0..size.filled() {
			if t > 0 {
				x = product_of(&seeds.fill, &x, size.n, t - 1, 0);
			}
			roots.push(tree_over(&filled_key(&seeds, t), &x).root());
			if t.is_multiple_of(KEPT) {
				window.extend_from_slice(&x);
			}
		}
		let key = fill_key(&seeds);
		let leaves = (0..)
			.zip(&roots)
			.map(|(t, root)| key.leaf(Compress::new(), t, root));
		let fill = Tree::over(&key, 0, leaves.collect());
		Self {
			running: first_hash(&seeds, &fill.root()),
			fill,
			window,
			z: first(&seeds.trial, size.n),
			turns: Vec::new(),
			seeds,
			size,
		}
	}

	/// Its running hash, to be bound to those of the other GPUs.
	pub fn running(&mut self) -> &mut Running {
		&mut self.running
	}

	/// Returns the results of the next turn's steps, with their roots.
	fn steps(&mut self) -> Vec<(Vec<u8>, Hash)> {
		let turn = self.turns.len() as u32;
		let (n, kappa) = (self.size.n, kappa_of(&self.running));
		let lines = self.size.window_lines();
		let mut results: Vec<(Vec<u8>, Hash)> = Vec::new();
		for step in 0..STEPS {
			let t = STEPS * turn + step;
			match results.last() {
				Some((_, product)) if !step.is_multiple_of(2) => {
					let kappa = walk_kappa(&self.running, product, t);
					let window = lines_of(&self.window);
					let lanes = self.z.as_chunks_mut::<LINE>().0;
					lanes.par_iter_mut().for_each(|state| {
						let there =
							|line: u32| Ok::<_, std::convert::Infallible>(window[line as usize]);
						let Ok(after) = walk_lane(state, lines, kappa, there);
						*state = after;
					});
				}
				_ => self.z = product_of(&self.seeds.trial, &self.z, n, t, kappa),
			}
			let root = tree_over(&step_key(&self.seeds, t), &self.z).root();
			results.push((self.z.clone(), root));
		}
		results
	}

	/// Runs the next turn.
	pub fn turn(&mut self) {
		let turn = self.turns.len() as u32;
		let steps = self.steps();
		let root = turn_tree(&self.seeds, turn, steps.iter().map(|(_, root)| root)).root();
		self.running.take(Compress::new(), &root);
		self.turns.push(root);
	}

	/// Its root, after all turns.
	pub fn root(&self) -> Hash {
		root_of(self.running.state(), &self.fill.root())
	}

	/// The roots of its turns.
	pub fn turns(&self) -> &[Hash] {
		&self.turns
	}
}

/// Fills and runs all GPUs of a worker together.
pub fn run(base: &Hash, start: &Hash, count: u8, size: Size) -> Vec<Gpu> {
	let mut gpus: Vec<Gpu> = (0..count)
		.map(|number| Gpu::prepare(Seeds::new(base, start, number), size))
		.collect();
	for turn in 0..size.turns {
		if size.span_begins(turn) {
			let mut running: Vec<Running> = gpus.iter().map(|gpu| gpu.running).collect();
			bind(&mut running);
			for (gpu, running) in gpus.iter_mut().zip(running) {
				gpu.running = running;
			}
		}
		for gpu in &mut gpus {
			gpu.turn();
		}
	}
	gpus
}

/// A sampled byte of a product.
#[derive(Clone, Copy, Debug)]
struct Byte {
	/// The product, counted from 0.
	product: u32,
	i: u32,
	j: u32,
}

fn bytes_at(places: Vec<u64>, n: u32) -> Vec<Byte> {
	let n = u64::from(n);
	let at = |place: u64| Byte {
		product: (place / (n * n)) as u32,
		i: (place / n % n) as u32,
		j: (place % n) as u32,
	};
	places.into_iter().map(at).collect()
}

/// The samples of one GPU in a draw.
struct Samples {
	/// Of all products of the fill, and of those whose results stay.
	fills: Vec<Byte>,
	products: Vec<Byte>,
	/// Walks, counted from 0, and lanes.
	walks: Vec<(u32, u64)>,
}

impl Samples {
	fn new(draw: &Draw, gpu: u8, size: &Size) -> Self {
		let matrix = u64::from(size.n) * u64::from(size.n);
		let fills = u64::from(size.filled() - 1) * matrix;
		let products = u64::from(size.turns) * u64::from(HALF) * matrix;
		let walks = u64::from(size.turns) * u64::from(HALF) * size.lines();
		let walk = |place: u64| ((place / size.lines()) as u32, place % size.lines());
		// Walks read only the results that stay, one in eight: who makes those up alone would be found an eighth as often.
		let stay = u64::from(size.window - 1) * matrix;
		let mut kept = bytes_at(draw.places(Kind::Kept, gpu, FILLS, stay), size.n);
		for byte in &mut kept {
			byte.product = KEPT * byte.product + KEPT - 1;
		}
		let all = bytes_at(draw.places(Kind::Fill, gpu, FILLS, fills), size.n);
		Self {
			fills: all.into_iter().chain(kept).collect(),
			products: bytes_at(draw.places(Kind::Products, gpu, PRODUCTS, products), size.n),
			walks: draw
				.places(Kind::Walk, gpu, WALKS, walks)
				.into_iter()
				.map(walk)
				.collect(),
		}
	}
}

/// The step that a product or a walk is, counted over all turns.
fn step_of(number: u32, is_walk: bool) -> u32 {
	2 * number + u32::from(is_walk)
}

/// The lines in which row `j` lies: the first, and how many.
fn lines_of_row(j: u32, n: u32) -> (u64, usize) {
	let first = u64::from(j) * u64::from(n) / LINE as u64;
	(first, (n as usize).div_ceil(LINE))
}

/// The row among its lines.
fn row_in(lines: &[Line], j: u32, n: u32) -> &[u8] {
	let from = j as usize * n as usize % LINE;
	&lines.as_flattened()[from..][..n as usize]
}

/// Appends the openings of a draw of one GPU to `out`, after repeating its work. `bindings` are the running hashes of
/// all GPUs of the worker at the beginning of each span.
pub fn open(gpu: &Gpu, number: u8, bindings: &[Vec<Running>], draw: &Draw, out: &mut Vec<u8>) {
	let size = gpu.size;
	let samples = Samples::new(draw, number, &size);
	out.extend_from_slice(&gpu.fill.root());
	out.extend_from_slice(gpu.turns.as_flattened());

	// All matrices of the fill once more, and all steps.
	let mut filled = vec![first(&gpu.seeds.fill, size.n)];
	for t in 1..size.filled() {
		let next = product_of(&gpu.seeds.fill, &filled[t as usize - 1], size.n, t - 1, 0);
		filled.push(next);
	}
	let mut again = Gpu {
		seeds: gpu.seeds,
		size,
		window: gpu.window.clone(),
		fill: gpu.fill.clone(),
		z: first(&gpu.seeds.trial, size.n),
		running: first_hash(&gpu.seeds, &gpu.fill.root()),
		turns: Vec::new(),
	};
	let mut steps = Vec::new();
	let mut hashes = Vec::new();
	let mut spans = bindings.iter();
	for turn in 0..size.turns {
		if size.span_begins(turn)
			&& let Some(bound) = spans.next()
		{
			again.running = bound[usize::from(number)];
		}
		hashes.push(again.running);
		steps.extend(again.steps());
		let root = gpu.turns[turn as usize];
		again.running.take(Compress::new(), &root);
		again.turns.push(root);
	}

	let show_lines = |key: TreeKey, matrix: &[u8], first: u64, count: usize, out: &mut Vec<u8>| {
		let tree = tree_over(&key, matrix);
		for line in first..first + count as u64 {
			out.extend_from_slice(&lines_of(matrix)[line as usize]);
			out.extend_from_slice(tree.path(line as usize).as_flattened());
		}
	};
	let show_filled = |t: u32, first: u64, count: usize, out: &mut Vec<u8>| {
		let key = filled_key(&gpu.seeds, t);
		let matrix = &filled[t as usize];
		out.extend_from_slice(&tree_over(&key, matrix).root());
		out.extend_from_slice(gpu.fill.path(t as usize).as_flattened());
		show_lines(key, matrix, first, count, out);
	};
	let show_step = |number: u32, first: u64, count: usize, out: &mut Vec<u8>| {
		let key = step_key(&gpu.seeds, number);
		let (result, root) = &steps[number as usize];
		out.extend_from_slice(root);
		let turn = number / STEPS;
		let of_turn = &steps[(turn * STEPS) as usize..][..STEPS as usize];
		let tree = turn_tree(&gpu.seeds, turn, of_turn.iter().map(|(_, root)| root));
		out.extend_from_slice(tree.path((number % STEPS) as usize).as_flattened());
		show_lines(key, result, first, count, out);
	};
	let line_at =
		|byte: &Byte| (u64::from(byte.i) * u64::from(size.n) + u64::from(byte.j)) / LINE as u64;
	for byte in &samples.fills {
		let (first, count) = lines_of_row(byte.j, size.n);
		show_filled(byte.product, first, count, out);
		show_filled(byte.product + 1, line_at(byte), 1, out);
	}
	for byte in &samples.products {
		let (first, count) = lines_of_row(byte.j, size.n);
		let step = step_of(byte.product, false);
		if let Some(before) = step.checked_sub(1) {
			show_step(before, first, count, out);
		}
		show_step(step, line_at(byte), 1, out);
	}
	for (walk, lane) in &samples.walks {
		let step = step_of(*walk, true);
		show_step(step - 1, *lane, 1, out);
		show_step(step, *lane, 1, out);
		let (product, root) = &steps[step as usize - 1];
		let state = lines_of(product)[*lane as usize];
		let lines = size.window_lines();
		let kappa = walk_kappa(&hashes[(step / STEPS) as usize], root, step);
		let shown = walk_lane(&state, lines, kappa, |line| {
			let (u, line) = (line / size.lines() as u32, u64::from(line) % size.lines());
			show_filled(u * KEPT, line, 1, out);
			Ok::<_, std::convert::Infallible>(lines_of(&filled[(u * KEPT) as usize])[line as usize])
		});
		let Ok(_) = shown;
	}
}

/// The roots at the beginning of a GPU's openings.
pub struct Shown<'a> {
	fill: &'a Hash,
	turns: &'a [Hash],
}

/// Returns the running hashes of a worker's GPUs before each turn, and after the last.
fn run_over(seeds: &[Seeds], size: &Size, shown: &[Shown]) -> (Vec<Vec<Running>>, Vec<Running>) {
	let mut running: Vec<Running> = seeds
		.iter()
		.zip(shown)
		.map(|(seeds, shown)| first_hash(seeds, shown.fill))
		.collect();
	let mut before: Vec<Vec<Running>> = seeds.iter().map(|_| Vec::new()).collect();
	for turn in 0..size.turns {
		if size.span_begins(turn) {
			bind(&mut running);
		}
		for ((running, before), shown) in running.iter_mut().zip(&mut before).zip(shown) {
			before.push(*running);
			running.take(Compress::new(), &shown.turns[turn as usize]);
		}
	}
	(before, running)
}

/// Reads the roots that come first in a GPU's openings.
pub fn roots_of<'a>(size: &Size, shown: &mut Reader<'a>) -> Result<Shown<'a>, Reject> {
	Ok(Shown {
		fill: shown.array()?,
		turns: shown.arrays(size.turns as usize)?,
	})
}

/// Verifies the openings of a draw of all GPUs of a worker, one reader each, against their roots.
pub fn verify(
	base: &Hash,
	start: &Hash,
	size: &Size,
	roots: &[Hash],
	draw: &Draw,
	shown: Vec<Reader>,
) -> Result<(), Reject> {
	size.check()?;
	if roots.len() > Size::MAX_GPUS {
		return Err(Reject::Size);
	}
	let seeds: Vec<Seeds> = (0..roots.len() as u8)
		.map(|number| Seeds::new(base, start, number))
		.collect();
	let mut shown = shown;
	if shown.len() != roots.len() {
		return Err(Reject::Length);
	}
	let firsts: Result<Vec<Shown>, Reject> = shown
		.iter_mut()
		.map(|shown| roots_of(size, shown))
		.collect();
	let firsts = firsts?;
	let (hashes, lasts) = run_over(&seeds, size, &firsts);
	for (number, mut reader) in shown.into_iter().enumerate() {
		if root_of(lasts[number].state(), firsts[number].fill) != roots[number] {
			return Err(Reject::Root);
		}
		let one = One {
			compress: Compress::new(),
			seeds: &seeds[number],
			size,
			fill: firsts[number].fill,
			turns: firsts[number].turns,
			hashes: &hashes[number],
		};
		one.verify(&Samples::new(draw, number as u8, size), &mut reader)?;
		reader.end()?;
	}
	Ok(())
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
			let line = self.filled(byte.product + 1, self.line_at(byte), 1, Kind::Fill, shown)?;
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
			let row = match step.checked_sub(1) {
				Some(before) => {
					self.step(before, first_line, count, Kind::Products, shown)?
						.1
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
			let (_, line) = self.step(step, self.line_at(byte), 1, Kind::Products, shown)?;
			let kappa = kappa_of(&self.hashes[(step / STEPS) as usize]);
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
			let kappa = walk_kappa(&self.hashes[(step / STEPS) as usize], product, step);
			let right = walk_lane(&before[0], lines, kappa, |line| {
				let (u, line) = (
					u64::from(line) / self.size.lines(),
					u64::from(line) % self.size.lines(),
				);
				let shown = self.filled(u as u32 * KEPT, line, 1, Kind::Walk, shown)?;
				Ok(shown[0])
			})?;
			if right != after[0] {
				return Err(Reject::Wrong(Kind::Walk));
			}
		}
		Ok(())
	}

	fn line_at(&self, byte: &Byte) -> u64 {
		(u64::from(byte.i) * u64::from(self.size.n) + u64::from(byte.j)) / LINE as u64
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
		let over = fill_key(self.seeds);
		let leaf = over.leaf(self.compress, place, root);
		let path = shown.arrays(path_length(place, all))?;
		if over.climb(self.compress, 0, place, all, leaf, path) != Some(*self.fill) {
			return Err(Reject::Place(kind));
		}
		self.lines(filled_key(self.seeds, t), root, first, count, kind, shown)
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
		let over = turn_key(self.seeds, turn);
		let leaf = over.leaf(self.compress, place, root);
		let path = shown.arrays(path_length(place, STEPS.into()))?;
		let top = over.climb(self.compress, 0, place, STEPS.into(), leaf, path);
		if top != Some(self.turns[turn as usize]) {
			return Err(Reject::Place(kind));
		}
		let key = step_key(self.seeds, number);
		Ok((root, self.lines(key, root, first, count, kind, shown)?))
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::trial::sample::tests::believes_nothing_else;

	const BASE: Hash = [1; 32];
	const START: Hash = [2; 32];
	const SIZE: Size = Size {
		n: 64,
		window: 3,
		turns: 5,
	};

	fn draw(nonce: u8) -> Draw {
		Draw::new(&START, &[3; 32], &[4; 32], &[nonce; 32])
	}

	/// The running hashes of all GPUs at each span's beginning.
	fn bindings(gpus: &[Gpu]) -> Vec<Vec<Running>> {
		let mut running: Vec<Running> = gpus
			.iter()
			.map(|gpu| first_hash(&gpu.seeds, &gpu.fill.root()))
			.collect();
		let mut all = Vec::new();
		for turn in 0..SIZE.turns {
			if SIZE.span_begins(turn) {
				bind(&mut running);
				all.push(running.clone());
			}
			for (running, gpu) in running.iter_mut().zip(gpus) {
				running.take(Compress::new(), &gpu.turns[turn as usize]);
			}
		}
		all
	}

	fn shown(gpus: &[Gpu], draw: &Draw) -> Vec<Vec<u8>> {
		let bindings = bindings(gpus);
		(0..)
			.zip(gpus)
			.map(|(number, gpu)| {
				let mut out = Vec::new();
				open(gpu, number, &bindings, draw, &mut out);
				out
			})
			.collect()
	}

	fn checked(size: &Size, roots: &[Hash], draw: &Draw, shown: &[Vec<u8>]) -> Result<(), Reject> {
		let readers = shown.iter().map(|shown| Reader::new(shown)).collect();
		verify(&BASE, &START, size, roots, draw, readers)
	}

	#[test]
	fn what_was_run_is_believed() {
		for count in [1, 2] {
			let gpus = run(&BASE, &START, count, SIZE);
			let roots: Vec<Hash> = gpus.iter().map(Gpu::root).collect();
			for nonce in 0..2 {
				let shown = shown(&gpus, &draw(nonce));
				assert_eq!(checked(&SIZE, &roots, &draw(nonce), &shown), Ok(()));
			}
		}
	}

	#[test]
	fn the_gpus_of_a_worker_are_bound_to_each_other() {
		let alone = run(&BASE, &START, 1, SIZE).remove(0).root();
		let both: Vec<Hash> = run(&BASE, &START, 2, SIZE).iter().map(Gpu::root).collect();
		assert!(!both.contains(&alone));
		assert_ne!(both[0], both[1]);
	}

	#[test]
	fn other_sizes_draws_roots_or_bytes_are_not() {
		let gpus = run(&BASE, &START, 1, SIZE);
		let roots = [gpus[0].root()];
		let good = shown(&gpus, &draw(1));
		for size in [
			Size { n: 128, ..SIZE },
			Size { window: 4, ..SIZE },
			Size { turns: 4, ..SIZE },
		] {
			assert!(checked(&size, &roots, &draw(1), &good).is_err(), "{size:?}");
		}
		assert!(checked(&SIZE, &roots, &draw(2), &good).is_err());
		assert_eq!(
			checked(&SIZE, &[[0; 32]], &draw(1), &good),
			Err(Reject::Root)
		);
		believes_nothing_else(&good[0], 997, |shown| {
			checked(&SIZE, &roots, &draw(1), &[shown.to_vec()])
		});
	}

	/// Checks the openings of a GPU against the root that it attested.
	fn believed(gpu: &Gpu) -> Result<(), Reject> {
		let gpus = std::slice::from_ref(gpu);
		checked(&SIZE, &[gpu.root()], &draw(1), &shown(gpus, &draw(1)))
	}

	/// Runs all turns of a prepared GPU.
	fn ran(mut gpu: Gpu) -> Gpu {
		for turn in 0..SIZE.turns {
			if SIZE.span_begins(turn) {
				bind(std::slice::from_mut(&mut gpu.running));
			}
			gpu.turn();
		}
		gpu
	}

	#[test]
	fn walks_over_another_window_are_found_out() {
		let seeds = Seeds::new(&BASE, &START, 0);
		let honest = ran(Gpu::prepare(seeds, SIZE));
		assert_eq!(believed(&honest), Ok(()));
		// It walks over zeros, which need no memory, and shows the true fill.
		let mut lazy = Gpu::prepare(seeds, SIZE);
		let window = lazy.window.clone();
		lazy.window.fill(0);
		let mut lazy = ran(lazy);
		lazy.window = window;
		assert!(believed(&lazy).is_err());
		// The running hash begins with the fill.
		let more = Size {
			window: SIZE.window + 1,
			..SIZE
		};
		let other = Gpu::prepare(seeds, more);
		assert_ne!(other.running, Gpu::prepare(seeds, SIZE).running);
	}

	#[test]
	fn a_changed_byte_of_a_product_sends_its_lanes_elsewhere() {
		let gpu = Gpu::prepare(Seeds::new(&BASE, &START, 0), SIZE);
		let lanes = |root: u8| walk_kappa(&gpu.running, &[root; 32], 1);
		assert_ne!(lanes(1), lanes(2));
		assert_ne!(lanes(1), walk_kappa(&gpu.running, &[1; 32], 3));
	}

	#[test]
	fn as_many_samples_lie_in_what_stays_as_in_all_of_the_fill() {
		let size = Size {
			window: 1_000,
			..SIZE
		};
		let fills = Samples::new(&draw(1), 0, &size).fills;
		let kept = fills.iter().filter(|byte| byte.product % KEPT == KEPT - 1);
		assert!(kept.count() >= FILLS as usize);
		assert!(fills.iter().all(|byte| byte.product + 1 < size.filled()));
	}

	#[test]
	fn boundary_sizes_outside_their_limits_are_refused() {
		for size in [
			Size { n: 0, ..SIZE },
			Size { n: 96, ..SIZE },
			Size { n: 32_768, ..SIZE },
			Size { window: 1, ..SIZE },
			Size {
				window: (1 << 20) + 1,
				..SIZE
			},
			Size {
				n: 4_096,
				window: 1 << 18,
				..SIZE
			},
			Size { turns: 0, ..SIZE },
		] {
			assert_eq!(
				checked(&size, &[], &draw(1), &[]),
				Err(Reject::Size),
				"{size:?}"
			);
		}
		let many = vec![[0; 32]; 256];
		assert_eq!(checked(&SIZE, &many, &draw(1), &[]), Err(Reject::Size));
	}

	#[test]
	fn spans_are_equal_and_the_last_has_the_rest() {
		let begins = |turns| {
			let size = Size { turns, ..SIZE };
			(0..turns)
				.filter(|turn| size.span_begins(*turn))
				.collect::<Vec<_>>()
		};
		assert!(begins(1).is_empty());
		assert_eq!(begins(3), [1, 2]);
		assert_eq!(begins(64).len(), 63);
		let many = begins(200);
		assert_eq!(many.len(), 63);
		assert_eq!((many[0], many[62]), (3, 189));
	}
}
