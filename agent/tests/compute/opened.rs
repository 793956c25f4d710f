//! Openings of a small trial that was run whole, on the processor.

use kaisar_agent::{
	fuzzing::{CHALLENGE, Opened, TRIAL_SEED, job},
	trial::{
		device::{Device, Processor},
		disk::{Plot, Ready},
		job::Sizes,
		part::Resource,
		run::{Machine, Prepared},
	},
};
use std::sync::Arc;

/// Runs the job of the fuzz targets on this number of GPUs, and opens these resources, in the form in which
/// their target takes them.
pub fn opened<const N: usize>(gpus: u8, resources: [Resource; N]) -> [Vec<u8>; N] {
	let job = job(gpus);
	let dir = tempfile::tempdir().unwrap();
	let open = || Plot::open(dir.path(), "test", job.recipe());
	let mut plot = open().unwrap();
	let groups = job.plan().groups;
	plot.grow(groups, 1, || true, |_| ()).unwrap();
	let machine = Machine {
		devices: (0..gpus)
			.map(|_| Arc::new(Processor) as Arc<dyn Device>)
			.collect(),
		memory: u64::MAX,
		memory_again: u64::MAX,
		groups,
		undisturbed: Box::new(()),
		plot: &|size| Ready::new(open()?.view(), size),
	};
	// A window as small as one can be is filled in a moment.
	let sizes = Sizes {
		window: 4.min(job.plan().window),
		..job.plan()
	};
	let prepared = Prepared::new(&job, Some(sizes), machine, None, &|| true).unwrap();
	let proof = Arc::new(prepared)
		.run(TRIAL_SEED, &|_, _| (), &|| true)
		.unwrap();
	resources.map(|resource| {
		Opened {
			gpus,
			resource,
			root: proof.root(),
			roots: proof.roots().clone(),
			openings: &proof.open(resource, &CHALLENGE).unwrap(),
		}
		.to_bytes()
	})
}
