//! The GPUs of an agent, looked for again before each use.
//!
//! A driver can come after the agent, a GPU can fall off the bus and come back. So the agent keeps no list
//! from its start: each look compares what the machine has now with what is open.

use super::{Card, Found, Look, NotThere, Options, look};
use crate::trial::device::Device;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// Longest wait for another look to end.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// A GPU that is open.
#[derive(Clone)]
struct Open {
	card: Card,
	device: Arc<dyn Device>,
}

/// The GPUs that the options choose, as far as they can be used now.
pub struct Pool {
	look: Box<dyn Fn() -> Look<Found> + Send + Sync>,
	/// One look at a time. Locked before `open`.
	looking: Mutex<()>,
	/// In order of use.
	open: Mutex<Vec<Open>>,
}

impl Pool {
	/// A pool of the GPUs that the options choose. Finds nothing before the first look.
	pub fn new(options: Options) -> Self {
		Self::finding(move || look(&options))
	}

	fn finding(look: impl Fn() -> Look<Found> + Send + Sync + 'static) -> Self {
		Self {
			look: Box::new(look),
			looking: Mutex::new(()),
			open: Mutex::new(Vec::new()),
		}
	}

	/// Looks at the machine: opens new GPUs, drops those that are gone, and returns all that can be used, in
	/// order of use. Warnings name those that cannot be used, and say what to do. Blocks for as long as drivers
	/// take.
	pub fn look(&self) -> Vec<Arc<dyn Device>> {
		// A driver that hangs in one look must not hang all others, and with them what needs no GPU.
		let Some(_looking) = self.looking.try_lock_for(LOOK_TIME) else {
			tracing::warn!(
				"a GPU's driver has not answered for {} s: going on with the GPUs that were found before. See whether \
				 nvidia-smi or vulkaninfo hang too, and restart the machine if they do",
				LOOK_TIME.as_secs()
			);
			let open = self.open.lock();
			return open.iter().map(|open| open.device.clone()).collect();
		};
		let look = (self.look)();
		if let Err(error) = NotThere::check(&look) {
			tracing::warn!(
				%error,
				"a GPU that --gpu names is not there: it is looked for again before each trial. Check its driver \
				 (nvidia-smi, dmesg) and its seat, or leave the name out"
			);
		}
		// They stay listed until the look is over.
		let mut before = self.open.lock().clone();
		let mut now = Vec::new();
		for Found { card, open } in look.chosen {
			if let Some(at) = before.iter().position(|each| each.card.is_same(&card)) {
				let device = before.swap_remove(at).device;
				now.push(Open { card, device });
				continue;
			}
			match open() {
				Ok(device) => {
					let kernel = device.kernels().into_iter().next();
					let kernel = kernel.map(|rated| rated.kernel);
					tracing::info!(gpu = %card, kernel, "a GPU");
					now.push(Open { card, device });
				}
				Err(error) => tracing::warn!(
					gpu = %card,
					%error,
					"a GPU cannot be used: it is tried again before each trial. Check its driver (nvidia-smi, \
					 dmesg), and that no other program holds its memory"
				),
			}
		}
		for gone in before {
			tracing::warn!(
				gpu = %gone.card,
				"a GPU is gone: it is looked for again before each trial. Check dmesg, its power and its seat"
			);
		}
		let devices = now.iter().map(|open| open.device.clone()).collect();
		*self.open.lock() = now;
		devices
	}

	/// Describes the GPUs that could be used at the last look, in order of use.
	pub fn cards(&self) -> Vec<Card> {
		let open = self.open.lock();
		open.iter().map(|open| open.card.clone()).collect()
	}

	/// The same, each with the kernel that computes its products.
	pub fn used(&self) -> Vec<(Card, Option<String>)> {
		// A GPU that is being opened again answers when that is done. Nobody else waits for it.
		let open = self.open.lock().clone();
		let used = |open: Open| {
			let kernel = open.device.kernels().into_iter().next();
			(open.card, kernel.map(|rated| rated.kernel))
		};
		open.into_iter().map(used).collect()
	}

	/// Number of GPUs that could be used at the last look.
	pub fn count(&self) -> usize {
		self.open.lock().len()
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::{
		gpu::{Kind, chosen_of, tests::card},
		trial::device::{DeviceError, Processor},
	};
	use std::collections::BTreeMap;

	/// A machine whose GPUs come and go: by bus id, whether one can be opened.
	#[derive(Clone, Default)]
	struct Machine(Arc<Mutex<BTreeMap<&'static str, bool>>>);

	impl Machine {
		fn pool(&self, names: &[&str]) -> Pool {
			let options = Options {
				names: names.iter().map(|name| name.parse().unwrap()).collect(),
				..Default::default()
			};
			let machine = self.clone();
			Pool::finding(move || {
				let there = machine.0.lock();
				let found = there.iter().map(|(bus, good)| {
					let good = *good;
					let open = move || match good {
						true => Ok(Arc::new(Processor) as Arc<dyn Device>),
						false => Err(DeviceError::Lost("as a driver says".into())),
					};
					Found {
						card: card("NVIDIA A100", Kind::Discrete, bus, 80),
						open: Box::new(open),
					}
				});
				chosen_of(found.collect(), &options, |found| &found.card)
			})
		}
	}

	fn buses(pool: &Pool) -> Vec<String> {
		let cards = pool.cards();
		let bus = |card: &Card| card.bus.unwrap().to_string();
		let buses: Vec<_> = cards.iter().map(bus).collect();
		assert_eq!(pool.count(), buses.len());
		buses
	}

	#[test]
	fn what_comes_late_goes_and_comes_back_is_found_at_the_next_look() {
		let machine = Machine::default();
		let pool = machine.pool(&[]);
		assert!(pool.look().is_empty(), "no driver yet");
		machine
			.0
			.lock()
			.extend([("01:00.0", true), ("02:00.0", true), ("03:00.0", false)]);
		let first = pool.look();
		assert_eq!(
			buses(&pool),
			["0000:01:00.0", "0000:02:00.0"],
			"one cannot be opened"
		);
		// One is gone; what is open stays open.
		machine.0.lock().remove("01:00.0");
		let then = pool.look();
		assert_eq!(buses(&pool), ["0000:02:00.0"]);
		assert!(Arc::ptr_eq(&then[0], &first[1]));
		machine
			.0
			.lock()
			.extend([("01:00.0", true), ("03:00.0", true)]);
		pool.look();
		assert_eq!(
			buses(&pool),
			["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"]
		);
	}

	#[test]
	fn what_is_named_is_waited_for() {
		let machine = Machine::default();
		machine.0.lock().insert("01:00.0", true);
		let pool = machine.pool(&["02:00.0", "01:00.0"]);
		assert_eq!(pool.look().len(), 1);
		machine
			.0
			.lock()
			.extend([("02:00.0", true), ("03:00.0", true)]);
		pool.look();
		assert_eq!(
			buses(&pool),
			["0000:02:00.0", "0000:01:00.0"],
			"as they are named"
		);
	}
}
