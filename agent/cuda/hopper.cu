// The product on Hopper's matrix units. Blocks stay on their multiprocessors and take one tile of 128 × 256 after the
// other, in clusters of two that share the tile's part of X. One thread copies; two groups of four warps multiply, each
// 64 rows of the tile. The second group is some stages behind the first, so that one of them mixes while the other
// multiplies.
#include "trial.h"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(KAISAR_EMULATED)
constexpr uint32_t ROWS = 128, COLUMNS = 256, DEEP = 128, STAGES = 4, CLUSTER = 2, GROUP = 128;
// Bytes of a stage: its part of A, and of X.
constexpr uint32_t PART_A = ROWS * DEEP, PART_X = COLUMNS * DEEP;
// Stages that the second group is behind. The first cannot get further ahead than all.
constexpr uint32_t BEHIND = STAGES - 1;
// Registers of a thread: a block of `tree` fits on the multiprocessor beside these.
constexpr int REGISTERS = 192;

// `map_a`: boxes of 128 columns and 128 rows. `map_x`: the rows of X in the order of row_at, as dimensions column,
// 2 rows, 4 × 16 rows, 8 × 2 rows, 64 rows; boxes of 128 columns and 128 rows.
KERNEL_OF_PAIRS(2 * GROUP + 32, REGISTERS)
product_hopper(CONSTANT_PARAMETER TensorMap map_a, CONSTANT_PARAMETER TensorMap map_x, Product p) {
	uint8_t *memory = shared_memory();
	const uint32_t parts_a = shared_address(memory), parts_x = parts_a + STAGES * PART_A;
	const uint32_t full = parts_x + STAGES * PART_X, empty = full + 8 * STAGES, lead = empty + 8 * STAGES;
	const uint32_t rank = rank_in_cluster(), group = thread_index() / GROUP;
	if (thread_index() == 0) {
		for (uint32_t stage = 0; stage < STAGES; stage++) {
			barrier_init(full + 8 * stage, 1);
			// Both groups of both blocks: each part of X comes to both.
			barrier_init(empty + 8 * stage, 2 * CLUSTER);
		}
		barrier_init(lead, 1);
		barriers_are_made();
	}
	sync_cluster();
	const uint32_t down = p.n / (ROWS * CLUSTER), across = p.n / COLUMNS, tiles = down * across, stages = p.n / DEEP;
	const uint32_t first = block_index() / CLUSTER, step = block_count() / CLUSTER;
	uint32_t stage = 0, parity = 0;
	auto next = [&] {
		if (++stage == STAGES) {
			stage = 0;
			parity ^= 1;
		}
	};
	auto place = [&](uint32_t tile, uint32_t &i, uint32_t &j) {
		tile_at(tile, down, across, i, j);
		i = (i * CLUSTER + rank) * ROWS;
		j *= COLUMNS;
	};
	if (group == 2) {
		if (thread_index() == 2 * GROUP) {
			before_bulk_copies();
			for (uint32_t tile = first; tile < tiles; tile += step) {
				uint32_t i, j;
				place(tile, i, j);
				for (uint32_t k = 0; k < stages; k++, next()) {
					barrier_wait(empty + 8 * stage, parity ^ 1);
					barrier_expect(full + 8 * stage, PART_A + PART_X);
					copy_box(parts_a + stage * PART_A, &map_a, (int)(k * DEEP), (int)i, full + 8 * stage);
					const uint32_t half = rank * COLUMNS / CLUSTER;
					copy_box_to_both(parts_x + stage * PART_X + half * DEEP, &map_x, (int)(k * DEEP), (int)(j + half) / 64,
						full + 8 * stage);
				}
			}
		}
	} else {
		const uint32_t own = group, thread = thread_index() % GROUP, lane = thread % 32;
		auto release = [&](uint32_t which) {
			if (thread < CLUSTER) barrier_arrive(empty + 8 * which, thread);
		};
		const uint32_t ahead = stages * ((tiles - first + step - 1) / step) < BEHIND ? 1 : BEHIND;
		if (own == 1 && first < tiles) barrier_wait(lead, 0);
		uint32_t kappa = 0, taken = 0;
		int d[128];
		for (uint32_t tile = first; tile < tiles; tile += step) {
			uint32_t i, j, before = STAGES;
			place(tile, i, j);
			for (uint32_t k = 0; k < stages; k++, next()) {
				barrier_wait(full + 8 * stage, parity);
				begin_products();
				const uint64_t a = matrix_at(parts_a + stage * PART_A + own * 64 * DEEP), x = matrix_at(parts_x + stage * PART_X);
				// The next 32 columns lie 32 bytes on: two in units of 16.
				UNROLLED for (uint32_t part = 0; part < DEEP / 32; part++)
					multiply_64x256x32(d, a + 2 * part, x + 2 * part, (k | part) != 0);
				end_products();
				if (before != STAGES) {
					wait_for_products<1>();
					release(before);
				}
				before = stage;
				if (own == 0 && ++taken == ahead && thread == 0) barrier_arrive(lead, rank);
			}
			wait_for_products<0>();
			release(before);
			if (tile == first) {
				// Only now κ is needed: the tree over X may have been on its way until here.
				wait_for_those_before();
				kappa = p.state ? p.state->kappa : 0;
				let_next_begin();
			}
			const uint32_t row = i + own * 64 + thread / 32 * 16 + lane / 4, column = j + lane % 4 * 16;
			UNROLLED for (uint32_t fours = 0; fours < 4; fours++)
				UNROLLED for (uint32_t below = 0; below < 2; below++) {
					auto sum = [&](int at) { return d[4 * (8 * fours + at / 2) + at % 2 + 2 * below]; };
					const uint32_t r = row + 8 * below, c = column + 64 * fours;
					*(uint4 *)(p.y + (uint64_t)r * p.n + c) = mixed_16(sum, place_of(p.t, r, c, kappa));
				}
			if (p.done) {
				if (own == 0) sync_some<1, GROUP>();
				else sync_some<2, GROUP>();
				const uint32_t part = (i / DONE_ROWS + own) * across + j / DONE_COLUMNS;
				if (thread == 0) store_release(p.done + part, p.epoch);
			}
		}
	}
	// A block that is over must not be written to.
	sync_cluster();
}
#endif
