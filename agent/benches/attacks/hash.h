// The trial's primitives (docs/spec/07-agent.md, "Definitions") for the programs beside this file: BLAKE3's
// compression, keys, ChaCha8. Plain C++ and CUDA; `lanes-test.cpp` compares them with the agent's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#ifdef __CUDACC__
#define BOTH __host__ __device__ __forceinline__
#else
#define BOTH inline
#endif
#ifdef __CUDA_ARCH__
#define UNROLL(times) _Pragma(#times)
#else
#define UNROLL(times)
#endif

struct Hash {
	uint32_t w[8];
};
struct Block {
	uint32_t w[16];
};

BOTH uint32_t rotr(uint32_t x, int by) { return x >> by | x << (32 - by); }

BOTH void mix_g(uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d, uint32_t x, uint32_t y) {
	a += b + x;
	d = rotr(d ^ a, 16);
	c += d;
	b = rotr(b ^ c, 12);
	a += b + y;
	d = rotr(d ^ a, 8);
	c += d;
	b = rotr(b ^ c, 7);
}

// BLAKE3's compression, with all 64 bytes of output.
BOTH Block compress(const Hash &cv, const Block &block, uint64_t counter, uint32_t length = 64, uint32_t flags = 0) {
	uint32_t m[16], next[16];
	UNROLL(unroll)
	for (int i = 0; i < 16; i++) m[i] = block.w[i];
	uint32_t v[16] = {cv.w[0], cv.w[1], cv.w[2], cv.w[3], cv.w[4], cv.w[5], cv.w[6], cv.w[7],
		0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au,
		(uint32_t)counter, (uint32_t)(counter >> 32), length, flags};
	constexpr int ORDER[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
	UNROLL(unroll)
	for (int round = 0; round < 7; round++) {
		mix_g(v[0], v[4], v[8], v[12], m[0], m[1]);
		mix_g(v[1], v[5], v[9], v[13], m[2], m[3]);
		mix_g(v[2], v[6], v[10], v[14], m[4], m[5]);
		mix_g(v[3], v[7], v[11], v[15], m[6], m[7]);
		mix_g(v[0], v[5], v[10], v[15], m[8], m[9]);
		mix_g(v[1], v[6], v[11], v[12], m[10], m[11]);
		mix_g(v[2], v[7], v[8], v[13], m[12], m[13]);
		mix_g(v[3], v[4], v[9], v[14], m[14], m[15]);
		UNROLL(unroll)
		for (int i = 0; i < 16; i++) next[i] = m[ORDER[i]];
		UNROLL(unroll)
		for (int i = 0; i < 16; i++) m[i] = next[i];
	}
	Block out;
	UNROLL(unroll)
	for (int i = 0; i < 8; i++) {
		out.w[i] = v[i] ^ v[i + 8];
		out.w[i + 8] = v[i + 8] ^ cv.w[i];
	}
	return out;
}

// The first half of a compression.
BOTH Hash front(const Hash &cv, const Block &block, uint64_t counter, uint32_t length = 64, uint32_t flags = 0) {
	Block whole = compress(cv, block, counter, length, flags);
	Hash out;
	UNROLL(unroll)
	for (int i = 0; i < 8; i++) out.w[i] = whole.w[i];
	return out;
}

BOTH Block join(const Hash &left, const Hash &right) {
	Block out;
	UNROLL(unroll)
	for (int i = 0; i < 8; i++) {
		out.w[i] = left.w[i];
		out.w[i + 8] = right.w[i];
	}
	return out;
}

// BLAKE3 of up to one chunk.
inline Hash blake3(const Hash &cv, const uint8_t *data, size_t length, uint32_t flags) {
	Hash h = cv;
	size_t at = 0;
	do {
		size_t take = length - at < 64 ? length - at : 64;
		Block block = {};
		memcpy(block.w, data + at, take);
		uint32_t end = at + take == length ? 2 | 8 : 0; // CHUNK_END, ROOT
		h = front(h, block, 0, (uint32_t)take, flags | (at == 0) | end);
		at += take;
	} while (at < length);
	return h;
}

// The parts of a key, each preceded by its length.
struct Parts {
	uint8_t bytes[256];
	size_t length = 0;
	Parts &add(const void *data, uint64_t size) {
		memcpy(bytes + length, &size, 8);
		memcpy(bytes + length + 8, data, size);
		length += 8 + size;
		return *this;
	}
};

// `K(name; parts)`.
inline Hash key_of(const char *name, const Parts &parts) {
	const Hash iv = {{0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au, 0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u}};
	uint8_t context[64];
	size_t length = 0;
	for (const char *part : {"kaisar/proof 2 ", name})
		for (; *part; part++) context[length++] = (uint8_t)*part;
	return blake3(blake3(iv, context, length, 32), parts.bytes, parts.length, 64);
}

// A block of `S(key, a, b)`.
inline void chacha8(const Hash &key, uint32_t a, uint32_t b, uint64_t counter, uint32_t out[16]) {
	uint32_t s[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
	for (int i = 0; i < 8; i++) s[4 + i] = key.w[i];
	s[12] = (uint32_t)counter, s[13] = (uint32_t)(counter >> 32), s[14] = a, s[15] = b;
	for (int i = 0; i < 16; i++) out[i] = s[i];
	auto quarter = [&](int p, int q, int r, int t) {
		uint32_t &x = out[p], &y = out[q], &z = out[r], &w = out[t];
		x += y, w = rotr(w ^ x, 16), z += w, y = rotr(y ^ z, 20);
		x += y, w = rotr(w ^ x, 24), z += w, y = rotr(y ^ z, 25);
	};
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i);
		for (int i = 0; i < 4; i++) quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
	}
	for (int i = 0; i < 16; i++) out[i] += s[i];
}

// Contents for memory that must differ everywhere.
BOTH uint64_t splitmix(uint64_t x) {
	x = (x + 1) * 0x9E3779B97F4A7C15ull;
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
	x = (x ^ x >> 27) * 0x94D049BB133111EBull;
	return x ^ x >> 31;
}
