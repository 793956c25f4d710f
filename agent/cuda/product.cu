// The product on the matrix units of a warp: Turing's instructions, or those of Ampere, Ada and newer. Each
// block computes a tile, each of its warps 64 × 64 sums of it; both factors go through shared memory in
// stages of 64 columns.
#include "trial.h"

// Columns of a stage, in bytes, and rows and columns of a warp.
constexpr uint32_t DEEP = 64, WARP = 64;

// A tile's shape, and the stages that lie in shared memory.
template <uint32_t ROWS, uint32_t COLUMNS, uint32_t STAGES> struct Tile {
	static constexpr uint32_t THREADS = ROWS / WARP * (COLUMNS / WARP) * 32;
	static constexpr uint32_t STAGE = (ROWS + COLUMNS) * DEEP;
	// Parts of 16 bytes that a thread copies per stage.
	static constexpr uint32_t COPIED = STAGE / 16 / THREADS;

	const Product &p;
	uint32_t i, j;

	// Returns the place of part `part` of row `row` in a stage. The same part of eight rows lies in
	// different banks.
	static DEVICE uint32_t place(uint32_t row, uint32_t part) { return row * DEEP + ((part ^ (row >> 1 & 3)) << 4); }

	// Returns the source of a thread's copy number `at` for a stage, and sets its destination.
	DEVICE const uint8_t *from(uint32_t at, uint32_t k, uint32_t &to) const {
		const uint32_t number = at * THREADS + thread_index(), row = number / 4, part = number % 4;
		to = place(row, part);
		const uint8_t *start = row < ROWS ? p.a + (uint64_t)(i + row) * p.n : p.x + (uint64_t)(j + row_at(row - ROWS)) * p.n;
		return start + k * DEEP + part * 16;
	}

	// Adds a stage's products to the warp's sums: of each eight rows and eight columns, two per thread.
	static DEVICE void add(int (&sums)[WARP / 8][WARP / 8][2], uint32_t stage) {
		const uint32_t warp = thread_index() / 32, lane = thread_index() % 32;
		const uint32_t row = warp / (COLUMNS / WARP) * WARP, column = ROWS + warp % (COLUMNS / WARP) * WARP;
#if KAISAR_ARCH >= 800
		UNROLLED for (uint32_t part = 0; part < DEEP / 16; part += 2) {
			// Four matrices at a time: rows 0 … 7 and 8 … 15, then the same of the next 16 bytes.
			uint32_t a[WARP / 16][4], x[WARP / 16][4];
			UNROLLED for (uint32_t at = 0; at < WARP / 16; at++) {
				const uint32_t of = 16 * at + lane % 16, which = part + lane / 16;
				load_matrices(a[at], stage + place(row + of, which));
				load_matrices(x[at], stage + place(column + of, which));
			}
			UNROLLED for (uint32_t down = 0; down < WARP / 16; down++)
				UNROLLED for (uint32_t across = 0; across < WARP / 8; across++)
					multiply_16x8x32(sums[2 * down][across], sums[2 * down + 1][across], a[down], x[across / 2][across % 2],
						x[across / 2][across % 2 + 2]);
		}
#else
		UNROLLED for (uint32_t part = 0; part < DEEP / 16; part++) {
			// Four matrices at a time: 32 rows.
			uint32_t a[WARP / 32][4], x[WARP / 32][4];
			UNROLLED for (uint32_t at = 0; at < WARP / 32; at++) {
				load_matrices(a[at], stage + place(row + 32 * at + lane, part));
				load_matrices(x[at], stage + place(column + 32 * at + lane, part));
			}
			UNROLLED for (uint32_t down = 0; down < WARP / 8; down++)
				UNROLLED for (uint32_t across = 0; across < WARP / 8; across++)
					multiply_8x8x16(sums[down][across][0], sums[down][across][1], a[down / 4][down % 4], x[across / 4][across % 4]);
		}
#endif
	}

	DEVICE void run() {
		const uint32_t shared = shared_address(shared_memory()), stages = p.n / DEEP;
		int sums[WARP / 8][WARP / 8][2] = {};
		tile_at(block_index(), p.n / ROWS, p.n / COLUMNS, i, j);
		i *= ROWS;
		j *= COLUMNS;
#if KAISAR_ARCH >= 800
		auto copy = [&](uint32_t k) {
			UNROLLED for (uint32_t at = 0; at < COPIED; at++) {
				uint32_t to;
				const uint8_t *start = from(at, k, to);
				copy_16(shared + k % STAGES * STAGE + to, start);
			}
		};
		UNROLLED for (uint32_t k = 0; k < STAGES - 1; k++) {
			if (k < stages) copy(k);
			end_group();
		}
		NOT_UNROLLED for (uint32_t k = 0; k < stages; k++) {
			wait_for_groups<STAGES - 2>();
			// All copies of this stage have arrived, and no thread reads the previous stage any more.
			sync_block();
			if (k + STAGES - 1 < stages) copy(k + STAGES - 1);
			end_group();
			add(sums, shared + k % STAGES * STAGE);
		}
#else
		// Through registers: the next stage loads while this one is multiplied.
		uint4 held[COPIED];
		auto load = [&](uint32_t k) {
			UNROLLED for (uint32_t at = 0; at < COPIED; at++) {
				uint32_t to;
				held[at] = *(const uint4 *)from(at, k, to);
			}
		};
		load(0);
		NOT_UNROLLED for (uint32_t k = 0; k < stages; k++) {
			uint8_t *stage = shared_memory() + k % STAGES * STAGE;
			UNROLLED for (uint32_t at = 0; at < COPIED; at++) {
				uint32_t to;
				from(at, k, to);
				*(uint4 *)(stage + to) = held[at];
			}
			sync_block();
			if (k + 1 < stages) load(k + 1);
			add(sums, shared + k % STAGES * STAGE);
		}
#endif
		let_next_begin();
		wait_for_those_before();
		const uint32_t warp = thread_index() / 32, lane = thread_index() % 32, kappa = p.state ? load_fresh(&p.state->kappa) : 0;
		const uint32_t row = i + warp / (COLUMNS / WARP) * WARP + lane / 4;
		const uint32_t column = j + warp % (COLUMNS / WARP) * WARP + lane % 4 * 16;
		UNROLLED for (uint32_t eight = 0; eight < WARP / 8; eight++) {
			auto sum = [&](int at) { return sums[eight][at / 2][at % 2]; };
			const uint32_t below = row + 8 * eight;
			*(uint4 *)(p.y + (uint64_t)below * p.n + column) = mixed_16(sum, place_of(p.t, below, column, kappa));
		}
	}
};

#define PRODUCT(name, rows, columns, stages, beside)                                                                   \
	KERNEL_BESIDE((Tile<rows, columns, stages>::THREADS), beside) name(Product p) {                                    \
		Tile<rows, columns, stages>{p, 0, 0}.run();                                                                    \
	}

#if KAISAR_ARCH >= 800
PRODUCT(product_128x256, 128, 256, 3, 1)
PRODUCT(product_128x128, 128, 128, 3, 2)
PRODUCT(product_256x128, 256, 128, 3, 1)
#else
PRODUCT(product_128x256, 128, 256, 2, 1)
PRODUCT(product_256x128, 256, 128, 2, 1)
#endif
