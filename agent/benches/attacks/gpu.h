// Helpers of the CUDA programs here: errors, times, and figures, one per line.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
#include <string>

#define CHECK(call)                                                                                                    \
	do {                                                                                                               \
		auto error_ = (call);                                                                                          \
		if (error_ != 0) {                                                                                             \
			fprintf(stderr, "error %d at %s:%d: %s\n", (int)error_, __FILE__, __LINE__,                                \
				cudaGetErrorString(cudaGetLastError()));                                                               \
			exit(1);                                                                                                   \
		}                                                                                                              \
	} while (0)

inline void figure(const std::string &name, double value, const char *unit) {
	printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name.c_str(), value, unit);
	fflush(stdout);
}

// Measures the milliseconds between two points of a stream.
class Timer {
	cudaEvent_t from, to;
	cudaStream_t stream;

public:
	explicit Timer(cudaStream_t of = 0) : stream(of) {
		CHECK(cudaEventCreate(&from));
		CHECK(cudaEventCreate(&to));
	}
	void start() { CHECK(cudaEventRecord(from, stream)); }
	float stop() {
		CHECK(cudaEventRecord(to, stream));
		CHECK(cudaEventSynchronize(to));
		CHECK(cudaGetLastError());
		float ms;
		CHECK(cudaEventElapsedTime(&ms, from, to));
		return ms;
	}
};

// Returns the shortest time of some runs, since disturbances only slow down.
template <class F> float fastest(int times, F run) {
	float best = 1e30f;
	for (int i = 0; i < times; i++) best = std::min(best, run());
	return best;
}
