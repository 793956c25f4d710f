// The kernels of a trial other than products: fill, trees, walks, and gathering lines.
#include "hash.h"

// One block of 64 bytes per thread.
KERNEL(256) fill(Fill p) {
	const uint32_t each = p.n / 64;
	const uint64_t at = (uint64_t)block_index() * 256 + thread_index();
	if (at >= (uint64_t)each * p.n) return;
	uint32_t out[16];
	chacha8(out, p.key, (uint32_t)(at % each), p.stream, (uint32_t)(at / each));
	UNROLLED for (int part = 0; part < 4; part++)
		p.rows[4 * at + part] = uint4{out[4 * part], out[4 * part + 1], out[4 * part + 2], out[4 * part + 3]};
}

// Returns the place of a level's nodes.
DEVICE uint4 *nodes_at(const Tree &p, uint32_t level, uint32_t place) {
	return p.nodes + 2 * (uint64_t)(2 * p.count - (2 * p.count >> level) + place);
}

// Waits until the product has finished the part of the matrix that contains a byte.
DEVICE void wait_for_part(const Tree &p, uint32_t byte) {
	const uint32_t row = byte / p.n, column = byte % p.n;
	const uint32_t *done = p.done + row / DONE_ROWS * (p.n / DONE_COLUMNS) + column / DONE_COLUMNS;
	// A part that takes minutes never comes, and the driver would wait for this kernel forever.
	uint32_t polls = 0;
	while (load_acquire(done) != p.epoch) {
		give_way();
		if (++polls == MOST_POLLS) give_up();
	}
}

// Computes the leaf over a line.
DEVICE Words leaf_of(const Tree &p, uint32_t line) {
	const uint4 *from = p.lines + (uint64_t)line * PARTS;
	auto block_at = [&](uint32_t block) {
		// Parts of the matrix are finished one after the other.
		if (p.done && block % (DONE_COLUMNS / 64) == 0) wait_for_part(p, line * LINE + 64 * block);
		return message_at(from + 4 * block);
	};
	Words value = p.key;
	Message message = block_at(0);
	NOT_UNROLLED for (uint32_t block = 1; block <= LINE / 64; block++) {
		// Loads while the previous block is hashed.
		Message next = message;
		if (block < LINE / 64) next = block_at(block);
		value = compress(p.one, value, message, line, 0);
		message = next;
	}
	return value;
}

// Reduces `width` nodes of a level to one, left in `values[0]`; `first` is the place of the first node.
DEVICE void reduce(const Tree &p, Words *values, uint32_t width, uint32_t level, uint32_t first) {
	const uint32_t me = thread_index();
	while (width > 1) {
		width /= 2;
		first /= 2;
		level++;
		sync_block();
		Words value;
		if (me < width) value = node_of(p.one, p.key, level, first + me, values[2 * me], values[2 * me + 1]);
		sync_block();
		if (me < width) {
			values[me] = value;
			put_words(nodes_at(p, level, first + me), value);
		}
	}
	sync_block();
}

// Stores a root, and the values derived from it.
DEVICE void follow(const Tree &p, Words *values) {
	const uint32_t me = thread_index();
	if (me == 0) put_words(p.roots + 2 * (uint64_t)p.root, values[0]);
	if (p.after == NOTHING) return;
	const Words none = {};
	if (p.after == TURN) {
		// This step's root is the turn's last.
		Words root = values[0];
		if (me < STEPS - 1) root = words_at(p.roots + 2 * (uint64_t)(p.first + me));
		sync_block();
		if (me < STEPS) values[me] = compress_one(p.one, p.turn, message_of(root, none), me, 0);
		uint32_t level = 0;
		for (uint32_t width = STEPS / 2; width >= 1; width /= 2) {
			level++;
			sync_block();
			if (me < width) root = node_of(p.one, p.turn, level, me, values[2 * me], values[2 * me + 1]);
			sync_block();
			if (me < width) values[me] = root;
		}
	}
	if (me != 0) return;
	Words running = words_at((const uint4 *)&p.state->running);
	if (p.after == TURN) {
		running = compress_one(p.one, running, message_of(values[0], none), p.step / STEPS, 0);
		put_words((uint4 *)&p.state->running, running);
		p.state->kappa = running.word[0];
	} else {
		p.state->kappa = compress_one(p.one, running, message_of(values[0], none), p.step + 1, 0x80000000).word[0];
	}
}

// One line per thread; the last block to finish continues from the blocks' nodes to the root, and the values
// derived from it. With `done`, it may run beside the product that makes the matrix.
KERNEL_BESIDE(LEAVES, 8) tree(Tree p) {
	Words *values = (Words *)shared_memory();
	uint32_t *last = (uint32_t *)(values + LEAVES);
	const uint32_t me = thread_index(), each = p.count < LEAVES ? p.count : LEAVES, blocks = p.count / each;
	// Without a product beside it, it needs all preceding work, and later kernels may rely on that wait.
	if (!p.done) wait_for_those_before();
	let_next_begin();
	if (me < each) {
		const uint32_t line = block_index() * each + me;
		values[me] = leaf_of(p, line);
		put_words(nodes_at(p, 0, line), values[me]);
	}
	reduce(p, values, each, 0, block_index() * each);
	if (me == 0) *last = add_in_order(p.arrived, 1) + 1 == blocks;
	sync_block();
	if (*last) {
		uint32_t level = 0, width = p.count;
		while (width > blocks) {
			width /= 2;
			level++;
		}
		for (; width > LEAVES; width /= 2) {
			for (uint32_t at = me; at < width / 2; at += LEAVES) {
				Words left = words_at(nodes_at(p, level, 2 * at)), right = words_at(nodes_at(p, level, 2 * at + 1));
				put_words(nodes_at(p, level + 1, at), node_of(p.one, p.key, level + 1, at, left, right));
			}
			level++;
			sync_block();
		}
		if (me < width) values[me] = words_at(nodes_at(p, level, me));
		reduce(p, values, width, level, 0);
		if (me == 0) *p.arrived = 0;
		follow(p, values);
		// A wait for this kernel thus covers the preceding ones: it is not over before this block is. The
		// other blocks have left their multiprocessors meanwhile.
		wait_for_those_before();
	}
}

DEVICE uint32_t mix_word(uint32_t h) {
	h = (h ^ h >> 15) * 0x2C1B3C6Du;
	return h ^ h >> 13;
}

// Sixteen threads per lane, each with every sixteenth 16-byte part of its line.
KERNEL_BESIDE(LANE * LANES, 4) walk(Walk p) {
	const uint32_t me = thread_index() % LANE, lane = block_index() * LANES + thread_index() / LANE;
	// Index in the warp.
	const uint32_t next = (thread_index() & 16) | ((me + 1) % LANE);
	wait_for_those_before();
	const uint32_t kappa = load_fresh(&p.state->kappa);
	uint4 *state = p.z + (uint64_t)lane * PARTS + me;
	uint4 s[4];
	UNROLLED for (int i = 0; i < 4; i++) s[i] = state[i * LANE];
	NOT_UNROLLED for (uint32_t read = 0; read < READS; read++) {
		uint32_t all = 0;
		UNROLLED for (int i = 0; i < 4; i++) all ^= s[i].x ^ s[i].y ^ s[i].z ^ s[i].w;
		UNROLLED for (uint32_t by = LANE / 2; by; by /= 2) all ^= shuffle_xor(all, by);
		const uint32_t line = high_product(all * 0x9E3779B1u ^ kappa, p.lines);
		const uint4 *from = p.window + (uint64_t)line * PARTS + me;
		uint4 x[4];
		UNROLLED for (int i = 0; i < 4; i++) x[i] = from[i * LANE];
		uint32_t after[4];
		UNROLLED for (int i = 0; i < 4; i++) after[i] = shuffle(s[i].x, next);
		UNROLLED for (int i = 0; i < 4; i++) {
			// The word after the last thread's is in the first thread's next part.
			const uint32_t following = me == LANE - 1 ? after[(i + 1) % 4] : after[i];
			const uint4 before = s[i];
			s[i].x = mix_word((rotate_left(before.x, 5) ^ x[i].x) + before.y);
			s[i].y = mix_word((rotate_left(before.y, 5) ^ x[i].y) + before.z);
			s[i].z = mix_word((rotate_left(before.z, 5) ^ x[i].z) + before.w);
			s[i].w = mix_word((rotate_left(before.w, 5) ^ x[i].w) + following);
		}
	}
	let_next_begin();
	UNROLLED for (int i = 0; i < 4; i++) state[i * LANE] = s[i];
}

// One line per block, with a thread for each 16 bytes: the line, then its path from the leaf up.
KERNEL(PARTS) gather(Gather p) {
	const uint32_t line = p.which[block_index()], me = thread_index();
	uint4 *out = p.out + (uint64_t)block_index() * (PARTS + 2 * p.levels);
	out[me] = p.lines[(uint64_t)line * PARTS + me];
	if (me < p.levels) {
		const uint64_t node = (uint64_t)(2 * p.count - (2 * p.count >> me)) + (line >> me ^ 1);
		put_words(out + PARTS + 2 * me, words_at(p.nodes + 2 * node));
	}
}

// Reads lines all over the window, each one's place derived from the line before, with the least possible
// arithmetic: the yardstick of walks.
KERNEL_BESIDE(LANE * LANES, 4) reads(Walk p) {
	const uint32_t me = thread_index() % LANE, lane = block_index() * LANES + thread_index() / LANE;
	uint32_t *state = (uint32_t *)(p.z + (uint64_t)lane * PARTS + me);
	wait_for_those_before();
	uint32_t s = *state;
	NOT_UNROLLED for (uint32_t read = 0; read < YARDSTICK_READS; read++) {
		const uint32_t line = high_product(shuffle(s, thread_index() & 16 | read % LANE), p.lines);
		const uint4 *from = p.window + (uint64_t)line * PARTS + me;
		uint4 x[4];
		UNROLLED for (int i = 0; i < 4; i++) x[i] = from[i * LANE];
		UNROLLED for (int i = 0; i < 4; i++) s ^= x[i].x ^ x[i].y ^ x[i].z ^ x[i].w;
		s = mix_word(s + read);
	}
	let_next_begin();
	*state = s;
}

KERNEL(256) copy(Copy p) {
	const uint64_t step = (uint64_t)block_count() * 256;
	for (uint64_t at = (uint64_t)block_index() * 256 + thread_index(); at < p.count; at += step) p.to[at] = p.from[at];
}
