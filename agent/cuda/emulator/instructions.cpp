// The instructions of hardware.h, emulated. Source: NVIDIA's "PTX ISA", the section of each instruction.
#include "block.h"
#include <algorithm>
#include <cstdio>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace emulated {

const char *const ASIDE = "what other blocks do";

namespace {

const char *const AT_BLOCK = "a barrier of the block", *const AT_CLUSTER = "the barrier of the cluster";
const char *const AT_PHASE = "a barrier in shared memory";
const char *const AT_PRODUCTS = "products that other warps have not issued";
const char *const SHUFFLE = "a shuffle", *const LOAD = "ldmatrix", *const MMA_8 = "mma.m8n8k16",
				  *const MMA_16 = "mma.m16n8k32";
const char *const FENCE = "wgmma.fence", *const WGMMA = "wgmma.mma_async", *const COMMIT = "wgmma.commit_group";
const char *const WAIT = "wgmma.wait_group", *const REGISTERS = "setmaxnreg",
				  *const AT_REGISTERS = "registers of other warps";

// Marks the place of a barrier in shared memory, so that overwriting it is detected.
constexpr uint64_t BARRIER = 0xBA221E2BA221E2BAull;

// Waits for the other threads of the warp; the last one runs `all` for all of them.
template <class Own> void meet(const char *what, Own &own, void (*all)(Warp &, Own *const *)) {
	Fiber *me = current;
	Warp &warp = *me->warp;
	if (warp.met == 0) warp.meets_at = what;
	if (warp.meets_at != what) fail("is at %s while others of its warp are at %s", what, warp.meets_at);
	if (warp.live != warp.count) fail("is at %s, and a thread of its warp is over", what);
	warp.own[me->lane] = &own;
	if (++warp.met < warp.count) {
		wait_at(what, 0);
		return;
	}
	all(warp, (Own *const *)warp.own);
	warp.met = 0;
	for (uint32_t lane = 0; lane < warp.count; lane++)
		if (lane != me->lane) wake(&warp.fibers[lane]);
}

void whole(const Warp &warp) {
	if (warp.count != WARP) fail("multiplies in a warp of %u threads", warp.count);
}

} // namespace

// -- Memory -----------------------------------------------------------------------------------------------

void check_access(uintptr_t at, uint32_t bytes) {
	const Block &block = *current->block;
	if (at % bytes) fail("accesses %u bytes at %#zx, which is not a multiple of them", bytes, (size_t)at);
	const uintptr_t in_shared = at - (uintptr_t)block.shared;
	if (in_shared < block.shared_bytes && bytes <= block.shared_bytes - in_shared) return;
	if (!current->cluster->grid.run.memory.holds((const void *)at, bytes))
		fail("accesses %u bytes at %#zx, outside of all allocations and of its shared memory", bytes, (size_t)at);
}

void check_word(const void *at) {
	if (!on_stack((uintptr_t)at)) check_access((uintptr_t)at, 4);
}

uint8_t *shared_memory() { return current->block->shared; }

uint32_t shared_address(const void *at) {
	const Block &block = *current->block;
	const uintptr_t offset = (uintptr_t)at - (uintptr_t)block.shared;
	if (offset > block.shared_bytes) fail("takes an address that is not in its shared memory");
	return block.shared_base + (uint32_t)offset;
}

uint8_t *Block::at(uint32_t address, uint32_t bytes, uint32_t aligned) {
	const uint32_t offset = address - shared_base;
	if (address < shared_base || offset > shared_bytes || bytes > shared_bytes - offset)
		fail("accesses %u bytes at byte %lld of its block's %u of shared memory", bytes,
			(long long)address - shared_base, shared_bytes);
	if (address % aligned) fail("accesses shared memory at %#x, which is not a multiple of %u", address, aligned);
	return shared + offset;
}

// -- Threads ----------------------------------------------------------------------------------------------

void sync_some(uint32_t barrier, uint32_t threads) {
	Fiber *me = current;
	Block &block = *me->block;
	if (barrier >= 16 || threads == 0 || threads % WARP) fail("waits at barrier %u for %u threads", barrier, threads);
	Meeting &meeting = block.meetings[barrier];
	if (meeting.waiting.empty()) meeting.threads = threads;
	if (meeting.threads != threads)
		fail("waits at barrier %u for %u threads, others for %u", barrier, threads, meeting.threads);
	if (meeting.waiting.size() + 1 < threads) {
		meeting.waiting.push_back(me);
		wait_at(AT_BLOCK, barrier);
		return;
	}
	// Hardware counts warps, not threads.
	uint32_t of_warp[MOST_THREADS / WARP] = {};
	of_warp[me->warp->number]++;
	for (const Fiber *fiber : meeting.waiting) of_warp[fiber->warp->number]++;
	for (const Warp &warp : block.warps)
		if (of_warp[warp.number] && of_warp[warp.number] != warp.count)
			fail("waits at barrier %u, at which only %u threads of warp %u are", barrier, of_warp[warp.number],
				warp.number);
	wake_all(meeting.waiting);
}

void sync_block() {
	const Block &block = *current->block;
	const uint32_t threads = current->cluster->grid.launch.threads;
	if (block.live != threads) fail("waits for its block, of which %u threads are over", threads - block.live);
	if (threads % WARP == 0) return sync_some(0, threads);
	Meeting &meeting = current->block->meetings[0];
	if (meeting.waiting.size() + 1 == threads) return wake_all(meeting.waiting);
	meeting.waiting.push_back(current);
	wait_at(AT_BLOCK, 0);
}

uint32_t shuffle(uint32_t word, uint32_t from, bool by) {
	struct Own {
		uint32_t word, from, got;
	};
	Own own = {word, (by ? current->lane ^ from : from) % WARP, 0};
	meet<Own>(SHUFFLE, own, [](Warp &warp, Own *const *all) {
		for (uint32_t lane = 0; lane < warp.count; lane++) {
			if (all[lane]->from >= warp.count) fail("shuffles with a thread that is not there");
			all[lane]->got = all[all[lane]->from]->word;
		}
	});
	return own.got;
}

void give_way() {
	current->cluster->aside.push_back(current);
	wait_at(ASIDE, 0);
}

void let_next_begin() {
	Block &block = *current->block;
	Grid &grid = current->cluster->grid;
	// Code for older targets lacks this instruction.
	if (grid.launch.target < 900 || block.lets_next) return;
	block.lets_next = true;
	bool all = true;
	for (const Block &one : block.cluster->blocks) all = all && one.lets_next;
	block.cluster->letting = all;
	grid.letting.fetch_add(1, std::memory_order_acq_rel);
}

void wait_for_those_before() {
	const Grid &grid = current->cluster->grid;
	if (grid.launch.target < 900) return;
	while (grid.before && !grid.before->is_over()) give_way();
	current->cluster->progress = true;
}

// -- Copies of 16 bytes -----------------------------------------------------------------------------------

namespace {

void copy_now(const Copy16 &copy) { memcpy(current->block->at(copy.to, 16, 16), copy.from, 16); }

} // namespace

void copy_16(uint32_t to, const void *from) {
	Fiber *me = current;
	me->block->at(to, 16, 16);
	check_access((uintptr_t)from, 16);
	const Copy16 copy = {to, from};
	if (me->cluster->now(me->cluster->copies)) return copy_now(copy);
	me->copies.push_back(copy);
	me->ungrouped++;
}

void end_group() {
	current->groups.push_back(current->ungrouped);
	current->ungrouped = 0;
}

void wait_for_groups(uint32_t but) {
	Fiber *me = current;
	if (me->groups.size() <= but) return;
	const size_t groups = me->groups.size() - but;
	size_t copies = 0;
	for (size_t at = 0; at < groups; at++) copies += me->groups[at];
	// The last one first, since their order is unspecified.
	for (size_t at = copies; at > 0; at--) copy_now(me->copies[at - 1]);
	me->copies.erase(me->copies.begin(), me->copies.begin() + (ptrdiff_t)copies);
	me->groups.erase(me->groups.begin(), me->groups.begin() + (ptrdiff_t)groups);
}

// -- Products of a warp -----------------------------------------------------------------------------------

void multiply(uint32_t rows, uint32_t columns, uint32_t depth, const int8_t *a, const int8_t *b, int32_t *sums) {
#ifdef __SSE2__
	// Two products of 16 bits at a time: `pairs` holds those of all columns adjacently. On the heap, since
	// thread-local storage of a library that is loaded late must be small.
	static thread_local std::vector<int32_t> kept(16 * 256);
	int32_t *pairs = kept.data();
	const uint32_t twos = depth / 2;
	auto pair = [](const int8_t *from) {
		return (int32_t)((uint32_t)(uint16_t)from[0] | (uint32_t)(uint16_t)from[1] << 16);
	};
	for (uint32_t two = 0; two < twos; two++)
		for (uint32_t column = 0; column < columns; column++)
			pairs[two * columns + column] = pair(b + column * depth + 2 * two);
	for (uint32_t row = 0; row < rows; row++)
		for (uint32_t column = 0; column < columns; column += 4) {
			__m128i *to = (__m128i *)(sums + row * columns + column);
			__m128i sum = _mm_loadu_si128(to);
			for (uint32_t two = 0; two < twos; two++)
				sum = _mm_add_epi32(sum,
					_mm_madd_epi16(_mm_set1_epi32(pair(a + row * depth + 2 * two)),
						_mm_loadu_si128((const __m128i *)(pairs + two * columns + column))));
			_mm_storeu_si128(to, sum);
		}
#else
	for (uint32_t row = 0; row < rows; row++)
		for (uint32_t column = 0; column < columns; column++) {
			uint32_t sum = (uint32_t)sums[row * columns + column];
			for (uint32_t k = 0; k < depth; k++) sum += (uint32_t)(a[row * depth + k] * b[column * depth + k]);
			sums[row * columns + column] = (int32_t)sum;
		}
#endif
}

void load_matrices(uint32_t *out, uint32_t row) {
	struct Own {
		uint32_t *out, row;
	};
	Own own = {out, row};
	meet<Own>(LOAD, own, [](Warp &warp, Own *const *all) {
		whole(warp);
		for (uint32_t part = 0; part < 4; part++)
			for (uint32_t row = 0; row < 8; row++) {
				const uint8_t *from = warp.block->at(all[8 * part + row]->row, 16, 16);
				for (uint32_t at = 0; at < 4; at++) memcpy(&all[4 * row + at]->out[part], from + 4 * at, 4);
			}
	});
}

void multiply_8x8x16(int *c0, int *c1, uint32_t a, uint32_t b) {
	struct Own {
		int *c0, *c1;
		uint32_t a, b;
	};
	Own own = {c0, c1, a, b};
	meet<Own>(MMA_8, own, [](Warp &warp, Own *const *all) {
		whole(warp);
		int8_t a[8][16], b[8][16];
		int32_t sums[8][8];
		for (uint32_t lane = 0; lane < WARP; lane++) {
			const uint32_t row = lane / 4, at = lane % 4;
			memcpy(&a[row][4 * at], &all[lane]->a, 4);
			memcpy(&b[row][4 * at], &all[lane]->b, 4);
			sums[row][2 * at] = *all[lane]->c0;
			sums[row][2 * at + 1] = *all[lane]->c1;
		}
		multiply(8, 8, 16, a[0], b[0], sums[0]);
		for (uint32_t lane = 0; lane < WARP; lane++) {
			*all[lane]->c0 = sums[lane / 4][lane % 4 * 2];
			*all[lane]->c1 = sums[lane / 4][lane % 4 * 2 + 1];
		}
	});
}

void multiply_16x8x32(int *c, int *below, const uint32_t *a, uint32_t b0, uint32_t b1) {
	struct Own {
		int *c, *below;
		const uint32_t *a;
		uint32_t b[2];
	};
	Own own = {c, below, a, {b0, b1}};
	meet<Own>(MMA_16, own, [](Warp &warp, Own *const *all) {
		whole(warp);
		int8_t a[16][32], b[8][32];
		int32_t sums[16][8];
		for (uint32_t lane = 0; lane < WARP; lane++) {
			const uint32_t row = lane / 4, at = lane % 4;
			for (uint32_t part = 0; part < 4; part++)
				memcpy(&a[row + part % 2 * 8][part / 2 * 16 + 4 * at], &all[lane]->a[part], 4);
			for (uint32_t part = 0; part < 2; part++) memcpy(&b[row][16 * part + 4 * at], &all[lane]->b[part], 4);
			memcpy(&sums[row][2 * at], all[lane]->c, 8);
			memcpy(&sums[row + 8][2 * at], all[lane]->below, 8);
		}
		multiply(16, 8, 32, a[0], b[0], sums[0]);
		for (uint32_t lane = 0; lane < WARP; lane++) {
			memcpy(all[lane]->c, &sums[lane / 4][lane % 4 * 2], 8);
			memcpy(all[lane]->below, &sums[lane / 4 + 8][lane % 4 * 2], 8);
		}
	});
}

// -- Registers --------------------------------------------------------------------------------------------

void set_registers(uint32_t count, bool more) {
	struct Own {
		uint32_t count;
		bool more;
	};
	Own own = {count, more};
	meet<Own>(REGISTERS, own, [](Warp &warp, Own *const *all) {
		const uint32_t count = all[0]->count;
		Block &block = *warp.block;
		if (count % 8 || count < 24 || count > 256) fail("asks for %u registers", count);
		// Kernels of tests have no known register count.
		if (warp.registers == 0) return;
		if (all[0]->more ? count < warp.registers : count > warp.registers)
			fail("asks for %s registers, %u, and has %u", all[0]->more ? "more" : "fewer", count, warp.registers);
		if (!all[0]->more) {
			block.free_registers += warp.registers - count;
			wake_all(block.waiting_for_registers);
		} else {
			while (block.free_registers < count - warp.registers) {
				block.waiting_for_registers.push_back(current);
				wait_at(AT_REGISTERS, 0);
			}
			block.free_registers -= count - warp.registers;
		}
		warp.registers = count;
	});
}

// -- Clusters, and barriers in shared memory --------------------------------------------------------------

uint32_t rank_in_cluster() { return current->block->rank; }

void sync_cluster(bool in_order) {
	Cluster &cluster = *current->cluster;
	// The thread's arrivals at other blocks precede the barrier.
	for (size_t at = cluster.arrivals.size(); in_order && at > 0; at--)
		if (cluster.arrivals[at - 1].from == current) cluster.complete_arrival(at - 1);
	if (cluster.at_cluster_barrier.size() + 1 == cluster.live) return wake_all(cluster.at_cluster_barrier);
	cluster.at_cluster_barrier.push_back(current);
	wait_at(AT_CLUSTER, 0);
}

Phases &Block::phases_at(uint32_t address) {
	uint64_t word;
	memcpy(&word, at(address, 8, 8), 8);
	for (Phases &one : phases)
		if (one.address == address) {
			if (word != (BARRIER ^ address)) fail("uses barrier %#x, over which something was written", address);
			return one;
		}
	fail("uses a barrier at %#x, where there is none", address);
}

namespace {

void turn_if_complete(Phases &phases) {
	if (phases.pending || phases.bytes) return;
	phases.phase++;
	phases.pending = phases.count;
	wake_all(phases.waiting);
}

void arrive(Phases &phases, int64_t bytes) {
	if (phases.pending == 0)
		fail("arrives at barrier %#x, where all %u have arrived and bytes are missing", phases.address, phases.count);
	phases.bytes += bytes;
	phases.pending--;
	turn_if_complete(phases);
}

// Checks that a barrier was announced before another block uses it.
void check_announced(Block &other, uint32_t barrier) {
	if (&other != current->block && !other.phases_at(barrier).announced)
		fail("uses a barrier of another block that was made without fence.mbarrier_init");
}

constexpr int64_t MOST_BYTES = (1 << 20) - 1;

void check_bytes(const Phases &phases) {
	if (phases.bytes > MOST_BYTES || phases.bytes < -MOST_BYTES)
		fail("barrier %#x counts %lld bytes", phases.address, (long long)phases.bytes);
}

} // namespace

void barrier_init(uint32_t barrier, uint32_t count) {
	Block &block = *current->block;
	uint8_t *at = block.at(barrier, 8, 8);
	if (count == 0 || count >= 1 << 20) fail("makes a barrier for %u", count);
	for (const Phases &one : block.phases)
		if (one.address == barrier) fail("makes the barrier at %#x twice", barrier);
	const uint64_t word = BARRIER ^ barrier;
	memcpy(at, &word, 8);
	block.phases.push_back({barrier, count, count, 0, 0, false, {}});
}

void barriers_are_made() {
	for (Phases &one : current->block->phases) one.announced = true;
}

void barrier_expect(uint32_t barrier, uint32_t bytes) {
	Phases &phases = current->block->phases_at(barrier);
	arrive(phases, bytes);
	check_bytes(phases);
}

void barrier_arrive(uint32_t barrier, uint32_t block) {
	Cluster &cluster = *current->cluster;
	if (block >= cluster.blocks.size())
		fail("arrives at a barrier of block %u of a cluster of %zu", block, cluster.blocks.size());
	Block &other = cluster.blocks[block];
	if (other.live == 0) fail("arrives at a barrier of a block that is over");
	check_announced(other, barrier);
	const Arrival arrival = {current, &other, barrier};
	if (&other == current->block || cluster.now(cluster.boxes)) arrive_now(arrival);
	else cluster.arrivals.push_back(arrival);
}

void arrive_now(const Arrival &arrival) { arrive(arrival.block->phases_at(arrival.barrier), 0); }

void barrier_wait(uint32_t barrier, uint32_t parity) {
	if (parity > 1) fail("waits for parity %u", parity);
	for (;;) {
		Phases &phases = current->block->phases_at(barrier);
		if ((phases.phase & 1) != parity) return;
		phases.waiting.push_back(current);
		wait_at(AT_PHASE, barrier);
	}
}

// -- Copies of boxes --------------------------------------------------------------------------------------

void copy_now(const BoxCopy &copy, const Memory &memory) {
	const TensorMap &map = copy.map;
	if (copy.block->live == 0) fail("a box is copied to a block that is over");
	const uint32_t row = (uint32_t)map.box[0] * map.element;
	uint32_t rows = 1;
	for (uint32_t of = 1; of < map.rank; of++) rows *= map.box[of];
	for (uint32_t number = 0; number < rows; number++) {
		uint64_t from = map.address;
		bool inside = true;
		for (uint32_t of = 1, rest = number; of < map.rank; rest /= map.box[of], of++) {
			const int64_t at = (int64_t)copy.at[of] + rest % map.box[of];
			inside = inside && at >= 0 && (uint64_t)at < map.sizes[of];
			from += (uint64_t)at * map.strides[of];
		}
		// Parts of 16 bytes, which divide both a box's rows and the part inside the matrix.
		for (uint32_t part = 0; part < row / 16; part++) {
			uint32_t to = copy.to + number * row + 16 * part;
			if (map.swizzle == 3) to ^= (to >> 7 & 7) << 4;
			uint8_t bytes[16] = {};
			for (uint32_t element = 0; inside && element < 16u / map.element; element++) {
				const int64_t at = (int64_t)copy.at[0] + part * 16 / map.element + element;
				if (at < 0 || (uint64_t)at >= map.sizes[0]) continue;
				const uint8_t *source = (const uint8_t *)from + at * map.element;
				// A part that lies inside as a whole is checked once.
				if (element == 0 && (uint64_t)at + 16u / map.element <= map.sizes[0]) {
					if (!memory.holds(source, 16)) fail("a box is copied from outside of all allocations");
					memcpy(bytes, source, 16);
					break;
				}
				if (!memory.holds(source, map.element)) fail("a box is copied from outside of all allocations");
				memcpy(bytes + element * map.element, source, map.element);
			}
			memcpy(copy.block->at(to, 16, 16), bytes, 16);
		}
	}
	Phases &phases = copy.block->phases_at(copy.barrier);
	phases.bytes -= (int64_t)rows * row;
	check_bytes(phases);
	turn_if_complete(phases);
}

void copy_box(uint32_t to, const TensorMap *map, const int (&at)[5], uint32_t rank, uint32_t barrier, uint32_t blocks) {
	Fiber *me = current;
	Cluster &cluster = *me->cluster;
	if (map->magic != TensorMap::MAGIC) fail("copies a box by a description that cuTensorMapEncodeTiled did not make");
	if (map->rank != rank) fail("copies a box of %u dimensions of a matrix of %u", rank, map->rank);
	if (to % 128) fail("copies a box to %#x, which is not a multiple of 128", to);
	if (map->swizzle != 0 && (map->swizzle != 3 || map->box[0] * map->element != 128))
		fail("copies a box that is swizzled in a way that the emulator does not know");
	if (blocks == 0 || blocks >> cluster.blocks.size()) fail("copies a box to blocks that are not in its cluster");
	for (uint32_t block = 0; block < cluster.blocks.size(); block++) {
		if (!(blocks >> block & 1)) continue;
		check_announced(cluster.blocks[block], barrier);
		BoxCopy copy = {*map, {at[0], at[1], at[2], at[3], at[4]}, to, barrier, &cluster.blocks[block]};
		if (cluster.now(cluster.boxes)) copy_now(copy, cluster.grid.run.memory);
		else cluster.on_the_way.push_back(copy);
	}
}

// -- Products of a group of warps -------------------------------------------------------------------------

namespace {

struct Nothing {};

Group &group_of(Warp &warp) {
	Group &group = warp.block->groups[warp.number / GROUP_WARPS];
	if (warp.number / GROUP_WARPS * GROUP_WARPS + GROUP_WARPS > warp.block->warps.size())
		fail("multiplies in a group of fewer than %u warps", GROUP_WARPS);
	return group;
}

// Reads rows of 32 bytes of the matrix of a descriptor.
void rows_of(Block &block, uint64_t matrix, uint32_t rows, int8_t *to) {
	const uint32_t start = (uint32_t)(matrix & 0x3FFF) << 4, eight = (uint32_t)(matrix >> 32 & 0x3FFF) << 4;
	if (matrix >> 62 != 1) fail("multiplies a matrix that is not swizzled over 128 bytes");
	if (matrix >> 49 & 7 || start >> 7 & 7)
		fail("multiplies a matrix at %#x, whose rows do not begin at a multiple of 1024", start);
	// Descriptors hold the lower 18 bits of an address.
	for (uint32_t row = 0; row < rows; row++)
		for (uint32_t part = 0; part < 2; part++) {
			uint32_t at = start + row / 8 * eight + row % 8 * 128 + 16 * part;
			at ^= (at >> 7 & 7) << 4;
			memcpy(to + 32 * row + 16 * part, block.at(at, 16, 16), 16);
		}
}

// Runs the products of all warps issued before `end`.
void multiply_until(Block &block, Group &group, uint64_t end) {
	while (group.done < end) {
		const Issued issued = group.issued.front();
		group.issued.pop_front();
		group.done++;
		int8_t a[64 * 32], b[256 * 32];
		rows_of(block, issued.a, 64, a);
		rows_of(block, issued.b, 256, b);
		if (!issued.add) memset(issued.sums->value, 0, sizeof issued.sums->value);
		multiply(64, 256, 32, a, b, issued.sums->value);
	}
}

// Returns the index of a thread's sum number `at` among the group's.
uint32_t place_of_sum(uint32_t thread, uint32_t at) {
	const uint32_t row = thread / WARP * 16 + thread % WARP / 4 + at / 2 % 2 * 8;
	return row * 256 + at / 4 * 8 + thread % 4 * 2 + at % 2;
}

uint64_t least_issued(const Group &group) { return *std::min_element(group.by_warp, group.by_warp + GROUP_WARPS); }

} // namespace

void begin_products() {
	Nothing own;
	meet<Nothing>(FENCE, own, [](Warp &warp, Nothing *const *) { warp.fenced = true; });
}

void multiply_64x256x32(int *d, uint64_t a, uint64_t b, int add) {
	struct Own {
		int *d;
		uint64_t a, b;
		int add;
	};
	Own own = {d, a, b, add != 0};
	meet<Own>(WGMMA, own, [](Warp &warp, Own *const *all) {
		Group &group = group_of(warp);
		if (!warp.fenced) fail("multiplies without wgmma.fence");
		const Own &own = *all[0];
		for (uint32_t lane = 0; lane < WARP; lane++)
			if (all[lane]->a != own.a || all[lane]->b != own.b || all[lane]->add != own.add)
				fail("multiplies other matrices than others of its warp");
		const uint32_t number = warp.number % GROUP_WARPS;
		const uint64_t which = group.by_warp[number]++;
		if (which == group.done + group.issued.size()) group.issued.push_back({own.a, own.b, own.add != 0, nullptr});
		Issued &issued = group.issued[which - group.done];
		if (issued.a != own.a || issued.b != own.b || issued.add != (own.add != 0))
			fail("multiplies other matrices than the other warps of its group");
		if (!issued.sums) {
			for (auto &sums : group.sums)
				if (sums->taken[number] && sums->thread[number * WARP] == own.d) issued.sums = sums.get();
			if (!issued.sums) {
				group.sums.push_back(std::make_unique<Sums>());
				issued.sums = group.sums.back().get();
			}
		}
		Sums &sums = *issued.sums;
		for (uint32_t lane = 0; lane < WARP; lane++) {
			const uint32_t thread = number * WARP + lane;
			// A slow warp gets its sums back before it notices that a faster one adds to them again.
			if (!sums.taken[number] || sums.given[number]) {
				sums.thread[thread] = all[lane]->d;
				for (uint32_t at = 0; at < 128; at++) sums.value[place_of_sum(thread, at)] = all[lane]->d[at];
				// Until the wait, the registers' contents are undefined.
				fill_with_garbage(all[lane]->d, 128 * sizeof(int), warp.block->cluster->random.next());
			} else if (sums.thread[thread] != all[lane]->d) {
				fail("adds to other registers than its warp");
			}
		}
		sums.taken[number] = true;
		sums.given[number] = false;
		sums.last[number] = which + 1;
		wake_all(group.waiting);
	});
}

void end_products() {
	Nothing own;
	meet<Nothing>(COMMIT, own, [](Warp &warp, Nothing *const *) {
		Group &group = group_of(warp);
		const uint32_t number = warp.number % GROUP_WARPS;
		const uint64_t which = group.committed[number]++;
		if (which == group.ends.size()) group.ends.push_back(group.by_warp[number]);
		if (group.ends[which] != group.by_warp[number]) fail("ends a group of products elsewhere than the other warps");
		Cluster &cluster = *warp.block->cluster;
		const uint64_t issued = least_issued(group);
		if (issued >= group.ends[which] && cluster.now(cluster.products))
			multiply_until(*warp.block, group, group.ends[which]);
	});
}

void wait_for_products(uint32_t but) {
	struct Own {
		uint32_t but;
	};
	Own own = {but};
	meet<Own>(WAIT, own, [](Warp &warp, Own *const *all) {
		Group &group = group_of(warp);
		const uint32_t number = warp.number % GROUP_WARPS, but = all[0]->but;
		if (group.committed[number] <= but) return;
		const uint64_t end = group.ends[group.committed[number] - but - 1];
		while (least_issued(group) < end) {
			group.waiting.push_back(current);
			wait_at(AT_PRODUCTS, 0);
		}
		multiply_until(*warp.block, group, end);
		// Sums without products in flight return to the threads.
		for (size_t which = 0; which < group.sums.size(); which++) {
			Sums &sums = *group.sums[which];
			if (!sums.taken[number] || sums.given[number] || sums.last[number] > group.done) continue;
			for (uint32_t lane = 0; lane < WARP; lane++) {
				const uint32_t thread = number * WARP + lane;
				for (uint32_t at = 0; at < 128; at++) sums.thread[thread][at] = sums.value[place_of_sum(thread, at)];
			}
			sums.given[number] = true;
			warp.fenced = false;
		}
		auto is_given = [](const std::unique_ptr<Sums> &sums) {
			return std::all_of(sums->given, sums->given + GROUP_WARPS, [](bool given) { return given; });
		};
		group.sums.erase(std::remove_if(group.sums.begin(), group.sums.end(), is_given), group.sums.end());
	});
}

} // namespace emulated
