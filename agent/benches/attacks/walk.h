// The trial's walk (docs/spec/07-agent.md, "GPU"), n = 4,096.
#pragma once
#include "gpu.h"
#include "hash.h"

constexpr int N = 4096, LINES = N * N / 1024;

__host__ __device__ inline uint32_t word_of(uint64_t place) { return (uint32_t)splitmix(place); }

__host__ __device__ inline uint32_t mix_word(uint32_t h) {
	h = (h ^ h >> 15) * 0x2C1B3C6Du;
	return h ^ h >> 13;
}

__global__ void number_words(uint4 *out, uint64_t count, uint64_t first) {
	uint64_t step = (uint64_t)gridDim.x * blockDim.x;
	for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
		uint64_t at = first + 4 * i;
		out[i] = make_uint4(word_of(at), word_of(at + 1), word_of(at + 2), word_of(at + 3));
	}
}

struct Walk {
	const uint4 *from;
	uint4 *to;
	const uint4 *window;
	uint32_t lines;
	const uint32_t *kappa;
	// Lines from number `near` on.
	const uint4 *far;
	uint32_t near;
};

// Lanes of a walk, every second one from `first`, by 16 threads, each with every 16th part of 16 bytes of a
// line. All threads of the warp call it.
template <int LANES> __device__ __forceinline__ void walk_lanes(const Walk &walk, uint32_t first, int thread) {
	const int next = (thread + 1) % 16;
	uint4 s[LANES][4];
#pragma unroll
	for (int lane = 0; lane < LANES; lane++)
#pragma unroll
		for (int i = 0; i < 4; i++) s[lane][i] = walk.from[(size_t)(first + 2 * lane) * 64 + i * 16 + thread];
	for (int read = 0; read < 8; read++) {
		uint4 x[LANES][4];
#pragma unroll
		for (int lane = 0; lane < LANES; lane++) {
			uint32_t all = 0;
#pragma unroll
			for (int i = 0; i < 4; i++) all ^= s[lane][i].x ^ s[lane][i].y ^ s[lane][i].z ^ s[lane][i].w;
#pragma unroll
			for (int by = 8; by; by /= 2) all ^= __shfl_xor_sync(~0u, all, by, 16);
			uint32_t line = __umulhi(all * 0x9E3779B1u ^ *walk.kappa, walk.lines);
			const uint4 *at = line < walk.near ? walk.window + (size_t)line * 64 : walk.far + (size_t)(line - walk.near) * 64;
#pragma unroll
			for (int i = 0; i < 4; i++) x[lane][i] = at[i * 16 + thread];
		}
#pragma unroll
		for (int lane = 0; lane < LANES; lane++) {
			uint32_t after[4];
#pragma unroll
			for (int i = 0; i < 4; i++) after[i] = __shfl_sync(~0u, s[lane][i].x, next, 16);
#pragma unroll
			for (int i = 0; i < 4; i++) {
				// The word after the last thread's is in the first thread's next part.
				uint32_t last = thread == 15 ? after[(i + 1) % 4] : after[i];
				uint4 old = s[lane][i], read = x[lane][i];
				s[lane][i].x = mix_word((__funnelshift_l(old.x, old.x, 5) ^ read.x) + old.y);
				s[lane][i].y = mix_word((__funnelshift_l(old.y, old.y, 5) ^ read.y) + old.z);
				s[lane][i].z = mix_word((__funnelshift_l(old.z, old.z, 5) ^ read.z) + old.w);
				s[lane][i].w = mix_word((__funnelshift_l(old.w, old.w, 5) ^ read.w) + last);
			}
		}
	}
#pragma unroll
	for (int lane = 0; lane < LANES; lane++)
#pragma unroll
		for (int i = 0; i < 4; i++) walk.to[(size_t)(first + 2 * lane) * 64 + i * 16 + thread] = s[lane][i];
}

__global__ __launch_bounds__(256) void walk_kernel(Walk walk) {
	for (uint32_t lane = (blockIdx.x * blockDim.x + threadIdx.x) / 16; lane < LINES; lane += gridDim.x * blockDim.x / 16)
		walk_lanes<1>(walk, lane, (int)threadIdx.x % 16);
}
