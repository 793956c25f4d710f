// The kernels' interface to the hardware: one function for each instruction or group of instructions, so
// that the same kernels also run on the processor (emulator/, for tests). Source: NVIDIA's "PTX ISA", the
// section of each instruction.
#pragma once

#ifdef KAISAR_EMULATED
#include "emulator/hardware.h"
#else
#include <cstddef>
#include <cstdint>

#define DEVICE __device__ __forceinline__
// A function that is called, not inlined: its code exists once.
#define CALLED __device__ __noinline__
// A kernel by its name in PTX, with the maximum threads of a block.
#define KERNEL(most_threads) extern "C" __global__ void __launch_bounds__(most_threads)
// The same, if at least `blocks` blocks must fit on a multiprocessor.
#define KERNEL_BESIDE(most_threads, blocks) extern "C" __global__ void __launch_bounds__(most_threads, blocks)
#define UNROLLED _Pragma("unroll")
#define NOT_UNROLLED _Pragma("unroll 1")

// -- Indices -----------------------------------------------------------------------------------------------

DEVICE uint32_t thread_index() { return threadIdx.x; }
DEVICE uint32_t block_index() { return blockIdx.x; }
DEVICE uint32_t block_count() { return gridDim.x; }

// -- Words -------------------------------------------------------------------------------------------------

DEVICE uint32_t rotate_left(uint32_t word, uint32_t by) { return __funnelshift_l(word, word, by); }
DEVICE uint32_t rotate_right(uint32_t word, uint32_t by) { return __funnelshift_r(word, word, by); }
// Returns the upper half of a 64-bit product.
DEVICE uint32_t high_product(uint32_t a, uint32_t b) { return __umulhi(a, b); }
// Returns a + b. `one` is 1, which the compiler does not know: multiplications have their own unit, idle
// while hashes wait for the unit that rotates and xors words.
DEVICE uint32_t sum_by(uint32_t one, uint32_t a, uint32_t b) {
	uint32_t sum;
	asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(one), "r"(b));
	return sum;
}
// Selects four bytes of two words by their numbers; b's are 4 … 7.
DEVICE uint32_t bytes_of(uint32_t a, uint32_t b, uint32_t which) { return __byte_perm(a, b, which); }

// -- Threads of a block ------------------------------------------------------------------------------------

DEVICE void sync_block() { __syncthreads(); }
// Waits for `THREADS` threads of a block at one of its barriers; sync_block uses barrier 0.
template <int BARRIER, int THREADS> DEVICE void sync_some() {
	asm volatile("bar.sync %0, %1;" ::"n"(BARRIER), "n"(THREADS) : "memory");
}
// Returns a word of another thread of the warp. All of the warp's threads call it together.
DEVICE uint32_t shuffle(uint32_t word, uint32_t from) { return __shfl_sync(~0u, word, (int)from); }
DEVICE uint32_t shuffle_xor(uint32_t word, uint32_t by) { return __shfl_xor_sync(~0u, word, (int)by); }

extern __shared__ __align__(1024) uint8_t shared_start[];
// Returns the block's shared memory, aligned to 1,024 bytes.
DEVICE uint8_t *shared_memory() { return shared_start; }
// Returns its address for instructions.
DEVICE uint32_t shared_address(const void *at) { return (uint32_t)__cvta_generic_to_shared(at); }

// -- Blocks that run at the same time ----------------------------------------------------------------------

// Reads a word from another block, and sees all that block's earlier writes.
DEVICE uint32_t load_acquire(const uint32_t *from) {
	uint32_t word;
	asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(word) : "l"(from) : "memory");
	return word;
}
// Reads the last word that other blocks wrote, bypassing this multiprocessor's cache.
DEVICE uint32_t load_fresh(const uint32_t *from) {
	uint32_t word;
	asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(word) : "l"(from) : "memory");
	return word;
}
// Writes a word; a reader of it by load_acquire sees all earlier writes.
DEVICE void store_release(uint32_t *to, uint32_t word) {
	asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(word) : "memory");
}
// Adds to a word, and returns its old value; sees all earlier writes of the previous adders.
DEVICE uint32_t add_in_order(uint32_t *to, uint32_t word) {
	uint32_t before;
	asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(to), "r"(word) : "memory");
	return before;
}
// Yields to others for about 100 ns.
DEVICE void give_way() { __nanosleep(100); }
// Ends the kernel with an error.
DEVICE void give_up() { __trap(); }

// Permits the stream's next kernel to start, if it was launched to start early ("programmatic dependent
// launch"), once all blocks have called this.
DEVICE void let_next_begin() {
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// Waits until the preceding kernels are over, if this one was launched to start early, and sees their
// writes.
DEVICE void wait_for_those_before() {
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// -- Copies to shared memory, Ampere and newer -------------------------------------------------------------

#if __CUDA_ARCH__ >= 800
// Copies 16 bytes, complete once their group has been waited for.
DEVICE void copy_16(uint32_t to, const void *from) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
// Makes the copies since the previous group a group.
DEVICE void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all of the thread's groups except the last `BUT`.
template <int BUT> DEVICE void wait_for_groups() { asm volatile("cp.async.wait_group %0;" ::"n"(BUT) : "memory"); }
#endif

// -- Products of a warp ------------------------------------------------------------------------------------

// Loads four 8 × 8 matrices of 16 bits, here 8 rows of 16 bytes each: thread l of the warp gives row l % 8
// of matrix l / 8, and gets bytes 4 (l % 4) … of row l / 4 of each.
DEVICE void load_matrices(uint32_t (&out)[4], uint32_t row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		: "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(row) : "memory");
}

// Adds to 8 × 8 sums of 16 products each, Turing and newer: thread l has bytes 4 (l % 4) … of row l / 4 of
// both factors, and sums 2 (l % 4) and the next of row l / 4.
DEVICE void multiply_8x8x16(int &c0, int &c1, uint32_t a, uint32_t b) {
	asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
		: "+r"(c0), "+r"(c1) : "r"(a), "r"(b));
}

#if __CUDA_ARCH__ >= 800
// Adds to 16 × 8 sums of 32 products each. The first factor is four parts of 8 rows and 16 bytes: rows 0 … 7
// and 8 … 15, then the same for the upper bytes; the second factor is two.
DEVICE void multiply_16x8x32(int (&c)[2], int (&below)[2], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
				 "{%0, %1, %2, %3};"
		: "+r"(c[0]), "+r"(c[1]), "+r"(below[0]), "+r"(below[1])
		: "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

// -- Hopper: clusters, bulk copies, products of a warp group -----------------------------------------------

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include <cuda.h>
using TensorMap = CUtensorMap;
#define CONSTANT_PARAMETER const __grid_constant__
// A kernel whose blocks form clusters of two, and whose threads have `registers` registers.
#define KERNEL_OF_PAIRS(threads, registers)                                                                          \
	extern "C" __global__ void __maxnreg__(registers) __cluster_dims__(2, 1, 1)

// Change the registers of a group of four warps from here on, within those of the block.
template <int LEFT> DEVICE void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(LEFT)); }
template <int NOW> DEVICE void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(NOW)); }

DEVICE uint32_t rank_in_cluster() {
	uint32_t rank;
	asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
	return rank;
}
// Waits for all threads of the cluster. Orders no memory accesses: those that need order have their own.
DEVICE void meet_cluster() {
	asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}
// The same, and all earlier accesses are complete, including those to other blocks' shared memory.
DEVICE void sync_cluster() {
	asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Barriers in shared memory. Their phase completes when `count` threads and all expected bytes have arrived.
DEVICE void barrier_init(uint32_t barrier, uint32_t count) {
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// Makes initialized barriers visible to the other blocks of the cluster.
DEVICE void barriers_are_made() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Arrives, and expects bytes.
DEVICE void barrier_expect(uint32_t barrier, uint32_t bytes) {
	asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Arrives at the same barrier of a block of the cluster. Orders only the thread's earlier accesses in its
// own block: a wider order costs a fence each time, and after waiting for this, only bulk copies overwrite
// what was read.
DEVICE void barrier_arrive(uint32_t barrier, uint32_t block) {
	asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
				 "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(barrier), "r"(block) : "memory");
}
// Waits for the end of a phase, by its parity.
DEVICE void barrier_wait(uint32_t barrier, uint32_t parity) {
	asm volatile("{\n.reg .pred done;\nagain:\n"
				 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
				 "@done bra.uni over;\nbra.uni again;\nover:\n}" ::"r"(barrier), "r"(parity) : "memory");
}

// Makes earlier kernels' writes visible to bulk copies.
DEVICE void before_bulk_copies() { asm volatile("fence.proxy.async.global;" ::: "memory"); }
// Copies a box of a two-dimensional matrix; its bytes arrive at the barrier.
DEVICE void copy_box(uint32_t to, const TensorMap *map, int x, int y, uint32_t barrier) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
				 "[%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}
// Copies a box of five dimensions, of which all but the first and the last begin at 0, to both blocks of the
// cluster, to the same place and barrier in each.
DEVICE void copy_box_to_both(uint32_t to, const TensorMap *map, int x, int last, uint32_t barrier) {
	asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
				 "[%0], [%1, {%2, %3, %3, %3, %4}], [%5], %6;"
				 ::"r"(to), "l"(map), "r"(x), "r"(0), "r"(last), "r"(barrier), "h"((uint16_t)3) : "memory");
}

// Describes a matrix in shared memory to `multiply_64x256x32`: rows of 128 bytes in groups of eight, each
// group swizzled over 128 bytes.
DEVICE uint64_t matrix_at(uint32_t at) {
	return (uint64_t)((at & 0x3FFFF) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
// Orders accesses to registers and shared memory before the products that follow.
DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits for all groups of products except the last `BUT`.
template <int BUT> DEVICE void wait_for_products() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(BUT) : "memory"); }

#define EIGHT(d, at) "+r"(d[at]), "+r"(d[at + 1]), "+r"(d[at + 2]), "+r"(d[at + 3]), "+r"(d[at + 4]), "+r"(d[at + 5]), "+r"(d[at + 6]), "+r"(d[at + 7])
#define THIRTY_TWO(d, at) EIGHT(d, at), EIGHT(d, at + 8), EIGHT(d, at + 16), EIGHT(d, at + 24)
// Computes 64 × 256 sums of 32 products each, by a warp group. Thread l of warp w has sums 8 j + 2 (l % 4)
// and the next of rows 16 w + l / 4 (d[4 j], d[4 j + 1]) and eight below (d[4 j + 2], d[4 j + 3]). Adds to
// them if `add` is not 0.
DEVICE void multiply_64x256x32(int (&d)[128], uint64_t a, uint64_t b, int add) {
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
				 "wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {"
				 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
				 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
				 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
				 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127},"
				 " %128, %129, p;\n}"
		: THIRTY_TWO(d, 0), THIRTY_TWO(d, 32), THIRTY_TWO(d, 64), THIRTY_TWO(d, 96) : "l"(a), "l"(b), "r"(add));
}
#endif
#endif
