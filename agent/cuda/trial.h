// The trial's definitions (docs/proof.md, "Definitions" and "GPU") for kernels, and the kernels' parameters.
// The agent's Rust code has the same constants and structures: agent/src/gpu/cuda/layout.rs compares them
// with this file.
#pragma once
#include "hardware.h"

// Bytes of a line, and 16-byte parts of it.
constexpr uint32_t LINE = 1024, PARTS = LINE / 16;
// Steps of a turn, and reads of a walk's lane.
constexpr uint32_t STEPS = 16, READS = 8;
// Reads of each lane of `reads`.
constexpr uint32_t YARDSTICK_READS = 64;
// Rows and columns of the parts of a product that are marked done one by one.
constexpr uint32_t DONE_ROWS = 64, DONE_COLUMNS = 256;
// Lines that a block of `tree` hashes.
constexpr uint32_t LEAVES = 128;
// Threads of a lane of a walk, and lanes of a block.
constexpr uint32_t LANE = 16, LANES = 16;

// Maximum polls for a part of a product, at least 100 ns each, before the kernel fails.
constexpr uint32_t MOST_POLLS = 1 << 28;

// The values derived from a tree's root: none; κ of the next step; the turn's root, the running hash and κ.
constexpr uint32_t NOTHING = 0, STEP = 1, TURN = 2;

struct Words {
	uint32_t word[8];
};

// The running hash, and κ of the next step.
struct State {
	Words running;
	uint32_t kappa;
	uint32_t unused[3];
};

// `fill`: rows of S(key, stream, row).
struct Fill {
	uint4 *rows;
	uint32_t n;
	uint32_t stream;
	Words key;
};

// Products: Y[i][j] = f(Σ_k A[i][k]·X[j][k], t, i, j, κ).
struct Product {
	const uint8_t *a;
	const uint8_t *x;
	uint8_t *y;
	// Holds κ; if null, κ is 0.
	const State *state;
	// Set to `epoch` for each finished part of 64 × 256 bytes, by rows of parts; null if nothing reads it.
	uint32_t *done;
	uint32_t n;
	uint32_t t;
	uint32_t epoch;
	uint32_t unused;
};

// `tree`: the tree over a matrix, and the values derived from its root.
struct Tree {
	const uint4 *lines;
	// Level by level: level l begins at node 2 · count − (2 · count ≫ l).
	uint4 *nodes;
	uint4 *roots;
	State *state;
	// Number of finished blocks; 0 before and after.
	uint32_t *arrived;
	// The marks of the product that makes the matrix; null if the matrix is complete.
	const uint32_t *done;
	uint32_t count;
	uint32_t n;
	uint32_t epoch;
	// Place of the root among the roots, and of the turn's first.
	uint32_t root;
	uint32_t first;
	uint32_t after;
	uint32_t step;
	// 1 (see sum_by).
	uint32_t one;
	Words key;
	// Of the tree over the turn.
	Words turn;
};

// `walk` and `reads`: all lanes of z, over a window.
struct Walk {
	uint4 *z;
	const uint4 *window;
	const State *state;
	uint32_t lines;
	uint32_t unused;
};

// `gather`: lines with their paths.
struct Gather {
	const uint4 *lines;
	const uint4 *nodes;
	const uint32_t *which;
	uint4 *out;
	uint32_t count;
	uint32_t levels;
};

// `copy`: to measure the memory's rate.
struct Copy {
	const uint4 *from;
	uint4 *to;
	uint64_t count;
};

// Computes the part of f that depends on the place.
DEVICE uint32_t place_of(uint32_t t, uint32_t i, uint32_t j, uint32_t kappa) {
	return t * 0x9E3779B1u + i * 0x85EBCA77u + j * 0xC2B2AE3Du + kappa;
}

// Computes f before its last two shifts: the result's byte is the uppermost, which the first of these shifts
// does not change, since it xors in only 17 bits.
DEVICE uint32_t mixed(uint32_t sum, uint32_t place) {
	uint32_t h = sum ^ place;
	h = (h ^ h >> 15) * 0x2C1B3C6Du;
	return (h ^ h >> 12) * 0x297A2D39u;
}

// Packs four bytes of f from four words.
DEVICE uint32_t four_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
	return bytes_of(bytes_of(a, b, 0x0073), bytes_of(c, d, 0x0073), 0x5410);
}

// Computes sixteen bytes of a row of a product from 16 adjacent sums; `place` is the first one's.
template <class Sum> DEVICE uint4 mixed_16(Sum sum, uint32_t place) {
	uint32_t out[4];
	UNROLLED for (int part = 0; part < 4; part++) {
		uint32_t h[4];
		UNROLLED for (int at = 0; at < 4; at++)
			h[at] = mixed((uint32_t)sum(4 * part + at), place + (uint32_t)(4 * part + at) * 0xC2B2AE3Du);
		out[part] = four_bytes(h[0], h[1], h[2], h[3]);
	}
	return uint4{out[0], out[1], out[2], out[3]};
}

// Products use X's rows in another order, so that a thread's sums are adjacent. Of 64 rows, row 16 q + 2 k +
// e (q, k, e: 4, 8 and 2 values) is the one at 8 k + 2 q + e: thread q of four, which has columns 2 q and 2
// q + 1 of each eight, then has 16 columns in a row.
DEVICE uint32_t row_at(uint32_t place) {
	return (place & ~63u) | (place & 6) << 3 | (place & 56) >> 2 | (place & 1);
}

// Returns a block's tile of a product: tiles are taken eight down, then one to the right.
DEVICE void tile_at(uint32_t number, uint32_t down, uint32_t across, uint32_t &i, uint32_t &j) {
	uint32_t band = down < 8 ? down : 8, of_band = band * across;
	i = number / of_band * band + number % of_band % band;
	j = number % of_band / band;
}
