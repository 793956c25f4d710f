// The trial's walk (docs/proof.md, "GPU"), n = 4,096.
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

// A walk: 16 threads a lane, each with every 16th part of 16 bytes of its line. Lines from number `near` on are in `far`.
__global__ __launch_bounds__(256) void walk_kernel(const uint4 *from, uint4 *to, const uint4 *window, uint32_t lines,
	const uint32_t *kappa, const uint4 *far, uint32_t near) {
	const int thread = (int)threadIdx.x % 16, next = (thread + 1) % 16;
	for (uint32_t lane = (blockIdx.x * blockDim.x + threadIdx.x) / 16; lane < LINES; lane += gridDim.x * blockDim.x / 16) {
		uint4 s[4];
#pragma unroll
		for (int i = 0; i < 4; i++) s[i] = from[(size_t)lane * 64 + i * 16 + thread];
		for (int read = 0; read < 8; read++) {
			uint32_t all = 0;
#pragma unroll
			for (int i = 0; i < 4; i++) all ^= s[i].x ^ s[i].y ^ s[i].z ^ s[i].w;
#pragma unroll
			for (int by = 8; by; by /= 2) all ^= __shfl_xor_sync(~0u, all, by, 16);
			uint32_t line = __umulhi(all * 0x9E3779B1u ^ *kappa, lines);
			const uint4 *at = (line < near ? window + (size_t)line * 64 : far + (size_t)(line - near) * 64) + thread;
			uint4 x[4];
			uint32_t after[4];
#pragma unroll
			for (int i = 0; i < 4; i++) {
				x[i] = at[i * 16];
				after[i] = __shfl_sync(~0u, s[i].x, next, 16);
			}
#pragma unroll
			for (int i = 0; i < 4; i++) {
				// The last thread's next word is in the first thread's next part.
				uint32_t last = thread == 15 ? after[(i + 1) % 4] : after[i];
				uint4 old = s[i];
				s[i].x = mix_word((__funnelshift_l(old.x, old.x, 5) ^ x[i].x) + old.y);
				s[i].y = mix_word((__funnelshift_l(old.y, old.y, 5) ^ x[i].y) + old.z);
				s[i].z = mix_word((__funnelshift_l(old.z, old.z, 5) ^ x[i].z) + old.w);
				s[i].w = mix_word((__funnelshift_l(old.w, old.w, 5) ^ x[i].w) + last);
			}
		}
#pragma unroll
		for (int i = 0; i < 4; i++) to[(size_t)lane * 64 + i * 16 + thread] = s[i];
	}
}
