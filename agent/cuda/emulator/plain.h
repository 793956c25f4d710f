// The trial's definitions (docs/proof.md, "Definitions" and "GPU") in plain C++, to compare kernels with.
// Written from the document alone: it shares nothing with ../trial.h and ../hash.h.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace plain {

using Bytes = std::vector<uint8_t>;
using Hash = std::array<uint32_t, 8>;
using Half = std::array<uint32_t, 16>;

inline uint32_t right(uint32_t x, int by) { return x >> by | x << (32 - by); }

// Computes the first half of C(cv, block, counter).
inline Hash half_of_c(const Hash &cv, const Half &block, uint64_t counter) {
	static const uint32_t IV[4] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A};
	static const int NEXT[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
	static const int QUARTERS[8][4] = {{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15}, {0, 5, 10, 15},
		{1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14}};
	uint32_t v[16];
	for (int i = 0; i < 8; i++) v[i] = cv[(size_t)i];
	for (int i = 0; i < 4; i++) v[8 + i] = IV[i];
	v[12] = (uint32_t)counter;
	v[13] = (uint32_t)(counter >> 32);
	v[14] = 64;
	v[15] = 0;
	Half m = block;
	for (int round = 0; round < 7; round++) {
		for (int q = 0; q < 8; q++) {
			uint32_t &a = v[QUARTERS[q][0]], &b = v[QUARTERS[q][1]], &c = v[QUARTERS[q][2]], &d = v[QUARTERS[q][3]];
			a = a + b + m[(size_t)(2 * q)];
			d = right(d ^ a, 16);
			c = c + d;
			b = right(b ^ c, 12);
			a = a + b + m[(size_t)(2 * q + 1)];
			d = right(d ^ a, 8);
			c = c + d;
			b = right(b ^ c, 7);
		}
		Half next;
		for (size_t i = 0; i < 16; i++) next[i] = m[(size_t)NEXT[i]];
		m = next;
	}
	Hash out;
	for (size_t i = 0; i < 8; i++) out[i] = v[i] ^ v[i + 8];
	return out;
}

inline Half joined(const Hash &left, const Hash &right) {
	Half out;
	for (size_t i = 0; i < 8; i++) {
		out[i] = left[i];
		out[8 + i] = right[i];
	}
	return out;
}

// Computes the first bytes of S(key, a, b).
inline void chacha(const Hash &key, uint32_t a, uint32_t b, uint8_t *out, size_t bytes) {
	for (uint64_t counter = 0; counter * 64 < bytes; counter++) {
		uint32_t first[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];
		for (int i = 0; i < 8; i++) first[4 + i] = key[(size_t)i];
		first[12] = (uint32_t)counter;
		first[13] = (uint32_t)(counter >> 32);
		first[14] = a;
		first[15] = b;
		memcpy(x, first, 64);
		auto quarter = [&](int i, int j, int k, int l) {
			x[i] += x[j], x[l] = right(x[l] ^ x[i], 16), x[k] += x[l], x[j] = right(x[j] ^ x[k], 20);
			x[i] += x[j], x[l] = right(x[l] ^ x[i], 24), x[k] += x[l], x[j] = right(x[j] ^ x[k], 25);
		};
		for (int two = 0; two < 4; two++) {
			quarter(0, 4, 8, 12), quarter(1, 5, 9, 13), quarter(2, 6, 10, 14), quarter(3, 7, 11, 15);
			quarter(0, 5, 10, 15), quarter(1, 6, 11, 12), quarter(2, 7, 8, 13), quarter(3, 4, 9, 14);
		}
		for (int i = 0; i < 16; i++) x[i] += first[i];
		const size_t left = bytes - counter * 64;
		memcpy(out + counter * 64, x, left < 64 ? left : 64);
	}
}

// Computes a matrix of rows S(key, stream, i).
inline Bytes rows(const Hash &key, uint32_t stream, uint32_t n) {
	Bytes out((size_t)n * n);
	for (uint32_t row = 0; row < n; row++) chacha(key, stream, row, out.data() + (size_t)row * n, n);
	return out;
}

// Σ_k A[i][k]·X[j][k].
inline std::vector<int32_t> sums(const Bytes &a, const Bytes &x, uint32_t n) {
	std::vector<int32_t> out((size_t)n * n);
	std::vector<int16_t> wide_a(a.size()), wide_x(x.size());
	for (size_t i = 0; i < a.size(); i++) wide_a[i] = (int8_t)a[i];
	for (size_t i = 0; i < x.size(); i++) wide_x[i] = (int8_t)x[i];
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			const int16_t *p = &wide_a[i * n], *q = &wide_x[j * n];
			int32_t sum = 0;
#ifdef __SSE2__
			__m128i four = _mm_setzero_si128();
			for (uint32_t k = 0; k < n; k += 8)
				four = _mm_add_epi32(four,
					_mm_madd_epi16(
						_mm_loadu_si128((const __m128i *)(p + k)), _mm_loadu_si128((const __m128i *)(q + k))));
			int32_t parts[4];
			memcpy(parts, &four, sizeof parts);
			for (int32_t part : parts) sum += part;
#else
			for (uint32_t k = 0; k < n; k++) sum += p[k] * q[k];
#endif
			out[i * n + j] = sum;
		}
	return out;
}

inline Bytes bytes_of_sums(const std::vector<int32_t> &sums, uint32_t n, uint32_t t, uint32_t kappa) {
	Bytes out((size_t)n * n);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < n; j++) {
			uint32_t h =
				(uint32_t)sums[(size_t)i * n + j] ^ (t * 0x9E3779B1u + i * 0x85EBCA77u + j * 0xC2B2AE3Du + kappa);
			h ^= h >> 15;
			h *= 0x2C1B3C6Du;
			h ^= h >> 12;
			h *= 0x297A2D39u;
			h ^= h >> 15;
			out[(size_t)i * n + j] = (uint8_t)(h >> 24);
		}
	return out;
}

inline Bytes product(const Bytes &a, const Bytes &x, uint32_t n, uint32_t t, uint32_t kappa) {
	return bytes_of_sums(sums(a, x, n), n, t, kappa);
}

// Walks all lanes of z over a window of lines.
inline void walk(Bytes &z, const Bytes &window, uint32_t kappa) {
	const uint64_t lines = window.size() / 1024;
	auto mix = [](uint32_t h) {
		h ^= h >> 15;
		h *= 0x2C1B3C6Du;
		return h ^ h >> 13;
	};
	for (size_t lane = 0; lane < z.size() / 1024; lane++) {
		uint32_t s[256], next[256], x[256];
		memcpy(s, &z[lane * 1024], 1024);
		for (int read = 0; read < 8; read++) {
			uint32_t all = 0;
			for (uint32_t word : s) all ^= word;
			const uint64_t line = (uint64_t)(all * 0x9E3779B1u ^ kappa) * lines >> 32;
			memcpy(x, &window[line * 1024], 1024);
			for (int k = 0; k < 256; k++) next[k] = mix(((s[k] << 5 | s[k] >> 27) ^ x[k]) + s[(k + 1) % 256]);
			memcpy(s, next, 1024);
		}
		memcpy(&z[lane * 1024], s, 1024);
	}
}

// Computes all levels of a tree over leaves of `each` bytes, the leaves first.
inline std::vector<std::vector<Hash>> tree(const Hash &key, const uint8_t *data, size_t each, size_t leaves) {
	std::vector<std::vector<Hash>> levels(1);
	for (size_t leaf = 0; leaf < leaves; leaf++) {
		Hash cv = key;
		for (size_t at = 0; at < each; at += 64) {
			Half block = {};
			memcpy(block.data(), data + leaf * each + at, each - at < 64 ? each - at : 64);
			cv = half_of_c(cv, block, leaf);
		}
		levels[0].push_back(cv);
	}
	while (levels.back().size() > 1) {
		const std::vector<Hash> below = levels.back();
		const uint64_t level = levels.size();
		std::vector<Hash> here;
		for (size_t at = 0; at + 1 < below.size(); at += 2)
			here.push_back(half_of_c(key, joined(below[at], below[at + 1]), (level << 56) + at / 2));
		if (below.size() % 2) here.push_back(below.back());
		levels.push_back(here);
	}
	return levels;
}

// Returns a running hash that has taken in a root.
inline Hash taken(const Hash &running, const Hash &root, uint64_t number) {
	return half_of_c(running, joined(root, {}), number);
}

// Returns κ of a step that is not a turn's first.
inline uint32_t kappa(const Hash &running, const Hash &root_before, uint64_t step) {
	return half_of_c(running, joined(root_before, {}), (1ull << 63) + step)[0];
}

} // namespace plain
