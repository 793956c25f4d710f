// The emulated machine: kernels' threads as fibers on the host's processors, in warps, blocks and clusters.
// Behavior that the hardware leaves unspecified is drawn from a seed, including the worst cases: the order
// of threads and blocks, the completion of copies and matrix products, the initial contents of shared
// memory.
#pragma once
#include "memory.h"
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>
#include <vector>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulated {

// Threads of a warp, warps of a group that multiplies together, maximum threads of a block.
constexpr uint32_t WARP = 32, GROUP_WARPS = 4, MOST_THREADS = 1024;

// A tensor map: describes a matrix of up to five dimensions, of which boxes are copied.
struct alignas(16) TensorMap {
	static constexpr uint64_t MAGIC = 0x4B61697361724D61;
	uint64_t magic;
	uint64_t address;
	// Elements of each dimension, and strides in bytes; the first dimension is contiguous.
	uint64_t sizes[5], strides[5];
	uint16_t box[5];
	uint8_t rank, element;
	// 0: none; 3: 128 bytes.
	uint8_t swizzle;
	uint8_t unused[11];
};
static_assert(sizeof(TensorMap) == 128, "as CUtensorMap");

// -- Kernels ----------------------------------------------------------------------------------------------

// Memory that a kernel wrote, for tests that corrupt it.
struct Written {
	uint8_t *at;
	uint64_t bytes;
};

struct Kernel {
	const char *name;
	void (*call)(void *const *arguments);
	std::vector<size_t> sizes;
	uint32_t most_threads;
	// Registers of a thread, if the code fixes them.
	uint32_t registers = 0;
	// Blocks of a cluster, fixed by the code.
	uint32_t cluster = 1;
	// The range of GPUs of this code, from `from` to below `below`: ten times the numbers of PTX targets.
	uint32_t from = 0, below = ~0u;
	Written (*written)(void *const *arguments) = nullptr;
};

template <class T> T argument(const void *from) {
	T value;
	memcpy(&value, from, sizeof value);
	return value;
}

template <class... Parameters, size_t... At>
void call_with(void (*kernel)(Parameters...), void *const *arguments, std::index_sequence<At...>) {
	kernel(argument<std::decay_t<Parameters>>(arguments[At])...);
}

template <class... Parameters> std::vector<size_t> sizes_of(void (*)(Parameters...)) { return {sizeof(Parameters)...}; }
template <class... Parameters> constexpr size_t count_of(void (*)(Parameters...)) { return sizeof...(Parameters); }

template <auto KERNEL> void call(void *const *arguments) {
	call_with(KERNEL, arguments, std::make_index_sequence<count_of(KERNEL)>{});
}

// Describes a kernel, except for the attributes in its macro.
template <auto KERNEL> Kernel kernel(const char *name, uint32_t most_threads) {
	Kernel out;
	out.name = name;
	out.call = call<KERNEL>;
	out.sizes = sizes_of(KERNEL);
	out.most_threads = most_threads;
	return out;
}

struct Launch {
	const Kernel *kernel = nullptr;
	std::vector<std::vector<uint8_t>> arguments;
	uint32_t blocks = 0, threads = 0, shared = 0;
	// The code's compilation target, times ten.
	uint32_t target = 900;
	// It may start before the preceding launch is over.
	bool early = false;
};

template <class... Arguments>
Launch launch(const Kernel &kernel, uint32_t blocks, uint32_t threads, uint32_t shared, const Arguments &...arguments) {
	Launch out;
	out.kernel = &kernel;
	out.blocks = blocks;
	out.threads = threads;
	out.shared = shared;
	auto add = [&](const void *from, size_t size) {
		out.arguments.emplace_back((const uint8_t *)from, (const uint8_t *)from + size);
	};
	(add(&arguments, sizeof arguments), ...);
	return out;
}

// The order of kernels that start early and the preceding ones.
enum class Overlap { DRAWN, IN_ORDER, NEXT_FIRST, MIXED };

// Runs launches one after the other, the early ones beside the preceding ones. Returns an error message,
// empty if there was no error.
std::string run(const std::vector<Launch> &chain, Memory &memory, uint64_t seed, Overlap overlap = Overlap::DRAWN);

// Returns the seed in KAISAR_EMULATED_SEED, or 1.
uint64_t seed_of_environment();

// -- Chance -----------------------------------------------------------------------------------------------

class Random {
	uint64_t state;

public:
	explicit Random(uint64_t seed = 1) : state(mixed(seed)) {}
	static uint64_t mixed(uint64_t x) {
		x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull + 0x9E3779B97F4A7C15ull;
		x = (x ^ x >> 27) * 0x94D049BB133111EBull;
		return x ^ x >> 31;
	}
	uint64_t next() {
		state += 0x9E3779B97F4A7C15ull;
		return mixed(state);
	}
	// Draws a number below `end`.
	uint32_t below(uint32_t end) { return (uint32_t)((next() >> 32) * end >> 32); }
	bool coin() { return next() >> 63; }
};

// -- Threads ----------------------------------------------------------------------------------------------

#ifdef __x86_64__
using Context = void *;
#else
using Context = ucontext_t;
#endif

struct Warp;
struct Block;
struct Cluster;

// A copy of 16 bytes to shared memory, in flight.
struct Copy16 {
	uint32_t to;
	const void *from;
};

struct Fiber {
	Context context{};
	// Its stack's lowest byte.
	uint8_t *stack = nullptr;
	Warp *warp = nullptr;
	Block *block = nullptr;
	Cluster *cluster = nullptr;
	uint32_t index = 0, lane = 0;
	uint32_t block_index = 0, block_count = 0;
	// Its present wait, and the wait's number or address; null while runnable.
	const char *waits = nullptr;
	uint32_t waits_at = 0;
	bool over = false;
	// Copies in flight, the oldest first, and the number in each group.
	std::vector<Copy16> copies;
	std::vector<uint32_t> groups;
	uint32_t ungrouped = 0;
};

// The running thread; null outside of kernels.
extern __thread Fiber *current __attribute__((tls_model("initial-exec")));

constexpr size_t STACK = 128 << 10;

// Ends the launch with a message.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

inline bool on_stack(uintptr_t at) { return at - (uintptr_t)current->stack < STACK; }

// Checks an access outside of the thread's own stack.
void check_access(uintptr_t at, uint32_t bytes);

inline void check_16(const void *where) {
	uintptr_t at = (uintptr_t)where;
	// Keeps the compiler from assuming alignment from the type.
	asm("" : "+r"(at));
	if (current && !on_stack(at)) check_access(at, 16);
}

// -- Instructions --------------------------------------------------------------------------------------

void sync_some(uint32_t barrier, uint32_t threads);
void sync_block();
uint32_t shuffle(uint32_t word, uint32_t from, bool by);
uint8_t *shared_memory();
uint32_t shared_address(const void *at);
void check_word(const void *at);
void give_way();
void let_next_begin();
void wait_for_those_before();
void copy_16(uint32_t to, const void *from);
void end_group();
void wait_for_groups(uint32_t but);
void load_matrices(uint32_t *out, uint32_t row);
void multiply_8x8x16(int *c0, int *c1, uint32_t a, uint32_t b);
void multiply_16x8x32(int *c, int *below, const uint32_t *a, uint32_t b0, uint32_t b1);
void set_registers(uint32_t count, bool more);
uint32_t rank_in_cluster();
void sync_cluster(bool in_order);
void barrier_init(uint32_t barrier, uint32_t count);
void barriers_are_made();
void barrier_expect(uint32_t barrier, uint32_t bytes);
void barrier_arrive(uint32_t barrier, uint32_t block);
void barrier_wait(uint32_t barrier, uint32_t parity);
void copy_box(uint32_t to, const TensorMap *map, const int (&at)[5], uint32_t rank, uint32_t barrier, uint32_t blocks);
void begin_products();
void end_products();
void wait_for_products(uint32_t but);
void multiply_64x256x32(int *d, uint64_t a, uint64_t b, int add);

} // namespace emulated
