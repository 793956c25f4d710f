//! The time that hardware takes for a trial of production's sizes.
//!
//! A model is generous to the attacker: it has no latencies but those that are named, links and memories run
//! at their rates from the first byte on, and every schedule that a test gives is followed without loss.

use crate::windows::{Manner, Plain};
use kaisar_agent::trial::{
	device::{DeviceError, Place, Shown, Spans, Window},
	hash::{Hash, Running},
	matrix::Size,
};
use kaisar_math::{ClassReference, classes};
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{Arc, Condvar, Mutex},
	time::Duration,
};

/// n of production.
const N: f64 = 4_096.0;
/// Products of a turn, and walks.
const HALF: f64 = 8.0;
/// Operations of a turn's products.
const TURN_OPS: f64 = HALF * 2.0 * N * N * N;
/// Bytes that a turn's walks read: each line of the matrix reads 8 lines.
const TURN_BYTES: f64 = HALF * N * N * 8.0;
/// Bytes of a matrix.
pub const MATRIX: f64 = N * N;
/// Trees and launches take a tenth.
const OVERHEAD: f64 = 1.1;
/// Spans of a trial.
pub const SPANS: u32 = 64;
/// A link of PCIe 4 × 16 and of PCIe 5 × 16 in each direction, in bytes a second.
pub const PCIE_4: f64 = 26e9;
pub const PCIE_5: f64 = 54e9;

/// A GPU's hardware.
#[derive(Clone, Copy, Debug)]
pub struct Card {
	/// Its memory, in bytes.
	pub memory: f64,
	/// Int8 operations a second.
	pub int8: f64,
	/// Bytes a second that walks read from its memory.
	pub reads: f64,
	/// Bytes a second from the host's memory, and to it.
	pub link: f64,
}

impl Card {
	/// A GPU of a class, at the planned part of its peaks.
	pub fn of(name: &str) -> Self {
		let class = class(name);
		let peak = class.peak.unwrap();
		Self {
			memory: f64::from(class.memory_gb) * 1e9,
			int8: f64::from(peak.int8_tops) * 1e12 * 0.60,
			reads: f64::from(peak.memory_gbps) * 1e9 * 0.85,
			link: PCIE_5,
		}
	}

	/// Returns the seconds of a turn's products, and of its walks.
	pub fn turn(&self) -> (f64, f64) {
		(
			TURN_OPS / self.int8 * OVERHEAD,
			TURN_BYTES / self.reads * OVERHEAD,
		)
	}

	/// Returns the seconds of a turn of a chain that has the card to itself.
	pub fn alone(&self) -> f64 {
		let (products, walks) = self.turn();
		products + walks
	}

	/// Seconds of a turn of one of several chains that share the card: while one multiplies, another walks.
	/// Measured on an H200, two take 1.58 times one's time and three 2.33 (`scripts/gpu-attacks.sh`).
	pub fn together(&self) -> f64 {
		self.alone() / 1.3
	}

	/// Seconds of a turn if this part of the window lies in the host's memory: the walks read both at once.
	pub fn with_host(&self, part: f64) -> f64 {
		let (products, walks) = self.turn();
		let here = walks * (1.0 - part);
		let there = TURN_BYTES * part / self.link;
		products + here.max(there)
	}

	/// Seconds of a turn if the host's processors walk in the host's memory, at `reads` bytes a second. No
	/// byte of a product is known before the walk before it is whole, and no lane begins before the product
	/// is whole, so its way there stands alone. The way back, the walk and the sums of the next product go
	/// on at the same time.
	pub fn with_host_that_walks(&self, reads: f64) -> f64 {
		let (products, _) = self.turn();
		let way = HALF * MATRIX / self.link;
		way + products.max(TURN_BYTES / reads).max(way)
	}

	/// Returns the seconds of a turn if another card multiplies, and this one walks.
	pub fn with_products_of(&self, other: &Self) -> f64 {
		let (products, _) = other.turn();
		let (_, walks) = self.turn();
		let way = HALF * MATRIX / self.link.min(other.link);
		way + products.max(walks).max(way)
	}

	/// Seconds of a turn of `count` such cards that share the work and the window. Each multiplies its part,
	/// for which it needs all of the matrix, and reads most lines from the others.
	pub fn shared_by(&self, count: f64) -> f64 {
		let (products, walks) = self.turn();
		let others = (count - 1.0) / count;
		let matrices = HALF * MATRIX * others / self.link;
		let lines = TURN_BYTES / count * others / self.link;
		// A product needs all of the walk before it, and lines are read once the product is whole.
		(products / count).max(matrices) + (walks / count).max(lines)
	}
}

/// Returns a class by its name.
pub fn class(name: &str) -> &'static classes::GpuClassInfo {
	classes::by_name(name).unwrap_or_else(|| panic!("no class is named {name}"))
}

/// Returns the planned reference of a class.
pub fn reference(name: &str) -> ClassReference {
	class(name).planned().unwrap()
}

/// A GPU and its time. Chains of several identities take turns in a given order.
pub struct Gpu {
	card: Card,
	/// Seconds of a turn of any of them.
	turn: f64,
	/// The next identity, and the spans after which it makes way. Without an order, identities run as they
	/// arrive.
	order: Vec<(usize, u32)>,
	state: Mutex<State>,
	turned: Condvar,
}

#[derive(Default)]
struct State {
	now: f64,
	/// Bytes of each identity's window that lie in its memory.
	resident: BTreeMap<usize, f64>,
	/// Position in the order.
	at: usize,
	/// Bytes that were loaded.
	loaded: f64,
}

impl Gpu {
	/// Creates a GPU that each chain has to itself while it runs.
	pub fn new(card: Card, order: Vec<(usize, u32)>) -> Arc<Self> {
		Self::at(card, card.alone(), order)
	}

	/// Creates a GPU with another time per turn.
	pub fn at(card: Card, turn: f64, order: Vec<(usize, u32)>) -> Arc<Self> {
		Arc::new(Self {
			card,
			turn,
			order,
			state: Mutex::default(),
			turned: Condvar::new(),
		})
	}

	/// Bytes that were loaded from the host's memory.
	pub fn loaded(&self) -> f64 {
		self.state.lock().unwrap().loaded
	}

	/// Runs a number of production's turns of an identity, not before `from`. Returns the time at its end.
	fn visit(&self, identity: usize, window: f64, spans: u32, turns: f64, from: f64) -> f64 {
		let mut state = self.state.lock().unwrap();
		while self
			.order
			.get(state.at)
			.is_some_and(|next| next.0 != identity)
		{
			let wait = Duration::from_secs(120);
			let (next, waited) = self.turned.wait_timeout(state, wait).unwrap();
			assert!(!waited.timed_out(), "the one before {identity} is gone");
			state = next;
		}
		let here = state.resident.get(&identity).copied().unwrap_or(0.0);
		// The GPU is prepared: the first windows are in its memory before the trial.
		let missing = (window - here).max(0.0);
		let others: f64 = state.resident.values().sum::<f64>() - here;
		let mut evicted = (others + window - self.card.memory).max(0.0);
		// Identities that run again last are evicted first.
		let rest = &self.order[state.at.min(self.order.len())..];
		let next = |identity: usize| rest.iter().position(|turn| turn.0 == identity);
		let mut victims: Vec<usize> = state.resident.keys().copied().collect();
		victims.retain(|other| *other != identity);
		victims.sort_by_key(|other| std::cmp::Reverse(next(*other).unwrap_or(usize::MAX)));
		for other in victims {
			if let Some(bytes) = state.resident.get_mut(&other) {
				let part = evicted.min(*bytes);
				*bytes -= part;
				evicted -= part;
			}
		}
		state.resident.insert(identity, window);
		state.loaded += missing;
		let begins = state.now.max(from) + missing / self.card.link;
		state.now = begins + turns * self.turn;
		if self.order.get(state.at).is_some_and(|next| spans >= next.1) {
			state.at += 1;
			self.turned.notify_all();
		}
		state.now
	}

	/// Takes the time of an identity's whole trial, in its turns.
	pub fn occupy(&self, identity: usize, window: f64, spans: u32, turns: f64) {
		self.prepare(identity, window);
		for span in 1..=spans {
			self.visit(identity, window, span, turns / f64::from(spans), 0.0);
		}
	}

	/// Before the trial, as much of the windows as fits is in its memory.
	fn prepare(&self, identity: usize, window: f64) {
		let mut state = self.state.lock().unwrap();
		let used: f64 = state.resident.values().sum();
		let room = (self.card.memory - used).clamp(0.0, window);
		state.resident.insert(identity, room);
	}
}

/// An order in which identities sweep through their spans `sweeps` times, there and back.
pub fn in_turns(identities: usize, spans: u32, sweeps: u32) -> Vec<(usize, u32)> {
	let mut order = Vec::new();
	for sweep in 1..=sweeps {
		let until = spans * sweep / sweeps;
		let there: Vec<usize> = (0..identities).collect();
		let back = there.iter().rev().copied().collect();
		let next = if sweep % 2 == 1 { there } else { back };
		order.extend(next.into_iter().map(|identity| (identity, until)));
	}
	order
}

/// Times at which a worker's GPUs completed each span: the next span starts when the last GPU is done.
#[derive(Clone, Default)]
pub struct Clock(Arc<Mutex<Vec<f64>>>);

impl Clock {
	/// Time of the last completed span of any GPU.
	pub fn now(&self) -> f64 {
		self.0.lock().unwrap().last().copied().unwrap_or(0.0)
	}

	/// Returns the time at which all had completed this number of spans.
	fn after(&self, spans: u32) -> f64 {
		match spans.checked_sub(1) {
			Some(last) => self.0.lock().unwrap()[last as usize],
			None => 0.0,
		}
	}

	fn done(&self, spans: u32, at: f64) {
		let mut times = self.0.lock().unwrap();
		if times.len() < spans as usize {
			times.push(0.0);
		}
		let time = &mut times[spans as usize - 1];
		*time = time.max(at);
	}
}

/// A GPU as one identity's device. It really computes, at small sizes and in plain code.
pub struct ModelDevice {
	pub gpu: Arc<Gpu>,
	pub identity: usize,
	/// Bytes of the window, and turns, of production.
	pub window: f64,
	pub turns: f64,
	pub clock: Clock,
}

impl ModelDevice {
	/// Fills a window of this number of small matrices.
	pub fn fill(&self, seed: Hash, n: u32, window: u32) -> ModelWindow {
		self.gpu.prepare(self.identity, self.window);
		ModelWindow {
			inner: Plain::fill(Manner::Honest, seed, n, window),
			gpu: self.gpu.clone(),
			identity: self.identity,
			window: self.window,
			turns: self.turns,
			clock: self.clock.clone(),
		}
	}
}

/// A filled window of such a device.
pub struct ModelWindow {
	inner: Plain,
	gpu: Arc<Gpu>,
	identity: usize,
	window: f64,
	turns: f64,
	clock: Clock,
}

/// Charges each span to the GPU.
struct Charged<'a> {
	window: &'a ModelWindow,
	/// Turns of the run.
	of: u32,
	/// Spans that are charged.
	spans: u32,
	outer: &'a mut dyn Spans,
}

impl Charged<'_> {
	fn charge(&mut self, turns: u32) {
		let window = self.window;
		let from = window.clock.after(self.spans);
		self.spans += 1;
		// Production's spans are whole turns, the last one with the rest.
		let each = (window.turns / f64::from(SPANS)).floor();
		let is_last = turns == self.of;
		let turns = match is_last {
			true => window.turns - each * f64::from(SPANS - 1),
			false => each,
		};
		let gpu = &window.gpu;
		let end = gpu.visit(window.identity, window.window, self.spans, turns, from);
		window.clock.done(self.spans, end);
	}
}

impl Spans for Charged<'_> {
	fn bind(&mut self, turn: u32, running: Running) -> Option<Running> {
		self.charge(turn);
		self.outer.bind(turn, running)
	}
}

impl Window for ModelWindow {
	fn matrices(&self) -> u32 {
		self.inner.matrices()
	}

	fn roots(&self) -> &[Hash] {
		self.inner.roots()
	}

	fn run(
		&self,
		seed: Hash,
		size: Size,
		running: Running,
		spans: &mut dyn Spans,
	) -> Result<Vec<Hash>, DeviceError> {
		let mut charged = Charged {
			window: self,
			of: size.turns,
			spans: 0,
			outer: spans,
		};
		let steps = self.inner.run(seed, size, running, &mut charged)?;
		charged.charge(size.turns);
		Ok(steps)
	}

	fn show(
		&self,
		seed: Hash,
		size: Size,
		hashes: &[Running],
		wanted: &BTreeSet<Place>,
	) -> Result<BTreeMap<Place, Shown>, DeviceError> {
		self.inner.show(seed, size, hashes, wanted)
	}
}

/// Returns a time in seconds.
pub fn secs(secs: f64) -> Duration {
	Duration::from_secs_f64(secs)
}
