//! The machines behind the identities: the truth, which the chain can only sample.
//!
//! A machine has GPUs, cores, memory, a disk and a line. Identities run on machines, one on each if their
//! owner is honest. All rounds of a block have their trial at the same moment, so in a trial the identities
//! of one machine share it: one after the other, in the order that their owner prefers, takes as many GPUs,
//! cores, memory and disk as it claims. That is the best that a machine can show. A line is measured in a
//! window of its owner, and shared by the identities whose window is in the same block.

use kaisar_math::tiers;
use kaisar_primitives::{BlockNumber, Profile, Verdict, WorkerId, WorkerSpec};
use std::collections::BTreeMap;

/// Class of the GPU at home, a 4090.
pub const HOME_CLASS: u16 = 11;
/// Class of the GPUs in a data center, H100 SXM.
pub const RACK_CLASS: u16 = 1;

/// Number of a machine.
pub type MachineId = usize;

/// A machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
	/// Its hardware, in the fields of a claim.
	pub has: WorkerSpec,
	/// Whether it runs and is reachable.
	pub on: bool,
}

/// Returns the hardware of a machine at home with one 4090.
pub fn home(region: [u8; 2]) -> WorkerSpec {
	WorkerSpec {
		gpu_class: HOME_CLASS,
		gpu_count: 1,
		cpu_cores: 16,
		memory_gb: 64,
		disk_gb: 1_000,
		download_mbps: 800,
		upload_mbps: 600,
		region,
		..Default::default()
	}
}

/// Returns the hardware of a machine in a data center with eight H100.
pub fn rack(region: [u8; 2]) -> WorkerSpec {
	WorkerSpec {
		gpu_class: RACK_CLASS,
		gpu_count: 8,
		cpu_cores: 192,
		memory_gb: 2_048,
		disk_gb: 16_000,
		download_mbps: 10_000,
		upload_mbps: 10_000,
		region,
		..Default::default()
	}
}

/// Returns the hardware of a server with 64 cores and without a GPU.
pub fn server(region: [u8; 2]) -> WorkerSpec {
	WorkerSpec {
		cpu_cores: 64,
		memory_gb: 1_024,
		disk_gb: 16_000,
		download_mbps: 10_000,
		upload_mbps: 10_000,
		region,
		..Default::default()
	}
}

/// Returns the hardware of a small server without a GPU that runs an identity's node and agent.
pub fn hut(spec: WorkerSpec) -> WorkerSpec {
	WorkerSpec {
		gpu_class: 0,
		gpu_count: 0,
		..spec
	}
}

/// Returns a claim for one of this number of equal parts of a machine, GPUs included. With `whole_line`,
/// each part claims the whole line.
pub fn part(spec: WorkerSpec, parts: u16, whole_line: bool) -> WorkerSpec {
	let line = if whole_line { 1 } else { u32::from(parts) };
	let gpu_count = u16::from(spec.gpu_count) / parts;
	WorkerSpec {
		gpu_class: if gpu_count == 0 { 0 } else { spec.gpu_class },
		gpu_count: gpu_count as u8,
		cpu_cores: spec.cpu_cores / parts,
		memory_gb: spec.memory_gb / u32::from(parts),
		disk_gb: spec.disk_gb / u32::from(parts),
		download_mbps: spec.download_mbps / line,
		upload_mbps: spec.upload_mbps / line,
		..spec
	}
}

/// The identity of a worker that takes part in a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entrant {
	/// The worker.
	pub worker: WorkerId,
	/// The worker's claim.
	pub claim: WorkerSpec,
	/// Block of its owner's window.
	pub window: BlockNumber,
	/// Machine whose GPUs it shows, which may be another one.
	pub gpus_of: MachineId,
	/// Machine that it runs on.
	pub machine: MachineId,
}

/// Returns the profile that each entrant shows in one trial on these machines. Of a machine's entrants, the
/// first takes its part first.
pub fn trial(machines: &[Machine], entrants: &[Entrant]) -> Vec<(WorkerId, Profile)> {
	let mut left: BTreeMap<MachineId, WorkerSpec> = BTreeMap::new();
	let mut lines: BTreeMap<(MachineId, BlockNumber), (u32, u32)> = BTreeMap::new();
	let mut take = |entrant: &Entrant| {
		let Entrant {
			worker,
			claim,
			window,
			gpus_of,
			machine,
		} = *entrant;
		let gpus = left.entry(gpus_of).or_insert_with(|| machines[gpus_of].has);
		let of_class = claim.gpu_class != 0 && gpus.gpu_class == claim.gpu_class;
		let gpu_count = if of_class && machines[gpus_of].on {
			claim.gpu_count.min(gpus.gpu_count)
		} else {
			0
		};
		gpus.gpu_count -= gpu_count;
		let rest = left.entry(machine).or_insert_with(|| machines[machine].has);
		let cpu_cores = claim.cpu_cores.min(rest.cpu_cores);
		let memory_gb = claim.memory_gb.min(rest.memory_gb);
		let disk_gb = claim.disk_gb.min(rest.disk_gb);
		rest.cpu_cores -= cpu_cores;
		rest.memory_gb -= memory_gb;
		rest.disk_gb -= disk_gb;
		let has = machines[machine].has;
		let (down, up) = lines
			.entry((machine, window))
			.or_insert((has.download_mbps, has.upload_mbps));
		let (download, upload) = (claim.download_mbps.min(*down), claim.upload_mbps.min(*up));
		*down -= download;
		*up -= upload;
		let shown = Profile {
			bandwidth: tiers::bandwidth(download, upload),
			cpu: tiers::cpu(cpu_cores.into()),
			memory: tiers::memory(memory_gb),
			disk: tiers::disk(disk_gb),
			gpu_class: if gpu_count == 0 { 0 } else { claim.gpu_class },
			gpu_count,
		};
		(worker, shown)
	};
	entrants.iter().map(&mut take).collect()
}

/// Returns an honest checker's verdict on an idle worker that showed this profile.
pub fn verdict(shown: &Profile) -> Verdict {
	let Profile {
		bandwidth,
		cpu,
		memory,
		disk,
		gpu_class,
		gpu_count,
	} = *shown;
	Verdict {
		online: true,
		service: true,
		timed: true,
		proof: true,
		bandwidth,
		cpu,
		memory,
		disk,
		gpu_class,
		gpu_count,
	}
}

/// Returns an honest checker's verdict on a rented worker that it reached.
pub fn presence(service: bool) -> Verdict {
	Verdict {
		online: true,
		service,
		proof: true,
		..Verdict::OFFLINE
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	const REGION: [u8; 2] = *b"DE";

	fn entrant(worker: WorkerId, claim: WorkerSpec, machine: MachineId) -> Entrant {
		Entrant {
			worker,
			claim,
			window: 7,
			gpus_of: 0,
			machine,
		}
	}

	fn on(has: WorkerSpec) -> Machine {
		Machine { has, on: true }
	}

	#[test]
	fn an_honest_machine_shows_what_it_claims() {
		let spec = home(REGION);
		let shown = trial(&[on(spec)], &[entrant(3, spec, 0)]);
		assert_eq!(shown, [(3, spec.bound())]);
	}

	#[test]
	fn one_gpu_serves_one_identity_of_a_trial() {
		let spec = home(REGION);
		let machines = [on(spec), on(hut(spec)), on(hut(spec))];
		let entrants = [entrant(5, spec, 1), entrant(4, spec, 2)];
		let shown = trial(&machines, &entrants);
		let gpus: Vec<_> = shown
			.iter()
			.map(|(worker, it)| (*worker, it.gpu_count))
			.collect();
		assert_eq!(gpus, [(5, 1), (4, 0)]);
	}

	#[test]
	fn parts_share_a_machine_and_the_line_of_a_window() {
		let whole = server(REGION);
		let claim = part(whole, 16, true);
		let same: Vec<_> = (0..16).map(|worker| entrant(worker, claim, 0)).collect();
		let shown = trial(&[on(whole)], &same);
		assert!(shown.iter().all(|(_, it)| (it.cpu, it.memory) == (1, 2)));
		let lines = |shown: &[(WorkerId, Profile)]| {
			shown.iter().filter(|(_, it)| it.bandwidth == 4).count()
		};
		assert_eq!(lines(&shown), 1);
		let apart: Vec<_> = same
			.iter()
			.map(|it| Entrant {
				window: it.worker,
				..*it
			})
			.collect();
		assert_eq!(lines(&trial(&[on(whole)], &apart)), 16);
	}

	#[test]
	fn a_machine_that_is_off_lends_no_gpu() {
		let spec = home(REGION);
		let off = Machine {
			has: spec,
			on: false,
		};
		let shown = trial(&[off, on(hut(spec))], &[entrant(0, spec, 1)]);
		assert_eq!(shown[0].1.gpu_count, 0);
	}
}
