// The functions of ../hardware.h on the processor, for tests without a GPU. machine.h runs them.
#pragma once
#include "machine.h"

#define DEVICE inline __attribute__((unused))
#define CALLED static __attribute__((unused, noinline))
#define UNROLLED
#define NOT_UNROLLED
#define CONSTANT_PARAMETER const

// Bounds that the macros give each kernel of the file that includes this one, in the order of its kernels.
namespace {
struct Bound {
	uint32_t most_threads, registers;
	static std::vector<Bound> &all() {
		static std::vector<Bound> bounds;
		return bounds;
	}
	explicit Bound(uint32_t most_threads, uint32_t registers = 0) : most_threads(most_threads), registers(registers) {
		all().push_back(*this);
	}
};
} // namespace

#define EMULATED_JOINED(a, b) a##b
#define EMULATED_NAMED(a, b) EMULATED_JOINED(a, b)
#define KERNEL(...)                                                                                                    \
	static const Bound EMULATED_NAMED(bound_, __COUNTER__)(__VA_ARGS__);                                               \
	__attribute__((unused)) void
#define KERNEL_BESIDE(most_threads, blocks)                                                                            \
	static_assert((blocks) > 0, "blocks of a multiprocessor");                                                         \
	KERNEL(most_threads)
#define KERNEL_OF_PAIRS(threads, registers)                                                                            \
	static_assert(((registers) + 7) / 8 * 8 * (((threads) + 127) / 128 * 128) <= 65536,                                \
		"registers of a multiprocessor, which gives them to warps by fours");                                          \
	KERNEL(threads, registers)

// -- Words ------------------------------------------------------------------------------------------------

struct uint2 {
	uint32_t x, y;
};

// Accessed like on a GPU: as a whole, at a multiple of 16, and only in allocated memory.
struct uint4 {
	uint32_t x, y, z, w;

	uint4() = default;
	uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) : x(x), y(y), z(z), w(w) {}
	uint4(const uint4 &from) { take(from); }
	uint4 &operator=(const uint4 &from) {
		take(from);
		return *this;
	}

private:
	void take(const uint4 &from) {
		emulated::check_16(this);
		emulated::check_16(&from);
		memcpy((void *)this, (const void *)&from, sizeof *this);
	}
};

DEVICE uint32_t rotate_left(uint32_t word, uint32_t by) { return word << (by & 31) | word >> (-by & 31); }
DEVICE uint32_t rotate_right(uint32_t word, uint32_t by) { return word >> (by & 31) | word << (-by & 31); }
DEVICE uint32_t high_product(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }
DEVICE uint32_t sum_by(uint32_t one, uint32_t a, uint32_t b) { return a * one + b; }
DEVICE uint32_t bytes_of(uint32_t a, uint32_t b, uint32_t which) {
	const uint64_t both = (uint64_t)b << 32 | a;
	uint32_t out = 0;
	for (uint32_t at = 0; at < 4; at++) {
		const uint32_t chosen = which >> 4 * at & 15, byte = (uint32_t)(both >> 8 * (chosen & 7)) & 0xFF;
		// The highest bit of a number selects the byte's sign.
		out |= (chosen & 8 ? (byte & 0x80 ? 0xFFu : 0u) : byte) << 8 * at;
	}
	return out;
}

// -- Threads ----------------------------------------------------------------------------------------------

DEVICE uint32_t thread_index() { return emulated::current->index; }
DEVICE uint32_t block_index() { return emulated::current->block_index; }
DEVICE uint32_t block_count() { return emulated::current->block_count; }

DEVICE void sync_block() { emulated::sync_block(); }
template <int BARRIER, int THREADS> DEVICE void sync_some() { emulated::sync_some(BARRIER, THREADS); }
DEVICE uint32_t shuffle(uint32_t word, uint32_t from) { return emulated::shuffle(word, from, false); }
DEVICE uint32_t shuffle_xor(uint32_t word, uint32_t by) { return emulated::shuffle(word, by, true); }
DEVICE uint8_t *shared_memory() { return emulated::shared_memory(); }
DEVICE uint32_t shared_address(const void *at) { return emulated::shared_address(at); }

DEVICE uint32_t load_acquire(const uint32_t *from) {
	emulated::check_word(from);
	return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}
DEVICE uint32_t load_fresh(const uint32_t *from) {
	emulated::check_word(from);
	return __atomic_load_n(from, __ATOMIC_RELAXED);
}
DEVICE void store_release(uint32_t *to, uint32_t word) {
	emulated::check_word(to);
	__atomic_store_n(to, word, __ATOMIC_RELEASE);
}
DEVICE uint32_t add_in_order(uint32_t *to, uint32_t word) {
	emulated::check_word(to);
	return __atomic_fetch_add(to, word, __ATOMIC_ACQ_REL);
}
DEVICE void give_way() { emulated::give_way(); }
DEVICE void give_up() { emulated::fail("gives up"); }
DEVICE void let_next_begin() { emulated::let_next_begin(); }
DEVICE void wait_for_those_before() { emulated::wait_for_those_before(); }

// -- Copies and products ----------------------------------------------------------------------------------

DEVICE void copy_16(uint32_t to, const void *from) { emulated::copy_16(to, from); }
DEVICE void end_group() { emulated::end_group(); }
template <int BUT> DEVICE void wait_for_groups() { emulated::wait_for_groups(BUT); }

DEVICE void load_matrices(uint32_t (&out)[4], uint32_t row) { emulated::load_matrices(out, row); }
DEVICE void multiply_8x8x16(int &c0, int &c1, uint32_t a, uint32_t b) { emulated::multiply_8x8x16(&c0, &c1, a, b); }
DEVICE void multiply_16x8x32(int (&c)[2], int (&below)[2], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
	emulated::multiply_16x8x32(c, below, a, b0, b1);
}

using TensorMap = emulated::TensorMap;

template <int LEFT> DEVICE void fewer_registers() { emulated::set_registers(LEFT, false); }
template <int NOW> DEVICE void more_registers() { emulated::set_registers(NOW, true); }
DEVICE uint32_t rank_in_cluster() { return emulated::rank_in_cluster(); }
DEVICE void meet_cluster() { emulated::sync_cluster(false); }
DEVICE void sync_cluster() { emulated::sync_cluster(true); }
DEVICE void barrier_init(uint32_t barrier, uint32_t count) { emulated::barrier_init(barrier, count); }
DEVICE void barriers_are_made() { emulated::barriers_are_made(); }
// No effect: the emulator never reorders these.
DEVICE void before_bulk_copies() {}
DEVICE void barrier_expect(uint32_t barrier, uint32_t bytes) { emulated::barrier_expect(barrier, bytes); }
DEVICE void barrier_arrive(uint32_t barrier, uint32_t block) { emulated::barrier_arrive(barrier, block); }
DEVICE void barrier_wait(uint32_t barrier, uint32_t parity) { emulated::barrier_wait(barrier, parity); }
DEVICE void copy_box(uint32_t to, const TensorMap *map, int x, int y, uint32_t barrier) {
	emulated::copy_box(to, map, {x, y, 0, 0, 0}, 2, barrier, 1u << emulated::rank_in_cluster());
}
DEVICE void copy_box_to_both(uint32_t to, const TensorMap *map, int x, int last, uint32_t barrier) {
	emulated::copy_box(to, map, {x, 0, 0, 0, last}, 5, barrier, 3);
}

DEVICE uint64_t matrix_at(uint32_t at) {
	return (uint64_t)((at & 0x3FFFF) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
DEVICE void begin_products() { emulated::begin_products(); }
DEVICE void end_products() { emulated::end_products(); }
template <int BUT> DEVICE void wait_for_products() { emulated::wait_for_products(BUT); }
DEVICE void multiply_64x256x32(int (&d)[128], uint64_t a, uint64_t b, int add) {
	emulated::multiply_64x256x32(d, a, b, add);
}
