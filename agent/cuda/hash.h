// BLAKE3's compression of whole blocks without flags, and ChaCha8's block.
#pragma once
#include "trial.h"

struct Message {
	uint32_t word[16];
};

DEVICE Words words_at(const uint4 *from) {
	uint4 low = from[0], high = from[1];
	return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}

DEVICE void put_words(uint4 *to, const Words &words) {
	const uint32_t *w = words.word;
	to[0] = uint4{w[0], w[1], w[2], w[3]};
	to[1] = uint4{w[4], w[5], w[6], w[7]};
}

DEVICE Message message_at(const uint4 *from) {
	uint4 a = from[0], b = from[1], c = from[2], d = from[3];
	return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, c.y, c.z, c.w, d.x, d.y, d.z, d.w}};
}

DEVICE Message message_of(const Words &left, const Words &right) {
	Message message;
	UNROLLED for (int at = 0; at < 8; at++) {
		message.word[at] = left.word[at];
		message.word[at + 8] = right.word[at];
	}
	return message;
}

DEVICE void quarter_round(uint32_t one, uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d, uint32_t x, uint32_t y) {
	// b comes last.
	a = sum_by(one, b, sum_by(one, a, x));
	d = rotate_right(d ^ a, 16);
	c = sum_by(one, d, c);
	b = rotate_right(b ^ c, 12);
	a = sum_by(one, b, sum_by(one, a, y));
	d = rotate_right(d ^ a, 8);
	c = sum_by(one, d, c);
	b = rotate_right(b ^ c, 7);
}

// Computes the first half of C(cv, m, low + 2³² · high). `one` is 1 (see sum_by).
DEVICE Words compress(uint32_t one, const Words &cv, const Message &message, uint32_t low, uint32_t high) {
	constexpr int ORDER[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
	int order[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	uint32_t v[16] = {cv.word[0], cv.word[1], cv.word[2], cv.word[3], cv.word[4], cv.word[5], cv.word[6], cv.word[7],
		0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, low, high, 64, 0};
	const uint32_t *m = message.word;
	// In unrolled code the order is constant and costs nothing.
	UNROLLED for (int round = 0; round < 7; round++) {
		UNROLLED for (int at = 0; at < 4; at++)
			quarter_round(one, v[at], v[at + 4], v[at + 8], v[at + 12], m[order[2 * at]], m[order[2 * at + 1]]);
		UNROLLED for (int at = 0; at < 4; at++)
			quarter_round(one, v[at], v[4 + (at + 1) % 4], v[8 + (at + 2) % 4], v[12 + (at + 3) % 4], m[order[8 + 2 * at]],
				m[order[9 + 2 * at]]);
		int next[16] = {};
		UNROLLED for (int at = 0; at < 16; at++) next[at] = order[ORDER[at]];
		UNROLLED for (int at = 0; at < 16; at++) order[at] = next[at];
	}
	Words out;
	UNROLLED for (int at = 0; at < 8; at++) out.word[at] = v[at] ^ v[at + 8];
	return out;
}

// The same for call sites of which there are many: inlined, they would be megabytes of code.
CALLED Words compress_one(uint32_t one, Words cv, Message message, uint32_t low, uint32_t high) {
	return compress(one, cv, message, low, high);
}

// Computes a node of a tree.
DEVICE Words node_of(uint32_t one, const Words &key, uint32_t level, uint32_t place, const Words &left,
	const Words &right) {
	return compress_one(one, key, message_of(left, right), place, level << 24);
}

// Computes block `counter` of S(key, stream, row).
DEVICE void chacha8(uint32_t (&out)[16], const Words &key, uint32_t counter, uint32_t stream, uint32_t row) {
	uint32_t first[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, key.word[0], key.word[1], key.word[2],
		key.word[3], key.word[4], key.word[5], key.word[6], key.word[7], counter, 0, stream, row};
	UNROLLED for (int at = 0; at < 16; at++) out[at] = first[at];
	auto quarter = [&](int a, int b, int c, int d) {
		out[a] += out[b];
		out[d] = rotate_left(out[d] ^ out[a], 16);
		out[c] += out[d];
		out[b] = rotate_left(out[b] ^ out[c], 12);
		out[a] += out[b];
		out[d] = rotate_left(out[d] ^ out[a], 8);
		out[c] += out[d];
		out[b] = rotate_left(out[b] ^ out[c], 7);
	};
	UNROLLED for (int twice = 0; twice < 4; twice++) {
		UNROLLED for (int at = 0; at < 4; at++) quarter(at, at + 4, at + 8, at + 12);
		UNROLLED for (int at = 0; at < 4; at++) quarter(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4);
	}
	UNROLLED for (int at = 0; at < 16; at++) out[at] += first[at];
}
