use super::*;
use crate::{
	gpu::{
		Cut,
		vulkan::{ring::Reach, tests::software_cut},
	},
	trial::matrix::tree_over,
};

/// Buffers as large as the driver allows, reached by their addresses.
const WHOLE: Cut = Cut {
	most: None,
	branches: false,
};

/// Sizes for trees and walks alone: products would take software Vulkan minutes.
fn is_that_of_the_reference(cut: Cut, buffers: usize, n: u32, window: u32, lines: &[u32]) {
	let device = software_cut(cut);
	let shared = device.0.shared().unwrap();
	let gpu = &shared.backend;
	let reach = match cut.branches {
		true => Reach::Branches,
		false => Reach::Addresses,
	};
	assert_eq!(gpu.reach, reach);
	let memory = Memory::new(gpu, n, window, cut.most).unwrap();
	assert_eq!(memory.ring.buffers().len(), buffers);
	let on = gpu.work(&memory);
	// Any bytes serve as the window.
	let mut kept = Vec::new();
	for u in 0..window {
		let bytes = first(&[u as u8; 32], n);
		let (buffer, offset) = memory.ring.place(KEPT * u).unwrap();
		gpu.handle.queue.write_buffer(buffer, offset, &bytes);
		kept.extend(bytes);
	}
	assert!(memory.ring.place(KEPT * window).is_none() && memory.ring.place(1).is_none());
	on.begin(&memory.trial, &[4; 32]);
	let mut z = first(&[4; 32], n);
	let tree = |key: TreeKey, bytes: &[u8], shown: Vec<(u32, Shown)>| {
		let tree = tree_over(&key, bytes);
		for (line, shown) in shown {
			let from = line as usize * LINE;
			assert!(shown.line == bytes[from..][..LINE], "line {line}");
			assert_eq!(shown.path, tree.path(line as usize), "line {line}");
		}
		tree.root()
	};
	let last = KEPT * (window - 1);
	let shown = on.show(&[5; 32], Matrix::Filled(last), 0, lines).unwrap();
	let in_window = &kept[kept.len() - z.len()..];
	let root = tree(filled_key(&[5; 32], last), in_window, shown);
	assert_eq!(on.roots(KNOWN_ROOT..KNOWN_ROOT + 1).unwrap(), [root]);
	// A walk with κ from the host.
	let running = Running::over(&[&[6; 32]]);
	on.set_running(&running);
	let size = Size {
		n,
		window,
		turns: 1,
	};
	assert_eq!(on.steps(&[7; 32], &size, 1..2, 0), 0);
	walk_of(&mut z, &kept, kappa_of(&running));
	let shown = on.show(&[7; 32], Matrix::Step(1), 0, lines).unwrap();
	assert_eq!(shown.len(), lines.len());
	let root = tree(step_key(&[7; 32], 1), &z, shown);
	assert_eq!(on.roots(1..2).unwrap(), [root]);
}

#[test]
fn trees_and_walks_of_the_full_size_are_those_of_the_reference() {
	// The window needs two buffers: software Vulkan limits them to 128 MiB.
	for branches in [false, true] {
		let cut = Cut { branches, ..WHOLE };
		is_that_of_the_reference(cut, 2, 4_096, 9, &[0, 1, 511, 512, 8_191, 16_383]);
	}
}

#[test]
fn walks_of_more_lanes_than_a_dimension_has_are_those_of_the_reference() {
	is_that_of_the_reference(WHOLE, 1, 8_192, 2, &[0, 16_383, 16_384, 65_535]);
}

#[test]
fn walks_over_many_buffers_are_those_of_the_reference() {
	// Two matrices in each buffer except the last.
	let cut = Cut {
		most: Some(2 << 20),
		..WHOLE
	};
	let branching = Cut {
		branches: true,
		..cut
	};
	is_that_of_the_reference(branching, 16, 1_024, 31, &[0, 1_023]);
	// More buffers than can be bound.
	is_that_of_the_reference(cut, 63, 1_024, 125, &[0, 1_023]);
}

#[test]
fn a_walk_over_a_part_reads_that_part() {
	let device = software_cut(WHOLE);
	let shared = device.0.shared().unwrap();
	let gpu = &shared.backend;
	let memory = Memory::new(gpu, 1_024, 3, Some(1 << 20)).unwrap();
	let on = gpu.work(&memory);
	let mut part = Vec::new();
	for u in 0..3 {
		let bytes = first(&[u as u8; 32], 1_024);
		let (buffer, offset) = memory.ring.place(KEPT * u).unwrap();
		gpu.handle.queue.write_buffer(buffer, offset, &bytes);
		if u > 0 {
			part.extend(bytes);
		}
	}
	on.begin(&memory.trial, &[4; 32]);
	on.walk(1..3, 2);
	let mut z = first(&[4; 32], 1_024);
	walk_of(&mut z, &part, 0);
	walk_of(&mut z, &part, 0);
	let walked = on.fetch(&[(&memory.trial.x[0], 0, memory.matrix())]);
	assert!(walked.unwrap() == z);
}

#[test]
fn a_walk_that_is_wrong_is_found_out() {
	let device = software_cut(WHOLE);
	let shared = device.0.shared().unwrap();
	let gpu = &shared.backend;
	gpu.try_walk().unwrap();
	let cut = Some(1 << 20);
	let memory = Memory::new(gpu, 1_024, 2, cut).unwrap();
	let on = gpu.work(&memory);
	assert_eq!(on.walks_rightly(), Ok(true));
	let table = memory.ring.addresses.as_ref().unwrap();
	let mut addresses = on.fetch(&[(table, 0, 16)]).unwrap();
	addresses.rotate_left(8);
	gpu.handle.queue.write_buffer(table, 0, &addresses);
	assert_eq!(on.walks_rightly(), Ok(false));
}
