//! The GPUs of an agent, rescanned before each use.
//!
//! A driver can be installed after the agent started; a GPU can fall off the bus and return. So the agent
//! does not rely on a list from its start: each scan compares the machine's GPUs with the open ones.

use super::{Card, Found, Look, NotThere, Options, look};
use crate::trial::device::Device;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// Longest wait for another scan to end.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// An open GPU.
#[derive(Clone)]
struct Open {
	card: Card,
	device: Arc<dyn Device>,
}

/// The GPUs that the options choose and that can be used now.
pub struct Pool {
	look: Box<dyn Fn() -> Look<Found> + Send + Sync>,
	/// Allows one scan at a time. Locked before `open`.
	looking: Mutex<()>,
	/// In order of use.
	open: Mutex<Vec<Open>>,
}

impl Pool {
	/// Makes a pool of the GPUs that the options choose. It is empty until the first scan.
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

	/// Scans the machine: opens new GPUs, drops missing ones, and returns all usable ones in order of use.
	/// Logs a warning with advice for each that cannot be used. Blocks for as long as drivers take.
	pub fn look(&self) -> Vec<Arc<dyn Device>> {
		// A driver that hangs in one scan must not hang later scans, and with them work that needs no GPU.
		let Some(_looking) = self.looking.try_lock_for(LOOK_TIME) else {
			tracing::warn!(
				"a GPU's driver has not answered for {} s: continuing with the GPUs found before. Check whether \
				 nvidia-smi or vulkaninfo hang too; if they do, restart the machine",
				LOOK_TIME.as_secs()
			);
			let open = self.open.lock();
			return open.iter().map(|open| open.device.clone()).collect();
		};
		let look = (self.look)();
		if let Err(error) = NotThere::check(&look) {
			tracing::warn!(
				%error,
				"a GPU named with --gpu is missing; scanning for it again before each trial. Check its driver \
				 (nvidia-smi, dmesg) and its seat, or remove the name"
			);
		}
		// They remain listed until the scan is over.
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
					tracing::info!(gpu = %card, kernel, "opened a GPU");
					now.push(Open { card, device });
				}
				Err(error) => tracing::warn!(
					gpu = %card,
					%error,
					"a GPU cannot be used; trying again before each trial. Check its driver (nvidia-smi, dmesg), \
					 and that no other program holds its memory"
				),
			}
		}
		for gone in before {
			tracing::warn!(
				gpu = %gone.card,
				"a GPU has disappeared; scanning for it again before each trial. Check dmesg, its power and its seat"
			);
		}
		let devices = now.iter().map(|open| open.device.clone()).collect();
		*self.open.lock() = now;
		devices
	}

	/// Describes the GPUs that were usable at the last scan, in order of use.
	pub fn cards(&self) -> Vec<Card> {
		let open = self.open.lock();
		open.iter().map(|open| open.card.clone()).collect()
	}

	/// Returns the same descriptions, each with the kernel that computes its products.
	pub fn used(&self) -> Vec<(Card, Option<String>)> {
		// A GPU that is being reopened blocks this call until done, so the lock is not held meanwhile.
		let open = self.open.lock().clone();
		let used = |open: Open| {
			let kernel = open.device.kernels().into_iter().next();
			(open.card, kernel.map(|rated| rated.kernel))
		};
		open.into_iter().map(used).collect()
	}

	/// Returns the number of GPUs that were usable at the last scan.
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

	/// A machine whose GPUs come and go. Maps bus ids to whether the GPU can be opened.
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
						false => Err(DeviceError::Lost("a driver's error".into())),
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
		// One disappears; the other stays open.
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
