// Runs every kernel of ../ in the emulator on small shapes with several seeds, and compares its results with
// plain code; then runs kernels with faults, to show that the emulator detects them. Exits with 1 on any
// failure.
//
// c++ -std=c++17 -O2 -pthread -DKAISAR_EMULATED test.cpp kernels.cpp machine.cpp instructions.cpp memory.cpp
//     -o test && ./test [part of a case's name]
#include "kernels.h"
#include "../hardware.h"
#include "plain.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>

namespace {
#include "../hash.h"

using emulated::Kernel;
using emulated::kernel_of;
using emulated::Launch;
using emulated::launch;
using emulated::Memory;
using emulated::Overlap;
using plain::Bytes;
using plain::Hash;

// -- Copies of kernels with faults ------------------------------------------------------------------------

template <int BUT> DEVICE void no_wait() {}
DEVICE void nothing() {}

namespace without_waiting_for_copies {
#define KAISAR_ARCH 800
#define wait_for_groups no_wait
#include "../product.cu"
#undef PRODUCT
#undef wait_for_groups
} // namespace without_waiting_for_copies

namespace one_group_short {
template <int BUT> DEVICE void late_wait() { wait_for_groups<BUT + 1>(); }
#define wait_for_groups late_wait
#include "../product.cu"
#undef PRODUCT
#undef wait_for_groups
} // namespace one_group_short

namespace without_block_barrier {
#define sync_block nothing
#include "../product.cu"
#undef PRODUCT
#undef KAISAR_ARCH
} // namespace without_block_barrier

namespace turing_without_block_barrier {
#define KAISAR_ARCH 750
#include "../product.cu"
#undef PRODUCT
#undef KAISAR_ARCH
#undef sync_block
} // namespace turing_without_block_barrier

namespace otherwise_swizzled {
DEVICE void load_elsewhere(uint32_t (&out)[4], uint32_t row) { load_matrices(out, row ^ (row >> 3 & 16)); }
#define load_matrices load_elsewhere
#define KAISAR_ARCH 800
#include "../product.cu"
#undef PRODUCT
#undef KAISAR_ARCH
#undef load_matrices
} // namespace otherwise_swizzled

namespace released_early {
// Releases a stage whose products are in flight; all that multiply are past its barrier.
template <int BUT> DEVICE void wait_later() {
	wait_for_products<BUT ? 2 : 0>();
	if (thread_index() < 128) sync_some<3, 128>();
	else sync_some<4, 128>();
}
#define wait_for_products wait_later
#include "../hopper.cu"
#undef wait_for_products
} // namespace released_early

namespace without_waiting_for_products {
#define wait_for_products no_wait
#include "../hopper.cu"
#undef wait_for_products
} // namespace without_waiting_for_products

namespace without_fence {
#define begin_products nothing
#include "../hopper.cu"
#undef begin_products
} // namespace without_fence

// Barriers of `product_hopper`: 4 of full stages, 4 of empty ones, and the lead.
DEVICE uint32_t kind_of(uint32_t barrier) {
	return (barrier - shared_address(shared_memory()) - 4 * (128 + 256) * 128) / 32;
}

namespace read_before_full {
DEVICE void wait_unless_full(uint32_t barrier, uint32_t parity) {
	if (kind_of(barrier) != 0) barrier_wait(barrier, parity);
}
#define barrier_wait wait_unless_full
#include "../hopper.cu"
#undef barrier_wait
} // namespace read_before_full

namespace copied_before_empty {
DEVICE void wait_unless_empty(uint32_t barrier, uint32_t parity) {
	if (kind_of(barrier) != 1) barrier_wait(barrier, parity);
}
#define barrier_wait wait_unless_empty
#include "../hopper.cu"
#undef barrier_wait
} // namespace copied_before_empty

namespace made_in_secret {
#define barriers_are_made nothing
#include "../hopper.cu"
#undef barriers_are_made
} // namespace made_in_secret

namespace too_many_registers {
template <int NOW> DEVICE void more_than_there_are() { more_registers<NOW + 8>(); }
#define more_registers more_than_there_are
#include "../hopper.cu"
#undef more_registers
} // namespace too_many_registers

namespace expected_twice {
DEVICE void expect_twice(uint32_t barrier, uint32_t bytes) {
	barrier_expect(barrier, bytes / 2);
	barrier_expect(barrier, bytes / 2);
}
#define barrier_expect expect_twice
#include "../hopper.cu"
#undef barrier_expect
} // namespace expected_twice

namespace released_to_one_block {
DEVICE void arrive_here(uint32_t barrier, uint32_t block) {
	if (block == rank_in_cluster()) barrier_arrive(barrier, block);
}
#define barrier_arrive arrive_here
#include "../hopper.cu"
#undef barrier_arrive
} // namespace released_to_one_block

namespace not_waiting_for_those_before {
#define wait_for_those_before nothing
#include "../base.cu"
namespace products {
#include "../hopper.cu"
}
#undef wait_for_those_before
} // namespace not_waiting_for_those_before

namespace not_waiting_for_parts {
#define load_acquire(from) (load_acquire(from), p.epoch)
#include "../base.cu"
#undef load_acquire
} // namespace not_waiting_for_parts

namespace tree_without_barriers {
#define sync_block nothing
#include "../base.cu"
#undef sync_block
} // namespace tree_without_barriers

// Kernels with a single fault each.
namespace wrong {
void diverges(uint32_t *to) {
	uint32_t out[4] = {};
	if (thread_index() == 7) load_matrices(out, shared_address(shared_memory()));
	else out[0] = shuffle(1, 0);
	to[thread_index()] = out[0];
}
void shuffles_with_the_dead(uint32_t *to) {
	if (thread_index() == 3) return;
	to[thread_index()] = shuffle(1, 0);
}
void misses_the_barrier(uint32_t *to) {
	if (thread_index() == 3) return;
	sync_block();
	to[0] = 1;
}
void waits_in_half_warps(uint32_t *) {
	if (thread_index() % 2) sync_some<1, 64>();
	else sync_some<2, 64>();
}
void waits_forever(uint32_t *) {
	const uint32_t barrier = shared_address(shared_memory());
	if (thread_index() == 0) barrier_init(barrier, 2);
	sync_block();
	if (thread_index() == 0) barrier_arrive(barrier, 0);
	barrier_wait(barrier, 0);
}
void writes_over_a_barrier(uint32_t *) {
	const uint32_t barrier = shared_address(shared_memory());
	if (thread_index() == 0) {
		barrier_init(barrier, 1);
		shared_memory()[5] = 0;
		barrier_arrive(barrier, 0);
	}
}
void arrives_where_there_is_none(uint32_t *) { barrier_arrive(shared_address(shared_memory()), 0); }
void leaves_shared_memory(uint32_t *) {
	uint32_t out[4];
	load_matrices(out, shared_address(shared_memory()) + 1024 - 16 * (31 - thread_index()));
}
void writes_behind_shared_memory(uint32_t *) { shared_memory()[1024 + thread_index()] = 1; }
void writes_before_shared_memory(uint32_t *) { shared_memory()[-1 - (int)thread_index()] = 1; }
void writes_far_behind_shared_memory(uint32_t *) { shared_memory()[32768] = 1; }
void misaligned_shared(uint32_t *) {
	uint32_t out[4];
	load_matrices(out, shared_address(shared_memory()) + 8);
}
void misaligned_global(uint32_t *to) { *(uint4 *)(to + 1) = uint4{1, 2, 3, 4}; }
void misaligned_copy(uint32_t *to) { copy_16(shared_address(shared_memory()), to + 2); }
void reads_behind(uint32_t *to) {
	uint4 got = ((const uint4 *)to)[256 / 16 + 1];
	to[0] = got.x;
}
void writes_behind(uint32_t *to) { to[250 / 4 + 1] = 1; }
void writes_before(uint32_t *to) { to[-1] = 1; }
void writes_nowhere(uint32_t *to) {
	to[0] = 0;
	((volatile uint32_t *)(uintptr_t) * (volatile uint32_t *)to)[4] = 1;
}
void divides(uint32_t *to) {
	to[0] = 0;
	to[1] = 1000 / *(volatile uint32_t *)to;
}
uint32_t deeper(uint32_t depth) {
	volatile uint8_t room[4096];
	for (uint32_t at = 0; at < sizeof room; at += 64) room[at] = (uint8_t)depth;
	return depth == 0 ? 0 : deeper(depth - 1) + room[depth % 4096];
}
void needs_a_deep_stack(uint32_t *to) { to[0] = deeper(1000); }
void waits_for_a_word(uint32_t *to) {
	while (load_acquire(to) != 0x12345678) give_way();
}
} // namespace wrong

// -- Help -------------------------------------------------------------------------------------------------

const char *only = "";
uint32_t cases = 0, failures = 0;

// Runs a case, which returns an error, or nothing. A text that begins with "= " is a remark.
void check(const std::string &name, const std::function<std::string()> &run) {
	if (name.find(only) == std::string::npos) return;
	const auto start = std::chrono::steady_clock::now();
	std::string wrong = run(), remark;
	const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
	if (wrong.compare(0, 2, "= ") == 0) {
		remark = ": " + wrong.substr(2);
		wrong.clear();
	}
	cases++;
	if (!wrong.empty()) failures++;
	printf("%s  %6.3f s  %s%s\n", wrong.empty() ? "ok    " : "WRONG ", took, name.c_str(),
		wrong.empty() ? remark.c_str() : (": " + wrong).c_str());
	fflush(stdout);
}

struct Source {
	emulated::Random random;
	explicit Source(uint64_t seed) : random(seed * 7919 + 5) {}
	Bytes bytes(size_t count) {
		Bytes out(count);
		for (uint8_t &byte : out) byte = (uint8_t)random.next();
		return out;
	}
	Hash hash() {
		Hash out;
		for (uint32_t &word : out) word = (uint32_t)random.next();
		return out;
	}
};

Words words_of(const Hash &hash) {
	Words out;
	memcpy(out.word, hash.data(), 32);
	return out;
}

// Memory of the device.
struct Buffer {
	Memory &memory;
	uint8_t *at;
	size_t size;
	Buffer(Memory &memory, size_t size) : memory(memory), at((uint8_t *)memory.allocate(size)), size(size) {}
	Buffer(Memory &memory, const Bytes &bytes) : Buffer(memory, bytes.size()) { memcpy(at, bytes.data(), size); }
	Buffer(const Buffer &) = delete;
	~Buffer() { memory.release(at); }
	Bytes bytes() const { return Bytes(at, at + size); }
	void zero() { memset(at, 0, size); }
	uint4 *parts() const { return (uint4 *)at; }
	uint32_t *words() const { return (uint32_t *)at; }
};

std::string differs(const Bytes &got, const Bytes &expected, const char *what) {
	size_t count = 0, first = 0;
	for (size_t at = 0; at < expected.size(); at++)
		if (got[at] != expected[at] && count++ == 0) first = at;
	if (count == 0) return {};
	char text[160];
	snprintf(text, sizeof text, "%zu of %zu bytes of %s differ, the first is %zu: %02x in place of %02x", count,
		expected.size(), what, first, got[first], expected[first]);
	return text;
}

TensorMap map_of(const void *at, std::vector<uint64_t> sizes, std::vector<uint64_t> strides, std::vector<uint16_t> box,
	uint8_t swizzle = 3) {
	TensorMap map = {};
	map.magic = TensorMap::MAGIC;
	map.address = (uint64_t)at;
	map.rank = (uint8_t)sizes.size();
	map.element = 1;
	map.swizzle = swizzle;
	for (size_t of = 0; of < sizes.size(); of++) {
		map.sizes[of] = sizes[of];
		map.strides[of] = of ? strides[of - 1] : 1;
		map.box[of] = box[of];
	}
	return map;
}
TensorMap map_of_a(const void *at, uint64_t n, uint8_t swizzle = 3) {
	return map_of(at, {n, n}, {n}, {128, 128}, swizzle);
}
TensorMap map_of_x(const void *at, uint64_t n, uint8_t swizzle = 3) {
	return map_of(at, {n, 2, 4, 8, n / 64}, {n, 16 * n, 2 * n, 64 * n}, {128, 2, 4, 8, 2}, swizzle);
}

constexpr uint32_t HOPPER_SHARED = 4 * (128 + 256) * 128 + 128, TREE_SHARED = 32 * LEAVES + 16;

// A kernel for products, as the agent launches it.
struct Recipe {
	const char *name;
	uint32_t target, rows, columns, stages;
	bool pairs() const { return rows == 0; }
	Launch launch(const Kernel &kernel, const Product &p, uint32_t blocks = 0, uint8_t swizzle_x = 3) const {
		if (!pairs()) {
			const uint32_t tiles = p.n / rows * (p.n / columns), threads = rows / 64 * (columns / 64) * 32;
			Launch out = emulated::launch(kernel, tiles, threads, (rows + columns) * 64 * stages, p);
			out.target = target;
			return out;
		}
		const uint32_t tiles = p.n / 128 * (p.n / 256);
		return emulated::launch(kernel, blocks ? blocks : tiles, kernel.most_threads, HOPPER_SHARED, map_of_a(p.a, p.n),
			map_of_x(p.x, p.n, swizzle_x), p);
	}
	Launch launch(const Product &p, uint32_t blocks = 0) const { return launch(*kernel_of(name, target), p, blocks); }
};

const Recipe RECIPES[] = {
	{"product_128x256", 750, 128, 256, 2},
	{"product_256x128", 750, 256, 128, 2},
	{"product_128x256", 800, 128, 256, 3},
	{"product_256x128", 800, 256, 128, 3},
	{"product_128x128", 800, 128, 128, 3},
	{"product_128x256", 900, 128, 256, 3},
	{"product_256x128", 900, 256, 128, 3},
	{"product_128x128", 900, 128, 128, 3},
	{"product_hopper", 900, 0, 0, 4},
	{"product_hopper_apart", 900, 0, 0, 4},
};

// Two matrices, and the sums of their product.
struct Pair {
	uint32_t n;
	Bytes a, x;
	std::vector<int32_t> sums;
	Pair(uint32_t n, uint64_t seed) : n(n) {
		Source source(seed);
		a = source.bytes((size_t)n * n);
		x = source.bytes((size_t)n * n);
		// The extremes, whose sums are the largest.
		for (uint32_t k = 0; k < n; k++)
			a[k] = x[k] = 0x80, a[(size_t)n * (n - 1) + k] = x[(size_t)n * (n - 1) + k] = 0x7F;
		sums = plain::sums(a, x, n);
	}
};

const Pair &pair_of(uint32_t n) {
	static std::vector<std::unique_ptr<Pair>> known;
	for (auto &pair : known)
		if (pair->n == n) return *pair;
	known.push_back(std::make_unique<Pair>(n, n));
	return *known.back();
}

// Multiplies and compares. `kernel` replaces the recipe's own.
std::string multiplies(const Recipe &recipe, uint32_t n, uint64_t seed, bool keyed, bool tells, uint32_t blocks = 0,
	const Kernel *kernel = nullptr, uint8_t swizzle_x = 3) {
	const Pair &pair = pair_of(n);
	Memory memory(seed);
	Buffer a(memory, pair.a), x(memory, pair.x), y(memory, (size_t)n * n), state(memory, sizeof(State));
	const uint32_t parts = n / DONE_ROWS * (n / DONE_COLUMNS), epoch = (uint32_t)seed + 77;
	Buffer done(memory, 4 * parts);
	done.zero();
	Product p = {};
	p.a = a.at;
	p.x = x.at;
	p.y = y.at;
	p.n = n;
	p.t = (uint32_t)seed * 0x01234567u;
	p.epoch = epoch;
	if (tells) p.done = done.words();
	if (keyed) p.state = (const State *)state.at;
	const uint32_t kappa = keyed ? p.state->kappa : 0;
	std::string wrong = emulated::run(
		{recipe.launch(kernel ? *kernel : *kernel_of(recipe.name, recipe.target), p, blocks, swizzle_x)}, memory, seed);
	if (!wrong.empty()) return wrong;
	wrong = differs(y.bytes(), plain::bytes_of_sums(pair.sums, n, p.t, kappa), "the product");
	for (uint32_t part = 0; wrong.empty() && tells && part < parts; part++)
		if (done.words()[part] != epoch) wrong = "part " + std::to_string(part) + " is not said to be done";
	if (wrong.empty() && (a.bytes() != pair.a || x.bytes() != pair.x)) wrong = "a factor was changed";
	return wrong;
}

// Runs a kernel with a fault, which must be detected for one of some seeds, by a difference or by a message
// with these words.
void must_fail(const std::string &name, const std::string &words, const std::function<std::string(uint64_t)> &run,
	uint64_t seeds = 12) {
	check("fault: " + name, [&]() -> std::string {
		uint64_t found = 0;
		std::string what;
		for (uint64_t seed = 1; seed <= seeds; seed++) {
			const std::string wrong = run(seed);
			if (wrong.empty()) continue;
			found++;
			if (what.empty()) what = wrong;
			if (wrong.find(words) == std::string::npos) return "found, but said: " + wrong;
		}
		if (!found) return "nothing was found";
		return "= found with " + std::to_string(found) + " of " + std::to_string(seeds) + " seeds: " + what;
	});
}

void must_fail(const std::string &name, const std::string &words, void (*kernel)(uint32_t *), uint32_t threads = 32,
	uint32_t shared = 1024) {
	must_fail(
		name, words,
		[&](uint64_t seed) {
			Memory memory(seed);
			Buffer buffer(memory, 250);
			Kernel one;
			one.name = "wrong";
			one.sizes = {sizeof(void *), sizeof(void *)};
			one.most_threads = 1024;
			one.call = [](void *const *arguments) {
				emulated::argument<void (*)(uint32_t *)>(arguments[1])(emulated::argument<uint32_t *>(arguments[0]));
			};
			return emulated::run({launch(one, 1, threads, shared, buffer.words(), kernel)}, memory, seed);
		},
		2);
}

// -- Cases ------------------------------------------------------------------------------------------------

void products() {
	for (uint32_t n : {256u, 512u, 1024u})
		for (const Recipe &recipe : RECIPES)
			for (uint64_t seed = 1; seed <= (n == 256 ? 8u : n == 512 ? 3u : 1u); seed++) {
				const std::string name = std::string(recipe.name) + " " + std::to_string(recipe.target) +
					", n = " + std::to_string(n) + ", seed " + std::to_string(seed);
				check(name, [&] { return multiplies(recipe, n, seed, seed % 2, recipe.pairs()); });
			}
	for (const Recipe *hopper : {&RECIPES[8], &RECIPES[9]}) {
		for (uint32_t blocks : {2u, 4u, 6u, 8u, 10u})
			for (uint64_t seed = 1; seed <= 4; seed++)
				check(std::string(hopper->name) + ", n = 512, " + std::to_string(blocks) + " blocks, seed " +
						std::to_string(seed),
					[&] { return multiplies(*hopper, 512, seed, true, seed % 2, blocks); });
		for (uint32_t blocks : {2u, 6u, 14u})
			check(std::string(hopper->name) + ", n = 1024, " + std::to_string(blocks) + " blocks",
				[&] { return multiplies(*hopper, 1024, blocks, true, true, blocks); });
	}
	check("product_hopper, n = 2048, 6 blocks", [&] { return multiplies(RECIPES[8], 2048, 1, true, true, 6); });
}

void fills() {
	for (uint32_t n : {256u, 512u, 1024u})
		for (uint32_t stream : {0u, 1u})
			check("fill, n = " + std::to_string(n) + ", stream " + std::to_string(stream), [&] {
				Source source(n + stream);
				const Hash key = source.hash();
				Memory memory(n);
				Buffer rows(memory, (size_t)n * n);
				Fill p = {rows.parts(), n, stream, words_of(key)};
				std::string wrong =
					emulated::run({launch(*kernel_of("fill", 750), (n * n / 64 + 255) / 256, 256, 0, p)}, memory, n);
				return wrong.empty() ? differs(rows.bytes(), plain::rows(key, stream, n), "the matrix") : wrong;
			});
}

// The shape of a tree.
struct TreeCase {
	uint32_t count, n;
	uint32_t after;
	bool done;
	uint64_t seed;
};

// Its memory on the device, and the expected contents.
struct TreeSetup {
	Memory memory;
	Source source;
	Bytes data;
	Hash key, turn, running;
	std::vector<Hash> earlier;
	Buffer lines, nodes, roots, state, arrived, done;
	Tree p = {};

	explicit TreeSetup(const TreeCase &of)
		: memory(of.seed),
		  source(of.seed),
		  data(source.bytes((size_t)of.count * LINE)),
		  key(source.hash()),
		  turn(source.hash()),
		  running(source.hash()),
		  lines(memory, data),
		  nodes(memory, (size_t)(2 * of.count - 1) * 32),
		  roots(memory, 33 * 32),
		  state(memory, sizeof(State)),
		  arrived(memory, 4),
		  done(memory, std::max<size_t>(4, 4 * (size_t)(of.count * LINE / of.n / DONE_ROWS) * (of.n / DONE_COLUMNS))) {
		for (uint32_t at = 0; at < 33; at++) earlier.push_back(source.hash());
		memcpy(roots.at, earlier.data(), roots.size);
		memcpy(state.at, running.data(), 32);
		((State *)state.at)->kappa = 0xDEADBEEF;
		arrived.zero();
		done.zero();
		p.lines = lines.parts();
		p.nodes = nodes.parts();
		p.roots = roots.parts();
		p.state = (State *)state.at;
		p.arrived = arrived.words();
		p.count = of.count;
		p.n = of.n;
		p.epoch = 42 + (uint32_t)of.seed;
		p.after = of.after;
		// The last step of the second turn, or one in its middle.
		p.step = of.after == TURN ? 31 : 21;
		p.root = p.step % 32;
		p.first = 16;
		p.one = 1;
		p.key = words_of(key);
		p.turn = words_of(turn);
		if (of.done) p.done = done.words();
	}

	Launch launch(const Kernel &kernel) const {
		return emulated::launch(kernel, (p.count + LEAVES - 1) / LEAVES, LEAVES, TREE_SHARED, p);
	}

	std::string compare() const {
		const auto levels = plain::tree(key, data.data(), LINE, p.count);
		Bytes expected;
		for (auto &level : levels)
			expected.insert(
				expected.end(), (const uint8_t *)level.data(), (const uint8_t *)(level.data() + level.size()));
		std::string wrong = differs(nodes.bytes(), expected, "the nodes");
		if (!wrong.empty()) return wrong;
		std::vector<Hash> all = earlier;
		const Hash root = levels.back()[0];
		all[p.root] = root;
		wrong = differs(
			roots.bytes(), Bytes((const uint8_t *)all.data(), (const uint8_t *)(all.data() + all.size())), "the roots");
		if (!wrong.empty()) return wrong;
		State expected_state;
		memcpy(&expected_state, state.at, sizeof expected_state);
		memcpy(expected_state.running.word, running.data(), 32);
		expected_state.kappa = 0xDEADBEEF;
		if (p.after == STEP) expected_state.kappa = plain::kappa(running, root, p.step + 1);
		if (p.after == TURN) {
			const auto of_turn = plain::tree(turn, (const uint8_t *)(all.data() + p.first), 32, 16);
			const Hash next = plain::taken(running, of_turn.back()[0], p.step / 16);
			memcpy(expected_state.running.word, next.data(), 32);
			expected_state.kappa = next[0];
		}
		wrong = differs(state.bytes(), Bytes((const uint8_t *)&expected_state, (const uint8_t *)(&expected_state + 1)),
			"the state");
		if (!wrong.empty()) return wrong;
		return *arrived.words() == 0 ? "" : "the blocks that are done are not counted from 0 again";
	}
};

std::string builds(const TreeCase &of, const Kernel &kernel, bool while_made) {
	TreeSetup setup(of);
	std::thread maker;
	if (of.done) {
		const uint32_t parts = (uint32_t)(setup.done.size / 4);
		if (while_made) {
			// Another thread writes the matrix meanwhile, part by part, in any order.
			memset(setup.lines.at, 0x55, setup.lines.size);
			maker = std::thread([&setup, &of, parts] {
				std::vector<uint32_t> order(parts);
				for (uint32_t at = 0; at < parts; at++) order[at] = at;
				emulated::Random random(of.seed + 99);
				for (uint32_t at = parts; at > 1; at--) std::swap(order[at - 1], order[random.below(at)]);
				const uint32_t across = of.n / DONE_COLUMNS;
				for (uint32_t part : order) {
					if (parts <= 64) std::this_thread::sleep_for(std::chrono::milliseconds(2));
					for (uint32_t row = 0; row < DONE_ROWS; row++) {
						const size_t at =
							(size_t)(part / across * DONE_ROWS + row) * of.n + part % across * DONE_COLUMNS;
						memcpy(setup.lines.at + at, &setup.data[at], DONE_COLUMNS);
					}
					__atomic_store_n(setup.done.words() + part, setup.p.epoch, __ATOMIC_RELEASE);
				}
			});
		} else {
			for (uint32_t part = 0; part < parts; part++) setup.done.words()[part] = setup.p.epoch;
		}
	}
	std::string wrong = emulated::run({setup.launch(kernel)}, setup.memory, of.seed);
	if (maker.joinable()) maker.join();
	return wrong.empty() ? setup.compare() : wrong;
}

void trees() {
	const Kernel &kernel = *kernel_of("tree", 900);
	const char *after_names[] = {"nothing", "step", "turn"}, *told_names[] = {"", ", told before", ", told meanwhile"};
	for (auto [count, n] :
		{std::pair<uint32_t, uint32_t>{64, 256}, {128, 256}, {256, 512}, {1024, 1024}, {16384, 4096}})
		for (uint32_t after : {NOTHING, STEP, TURN})
			for (int told = 0; told < 3; told++)
				for (uint64_t seed = 1; seed <= (count > 1024 ? 1u : 4u); seed++) {
					const std::string name = "tree, " + std::to_string(count) + " lines, after: " + after_names[after] +
						told_names[told] + ", seed " + std::to_string(seed);
					const TreeCase of = {count, n, after, told > 0, seed};
					check(name, [&] { return builds(of, kernel, told == 2); });
				}
	// One line, and counts in between.
	for (uint32_t count : {1u, 2u, 8u, 32u, 512u, 2048u})
		check("tree, " + std::to_string(count) + " lines",
			[&] { return builds({count, 256, TURN, false, count}, kernel, false); });
}

std::string walks(uint32_t n, uint32_t matrices, uint64_t seed, const Kernel &kernel) {
	Memory memory(seed);
	Source source(seed);
	Bytes z = source.bytes((size_t)n * n), window = source.bytes((size_t)n * n * matrices);
	Buffer on_z(memory, z), on_window(memory, window), state(memory, sizeof(State));
	Walk p = {on_z.parts(), on_window.parts(), (const State *)state.at, (uint32_t)(window.size() / LINE), 0};
	std::string wrong = emulated::run({launch(kernel, n * n / LINE / LANES, LANE * LANES, 0, p)}, memory, seed);
	if (!wrong.empty()) return wrong;
	plain::walk(z, window, p.state->kappa);
	wrong = differs(on_z.bytes(), z, "the lanes");
	return wrong.empty() ? differs(on_window.bytes(), window, "the window") : wrong;
}

std::string reads(uint32_t n, uint32_t matrices) {
	Memory memory(matrices);
	Source source(matrices);
	Bytes z = source.bytes((size_t)n * n), window = source.bytes((size_t)n * n * matrices);
	Buffer on_z(memory, z), on_window(memory, window);
	const uint32_t lanes = n * n / LINE;
	Walk p = {on_z.parts(), on_window.parts(), nullptr, (uint32_t)(window.size() / LINE), 0};
	std::string wrong =
		emulated::run({launch(*kernel_of("reads", 750), lanes / LANES, LANE * LANES, 0, p)}, memory, 1);
	if (!wrong.empty()) return wrong;
	auto word = [](const Bytes &bytes, size_t at) {
		uint32_t out;
		memcpy(&out, &bytes[at], 4);
		return out;
	};
	for (uint32_t lane = 0; lane < lanes; lane++) {
		uint32_t s[LANE];
		for (uint32_t me = 0; me < LANE; me++) s[me] = word(z, (size_t)lane * LINE + 16 * me);
		for (uint32_t read = 0; read < YARDSTICK_READS; read++) {
			const size_t line = (uint64_t)s[read % LANE] * p.lines >> 32;
			for (uint32_t me = 0; me < LANE; me++) {
				for (uint32_t part = me; part < PARTS; part += LANE)
					for (uint32_t at = 0; at < 4; at++) s[me] ^= word(window, line * LINE + 16 * part + 4 * at);
				s[me] += read;
				s[me] = (s[me] ^ s[me] >> 15) * 0x2C1B3C6Du;
				s[me] ^= s[me] >> 13;
			}
		}
		for (uint32_t me = 0; me < LANE; me++) memcpy(&z[(size_t)lane * LINE + 16 * me], &s[me], 4);
	}
	return differs(on_z.bytes(), z, "the lanes");
}

void walks_and_gathers() {
	for (uint32_t n : {256u, 512u, 1024u})
		for (uint32_t matrices : {2u, 3u, 7u})
			check("walk, n = " + std::to_string(n) + ", " + std::to_string(matrices) + " matrices",
				[&] { return walks(n, matrices, n + matrices, *kernel_of("walk", 750)); });
	for (uint32_t count : {64u, 256u, 1024u, 16384u})
		check("gather, " + std::to_string(count) + " lines", [&]() -> std::string {
			Memory memory(count);
			Source source(count);
			const Bytes data = source.bytes((size_t)count * LINE);
			const Hash key = source.hash();
			const auto levels = plain::tree(key, data.data(), LINE, count);
			Bytes nodes;
			for (auto &level : levels)
				nodes.insert(
					nodes.end(), (const uint8_t *)level.data(), (const uint8_t *)(level.data() + level.size()));
			std::vector<uint32_t> which = {0, count - 1, 1, 0};
			for (int i = 0; i < 20; i++) which.push_back(source.random.below(count));
			const uint32_t path = (uint32_t)levels.size() - 1, each = LINE + 32 * path;
			Buffer lines(memory, data), on_nodes(memory, nodes), numbers(memory, which.size() * 4),
				out(memory, which.size() * each);
			memcpy(numbers.at, which.data(), numbers.size);
			Gather p = {lines.parts(), on_nodes.parts(), numbers.words(), out.parts(), count, path};
			std::string wrong =
				emulated::run({launch(*kernel_of("gather", 750), (uint32_t)which.size(), PARTS, 0, p)}, memory, 1);
			if (!wrong.empty()) return wrong;
			Bytes expected;
			for (uint32_t line : which) {
				expected.insert(expected.end(), &data[(size_t)line * LINE], &data[(size_t)line * LINE] + LINE);
				for (uint32_t level = 0; level < path; level++) {
					const Hash &node = levels[level][line >> level ^ 1];
					expected.insert(expected.end(), (const uint8_t *)&node, (const uint8_t *)(&node + 1));
				}
			}
			return differs(out.bytes(), expected, "what was gathered");
		});
	for (uint32_t matrices : {2u, 7u})
		check("reads, " + std::to_string(matrices) + " matrices", [&] { return reads(256, matrices); });
	for (uint64_t count : {1ull, 255ull, 4096ull, 100003ull})
		check("copy, " + std::to_string(count) + " parts", [&] {
			Memory memory(count);
			Source source(count);
			const Bytes data = source.bytes(16 * count);
			Buffer from(memory, data), to(memory, data.size());
			Copy p = {from.parts(), to.parts(), count};
			std::string wrong = emulated::run({launch(*kernel_of("copy", 750), 64, 256, 0, p)}, memory, 1);
			return wrong.empty() ? differs(to.bytes(), data, "the copy") : wrong;
		});
}

// -- A trial ----------------------------------------------------------------------------------------------

// Launches in the order of a stream; those that start early run together with the preceding ones.
class Stream {
	Memory &memory;
	uint64_t seed, runs = 0;
	Overlap overlap;
	std::vector<Launch> chain;

public:
	std::string wrong;
	Stream(Memory &memory, uint64_t seed, Overlap overlap) : memory(memory), seed(seed), overlap(overlap) {}
	void add(Launch launch, bool early) {
		if (!early) flush();
		launch.early = early;
		chain.push_back(std::move(launch));
	}
	void flush() {
		if (!chain.empty() && wrong.empty()) wrong = emulated::run(chain, memory, seed + 1000 * runs++, overlap);
		chain.clear();
	}
};

// Faults of a trial.
struct Faults {
	const Kernel *walk = nullptr, *tree = nullptr, *product = nullptr;
	// Products of a fill start early, which is a fault.
	bool early_fill = false;
};

// Fills a window of some matrices and runs turns like the agent; compares all roots and the last matrix.
std::string trial(const Recipe &recipe, uint32_t n, uint32_t window, uint32_t turns, uint64_t seed, Overlap overlap,
	const Faults &faults = {}, bool fill = true) {
	Memory memory(seed);
	Source source(seed + 31);
	const bool early = recipe.target >= 900;
	const uint32_t lines = n * n / LINE, filled = fill ? 8 * (window - 1) + 1 : 0;
	const size_t matrix = (size_t)n * n;
	const Hash fill_seed = source.hash(), trial_seed = source.hash(), fill_key = source.hash(),
			   step_key = source.hash();
	const Hash turn_key = source.hash(), running = source.hash();
	Buffer a(memory, matrix), x0(memory, matrix), x1(memory, matrix), kept(memory, matrix * window);
	Buffer nodes0(memory, (size_t)(2 * lines - 1) * 32), nodes1(memory, (size_t)(2 * lines - 1) * 32);
	Buffer roots(memory, (size_t)(std::max(filled, 16 * turns) + 1) * 32), state(memory, sizeof(State)),
		arrived(memory, 128);
	Buffer done(memory, 4 * (size_t)(n / DONE_ROWS) * (n / DONE_COLUMNS));
	Buffer *x[2] = {&x0, &x1}, *nodes[2] = {&nodes0, &nodes1};
	state.zero();
	arrived.zero();
	done.zero();
	uint32_t epoch = 0, last = 0;
	Stream stream(memory, seed, overlap);
	auto rows = [&](const Buffer &to, uint32_t number, const Hash &key) {
		stream.add(launch(*kernel_of("fill", 750), (n * n / 64 + 255) / 256, 256, 0,
					   Fill{to.parts(), n, number, words_of(key)}),
			false);
	};
	auto multiply = [&](int from, uint32_t t, bool keyed, bool begins_early) {
		Product p = {};
		p.a = a.at;
		p.x = x[from]->at;
		p.y = x[1 - from]->at;
		p.n = n;
		p.t = t;
		p.epoch = ++epoch;
		if (keyed) p.state = (const State *)state.at;
		if (early && recipe.pairs()) p.done = done.words();
		const Kernel &kernel = keyed && faults.product ? *faults.product : *kernel_of(recipe.name, recipe.target);
		// Like on a GPU with six multiprocessors.
		stream.add(recipe.launch(kernel, p, recipe.pairs() ? std::max(2u, std::min(6u, n / 128 * (n / 256))) : 0),
			begins_early && early);
		return early && recipe.pairs();
	};
	auto build = [&](const Buffer &over, const Hash &key, uint32_t root, uint32_t after, uint32_t step, bool told) {
		last = 1 - last;
		Tree p = {};
		p.lines = over.parts();
		p.nodes = nodes[last]->parts();
		p.roots = roots.parts();
		p.state = (State *)state.at;
		p.arrived = (uint32_t *)(arrived.at + 64 * last);
		if (told) p.done = done.words();
		p.count = lines;
		p.n = n;
		p.epoch = epoch;
		p.root = root;
		p.first = step - step % 16;
		p.after = after;
		p.step = step;
		p.one = 1;
		p.key = words_of(key);
		p.turn = words_of(turn_key);
		const Kernel &kernel = faults.tree ? *faults.tree : *kernel_of("tree", recipe.target);
		Launch one = launch(kernel, (lines + LEAVES - 1) / LEAVES, LEAVES, TREE_SHARED, p);
		one.target = early ? 900 : 750;
		stream.add(one, early);
	};
	// The expected results.
	std::vector<Hash> expected;
	Bytes plain_a = plain::rows(fill_seed, 0, n), plain_x = plain::rows(fill_seed, 1, n), plain_window;
	auto root_of = [&](const Hash &key) { return plain::tree(key, plain_x.data(), LINE, lines).back()[0]; };
	rows(a, 0, fill_seed);
	rows(x0, 1, fill_seed);
	int at = 0;
	auto compare = [&](const char *what) {
		stream.flush();
		if (!stream.wrong.empty()) return stream.wrong;
		std::string wrong = differs(roots.bytes(),
			Bytes((const uint8_t *)expected.data(), (const uint8_t *)(expected.data() + expected.size())), what);
		return wrong.empty() ? differs(x[at]->bytes(), plain_x, "the last matrix") : wrong;
	};
	for (uint32_t t = 0; t < filled; t++) {
		bool told = false;
		if (t > 0) {
			told = multiply(at, t - 1, false, faults.early_fill);
			plain_x = plain::product(plain_a, plain_x, n, t - 1, 0);
			at = 1 - at;
		}
		build(*x[at], fill_key, t, NOTHING, 0, told);
		expected.push_back(root_of(fill_key));
		if (t % 8 == 0) {
			stream.flush();
			memcpy(kept.at + t / 8 * matrix, x[at]->at, matrix);
			plain_window.insert(plain_window.end(), plain_x.begin(), plain_x.end());
		}
	}
	if (fill) {
		if (std::string wrong = compare("the roots of the fill"); !wrong.empty()) return wrong;
	} else {
		plain_window = source.bytes(matrix * window);
		memcpy(kept.at, plain_window.data(), plain_window.size());
	}
	if (std::string wrong = differs(kept.bytes(), plain_window, "the window"); !wrong.empty()) return wrong;
	rows(a, 0, trial_seed);
	rows(x0, 1, trial_seed);
	at = 0;
	plain_a = plain::rows(trial_seed, 0, n);
	plain_x = plain::rows(trial_seed, 1, n);
	stream.flush();
	memcpy(state.at, running.data(), 32);
	((State *)state.at)->kappa = running[0];
	expected.clear();
	Hash plain_running = running;
	uint32_t kappa = running[0];
	for (uint32_t step = 0; step < 16 * turns; step++) {
		bool told = false;
		if (step % 2 == 0) {
			told = multiply(at, step, true, step > 0);
			at = 1 - at;
			plain_x = plain::product(plain_a, plain_x, n, step, kappa);
		} else {
			Walk p = {x[at]->parts(), kept.parts(), (const State *)state.at, window * lines, 0};
			Launch one =
				launch(faults.walk ? *faults.walk : *kernel_of("walk", 900), lines / LANES, LANE * LANES, 0, p);
			one.target = early ? 900 : 750;
			stream.add(one, early);
			plain::walk(plain_x, plain_window, kappa);
		}
		const bool ends = step % 16 == 15;
		build(*x[at], step_key, step, ends ? TURN : STEP, step, told);
		expected.push_back(root_of(step_key));
		kappa = plain::kappa(plain_running, expected.back(), step + 1);
		if (ends) {
			const auto of_turn = plain::tree(turn_key, (const uint8_t *)&expected[step - 15], 32, 16);
			plain_running = plain::taken(plain_running, of_turn.back()[0], step / 16);
			kappa = plain_running[0];
		}
	}
	if (std::string wrong = compare("the roots of the turns"); !wrong.empty()) return wrong;
	const State got = *(const State *)state.at;
	if (memcmp(got.running.word, plain_running.data(), 32) != 0) return "the running hash differs";
	return got.kappa == kappa ? "" : "κ differs";
}

void trials() {
	const char *names[] = {"drawn", "in order", "next first", "mixed"};
	for (const Recipe &recipe : RECIPES) {
		for (uint64_t seed = 1; seed <= (recipe.target < 900 ? 1u : 3u); seed++)
			check(std::string("trial, n = 256, window of 3, 1 turn, ") + recipe.name + " " +
					std::to_string(recipe.target) + ", seed " + std::to_string(seed),
				[&] { return trial(recipe, 256, 3, 1, seed, Overlap::DRAWN); });
		if (recipe.target < 900) continue;
		for (Overlap overlap : {Overlap::IN_ORDER, Overlap::NEXT_FIRST, Overlap::MIXED})
			for (uint64_t seed = 1; seed <= (recipe.pairs() ? 4u : 1u); seed++)
				check(std::string("trial, n = 512, 1 turn, ") + recipe.name + " " + std::to_string(recipe.target) +
						", launches " + names[(int)overlap] + ", seed " + std::to_string(seed),
					[&] { return trial(recipe, 512, 2, 1, seed, overlap, {}, false); });
	}
	check("trial, n = 1024, 1 turn, product_hopper",
		[&] { return trial(RECIPES[8], 1024, 2, 1, 1, Overlap::NEXT_FIRST, {}, false); });
	check("trial, n = 256, 3 turns, product_hopper",
		[&] { return trial(RECIPES[8], 256, 2, 3, 1, Overlap::MIXED, {}, false); });
}

// The product and the tree over its result, in two launches that only `done` orders.
void beside() {
	for (uint32_t n : {256u, 512u, 1024u})
		for (uint64_t seed = 1; seed <= 3; seed++)
			check("tree beside product_hopper, n = " + std::to_string(n) + ", seed " + std::to_string(seed), [&] {
				const Pair &pair = pair_of(n);
				TreeSetup setup({n * n / LINE, n, STEP, true, seed});
				Buffer a(setup.memory, pair.a), x(setup.memory, pair.x), product_state(setup.memory, sizeof(State));
				memset(setup.lines.at, 0x55, setup.lines.size);
				Product p = {};
				p.a = a.at;
				p.x = x.at;
				p.y = setup.lines.at;
				p.n = n;
				p.t = 3;
				p.state = (const State *)product_state.at;
				p.done = setup.done.words();
				p.epoch = setup.p.epoch;
				setup.data = plain::bytes_of_sums(pair.sums, n, 3, p.state->kappa);
				std::string of_product;
				std::thread product([&] {
					std::this_thread::sleep_for(std::chrono::milliseconds(5));
					of_product = emulated::run({RECIPES[8].launch(p, 4)}, setup.memory, seed);
				});
				std::string wrong = emulated::run({setup.launch(*kernel_of("tree", 900))}, setup.memory, seed + 5);
				product.join();
				if (!of_product.empty()) return of_product;
				return wrong.empty() ? setup.compare() : wrong;
			});
}

void faults() {
	// Some faults leave a kernel waiting forever.
	setenv("KAISAR_EMULATED_PATIENCE_MS", "1000", 1);
	const Recipe &ampere = RECIPES[2], &turing = RECIPES[0], &hopper = RECIPES[8];
	auto product_with = [](const Recipe &recipe, Kernel kernel, uint32_t n, uint8_t swizzle_x = 3) {
		kernel.cluster = recipe.pairs() ? 2 : 1;
		return [=](uint64_t seed) { return multiplies(recipe, n, seed, true, recipe.pairs(), 2, &kernel, swizzle_x); };
	};
#define FAULTY(space, name, threads) emulated::kernel<space::name>(#space, threads)
	must_fail("product without waiting for its copies", "differ",
		product_with(ampere, FAULTY(without_waiting_for_copies, product_128x256, 256), 256));
	must_fail("product that waits for one group too few", "differ",
		product_with(ampere, FAULTY(one_group_short, product_128x256, 256), 256));
	must_fail("product without the block's barrier", "differ",
		product_with(ampere, FAULTY(without_block_barrier, product_128x256, 256), 512));
	must_fail("product by Turing's units without the block's barrier", "differ",
		product_with(turing, FAULTY(turing_without_block_barrier, product_128x256, 256), 512));
	must_fail("product that reads with another swizzle", "differ",
		product_with(ampere, FAULTY(otherwise_swizzled, product_128x256, 256), 256));
	must_fail(
		"product_hopper, X is not swizzled", "differ",
		[&](uint64_t seed) { return multiplies(hopper, 256, seed, true, true, 2, nullptr, 0); }, 3);
	must_fail("product_hopper releases a stage early", "differ",
		product_with(hopper, FAULTY(released_early, product_hopper, 256), 1024), 6);
	must_fail("product_hopper does not wait for its products", "did not wait",
		product_with(hopper, FAULTY(without_waiting_for_products, product_hopper, 256), 256), 3);
	must_fail("product_hopper without wgmma.fence", "wgmma.fence",
		product_with(hopper, FAULTY(without_fence, product_hopper, 256), 256), 3);
	must_fail("product_hopper multiplies before a stage is full", "",
		product_with(hopper, FAULTY(read_before_full, product_hopper, 256), 512));
	must_fail("product_hopper copies before a stage is empty", "",
		product_with(hopper, FAULTY(copied_before_empty, product_hopper, 256), 1024), 6);
	must_fail("product_hopper without fence.mbarrier_init", "fence.mbarrier_init",
		product_with(hopper, FAULTY(made_in_secret, product_hopper, 256), 256), 3);
	must_fail("product_hopper arrives twice", "all 1 have arrived",
		product_with(hopper, FAULTY(expected_twice, product_hopper, 256), 256), 3);
	Kernel greedy = FAULTY(too_many_registers, product_hopper_apart, 384);
	greedy.registers = 168;
	must_fail("product_hopper_apart asks for more registers than there are", "can go on",
		product_with(RECIPES[9], greedy, 256), 3);
	must_fail("product_hopper releases to one block only", "can go on",
		product_with(hopper, FAULTY(released_to_one_block, product_hopper, 256), 1024), 3);
	const Kernel hasty_tree = FAULTY(not_waiting_for_parts, tree, 128),
				 loose_tree = FAULTY(tree_without_barriers, tree, 128);
	must_fail(
		"tree that does not wait for parts", "",
		[&](uint64_t seed) {
			Faults of;
			of.tree = &hasty_tree;
			return trial(hopper, 512, 2, 1, seed, Overlap::DRAWN, of, false);
		},
		4);
	must_fail("tree without barriers", "differ",
		[&](uint64_t seed) { return builds({256, 512, STEP, false, seed}, loose_tree, false); });
	const Kernel hasty_walk = FAULTY(not_waiting_for_those_before, walk, 256);
	must_fail(
		"walk that does not wait for those before", "",
		[&](uint64_t seed) {
			Faults of;
			of.walk = &hasty_walk;
			return trial(hopper, 512, 2, 1, seed, Overlap::DRAWN, of, false);
		},
		4);
	Kernel hasty_product = FAULTY(not_waiting_for_those_before::products, product_hopper, 256);
	hasty_product.cluster = 2;
	must_fail(
		"product_hopper that does not wait for κ", "",
		[&](uint64_t seed) {
			Faults of;
			of.product = &hasty_product;
			return trial(hopper, 512, 2, 1, seed, Overlap::NEXT_FIRST, of, false);
		},
		4);
	const Kernel hastier_tree = FAULTY(not_waiting_for_those_before, tree, 128);
	must_fail(
		"tree that does not wait for those before", "",
		[&](uint64_t seed) {
			Faults of;
			of.tree = &hastier_tree;
			return trial(hopper, 512, 2, 1, seed, Overlap::DRAWN, of, false);
		},
		4);
	must_fail(
		"products of a fill that begin early", "",
		[&](uint64_t seed) {
			Faults of;
			of.early_fill = true;
			return trial(hopper, 512, 2, 0, seed, Overlap::DRAWN, of);
		},
		4);
	must_fail("collectives that diverge", "while others of its warp", wrong::diverges);
	must_fail("a shuffle with a thread that is over", "over", wrong::shuffles_with_the_dead);
	must_fail("a barrier of which a thread is over", "over", wrong::misses_the_barrier, 64);
	must_fail("a barrier that warps reach in parts", "threads of warp", wrong::waits_in_half_warps, 128);
	must_fail("a barrier at which one is missing", "can go on", wrong::waits_forever);
	must_fail("a barrier that is overwritten", "something was written", wrong::writes_over_a_barrier);
	must_fail("a barrier that was not made", "there is none", wrong::arrives_where_there_is_none);
	must_fail("ldmatrix outside of shared memory", "of its block's 1024", wrong::leaves_shared_memory);
	must_fail("writes behind shared memory", "of shared memory", wrong::writes_behind_shared_memory);
	must_fail("writes before shared memory", "of shared memory", wrong::writes_before_shared_memory);
	must_fail("writes far behind shared memory", "outside of memory", wrong::writes_far_behind_shared_memory);
	must_fail("ldmatrix at 8", "not a multiple", wrong::misaligned_shared);
	must_fail("16 bytes at 4", "not a multiple", wrong::misaligned_global);
	must_fail("cp.async from 8", "not a multiple", wrong::misaligned_copy);
	must_fail("reads 16 bytes behind an allocation", "outside of all", wrong::reads_behind);
	must_fail("writes behind an allocation", "was written to", wrong::writes_behind);
	must_fail("writes before an allocation", "was written to", wrong::writes_before);
	must_fail("writes where there is nothing", "outside of memory", wrong::writes_nowhere);
	must_fail("divides by zero", "by zero", wrong::divides);
	must_fail("a stack that is too small", "needs a stack", wrong::needs_a_deep_stack);
	setenv("KAISAR_EMULATED_PATIENCE_MS", "200", 1);
	must_fail("waits for a word that nobody writes", "nothing comes of", wrong::waits_for_a_word);
	unsetenv("KAISAR_EMULATED_PATIENCE_MS");
	must_fail(
		"more threads than a kernel may have", "at most 256",
		[&](uint64_t seed) {
			Memory memory(seed);
			return emulated::run({launch(*kernel_of("fill", 750), 1, 257, 0, Fill{})}, memory, seed);
		},
		1);
	must_fail(
		"half a cluster", "multiple of its clusters",
		[&](uint64_t seed) { return multiplies(hopper, 256, seed, true, true, 3); }, 1);
}

} // namespace

int main(int count, char **values) {
	if (count > 1) only = values[1];
	fills();
	walks_and_gathers();
	trees();
	products();
	beside();
	trials();
	faults();
	printf("%u cases, %u wrong\n", cases, failures);
	return failures != 0;
}
