// A lane of the trial (docs/spec/07-agent.md, "Lanes and memory"): what `lanes.cu` runs on a GPU, and the
// same in plain C++.
#pragma once
#include "hash.h"
#include <vector>

constexpr int WORDS = 16, CHAIN = 4, STEPS = 192, LEGS = 32, TABLE = 2048;
// Rounds of a wave through a stage: word w of each chain is in leg `round - w`.
constexpr int ROUNDS = LEGS + CHAIN - 1;
constexpr uint64_t M = 0x9E3779B97F4A7C15ull, M2 = 0xD1B54A32D192ED03ull;

struct Entry {
	uint32_t low, high;
};

struct State {
	uint64_t w[WORDS];
};

BOTH uint32_t high_of_product(uint32_t a, uint32_t b) {
#ifdef __CUDA_ARCH__
	return __umulhi(a, b);
#else
	return (uint32_t)((uint64_t)a * b >> 32);
#endif
}

// A step: a rotation and then a product in plain 64-bit code.
BOTH uint64_t step_plain(uint64_t s, const Entry *table) {
	Entry entry = table[s >> 53];
	s = (s ^ ((uint64_t)entry.high << 32 | entry.low)) * M;
	return s << 23 | s >> 41;
}

// The same with the upper half first, which selects the next entry: it is that of the product with M ≪ 23.
BOTH void step_short(uint32_t &low, uint32_t &high, const Entry *table) {
	constexpr uint64_t SHIFTED = M << 23;
	constexpr uint32_t ML = (uint32_t)M, MH = (uint32_t)(M >> 32);
	constexpr uint32_t SL = (uint32_t)SHIFTED, SH = (uint32_t)(SHIFTED >> 32);
	Entry entry = table[high >> 21];
	uint32_t x = low ^ entry.low, y = high ^ entry.high;
	high = high_of_product(x, SL) + (x * SH + y * SL);
	low = x * SL | (high_of_product(x, ML) + (x * MH + y * ML)) >> 9;
}

// The same with independent products: `zero` is 0, which the compiler must not know.
BOTH void step_wide(uint32_t &low, uint32_t &high, const Entry *table, uint32_t zero) {
#ifdef __CUDA_ARCH__
	constexpr uint64_t SHIFTED = M << 23;
	constexpr uint32_t ML = (uint32_t)M, MH = (uint32_t)(M >> 32);
	constexpr uint32_t SL = (uint32_t)SHIFTED, SH = (uint32_t)(SHIFTED >> 32);
	Entry entry = table[high >> 21];
	uint32_t x = low ^ entry.low, y = high ^ entry.high, left, right, top;
	asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(left) : "r"(x), "r"(SH), "r"(zero));
	asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(right) : "r"(y), "r"(SL), "r"(zero));
	asm("mad.hi.u32 %0, %1, %2, %3;" : "=r"(top) : "r"(x), "r"(SL), "r"(zero));
	high = top + left + right;
	low = x * SL | (high_of_product(x, ML) + (x * MH + y * ML)) >> 9;
#else
	step_short(low, high, table);
	low += zero;
#endif
}

// The variants of a step.
enum Kind { PLAIN, SHORT, WIDE };

template <Kind KIND> BOTH uint64_t steps(uint64_t s, const Entry *table, uint32_t zero) {
	if constexpr (KIND == PLAIN) {
		UNROLL(unroll 8)
		for (int i = 0; i < STEPS; i++) s = step_plain(s, table);
		return s + zero;
	} else {
		uint32_t low = (uint32_t)s, high = (uint32_t)(s >> 32);
		UNROLL(unroll 8)
		for (int i = 0; i < STEPS; i++) {
			if constexpr (KIND == SHORT) step_short(low, high, table);
			else step_wide(low, high, table, zero);
		}
		return ((uint64_t)high << 32 | low) + zero;
	}
}

BOTH uint64_t mix(uint64_t s, const uint64_t cell[8]) {
	UNROLL(unroll)
	for (int i = 0; i < 8; i++) s = ((s << 9 | s >> 55) ^ cell[i]) * M2;
	return s;
}

BOTH uint64_t place(uint64_t word, uint64_t count) {
#ifdef __CUDA_ARCH__
	return __umul64hi(word, count);
#else
	return (uint64_t)((unsigned __int128)word * count >> 64);
#endif
}

// A block of a leaf: 16 half words of a state.
BOTH Block piece(const uint64_t *words) {
	Block out;
	UNROLL(unroll)
	for (int i = 0; i < 8; i++) {
		out.w[2 * i] = (uint32_t)words[i];
		out.w[2 * i + 1] = (uint32_t)(words[i] >> 32);
	}
	return out;
}

// The tree over a stage's states, leaf by leaf.
struct Stack {
	Hash at[6];
	BOTH void add(const Hash &key, int leaf, const uint64_t *state) {
		Hash h = front(front(key, piece(state), leaf), piece(state + 8), leaf);
		int level = 0, number = leaf;
		for (; number & 1; number >>= 1) {
			h = front(key, join(at[level], h), (uint64_t)(level + 1) << 56 | number >> 1);
			level++;
		}
		at[level] = h;
	}
};

// `K(tree; seed, "stage", number)`, with the key of its context.
BOTH Hash stage_key(const Hash &context, const Hash &seed, uint64_t number) {
	// 8 + 32, 8 + 5 and 8 + 8 bytes: 69.
	Block first = {}, second = {};
	first.w[0] = 32;
	UNROLL(unroll)
	for (int i = 0; i < 8; i++) first.w[2 + i] = seed.w[i];
	first.w[10] = 5;
	first.w[12] = 's' | 't' << 8 | 'a' << 16 | (uint32_t)'g' << 24;
	first.w[13] = 'e' | 8 << 8;
	first.w[15] = (uint32_t)number << 8;
	second.w[0] = (uint32_t)(number >> 24);
	second.w[1] = (uint32_t)(number >> 56);
	return front(front(context, first, 0, 64, 64 | 1), second, 0, 5, 64 | 2 | 8);
}

inline Hash tree_context() {
	const Hash iv = {{0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au, 0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u}};
	const char *name = "kaisar/proof 2 tree";
	return blake3(iv, (const uint8_t *)name, strlen(name), 32);
}

// The running hash after a stage.
BOTH Hash taken(const Hash &running, const Hash &root, uint64_t number) {
	Block block = {};
	UNROLL(unroll)
	for (int i = 0; i < 4; i++) block.w[i] = root.w[i];
	return front(running, block, number);
}

// One half of a stage's keys.
BOTH void keys(const Hash &running, int part, uint64_t out[8]) {
	Block zeros = {};
	Block whole = compress(running, zeros, 1ull << 63 | (uint64_t)part);
	UNROLL(unroll)
	for (int i = 0; i < 8; i++) out[i] = (uint64_t)whole.w[2 * i + 1] << 32 | whole.w[2 * i];
}

// A lane before its first stage.
struct Lane {
	Hash seed, running;
	State state;
	std::vector<Entry> table;
	Lane(const Hash &start, uint16_t number) : table(TABLE) {
		seed = key_of("lane", Parts().add(&start, 32).add(&number, 2));
		running = key_of("chain", Parts().add(&seed, 32));
		uint32_t words[16];
		for (int block = 0; block < TABLE / 8; block++) {
			chacha8(seed, 0, 0, (uint64_t)block, words);
			memcpy(&table[8 * (size_t)block], words, 64);
		}
		for (int block = 0; block < 2; block++) {
			chacha8(seed, 1, 0, (uint64_t)block, words);
			memcpy(&state.w[8 * block], words, 64);
		}
	}
};

// The cell of a memory whose words are numbered.
inline void numbered_cell(uint64_t cell, uint64_t out[8]) {
	for (uint64_t i = 0; i < 8; i++) out[i] = splitmix(8 * cell + i);
}

// Runs a lane over `count` numbered cells, in the agent's order or as a wave, and returns its last running
// hash.
template <bool WAVE, Kind KIND> Hash run_plain(Lane lane, int stages, uint64_t count) {
	Hash context = tree_context();
	State before = lane.state;
	for (int number = 0; number < stages; number++) {
		uint64_t kappa[WORDS];
		for (int part = 0; part < 2; part++) keys(lane.running, part, kappa + 8 * part);
		std::vector<State> states(LEGS);
		uint64_t stepped[WORDS] = {};
		auto of = [&](int leg) -> State & { return leg < 0 ? before : states[(size_t)leg]; };
		auto begin = [&](int leg, int at) {
			uint64_t s = of(leg - 1).w[at] ^ kappa[at] ^ (at % CHAIN ? stepped[at - 1] : 0);
			return steps<KIND>(s, lane.table.data(), 0);
		};
		auto end = [&](int leg, int at) {
			uint64_t cell[8];
			numbered_cell(place(stepped[at], count), cell);
			// A wave does not have this leg's last word yet, so it uses an older one.
			uint64_t last = at % CHAIN ? 0 : stepped[at + CHAIN - 1];
			of(leg).w[at] = (mix(stepped[at], cell) + of(leg - 1).w[(at + 1) % WORDS]) ^ last;
		};
		if (WAVE) {
			for (int round = 0; round < ROUNDS; round++) {
				auto runs = [&](int at) { int leg = round - at % CHAIN; return leg >= 0 && leg < LEGS; };
				uint64_t next[WORDS];
				for (int at = 0; at < WORDS; at++)
					if (runs(at)) next[at] = begin(round - at % CHAIN, at);
				for (int at = 0; at < WORDS; at++)
					if (runs(at)) stepped[at] = next[at];
				// The last word of a chain is the furthest behind, and each needs the next one's previous
				// value.
				for (int at = WORDS - 1; at >= 0; at--)
					if (runs(at)) end(round - at % CHAIN, at);
			}
		} else {
			for (int leg = 0; leg < LEGS; leg++) {
				for (int at = 0; at < WORDS; at++) stepped[at] = begin(leg, at);
				for (int at = 0; at < WORDS; at++) end(leg, at);
			}
		}
		Hash key = stage_key(context, lane.seed, (uint64_t)number);
		Stack tree;
		for (int leg = 0; leg < LEGS; leg++) tree.add(key, leg, states[(size_t)leg].w);
		lane.running = taken(lane.running, tree.at[5], (uint64_t)number);
		before = states[LEGS - 1];
	}
	return lane.running;
}
