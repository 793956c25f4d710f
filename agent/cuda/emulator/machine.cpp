// The emulator's scheduler: see machine.h.
#include "block.h"
#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <csignal>
#include <map>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace emulated {

__thread Fiber *current = nullptr;

namespace {

constexpr uint64_t CANARY = 0xFEEDFACECAFEBEEF;
// Inaccessible bytes at each end of a stack, and of a block's shared memory.
constexpr size_t GUARD = 64 << 10;
// Room for a block's shared memory, with zones around it.
constexpr size_t SHARED_ROOM = 256 << 10, SHARED_ZONE = 1024;
constexpr uint8_t UNTOUCHED = 0xC5;
// Maximum threads that a worker has started and not ended.
constexpr uint32_t MOST_BEGUN = 4096;
// Turns between two checks of other blocks' progress.
constexpr uint32_t TURNS = 1 << 14;

uint64_t number_of(const char *name, uint64_t otherwise) {
	const char *text = getenv(name);
	return text && *text ? strtoull(text, nullptr, 0) : otherwise;
}

// Longest standstill of all launches before one fails.
uint64_t most_idle_ms() { return number_of("KAISAR_EMULATED_PATIENCE_MS", 10000); }

uint64_t now_ms() {
	using namespace std::chrono;
	return (uint64_t)duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

// Grows whenever a thread of any launch proceeds: then blocks that wait for others check again.
std::atomic<uint64_t> progress{1};
std::atomic<uint64_t> progress_ms{0};

void note_progress() {
	progress.fetch_add(1, std::memory_order_relaxed);
	progress_ms.store(now_ms(), std::memory_order_relaxed);
}

// -- Stacks and shared memory that are used again ---------------------------------------------------------

// Mapped memory between inaccessible parts.
class Pool {
	const size_t bytes;
	std::mutex mutex;
	std::vector<uint8_t *> unused;

public:
	explicit Pool(size_t bytes) : bytes(bytes) {}
	uint8_t *take() {
		{
			std::lock_guard<std::mutex> lock(mutex);
			if (!unused.empty()) {
				uint8_t *at = unused.back();
				unused.pop_back();
				return at;
			}
		}
		void *at = mmap(nullptr, bytes + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (at == MAP_FAILED || mprotect((uint8_t *)at + GUARD, bytes, PROT_READ | PROT_WRITE) != 0) {
			fprintf(stderr, "emulator: no memory for threads\n");
			abort();
		}
		return (uint8_t *)at + GUARD;
	}
	void give(uint8_t *at) {
		std::lock_guard<std::mutex> lock(mutex);
		unused.push_back(at);
	}
};

// Never destroyed: threads may outlive static objects.
Pool &stacks() {
	static Pool &pool = *new Pool(STACK);
	return pool;
}
Pool &shared_memories() {
	static Pool &pool = *new Pool(SHARED_ROOM);
	return pool;
}

// -- Switching --------------------------------------------------------------------------------------------

#ifdef __x86_64__
extern "C" void kaisar_emulated_switch(void **from, void *to);
asm(".text\n"
	".hidden kaisar_emulated_switch\n"
	".globl kaisar_emulated_switch\n"
	".type kaisar_emulated_switch, @function\n"
	"kaisar_emulated_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size kaisar_emulated_switch, . - kaisar_emulated_switch\n");

void switch_to(Context &from, Context &to) { kaisar_emulated_switch(&from, to); }

void prepare(Context &context, uint8_t *stack, size_t bytes, void (*start)()) {
	// Like after a call: the return address lies above a multiple of 16, after six registers.
	void **top = (void **)(stack + bytes) - 2;
	*--top = nullptr;
	*--top = (void *)start;
	for (int i = 0; i < 6; i++) *--top = nullptr;
	context = top;
}
#else
void switch_to(Context &from, Context &to) { swapcontext(&from, &to); }

void prepare(Context &context, uint8_t *stack, size_t bytes, void (*start)()) {
	getcontext(&context);
	context.uc_stack.ss_sp = stack;
	context.uc_stack.ss_size = bytes;
	context.uc_link = nullptr;
	makecontext(&context, start, 0);
}
#endif

void thread_main() {
	Fiber *me = current;
	const Launch &launch = me->cluster->grid.launch;
	void *arguments[16];
	for (size_t at = 0; at < launch.arguments.size(); at++) arguments[at] = (void *)launch.arguments[at].data();
	launch.kernel->call(arguments);
	me->cluster->thread_ends(me);
	switch_to(me->context, me->cluster->scheduler);
	abort();
}

// -- Accesses that the processor refuses ------------------------------------------------------------------

#if defined(__x86_64__) && defined(__linux__)
struct sigaction before_us[65];
__thread uintptr_t fault_at __attribute__((tls_model("initial-exec")));
__thread int fault_signal __attribute__((tls_model("initial-exec")));
__thread uint8_t *fault_stack __attribute__((tls_model("initial-exec")));
constexpr size_t FAULT_STACK = 64 << 10;

// Runs in place of the kernel, on its own stack.
void after_fault() {
	const uint8_t *stack = current->stack;
	if (fault_signal == SIGFPE) fail("divides by zero");
	if (fault_at - (uintptr_t)stack + GUARD < GUARD) fail("needs a stack of more than %zu bytes", STACK);
	if (fault_at == 0) fail("accesses address 0, or one that is not aligned");
	fail("accesses %#zx, outside of memory", (size_t)fault_at);
}

void on_fault(int number, siginfo_t *info, void *context) {
	if (current) {
		fault_at = (uintptr_t)info->si_addr;
		fault_signal = number;
		greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
		registers[REG_RIP] = (greg_t)&after_fault;
		registers[REG_RSP] = (greg_t)(fault_stack + FAULT_STACK - 8);
		return;
	}
	const struct sigaction &before = before_us[number];
	if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(number, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) before.sa_handler(number);
	else signal(number, SIG_DFL);
}

// Stacks of this host thread for handling faults of kernels.
class FaultStacks {
	std::vector<uint8_t> handler, after;
	stack_t before = {};
	bool replaced = false;

public:
	FaultStacks() : after(FAULT_STACK + 16) {
		static std::once_flag once;
		std::call_once(once, [] {
			for (int number : {SIGSEGV, SIGBUS, SIGFPE}) {
				struct sigaction ours = {};
				ours.sa_sigaction = on_fault;
				ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
				sigaction(number, &ours, &before_us[number]);
			}
		});
		sigaltstack(nullptr, &before);
		if (before.ss_flags & SS_DISABLE) {
			handler.resize(FAULT_STACK);
			stack_t own = {};
			own.ss_sp = handler.data();
			own.ss_size = handler.size();
			replaced = sigaltstack(&own, nullptr) == 0;
		}
		fault_stack = (uint8_t *)(((uintptr_t)after.data() + 15) & ~(uintptr_t)15);
	}
	~FaultStacks() {
		if (replaced) sigaltstack(&before, nullptr);
		fault_stack = nullptr;
	}
};
#else
struct FaultStacks {};
#endif

// Leaves the scheduler when something fails there.
struct Failed {};

} // namespace

uint64_t seed_of_environment() { return number_of("KAISAR_EMULATED_SEED", 1); }

void Run::note(const std::string &text) {
	std::lock_guard<std::mutex> lock(mutex);
	// The first failure is the cause of those that follow.
	if (!failed.load()) message = text;
	failed.store(true);
}

namespace {
thread_local Run *run_here = nullptr;
}

void fail(const char *format, ...) {
	char text[512], whole[640];
	va_list list;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	Fiber *me = current;
	if (!me) {
		run_here->note(text);
		throw Failed{};
	}
	snprintf(whole, sizeof whole, "%s: thread %u of block %u %s", me->cluster->grid.launch.kernel->name, me->index,
		me->block_index, text);
	me->cluster->grid.run.note(whole);
	// The stack needs no unwinding, since kernels own no other resources.
	me->over = true;
	switch_to(me->context, me->cluster->scheduler);
	abort();
}

// -- Clusters ---------------------------------------------------------------------------------------------

Grid::Grid(const Launch &launch, Run &run)
	: launch(launch), run(run), cluster(launch.kernel->cluster), clusters(launch.blocks / launch.kernel->cluster) {}

Cluster::Cluster(Grid &grid, uint32_t number, uint64_t seed) : grid(grid), random(seed) {
	const Launch &launch = grid.launch;
	const uint32_t threads = launch.threads, in_cluster = grid.cluster;
	auto when = [&] {
		const uint32_t drawn = random.below(4);
		return drawn < 2 ? When::LATE : drawn == 2 ? When::EARLY : When::DRAWN;
	};
	copies = when();
	boxes = when();
	products = when();
	patience = random.below(4) == 0 ? 8 : 512;
	live = threads * in_cluster;
	// The same in all blocks of a cluster, as on hardware.
	const uint32_t base = 1024 * (1 + random.below(3));
	fibers = std::vector<Fiber>(live);
	blocks = std::vector<Block>(in_cluster);
	for (uint32_t rank = 0; rank < in_cluster; rank++) {
		Block &block = blocks[rank];
		block.cluster = this;
		block.index = number * in_cluster + rank;
		block.rank = rank;
		block.live = threads;
		block.mapped = shared_memories().take();
		// As close to the inaccessible zone after it as its alignment permits.
		block.shared = block.mapped + (SHARED_ROOM - SHARED_ZONE - launch.shared) / 1024 * 1024;
		block.shared_bytes = launch.shared;
		block.shared_base = base;
		memset(block.shared - SHARED_ZONE, UNTOUCHED, SHARED_ZONE);
		uint8_t *end = block.shared + launch.shared;
		memset(end, UNTOUCHED, (size_t)(block.mapped + SHARED_ROOM - end));
		fill_with_garbage(block.shared, launch.shared, random.next());
		block.warps = std::vector<Warp>((threads + WARP - 1) / WARP);
		block.groups = std::vector<Group>((block.warps.size() + GROUP_WARPS - 1) / GROUP_WARPS);
		for (uint32_t at = 0; at < block.warps.size(); at++) {
			Warp &warp = block.warps[at];
			warp.block = &block;
			warp.number = at;
			warp.registers = launch.kernel->registers;
			warp.fibers = &fibers[rank * threads + at * WARP];
			warp.count = warp.live = std::min(WARP, threads - at * WARP);
		}
		for (uint32_t index = 0; index < threads; index++) {
			Fiber &fiber = fibers[rank * threads + index];
			fiber.stack = stacks().take();
			memcpy(fiber.stack, &CANARY, sizeof CANARY);
			fiber.block = &block;
			fiber.cluster = this;
			fiber.warp = &block.warps[index / WARP];
			fiber.index = index;
			fiber.lane = index % WARP;
			fiber.block_index = block.index;
			fiber.block_count = launch.blocks;
			// Stacks begin at different offsets in pages, so that they do not evict each other from caches.
			prepare(fiber.context, fiber.stack, STACK - index % WARP * 640, thread_main);
			wake(&fiber);
		}
	}
}

Cluster::~Cluster() {
	for (Fiber &fiber : fibers) stacks().give(fiber.stack);
	for (Block &block : blocks) shared_memories().give(block.mapped);
}

void wake(Fiber *fiber) {
	Warp &warp = *fiber->warp;
	fiber->waits = nullptr;
	warp.ready[warp.ready_count++] = fiber->lane;
	if (warp.ready_count == 1) {
		auto &ready = fiber->cluster->ready;
		warp.place = (uint32_t)ready.size();
		ready.push_back(&warp);
	}
}

void wake_all(std::vector<Fiber *> &waiting) {
	for (Fiber *fiber : waiting) wake(fiber);
	waiting.clear();
}

void wait_at(const char *what, uint32_t at) {
	Fiber *me = current;
	me->waits = what;
	me->waits_at = at;
	switch_to(me->context, me->cluster->scheduler);
}

void Cluster::turn(Fiber *fiber) {
	current = fiber;
	switch_to(scheduler, fiber->context);
	current = nullptr;
	if (memcmp(fiber->stack, &CANARY, sizeof CANARY) != 0)
		fail("%s: thread %u needs a stack of more than %zu bytes", grid.launch.kernel->name, fiber->index, STACK);
	if (grid.run.failed.load(std::memory_order_relaxed)) throw Failed{};
}

void Cluster::thread_ends(Fiber *fiber) {
	Warp &warp = *fiber->warp;
	Block &block = *fiber->block;
	if (warp.met) fail("is over while others of its warp are at %s", warp.meets_at);
	Group &group = block.groups[warp.number / GROUP_WARPS];
	if (group.by_warp[warp.number % GROUP_WARPS] > group.done)
		fail("is over, and did not wait for its matrix products");
	for (const auto &sums : group.sums)
		if (sums->taken[warp.number % GROUP_WARPS] && !sums->given[warp.number % GROUP_WARPS])
			fail("is over, and did not wait for its matrix products");
	fiber->over = true;
	progress = true;
	warp.live--;
	live--;
	// The barrier of the cluster counts threads that are not over.
	if (live && at_cluster_barrier.size() == live) wake_all(at_cluster_barrier);
	if (--block.live) return;
	for (const BoxCopy &copy : on_the_way)
		if (copy.block == &block) fail("is the last of its block, to which a box is still copied");
	static const bool strict = number_of("KAISAR_EMULATED_STRICT", 0) != 0;
	for (size_t at = arrivals.size(); at > 0; at--) {
		if (arrivals[at - 1].block != &block) continue;
		if (strict)
			fail("is the last of its block, at which thread %u of another still arrives", arrivals[at - 1].from->index);
		arrivals.erase(arrivals.begin() + (ptrdiff_t)at - 1);
	}
	for (const uint8_t *byte = block.shared - SHARED_ZONE; byte < block.mapped + SHARED_ROOM; byte++) {
		if (byte == block.shared) byte += block.shared_bytes;
		if (byte < block.mapped + SHARED_ROOM && *byte != UNTOUCHED)
			fail("is the last of its block, which wrote to byte %td of %u of shared memory", byte - block.shared,
				block.shared_bytes);
	}
	if (!block.lets_next) {
		block.lets_next = true;
		grid.letting.fetch_add(1, std::memory_order_acq_rel);
	}
}

bool Cluster::complete_one() {
	const size_t all = on_the_way.size() + arrivals.size();
	if (all == 0) return false;
	const size_t which = random.below((uint32_t)all);
	if (which < on_the_way.size()) complete(which);
	else complete_arrival(which - on_the_way.size());
	return true;
}

void Cluster::complete_arrival(size_t which) {
	const Arrival arrival = arrivals[which];
	arrivals[which] = arrivals.back();
	arrivals.pop_back();
	arrive_now(arrival);
}

void Cluster::complete(size_t which) {
	BoxCopy copy = on_the_way[which];
	on_the_way[which] = on_the_way.back();
	on_the_way.pop_back();
	copy_now(copy, grid.run.memory);
}

std::string Cluster::standstill() const {
	std::map<std::pair<std::string, uint32_t>, uint32_t> waiting;
	for (const Fiber &fiber : fibers)
		if (!fiber.over && fiber.waits) waiting[{fiber.waits, fiber.waits_at}]++;
	std::string text = std::string(grid.launch.kernel->name) + ": no thread of block " +
		std::to_string(blocks[0].index) + (grid.cluster > 1 ? " and those of its cluster" : "") + " can go on:";
	for (auto &[at, count] : waiting) {
		char address[32];
		snprintf(address, sizeof address, "%#x", at.second);
		text += " " + std::to_string(count) + " at " + at.first + (at.second ? std::string(" ") + address : "") + ",";
	}
	text += " " + std::to_string(fibers.size() - live) + " are over";
	for (const Block &block : blocks)
		for (const Phases &phases : block.phases)
			if (!phases.waiting.empty()) {
				char line[160];
				snprintf(line, sizeof line,
					"; barrier %#x of block %u: phase %u, %u of %u have to arrive, and %lld bytes", phases.address,
					block.index, phases.phase, phases.pending, phases.count, (long long)phases.bytes);
				text += line;
			}
	return text;
}

Cluster::Outcome Cluster::go_on(uint32_t turns) {
	progress = false;
	// Threads that poll look again.
	std::vector<Fiber *> looking;
	looking.swap(aside);
	wake_all(looking);
	while (turns) {
		if (ready.empty()) {
			// The latest possible moment.
			if (complete_one()) {
				progress = true;
				continue;
			}
			if (live == 0) return DONE;
			if (!aside.empty()) return STUCK;
			fail("%s", standstill().c_str());
		}
		if (boxes == When::DRAWN && random.below(4) == 0) complete_one();
		Warp &warp = *ready[random.below((uint32_t)ready.size())];
		for (uint32_t row = 1 + random.below(patience); row && turns && warp.ready_count; row--) {
			const uint32_t at = random.below(warp.ready_count), lane = warp.ready[at];
			warp.ready[at] = warp.ready[--warp.ready_count];
			if (warp.ready_count == 0) {
				ready[warp.place] = ready.back();
				ready[warp.place]->place = warp.place;
				ready.pop_back();
			}
			Fiber *fiber = &warp.fibers[lane];
			turn(fiber);
			// A thread that polls in vain makes no progress.
			if (fiber->waits == ASIDE) continue;
			progress = true;
			turns--;
		}
	}
	return MORE;
}

// -- Workers ----------------------------------------------------------------------------------------------

Run::Run(const std::vector<Launch> &chain, Memory &memory, uint64_t seed, Overlap overlap)
	: memory(memory), seed(seed), overlap(overlap) {
	Random random(seed);
	if (this->overlap == Overlap::DRAWN) {
		const Overlap all[4] = {Overlap::IN_ORDER, Overlap::NEXT_FIRST, Overlap::NEXT_FIRST, Overlap::MIXED};
		this->overlap = all[random.below(4)];
	}
	for (const Launch &launch : chain) {
		Grid *before = grids.empty() ? nullptr : &grids.back();
		Grid &grid = grids.emplace_back(launch, *this);
		grid.number = grids.size() - 1;
		grid.before = before;
		if (before) before->has_next = true;
		grid.order.resize(grid.clusters);
		for (uint32_t at = 0; at < grid.clusters; at++) grid.order[at] = at;
		// Half of the time in the hardware's order.
		if (random.coin())
			for (uint32_t at = grid.clusters; at > 1; at--) std::swap(grid.order[at - 1], grid.order[random.below(at)]);
	}
}

namespace {

// Runs clusters until none are left to start.
void work(Run &run, uint64_t seed) {
	FaultStacks stacks_for_faults;
	run_here = &run;
	Random random(seed);
	std::vector<std::unique_ptr<Cluster>> begun;
	uint32_t threads_begun = 0;
	// Indices of started clusters, or, after them, launches of which another cluster may start.
	struct Candidate {
		Cluster *cluster;
		Grid *grid;
		size_t launch;
		bool letting;
	};
	std::vector<Candidate> candidates;
	uint32_t idle_us = 0;
	while (!run.failed.load()) {
		candidates.clear();
		const uint64_t seen = progress.load(std::memory_order_relaxed);
		for (auto &cluster : begun)
			if (cluster->stuck_at != seen)
				candidates.push_back({cluster.get(), &cluster->grid, cluster->grid.number, cluster->letting});
		const bool alone = run.grids.size() == 1;
		bool all_begun = true;
		for (size_t at = 0; at < run.grids.size(); at++) {
			Grid &grid = run.grids[at];
			if (grid.begun.load(std::memory_order_relaxed) >= grid.clusters) continue;
			all_begun = false;
			const uint32_t threads = grid.launch.threads * grid.cluster;
			const bool room = begun.empty() || threads_begun + threads <= MOST_BEGUN;
			// Alone, blocks run one after the other, unless they wait for others.
			if (grid.may_begin() && room && !(alone && !candidates.empty()))
				candidates.push_back({nullptr, &grid, at, false});
		}
		if (candidates.empty()) {
			if (all_begun && begun.empty()) break;
			// Another thread may note progress between the two readings.
			const uint64_t last = progress_ms.load(std::memory_order_relaxed);
			if (now_ms() > last + most_idle_ms()) {
				std::string names;
				for (auto &cluster : begun) {
					const std::string name = cluster->grid.launch.kernel->name;
					if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
				}
				run.note("nothing comes of what blocks wait for (" +
					(names.empty() ? "launches that never begin" : names) + ")");
				break;
			}
			idle_us = std::min(2 * idle_us + 20, 1000u);
			std::this_thread::sleep_for(std::chrono::microseconds(idle_us));
			// They may wait for another worker's launch.
			for (auto &cluster : begun) cluster->stuck_at = ~0ull;
			continue;
		}
		size_t chosen = 0;
		auto rank = [&](const Candidate &one) {
			// Blocks that permitted the next launch to start stand still for as long as possible.
			if (run.overlap == Overlap::NEXT_FIRST)
				return (one.grid->has_next && one.letting ? 0 : 1000) + 10 * (int)one.launch + (one.cluster ? 0 : 1);
			return -10 * (int)one.launch + (one.cluster ? 1 : 0);
		};
		if (run.overlap == Overlap::MIXED) {
			chosen = random.below((uint32_t)candidates.size());
		} else {
			for (size_t at = 1; at < candidates.size(); at++)
				if (rank(candidates[at]) > rank(candidates[chosen])) chosen = at;
		}
		Candidate next = candidates[chosen];
		if (!next.cluster) {
			const uint32_t number = next.grid->begun.fetch_add(1);
			if (number >= next.grid->clusters) continue;
			const uint32_t cluster = next.grid->order[number];
			const uint64_t of_cluster = Random::mixed(run.seed * 0x100000001B3ull + (next.launch << 32 | cluster));
			begun.push_back(std::make_unique<Cluster>(*next.grid, cluster, of_cluster));
			next.cluster = begun.back().get();
			threads_begun += (uint32_t)next.cluster->fibers.size();
		}
		Cluster &cluster = *next.cluster;
		Cluster::Outcome outcome;
		try {
			outcome = cluster.go_on(alone ? TURNS : 1 + random.below(TURNS));
		} catch (const Failed &) {
			current = nullptr;
			break;
		}
		if (outcome == Cluster::DONE) {
			const uint32_t blocks = (uint32_t)cluster.blocks.size();
			threads_begun -= (uint32_t)cluster.fibers.size();
			Grid &grid = cluster.grid;
			for (size_t at = 0; at < begun.size(); at++)
				if (begun[at].get() == &cluster) {
					begun.erase(begun.begin() + (ptrdiff_t)at);
					break;
				}
			grid.over.fetch_add(blocks, std::memory_order_acq_rel);
			note_progress();
			idle_us = 0;
		} else if (cluster.progress) {
			note_progress();
			idle_us = 0;
		}
		if (outcome == Cluster::STUCK) cluster.stuck_at = progress.load(std::memory_order_relaxed);
	}
	run_here = nullptr;
}

} // namespace

std::string run(const std::vector<Launch> &chain, Memory &memory, uint64_t seed, Overlap overlap) {
	uint64_t clusters = 0;
	for (const Launch &launch : chain) {
		const Kernel &kernel = *launch.kernel;
		const std::string name = std::string(kernel.name) + ": ";
		if (launch.blocks == 0 || launch.threads == 0) return name + "no threads";
		if (launch.threads > kernel.most_threads)
			return name + std::to_string(launch.threads) + " threads a block, at most " +
				std::to_string(kernel.most_threads);
		if (launch.blocks % kernel.cluster) return name + "its blocks are not a multiple of its clusters";
		if (launch.shared > SHARED_ROOM - 2 * SHARED_ZONE) return name + "too much shared memory";
		if (launch.arguments.size() != kernel.sizes.size()) return name + "another number of parameters";
		for (size_t at = 0; at < kernel.sizes.size(); at++)
			if (launch.arguments[at].size() != kernel.sizes[at]) return name + "a parameter of another size";
		clusters += launch.blocks / kernel.cluster;
	}
	// Another seed in the environment also changes the order in tests.
	seed += (seed_of_environment() - 1) * 0x9E3779B97F4A7C15ull;
	Run all(chain, memory, seed, overlap);
	note_progress();
	const uint64_t processors = std::max(1u, std::thread::hardware_concurrency());
	const uint64_t workers = std::min(number_of("KAISAR_EMULATED_WORKERS", processors), clusters);
	std::vector<std::thread> others;
	for (uint64_t at = 1; at < workers; at++) others.emplace_back([&all, at, seed] { work(all, seed ^ at << 48); });
	work(all, seed);
	for (std::thread &other : others) other.join();
	if (all.failed.load()) return all.message;
	std::string damage = memory.damage();
	if (!damage.empty()) {
		std::string names;
		for (const Launch &launch : chain) names += (names.empty() ? "" : ", ") + std::string(launch.kernel->name);
		return names + ": " + damage;
	}
	return {};
}

} // namespace emulated
