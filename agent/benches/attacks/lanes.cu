// Attack: CPU lanes on a GPU. Whole lanes, with their reads of memory, trees and running hashes, over 8 GiB
// of GPU memory (or as much as is free); compared with the same in plain C++, which `lanes-test.cpp`
// compares with the agent.
//
// Each lane is a block. In step: four threads, one per chain, in the agent's order. A wave: sixteen threads,
// one per word; the first word of a leg starts while the others of the previous leg still run, so a stage
// takes 35 times 192 steps instead of 128. Another warp hashes meanwhile.
#include "gpu.h"
#include "lanes.h"
#include <cmath>
#include <thread>

struct Ongoing {
	State before;
	Hash seed, running;
};

struct Memory {
	const ulonglong2 *cells;
	uint64_t count;
	// 0, which the compiler must not know.
	uint32_t zero;
};

__global__ void number_cells(uint64_t *words, uint64_t count) {
	uint64_t step = (uint64_t)gridDim.x * blockDim.x;
	for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) words[i] = splitmix(i);
}

struct Cell {
	ulonglong2 part[4];
	__device__ void read(const Memory &memory, uint64_t s) {
		const ulonglong2 *cell = memory.cells + 4 * place(s, memory.count);
#pragma unroll
		for (int i = 0; i < 4; i++) part[i] = __ldg(cell + i);
	}
	__device__ uint64_t mixed(uint64_t s) const {
		uint64_t words[8];
#pragma unroll
		for (int i = 0; i < 4; i++) {
			words[2 * i] = part[i].x;
			words[2 * i + 1] = part[i].y;
		}
		return mix(s, words);
	}
};

struct Shared {
	Entry table[TABLE];
	uint64_t states[LEGS][WORDS];
	uint64_t before[WORDS], kappa[WORDS], stepped[2][WORDS], mixed[2][WORDS];
	Hash running, key;
	Stack tree;

	__device__ uint64_t &of(int leg, int at) { return leg < 0 ? before[at] : states[leg][at]; }
};

// The hashing thread: leaves as their legs finish, the rest at a stage's end.
struct Hasher {
	Shared &shared;
	int done;

	__device__ void begin(const Hash &context, const Ongoing &lane, int number) {
		shared.key = stage_key(context, lane.seed, (uint64_t)number);
		done = 0;
	}
	// All legs before `leg` are done.
	__device__ void upto(int leg) {
		for (; done < leg; done++) shared.tree.add(shared.key, done, shared.states[done]);
	}
	__device__ void end(int number) {
		upto(LEGS);
		shared.running = taken(shared.running, shared.tree.at[5], (uint64_t)number);
	}
};

__device__ void load(Shared &shared, const Entry *tables, const Ongoing *lanes) {
	for (int i = (int)threadIdx.x; i < TABLE; i += (int)blockDim.x)
		shared.table[i] = tables[(size_t)blockIdx.x * TABLE + (size_t)i];
	if (threadIdx.x < WORDS) shared.before[threadIdx.x] = lanes[blockIdx.x].before.w[threadIdx.x];
	if (threadIdx.x == 0) shared.running = lanes[blockIdx.x].running;
	__syncthreads();
}

__device__ void store(Shared &shared, Ongoing *lanes) {
	if (threadIdx.x < WORDS) lanes[blockIdx.x].before.w[threadIdx.x] = shared.before[threadIdx.x];
	if (threadIdx.x == 0) lanes[blockIdx.x].running = shared.running;
}

// The keys of a stage, by the first two threads of the hashing warp.
__device__ void begin_stage(Shared &shared, bool hashes, int thread) {
	if (hashes && thread < 2) keys(shared.running, thread, shared.kappa + 8 * thread);
	__syncthreads();
}

// After the tree: the last state is the next stage's first.
__device__ void end_stage(Shared &shared) {
	__syncthreads();
	if (threadIdx.x < WORDS) shared.before[threadIdx.x] = shared.states[LEGS - 1][threadIdx.x];
	__syncthreads();
}

// Runs a lane as a wave, with PER_WARP of its words in each warp.
template <int PER_WARP, Kind KIND>
__global__ void wave(const Entry *tables, Ongoing *lanes, Memory memory, Hash context, int first, int stages) {
	extern __shared__ __align__(16) uint8_t raw[];
	Shared &shared = *(Shared *)raw;
	constexpr int WARPS = WORDS / PER_WARP;
	int warp = (int)threadIdx.x / 32, thread = (int)threadIdx.x % 32;
	bool hashes = warp == WARPS;
	int at = warp * PER_WARP + thread, word = at % CHAIN;
	bool works = !hashes && thread < PER_WARP;
	load(shared, tables, lanes);
	Hasher hasher{shared, 0};
	for (int number = first; number < first + stages; number++) {
		begin_stage(shared, hashes, thread);
		if (hashes && thread == 0) hasher.begin(context, lanes[blockIdx.x], number);
		for (int round = 0; round < ROUNDS; round++) {
			int leg = round - word, now = round & 1;
			bool active = works && leg >= 0 && leg < LEGS;
			if (active) {
				uint64_t s = shared.of(leg - 1, at) ^ shared.kappa[at] ^ (word ? shared.stepped[now ^ 1][at - 1] : 0);
				s = steps<KIND>(s, shared.table, memory.zero);
				Cell cell;
				cell.read(memory, s);
				shared.stepped[now][at] = s;
				shared.mixed[now][at] = cell.mixed(s);
			}
			// Values written before the last barrier are visible.
			if (hashes && thread == 0) hasher.upto(round - 4);
			__syncthreads();
			if (active) {
				uint64_t sum = shared.mixed[now][at];
				// The next word of the chain is one leg behind, and was mixed in this round too.
				int next = 1;
				for (; word + next < CHAIN && leg - next >= 0; next++) sum += shared.mixed[now][at + next];
				sum += shared.of(leg - next, (at + next) % WORDS);
				shared.states[leg][at] = sum;
			}
		}
		__syncthreads();
		if (hashes && thread == 0) hasher.end(number);
		end_stage(shared);
	}
	store(shared, lanes);
}

// Runs a lane in step, with PER_WARP of its chains in each warp.
template <int PER_WARP, Kind KIND>
__global__ void in_step(const Entry *tables, Ongoing *lanes, Memory memory, Hash context, int first, int stages) {
	extern __shared__ __align__(16) uint8_t raw[];
	Shared &shared = *(Shared *)raw;
	constexpr int WARPS = WORDS / CHAIN / PER_WARP;
	int warp = (int)threadIdx.x / 32, thread = (int)threadIdx.x % 32;
	bool hashes = warp == WARPS;
	int from = (warp * PER_WARP + thread) * CHAIN;
	bool works = !hashes && thread < PER_WARP;
	load(shared, tables, lanes);
	Hasher hasher{shared, 0};
	for (int number = first; number < first + stages; number++) {
		begin_stage(shared, hashes, thread);
		if (hashes && thread == 0) hasher.begin(context, lanes[blockIdx.x], number);
		for (int leg = 0; leg < LEGS; leg++) {
			if (works) {
				// A cell loads while the next word is stepped.
				Cell cell;
				uint64_t s = 0, first = 0;
#pragma unroll
				for (int word = 0; word < CHAIN; word++) {
					int at = from + word;
					uint64_t next = steps<KIND>(shared.of(leg - 1, at) ^ shared.kappa[at] ^ s, shared.table, memory.zero);
					uint64_t before = word ? cell.mixed(s) + shared.of(leg - 1, at) : 0;
					if (word == 1) first = before;
					if (word > 1) shared.states[leg][at - 1] = before;
					cell.read(memory, next);
					s = next;
				}
				shared.states[leg][from] = first ^ s;
				int last = from + CHAIN - 1;
				shared.states[leg][last] = cell.mixed(s) + shared.of(leg - 1, (last + 1) % WORDS);
			}
			if (hashes && thread == 0) hasher.upto(leg);
			__syncthreads();
		}
		if (hashes && thread == 0) hasher.end(number);
		end_stage(shared);
	}
	store(shared, lanes);
}

// Measures cycles and nanoseconds of sequential steps on some threads of a warp.
template <Kind KIND> __global__ void pace(const Entry *tables, uint64_t *out, int times, uint32_t zero) {
	__shared__ Entry table[TABLE];
	for (int i = (int)threadIdx.x; i < TABLE; i += (int)blockDim.x) table[i] = tables[i];
	__syncthreads();
	uint64_t s = threadIdx.x * M, from, to, ns_from, ns_to;
	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns_from));
	from = (uint64_t)clock64();
	for (int i = 0; i < times; i++) s = steps<KIND>(s, table, zero);
	to = (uint64_t)clock64();
	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns_to));
	out[3 * threadIdx.x] = to - from;
	out[3 * threadIdx.x + 1] = ns_to - ns_from;
	out[3 * threadIdx.x + 2] = s;
}

// Returns the cores that lanes prove by their time (`judge::cores`).
static double shown(int lanes, double t) { return t <= 20 ? floor(lanes * std::min(1.0, 10 / std::max(10.0, t - 2))) : 0; }

using Kernel = void (*)(const Entry *, Ongoing *, Memory, Hash, int, int);

struct Way {
	const char *name;
	Kernel kernel;
	int threads;
};

struct Bench {
	Hash start, context = tree_context();
	Memory memory;
	std::vector<Ongoing> begin;
	Entry *tables;
	Ongoing *lanes;

	Bench(int most, Memory memory) : memory(memory), begin((size_t)most) {
		memset(&start, 2, sizeof start);
		std::vector<Entry> all((size_t)most * TABLE);
		unsigned cores = std::max(1u, std::thread::hardware_concurrency());
		std::vector<std::thread> threads;
		for (unsigned core = 0; core < cores; core++)
			threads.emplace_back([&, core] {
				for (size_t i = core; i < begin.size(); i += cores) {
					Lane lane(start, (uint16_t)i);
					begin[i] = {lane.state, lane.seed, lane.running};
					std::copy(lane.table.begin(), lane.table.end(), all.begin() + (ptrdiff_t)(i * TABLE));
				}
			});
		for (auto &thread : threads) thread.join();
		CHECK(cudaMalloc(&tables, all.size() * sizeof(Entry)));
		CHECK(cudaMemcpy(tables, all.data(), all.size() * sizeof(Entry), cudaMemcpyHostToDevice));
		CHECK(cudaMalloc(&lanes, begin.size() * sizeof(Ongoing)));
	}

	// Measures the milliseconds of lanes from their first stage on.
	float run(const Way &way, int count, int stages, int part = 1 << 30) {
		CHECK(cudaMemcpy(lanes, begin.data(), (size_t)count * sizeof(Ongoing), cudaMemcpyHostToDevice));
		CHECK(cudaFuncSetAttribute(way.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)sizeof(Shared)));
		Timer timer;
		timer.start();
		for (int first = 0; first < stages; first += part) {
			int some = std::min(part, stages - first);
			way.kernel<<<(unsigned)count, (unsigned)way.threads, sizeof(Shared)>>>(tables, lanes, memory, context, first, some);
			CHECK(cudaGetLastError());
		}
		return timer.stop();
	}

	bool is(int lane, const Hash &hash) const {
		Ongoing found;
		CHECK(cudaMemcpy(&found, lanes + lane, sizeof found, cudaMemcpyDeviceToHost));
		return !memcmp(&found.running, &hash, sizeof hash);
	}
};

int main() {
	constexpr int CLAIM = 144, STAGES = 62504;
	size_t free, total;
	CHECK(cudaMemGetInfo(&free, &total));
	uint64_t bytes = std::min<uint64_t>(8ull << 30, free / 4 * 3);
	uint64_t *words;
	CHECK(cudaMalloc(&words, bytes));
	number_cells<<<4096, 256>>>(words, bytes / 8);
	CHECK(cudaDeviceSynchronize());
	Bench bench(10000, {(const ulonglong2 *)words, bytes / 64, 0});
	const uint64_t cells = bytes / 64;

	uint64_t *paces;
	CHECK(cudaMalloc(&paces, 3 * 32 * 8));
	using Pace = void (*)(const Entry *, uint64_t *, int, uint32_t);
	const std::pair<const char *, Pace> kinds[] = {{"plain", pace<PLAIN>}, {"short", pace<SHORT>}, {"wide", pace<WIDE>}};
	for (int threads : {1, 4, 16})
		for (auto [kind, kernel] : kinds) {
			constexpr int TIMES = 2000;
			for (int warm = 0; warm < 2; warm++) kernel<<<1, (unsigned)threads>>>(bench.tables, paces, TIMES, 0);
			uint64_t found[2];
			CHECK(cudaMemcpy(found, paces, sizeof found, cudaMemcpyDeviceToHost));
			std::string name = std::string("a step, ") + kind + ", " + std::to_string(threads) + " a warp";
			figure(name, (double)found[0] / TIMES / STEPS, "cycles");
			figure(name, (double)found[1] / TIMES / STEPS, "ns");
		}

	const Way ways[] = {
		{"in step, 4 a warp, plain", in_step<4, PLAIN>, 64},
		{"in step, 4 a warp, short", in_step<4, SHORT>, 64},
		{"in step, 4 a warp, wide", in_step<4, WIDE>, 64},
		{"in step, 1 a warp, plain", in_step<1, PLAIN>, 160},
		{"in step, 1 a warp, short", in_step<1, SHORT>, 160},
		{"in step, 1 a warp, wide", in_step<1, WIDE>, 160},
		{"wave, 16 a warp, plain", wave<16, PLAIN>, 64},
		{"wave, 16 a warp, short", wave<16, SHORT>, 64},
		{"wave, 16 a warp, wide", wave<16, WIDE>, 64},
		{"wave, 4 a warp, plain", wave<4, PLAIN>, 160},
		{"wave, 4 a warp, short", wave<4, SHORT>, 160},
		{"wave, 4 a warp, wide", wave<4, WIDE>, 160},
		{"wave, 1 a warp, plain", wave<1, PLAIN>, 544},
		{"wave, 1 a warp, short", wave<1, SHORT>, 544},
		{"wave, 1 a warp, wide", wave<1, WIDE>, 544},
	};
	auto plain = [&](int lane) { return run_plain<false, PLAIN>(Lane(bench.start, (uint16_t)lane), 3, cells); };
	Hash first = plain(0), last = plain(CLAIM - 1);
	const Way *best = nullptr;
	double least = 1e30;
	for (const Way &way : ways) {
		bench.run(way, CLAIM, 3);
		// A wave does not have a leg's last word before the next leg's first.
		bool is_wave = !strncmp(way.name, "wave", 4);
		if (bench.is(0, first) == is_wave || bench.is(CLAIM - 1, last) == is_wave) {
			fprintf(stderr, "%s: %s hash as in plain C++\n", way.name, is_wave ? "the same" : "another");
			return 1;
		}
		if (is_wave) continue;
		constexpr int SOME = 300;
		double leg = 1e3 * fastest(2, [&] { return bench.run(way, CLAIM, SOME); }) / SOME / LEGS;
		figure(std::string("144 lanes, ") + way.name + ": a leg", leg, "us");
		figure(std::string("144 lanes, ") + way.name + ": the trial", leg * STAGES * LEGS / 1e6, "s");
		if (leg < least) {
			least = leg;
			best = &way;
		}
	}
	// With all words in one warp a lane takes the least of a multiprocessor.
	const Way *narrow = std::find_if(std::begin(ways), std::end(ways), [](const Way &way) { return way.kernel == in_step<4, SHORT>; });
	for (const Way *way : {best, narrow})
		for (int count : {132, 144, 264, 528, 1000, 1584, 10000}) {
			constexpr int SOME = 20;
			double leg = 1e3 * fastest(2, [&] { return bench.run(*way, count, SOME); }) / SOME / LEGS;
			std::string name = std::to_string(count) + " lanes, " + way->name;
			figure(name + ": a leg of all", leg, "us");
			figure(name + ": shown", shown(count, leg * STAGES * LEGS / 1e6), "cores");
		}

	if (least * STAGES * LEGS / 1e6 > 25) return 0;
	// The whole trial of production, and its first lane in plain C++ meanwhile.
	Hash whole;
	std::thread other([&] { whole = run_plain<false, PLAIN>(Lane(bench.start, 0), STAGES, cells); });
	double took = bench.run(*best, CLAIM, STAGES, 2000) / 1e3;
	other.join();
	if (!bench.is(0, whole)) {
		fprintf(stderr, "the whole trial: another hash than in plain C++\n");
		return 1;
	}
	figure(std::string("144 lanes, the whole trial, ") + best->name, took, "s");
	return 0;
}
