// Attack: a processor instead of a GPU. Dependent reads of 1-KiB lines from host memory by all cores, as in
// a walk. `processor.py` measures the products.
#include "hash.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <thread>
#include <vector>

constexpr int WORDS = 256;

static inline uint32_t mix_word(uint32_t h) {
	h = (h ^ h >> 15) * 0x2C1B3C6Du;
	return h ^ h >> 13;
}

int main() {
	struct sysinfo system;
	if (sysinfo(&system) != 0) return 1;
	const uint64_t ram = (uint64_t)system.freeram * system.mem_unit;
	const uint64_t bytes = std::min<uint64_t>(8ull << 30, ram / 2 >> 20 << 20), lines = bytes / 1024;
	void *map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) return 1;
	madvise(map, bytes, MADV_HUGEPAGE);
	uint32_t *window = (uint32_t *)map;
	const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
	auto all = [&](auto part) {
		std::vector<std::thread> threads;
		for (unsigned core = 0; core < cores; core++) threads.emplace_back([&, core] { part(core); });
		for (auto &thread : threads) thread.join();
	};
	all([&](unsigned core) {
		for (uint64_t i = bytes / 8 / cores * core; i < bytes / 8 / cores * (core + 1); i++) ((uint64_t *)map)[i] = splitmix(i);
	});
	// Lanes of each core, so that their reads overlap.
	constexpr int LANES = 8, READS = 40000;
	uint32_t sum = 0;
	double best = 1e30;
	for (int time = 0; time < 3; time++) {
		std::vector<uint32_t> last(cores);
		auto from = std::chrono::steady_clock::now();
		all([&](unsigned core) {
			static thread_local uint32_t s[LANES][WORDS + 1], after[WORDS];
			const uint32_t *at[LANES];
			for (int lane = 0; lane < LANES; lane++)
				for (int w = 0; w < WORDS; w++) s[lane][w] = (uint32_t)splitmix((uint64_t)(core * LANES + lane) * WORDS + w);
			for (int read = 0; read < READS; read++) {
				for (int lane = 0; lane < LANES; lane++) {
					uint32_t x = 0;
					for (int w = 0; w < WORDS; w++) x ^= s[lane][w];
					at[lane] = window + ((uint64_t)(x * 0x9E3779B1u) * lines >> 32) * WORDS;
					for (int w = 0; w < WORDS; w += 16) __builtin_prefetch(at[lane] + w);
				}
				for (int lane = 0; lane < LANES; lane++) {
					uint32_t *state = s[lane];
					state[WORDS] = state[0];
					for (int w = 0; w < WORDS; w++)
						after[w] = mix_word(((state[w] << 5 | state[w] >> 27) ^ at[lane][w]) + state[w + 1]);
					memcpy(state, after, sizeof after);
				}
			}
			last[core] = s[0][0];
		});
		std::chrono::duration<double> took = std::chrono::steady_clock::now() - from;
		best = std::min(best, took.count());
		for (uint32_t word : last) sum ^= word;
	}
	double gbps = (double)cores * LANES * READS * 1024 / best / 1e9;
	printf("{\"figure\":\"processor, %u cores: lines read in walks\",\"value\":%.6g,\"unit\":\"GB/s\"}\n", cores, gbps);
	printf("{\"figure\":\"processor, %u cores: 8 walks of a turn\",\"value\":%.6g,\"unit\":\"ms\"}\n", cores,
		8.0 * 16384 * 8 * 1024 / gbps / 1e6);
	fprintf(stderr, "(%08x)\n", sum);
	return 0;
}
