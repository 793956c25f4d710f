// The product on Hopper's matrix units. Blocks are persistent and take one tile of 128 × 256 after the
// other, in clusters of two that share the tile's part of X. Two groups of four warps multiply, each 64 rows
// of the tile. The second is some stages behind the first, so that one mixes while the other multiplies.
//
// There are two kernels. In the first a thread of the second group copies, since that group is the last to
// need a stage: two blocks of `tree` fit on the multiprocessor beside its eight warps. In the other a third
// group copies, and nothing fits beside it, since registers are allocated to warps in fours.
#include "trial.h"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(KAISAR_EMULATED)
constexpr uint32_t ROWS = 128, COLUMNS = 256, DEEP = 128, STAGES = 4, CLUSTER = 2, GROUP = 128;
// Bytes of a stage: its part of A, and of X.
constexpr uint32_t PART_A = ROWS * DEEP, PART_X = COLUMNS * DEEP;
// Stages that the second group is behind. The first cannot get further ahead than all of them.
constexpr uint32_t BEHIND = STAGES - 1;

// The block's rank in its cluster, and its barriers: a stage is full, a stage is empty, the first group is
// ahead.
struct Shared {
	uint32_t rank, parts_a, parts_x, full, empty, lead;
};

// The sequence of a cluster's tiles.
struct Tiles {
	uint32_t down, across, first, step, count, rank;

	// Bands of up to 16, each line's parts one after the other: when the last tiles are done, a tree beside
	// the product has hashed each line except its last part.
	DEVICE void place(uint32_t tile, uint32_t &i, uint32_t &j) const {
		const uint32_t band = down <= 16 ? down : 8, of_band = band * across, lines = across * COLUMNS / LINE;
		i = tile / of_band * band + tile % of_band % band;
		j = tile % of_band / band;
		if (lines > 1) j = j % lines * (LINE / COLUMNS) + j / lines;
		i = (i * CLUSTER + rank) * ROWS;
		j *= COLUMNS;
	}
};

// Copies stage after stage, each as soon as it is empty: one thread of a block.
struct Copier {
	const TensorMap *map_a, *map_x;
	Shared shared;
	Tiles tiles;
	uint32_t n, tile, k, stage, parity, i, j;

	DEVICE Copier(const TensorMap *map_a, const TensorMap *map_x, const Shared &shared, const Tiles &tiles, uint32_t n)
		: map_a(map_a), map_x(map_x), shared(shared), tiles(tiles), n(n), tile(tiles.first), k(0), stage(0), parity(1) {
		tiles.place(tile, i, j);
	}
	DEVICE bool is_over() const { return tile >= tiles.count; }
	DEVICE void next() {
		if (is_over()) return;
		const uint32_t at = shared.full + 8 * stage, half = shared.rank * COLUMNS / CLUSTER;
		barrier_wait(shared.empty + 8 * stage, parity);
		barrier_expect(at, PART_A + PART_X);
		copy_box_to_both(shared.parts_x + stage * PART_X + half * DEEP, map_x, (int)k, (int)(j + half) / 64, at);
		copy_box(shared.parts_a + stage * PART_A, map_a, (int)k, (int)i, at);
		if (++stage == STAGES) {
			stage = 0;
			parity ^= 1;
		}
		k += DEEP;
		if (k == n) {
			k = 0;
			tile += tiles.step;
			tiles.place(tile, i, j);
		}
	}
};

// `map_a`: boxes of 128 columns and 128 rows. `map_x`: the rows of X in the order of row_at, as dimensions
// column, 2 rows, 4 × 16 rows, 8 × 2 rows, 64 rows; boxes of 128 columns and 128 rows. `APART`: a third
// group copies.
template <bool APART> DEVICE void multiply_in_pairs(const TensorMap *map_a, const TensorMap *map_x, const Product &p) {
	Shared shared;
	shared.parts_a = shared_address(shared_memory());
	shared.parts_x = shared.parts_a + STAGES * PART_A;
	shared.full = shared.parts_x + STAGES * PART_X;
	shared.empty = shared.full + 8 * STAGES;
	shared.lead = shared.empty + 8 * STAGES;
	shared.rank = rank_in_cluster();
	if (thread_index() == 0) {
		for (uint32_t stage = 0; stage < STAGES; stage++) {
			barrier_init(shared.full + 8 * stage, 1);
			// Both groups of both blocks: each part of X is copied to both.
			barrier_init(shared.empty + 8 * stage, 2 * CLUSTER);
		}
		barrier_init(shared.lead, 1);
		barriers_are_made();
	}
	meet_cluster();
	Tiles tiles;
	tiles.down = p.n / (ROWS * CLUSTER);
	tiles.across = p.n / COLUMNS;
	tiles.first = block_index() / CLUSTER;
	tiles.step = block_count() / CLUSTER;
	tiles.count = tiles.down * tiles.across;
	tiles.rank = shared.rank;
	const uint32_t stages = p.n / DEEP, own = thread_index() / GROUP, thread = thread_index() % GROUP;
	Copier copier(map_a, map_x, shared, tiles, p.n);
	if (APART && own == 2) {
		fewer_registers<40>();
		if (thread == 0) {
			before_bulk_copies();
			while (!copier.is_over()) copier.next();
		}
	} else {
		if (APART) more_registers<232>();
		const bool copies = !APART && thread_index() == GROUP;
		if (copies) {
			before_bulk_copies();
			NOT_UNROLLED for (uint32_t at = 0; at < STAGES; at++) copier.next();
		}
		auto release = [&](uint32_t which) {
			if (thread < CLUSTER) barrier_arrive(shared.empty + 8 * which, thread);
			if (copies) copier.next();
		};
		const uint32_t all = stages * ((tiles.count - tiles.first + tiles.step - 1) / tiles.step);
		const uint32_t ahead = all < BEHIND ? 1 : BEHIND;
		if (own == 1 && tiles.first < tiles.count) barrier_wait(shared.lead, 0);
		uint32_t kappa = 0, taken = 0, stage = 0, parity = 0;
		int d[128];
		for (uint32_t tile = tiles.first; tile < tiles.count; tile += tiles.step) {
			uint32_t i, j, before = STAGES;
			tiles.place(tile, i, j);
			NOT_UNROLLED for (uint32_t k = 0; k < stages; k++) {
				barrier_wait(shared.full + 8 * stage, parity);
				begin_products();
				const uint64_t a = matrix_at(shared.parts_a + stage * PART_A + own * 64 * DEEP);
				const uint64_t x = matrix_at(shared.parts_x + stage * PART_X);
				// The next 32 columns lie 32 bytes on: two in units of 16.
				UNROLLED for (uint32_t part = 0; part < DEEP / 32; part++)
					multiply_64x256x32(d, a + 2 * part, x + 2 * part, (k | part) != 0);
				end_products();
				if (before != STAGES) {
					wait_for_products<1>();
					release(before);
				}
				before = stage;
				if (own == 0 && ++taken == ahead && thread == 0) barrier_arrive(shared.lead, shared.rank);
				if (++stage == STAGES) {
					stage = 0;
					parity ^= 1;
				}
			}
			wait_for_products<0>();
			release(before);
			if (tile == tiles.first) {
				// κ is needed only now: until here the tree over X may still run.
				wait_for_those_before();
				kappa = p.state ? load_fresh(&p.state->kappa) : 0;
				let_next_begin();
			}
			const uint32_t lane = thread % 32;
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
				const uint32_t part = (i / DONE_ROWS + own) * tiles.across + j / DONE_COLUMNS;
				if (thread == 0) store_release(p.done + part, p.epoch);
			}
		}
	}
	// A block must not end while others still write to it or arrive at its barriers.
	sync_cluster();
}

KERNEL_OF_PAIRS(2 * GROUP, 192)
product_hopper(CONSTANT_PARAMETER TensorMap map_a, CONSTANT_PARAMETER TensorMap map_x, Product p) {
	multiply_in_pairs<false>(&map_a, &map_x, p);
}

KERNEL_OF_PAIRS(3 * GROUP, 168)
product_hopper_apart(CONSTANT_PARAMETER TensorMap map_a, CONSTANT_PARAMETER TensorMap map_x, Product p) {
	multiply_in_pairs<true>(&map_a, &map_x, p);
}
#endif
