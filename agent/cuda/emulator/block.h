// The state of running blocks and clusters, which machine.cpp schedules and instructions.cpp changes.
#pragma once
#include "machine.h"
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

namespace emulated {

struct Run;

// A kernel's launch and its progress.
struct Grid {
	const Launch &launch;
	Run &run;
	// The preceding launch, if this one starts early.
	Grid *before = nullptr;
	bool has_next = false;
	// Its index among the launches that share the machine.
	size_t number = 0;
	uint32_t cluster, clusters;
	// The clusters in their order of starting, and the number started.
	std::vector<uint32_t> order;
	std::atomic<uint32_t> begun{0};
	// Number of blocks that permit the next launch to start or are over, and of blocks that are over.
	std::atomic<uint32_t> letting{0}, over{0};

	Grid(const Launch &launch, Run &run);
	bool is_over() const { return over.load(std::memory_order_acquire) == launch.blocks; }
	bool may_begin() const {
		return !before || before->letting.load(std::memory_order_acquire) == before->launch.blocks;
	}
};

// Sums of a warp group's products in flight: the group's own until a thread waits for them.
struct Sums {
	int32_t value[64 * 256];
	int *thread[GROUP_WARPS * WARP];
	bool taken[GROUP_WARPS], given[GROUP_WARPS];
	// The last product of each warp, plus one.
	uint64_t last[GROUP_WARPS];
};
struct Issued {
	uint64_t a, b;
	bool add;
	Sums *sums;
};
struct Group {
	std::deque<Issued> issued;
	// Number of finished products, number that each warp issued, and the ends of the groups that each warp
	// committed.
	uint64_t done = 0, by_warp[GROUP_WARPS] = {};
	std::vector<uint64_t> ends;
	uint64_t committed[GROUP_WARPS] = {};
	std::vector<std::unique_ptr<Sums>> sums;
	// Threads that wait until all warps have issued.
	std::vector<Fiber *> waiting;
};

struct Warp {
	Block *block;
	Fiber *fibers;
	uint32_t count, live, number;
	// Runnable threads.
	uint32_t ready[WARP], ready_count = 0;
	// Its index among the cluster's warps with runnable threads.
	uint32_t place = ~0u;
	// The instruction at which its threads meet.
	const char *meets_at = nullptr;
	uint32_t met = 0;
	void *own[WARP];
	// Set once its registers are ready for products.
	bool fenced = false;
	// Registers of each of its threads.
	uint32_t registers = 0;
};

// A barrier of all or some threads of a block.
struct Meeting {
	uint32_t threads = 0;
	std::vector<Fiber *> waiting;
};

// A barrier in shared memory.
struct Phases {
	uint32_t address, count, pending;
	int64_t bytes;
	uint32_t phase;
	// Set once the other blocks of the cluster see that it was initialized.
	bool announced;
	std::vector<Fiber *> waiting;
};

struct Block {
	Cluster *cluster;
	uint32_t index, rank;
	uint8_t *mapped, *shared;
	uint32_t shared_bytes, shared_base;
	uint32_t live;
	bool lets_next = false;
	Meeting meetings[16];
	std::vector<Phases> phases;
	std::vector<Warp> warps;
	std::vector<Group> groups;
	// Registers that warps released, counted per thread of a warp, and the threads that wait for some.
	uint32_t free_registers = 0;
	std::vector<Fiber *> waiting_for_registers;

	Phases &phases_at(uint32_t address);
	// Returns the host address of bytes of shared memory.
	uint8_t *at(uint32_t address, uint32_t bytes, uint32_t aligned);
};

// A copy of a box to one block, in flight.
struct BoxCopy {
	TensorMap map;
	int at[5];
	uint32_t to, barrier;
	Block *block;
};

// An arrival at another block's barrier, in flight.
struct Arrival {
	const Fiber *from;
	Block *block;
	uint32_t barrier;
};

enum class When { LATE, EARLY, DRAWN };

struct Cluster {
	Grid &grid;
	Random random;
	// The moments at which copies of 16 bytes, copies of boxes and products complete.
	When copies, boxes, products;
	// Maximum turns that a warp's threads take in sequence.
	uint32_t patience;
	std::vector<Fiber> fibers;
	std::vector<Block> blocks;
	std::vector<Warp *> ready;
	std::vector<BoxCopy> on_the_way;
	std::vector<Arrival> arrivals;
	// Threads that poll for other blocks.
	std::vector<Fiber *> aside;
	std::vector<Fiber *> at_cluster_barrier;
	uint32_t live;
	bool progress = false, letting = false;
	// The overall progress at the time when it could not continue.
	uint64_t stuck_at = ~0ull;
	Context scheduler{};

	Cluster(Grid &grid, uint32_t number, uint64_t seed);
	~Cluster();
	enum Outcome { DONE, STUCK, MORE };
	Outcome go_on(uint32_t turns);
	// Completes one operation in flight; false if there is none.
	bool complete_one();
	void complete(size_t which);
	void complete_arrival(size_t which);
	void thread_ends(Fiber *fiber);
	bool now(When when) { return when == When::EARLY || (when == When::DRAWN && random.coin()); }

private:
	void turn(Fiber *fiber);
	std::string standstill() const;
};

// The wait of threads that poll.
extern const char *const ASIDE;
// Makes a thread runnable.
void wake(Fiber *fiber);
// Yields until the thread is woken.
void wait_at(const char *what, uint32_t at);
// Wakes all of these threads.
void wake_all(std::vector<Fiber *> &waiting);
// Adds products of rows: sums[i][j] += Σ_k a[i][k] · b[j][k], all contiguous. `columns` is a multiple of 4,
// `depth` of 2.
void multiply(uint32_t rows, uint32_t columns, uint32_t depth, const int8_t *a, const int8_t *b, int32_t *sums);
// Arrives at a barrier.
void arrive_now(const Arrival &arrival);
// Copies a box's bytes, and counts them at the barrier.
void copy_now(const BoxCopy &copy, const Memory &memory);

// All launches that share the machine.
struct Run {
	Memory &memory;
	uint64_t seed;
	Overlap overlap;
	std::deque<Grid> grids;
	std::atomic<bool> failed{false};
	std::mutex mutex;
	std::string message;

	Run(const std::vector<Launch> &chain, Memory &memory, uint64_t seed, Overlap overlap);
	void note(const std::string &text);
};

} // namespace emulated
