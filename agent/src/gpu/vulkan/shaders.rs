//! The kernels, in WGSL. Unrolled loops are generated; the definitions are those of
//! [`crate::trial::matrix`], [`crate::trial::tree`] and [`crate::trial::hash`], bit for bit.

use super::address::READ;
use crate::trial::matrix::READS;
use std::fmt::Write;

/// Rows and columns that one workgroup of the product computes.
pub const TILE: u32 = 128;
/// Words of each row of both matrices that a workgroup holds at a time.
const DEPTH: usize = 8;
/// Stride between two such words of four rows: one more than their number, so that writes of adjacent
/// threads have no bank conflicts.
const STRIDE: usize = TILE as usize / 4 + 1;
/// Lines that one workgroup hashes.
pub const LEAVES: u32 = 64;
/// Maximum nodes that one workgroup reduces to one.
pub const REDUCED: u32 = 512;
/// Invocations of a walk's lane: each has four words of its state.
const LANE: usize = 64;
/// Maximum lanes of a walk along a dimension.
pub const LANES: u32 = 16_384;

/// Bytes that one workgroup of a copy copies.
pub const COPIED: u32 = 64 << 10;

/// Another step of the turn follows: its κ is drawn from this one's root.
pub const STEP: u32 = 1;
/// The step is the last of its turn: the running hash takes in the turn's root, and yields the next step's
/// κ.
pub const TURN: u32 = 2;
/// No slot.
pub const NONE: u32 = u32::MAX;

/// The parameters of trees and of `fill`.
const PARAMS: &str = "
struct Params {
	// Number of the matrix's lines, or of its rows.
	n: u32,
	// The level whose nodes are reduced.
	level: u32,
	// Number of pairs of nodes in a workgroup.
	pairs: u32,
	// The root's place among the roots, or the stream of a matrix's rows.
	out: u32,
	// The values to derive from the root.
	mode: u32,
	step: u32,
	// The slot that gets the next κ.
	slot: u32,
	// The place of the turn's first root.
	first: u32,
	// The tree's key.
	key0: vec4<u32>,
	key1: vec4<u32>,
	// The key of the tree over the turn.
	turn0: vec4<u32>,
	turn1: vec4<u32>,
}
@group(0) @binding(0) var<uniform> p: Params;
";

/// The parameters of a product.
const PRODUCT_PARAMS: &str = "
struct Params {
	n: u32,
	t: u32,
	kappa: u32,
	pad: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
";

/// ChaCha8, one block per invocation: fills a matrix whose row `i` is `S(key, out, i)`.
pub fn fill() -> String {
	let mut code = String::from(PARAMS);
	code.push_str(
		"
@group(0) @binding(1) var<storage, read_write> rows: array<vec4<u32>>;

fn rotl(x: vec4<u32>, bits: u32) -> vec4<u32> {
	return (x << vec4<u32>(bits)) | (x >> vec4<u32>(32u - bits));
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
	let blocks = p.n / 64u;
	if (id.x >= blocks * p.n) {
		return;
	}
	let first = vec4<u32>(0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u);
	let place = vec4<u32>(id.x % blocks, 0u, p.out, id.x / blocks);
	var a = first;
	var b = p.key0;
	var c = p.key1;
	var d = place;
	for (var round = 0u; round < 4u; round++) {
",
	);
	for diagonal in [false, true] {
		if diagonal {
			code.push_str("\t\tb = b.yzwx; c = c.zwxy; d = d.wxyz;\n");
		}
		for (x, y) in [(16, 12), (8, 7)] {
			let _ = writeln!(
				code,
				"\t\ta += b; d = rotl(d ^ a, {x}u); c += d; b = rotl(b ^ c, {y}u);"
			);
		}
		if diagonal {
			code.push_str("\t\tb = b.wxyz; c = c.zwxy; d = d.yzwx;\n");
		}
	}
	code.push_str(
		"	}
	let at = id.x * 4u;
	rows[at] = a + first;
	rows[at + 1u] = b + p.key0;
	rows[at + 2u] = c + p.key1;
	rows[at + 3u] = d + place;
}
",
	);
	code
}

/// A copy, with four reads in flight per invocation.
pub fn copy() -> String {
	let items = COPIED / 16;
	format!(
		"
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(local_invocation_index) me: u32,
) {{
	let first = group.x * {items}u + me;
	for (var at = first; at < first + {items}u; at += 1024u) {{
		let a = x[at];
		let b = x[at + 256u];
		let c = x[at + 512u];
		let d = x[at + 768u];
		y[at] = a;
		y[at + 256u] = b;
		y[at + 512u] = c;
		y[at + 768u] = d;
	}}
}}
"
	)
}

/// A product: tiles of 128 × 128 sums, 8 × 8 per invocation, four products at a time.
pub fn step() -> String {
	let mut code = String::from(PRODUCT_PARAMS);
	let words = DEPTH * STRIDE;
	let _ = write!(
		code,
		"
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;
var<workgroup> tile_a: array<vec4<u32>, {words}>;
var<workgroup> tile_x: array<vec4<u32>, {words}>;

fn mixed(sums: vec4<i32>, i: u32, j: u32) -> u32 {{
	let js = vec4<u32>(j, j + 1u, j + 2u, j + 3u);
	var h = bitcast<vec4<u32>>(sums)
		^ (vec4<u32>(p.t * 0x9E3779B1u + i * 0x85EBCA77u + p.kappa) + js * vec4<u32>(0xC2B2AE3Du));
	h ^= h >> vec4<u32>(15u);
	h *= vec4<u32>(0x2C1B3C6Du);
	h ^= h >> vec4<u32>(12u);
	h *= vec4<u32>(0x297A2D39u);
	h ^= h >> vec4<u32>(15u);
	h >>= vec4<u32>(24u);
	return h.x | (h.y << 8u) | (h.z << 16u) | (h.w << 24u);
}}

@compute @workgroup_size(256)
fn main(
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(local_invocation_index) me: u32,
) {{
	let words = p.n / 4u;
	let first_i = group.y * {TILE}u;
	let first_j = group.x * {TILE}u;
	// What it loads: word `word` of four rows.
	let word = me % {DEPTH}u;
	let four = me / {DEPTH}u;
	let slot = word * {STRIDE}u + four;
	var from_a = (first_i + four * 4u) * words + word;
	var from_x = (first_j + four * 4u) * words + word;
	// What it sums up: eight rows of each.
	let row_i = me / 16u;
	let row_j = me % 16u;
",
	);
	for r in 0..8 {
		for half in 0..2 {
			let _ = writeln!(code, "\tvar c{r}_{half} = vec4<i32>(0);");
		}
	}
	let load = |what: &str| {
		format!(
			"vec4<u32>({what}[from_{what}], {what}[from_{what} + words], \
			 {what}[from_{what} + 2u * words], {what}[from_{what} + 3u * words])"
		)
	};
	let _ = write!(
		code,
		"	var next_a = {};
	var next_x = {};
	for (var k = 0u; k < words; k += {DEPTH}u) {{
		workgroupBarrier();
		tile_a[slot] = next_a;
		tile_x[slot] = next_x;
		workgroupBarrier();
		if (k + {DEPTH}u < words) {{
			from_a += {DEPTH}u;
			from_x += {DEPTH}u;
			next_a = {};
			next_x = {};
		}}
		for (var w = 0u; w < {DEPTH}u; w++) {{
			let at_a = w * {STRIDE}u + row_i * 2u;
			let at_x = w * {STRIDE}u + row_j * 2u;
			let a0 = tile_a[at_a];
			let a1 = tile_a[at_a + 1u];
			let x0 = tile_x[at_x];
			let x1 = tile_x[at_x + 1u];
",
		load("a"),
		load("x"),
		load("a"),
		load("x"),
	);
	for r in 0..8 {
		let a = format!("a{}.{}", r / 4, component(r));
		for half in 0..2 {
			let products: Vec<String> = (0..4)
				.map(|c| format!("dot4I8Packed({a}, x{half}.{})", component(c)))
				.collect();
			let _ = writeln!(
				code,
				"\t\t\tc{r}_{half} += vec4<i32>({});",
				products.join(", ")
			);
		}
	}
	code.push_str("\t\t}\n\t}\n\tlet j = first_j + row_j * 8u;\n");
	for r in 0..8 {
		let _ = write!(
			code,
			"	{{
		let i = first_i + row_i * 8u + {r}u;
		let at = i * words + j / 4u;
		y[at] = mixed(c{r}_0, i, j);
		y[at + 1u] = mixed(c{r}_1, i, j + 4u);
	}}
"
		);
	}
	code.push_str("}\n");
	code
}

fn component(index: usize) -> char {
	['x', 'y', 'z', 'w'][index % 4]
}

/// BLAKE3's compression of a whole block without flags: the first half of its output.
fn blake3() -> String {
	const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
	let mut code = String::from(
		"
struct Value {
	a: vec4<u32>,
	b: vec4<u32>,
}

fn rotr(x: vec4<u32>, bits: u32) -> vec4<u32> {
	return (x >> vec4<u32>(bits)) | (x << vec4<u32>(32u - bits));
}

fn compress(
	before: Value,
	m0: vec4<u32>,
	m1: vec4<u32>,
	m2: vec4<u32>,
	m3: vec4<u32>,
	low: u32,
	high: u32,
) -> Value {
	var a = before.a;
	var b = before.b;
	var c = vec4<u32>(0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au);
	var d = vec4<u32>(low, high, 64u, 0u);
",
	);
	let mut order: [usize; 16] = std::array::from_fn(|at| at);
	for _ in 0..7 {
		for diagonal in [false, true] {
			if diagonal {
				code.push_str("\tb = b.yzwx; c = c.zwxy; d = d.wxyz;\n");
			}
			for (odd, (x, y)) in [(16, 12), (8, 7)].into_iter().enumerate() {
				let words: Vec<String> = (0..4)
					.map(|at| {
						let word = order[usize::from(diagonal) * 8 + at * 2 + odd];
						format!("m{}.{}", word / 4, component(word))
					})
					.collect();
				let _ = writeln!(
					code,
					"\ta += b + vec4<u32>({}); d = rotr(d ^ a, {x}u); c += d; b = rotr(b ^ c, {y}u);",
					words.join(", ")
				);
			}
			if diagonal {
				code.push_str("\tb = b.wxyz; c = c.zwxy; d = d.yzwx;\n");
			}
		}
		order = std::array::from_fn(|at| order[PERMUTATION[at]]);
	}
	code.push_str("\treturn Value(a ^ c, b ^ d);\n}\n");
	code
}

/// The leaves of a matrix's tree, one line per invocation, at the front of the tree's nodes.
pub fn leaves() -> String {
	format!(
		"{PARAMS}{}
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> nodes: array<vec4<u32>>;

@compute @workgroup_size({LEAVES})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
	var value = Value(p.key0, p.key1);
	for (var block = 0u; block < 16u; block++) {{
		let at = id.x * 64u + block * 4u;
		value = compress(value, x[at], x[at + 1u], x[at + 2u], x[at + 3u], id.x, 0u);
	}}
	nodes[id.x * 2u] = value.a;
	nodes[id.x * 2u + 1u] = value.b;
}}
",
		blake3()
	)
}

/// Reduces up to 512 nodes of one level of a tree, in a workgroup, to their common ancestor. Level `l` of a
/// tree over n lines begins at node `2n − (2n ≫ l)`.
fn reducing() -> String {
	let pairs = REDUCED / 2;
	format!(
		"{PARAMS}{}
@group(0) @binding(1) var<storage, read_write> nodes: array<vec4<u32>>;
var<workgroup> values_a: array<vec4<u32>, {pairs}>;
var<workgroup> values_b: array<vec4<u32>, {pairs}>;

fn node_of(key: Value, level: u32, place: u32, left: Value, right: Value) -> Value {{
	return compress(key, left.a, left.b, right.a, right.b, place, level << 24u);
}}

fn put(level: u32, place: u32, value: Value) {{
	let at = (2u * p.n - ((2u * p.n) >> level) + place) * 2u;
	nodes[at] = value.a;
	nodes[at + 1u] = value.b;
}}

// Returns the common ancestor in the first invocation, and stores it first in the workgroup's values.
fn reduced(first_pair: u32, me: u32) {{
	let key = Value(p.key0, p.key1);
	var level = p.level + 1u;
	if (me < p.pairs) {{
		let pair = first_pair + me;
		let below = (2u * p.n - ((2u * p.n) >> p.level) + 2u * pair) * 2u;
		let value = node_of(
			key, level, pair,
			Value(nodes[below], nodes[below + 1u]),
			Value(nodes[below + 2u], nodes[below + 3u]),
		);
		put(level, pair, value);
		values_a[me] = value.a;
		values_b[me] = value.b;
	}}
	for (var width = 1u; width < p.pairs; width *= 2u) {{
		workgroupBarrier();
		level += 1u;
		if (me % (2u * width) == 0u && me + width < p.pairs) {{
			let right = me + width;
			let place = (first_pair + me) / (2u * width);
			let value = node_of(
				key, level, place,
				Value(values_a[me], values_b[me]), Value(values_a[right], values_b[right]),
			);
			put(level, place, value);
			values_a[me] = value.a;
			values_b[me] = value.b;
		}}
	}}
}}
",
		blake3()
	)
}

/// The lower levels of a tree.
pub fn reduce() -> String {
	format!(
		"{}
@compute @workgroup_size({})
fn main(
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(local_invocation_index) me: u32,
) {{
	reduced(group.x * p.pairs, me);
}}
",
		reducing(),
		REDUCED / 2
	)
}

/// The upper levels of a tree, in one workgroup, and the values derived from its root: the running hash, and
/// κ of the next step, which together are the state.
pub fn top() -> String {
	format!(
		"{}
@group(0) @binding(2) var<storage, read_write> roots: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> slots: array<u32>;

@compute @workgroup_size({})
fn main(@builtin(local_invocation_index) me: u32) {{
	reduced(0u, me);
	if (me == 0u) {{
		roots[2u * p.out] = values_a[0];
		roots[2u * p.out + 1u] = values_b[0];
	}}
	workgroupBarrier();
	let none = vec4<u32>(0u);
	if ((p.mode & {TURN}u) != 0u) {{
		let key = Value(p.turn0, p.turn1);
		// This step's root is the turn's last.
		var root = Value(values_a[0], values_b[0]);
		if (me < 15u) {{
			root = Value(roots[2u * (p.first + me)], roots[2u * (p.first + me) + 1u]);
		}}
		workgroupBarrier();
		if (me < 16u) {{
			let value = compress(key, root.a, root.b, none, none, me, 0u);
			values_a[me] = value.a;
			values_b[me] = value.b;
		}}
		for (var level = 1u; level < 5u; level++) {{
			workgroupBarrier();
			let width = 1u << (level - 1u);
			if (me < 16u && me % (2u * width) == 0u) {{
				let right = me + width;
				let value = node_of(
					key, level, me >> level,
					Value(values_a[me], values_b[me]), Value(values_a[right], values_b[right]),
				);
				values_a[me] = value.a;
				values_b[me] = value.b;
			}}
		}}
	}}
	if (me == 0u) {{
		var running = Value(state[0], state[1]);
		let root = Value(values_a[0], values_b[0]);
		if ((p.mode & {TURN}u) != 0u) {{
			running = compress(running, root.a, root.b, none, none, p.step / 16u, 0u);
			state[0] = running.a;
			state[1] = running.b;
		}}
		var kappa = running.a.x;
		if ((p.mode & {STEP}u) != 0u) {{
			kappa = compress(running, root.a, root.b, none, none, p.step + 1u, 0x80000000u).a.x;
		}}
		if ((p.mode & {}u) != 0u) {{
			// If the submission ends here, the next one starts with this κ.
			state[2] = vec4<u32>(kappa, 0u, 0u, 0u);
			if (p.slot != {NONE}u) {{
				slots[p.slot] = kappa;
			}}
		}}
	}}
}}
",
		reducing(),
		REDUCED / 2,
		STEP | TURN
	)
}

/// A walk over a window in `buffers` buffers, each with its own binding and branch.
pub fn walk_by_branches(buffers: usize) -> String {
	let mut ring = String::new();
	let mut cases = String::new();
	for at in 0..buffers {
		let binding = at + 2;
		let _ = writeln!(
			ring,
			"@group(0) @binding({binding}) var<storage, read> ring{at}: array<vec4<u32>>;"
		);
		if at + 1 < buffers {
			let _ = writeln!(cases, "\t\tcase {at}u: {{ return ring{at}[index]; }}");
		} else {
			let _ = writeln!(cases, "\t\tdefault: {{ return ring{at}[index]; }}");
		}
	}
	walk(&format!(
		"{ring}
fn part(buffer: u32, index: u32) -> vec4<u32> {{
	switch buffer {{
{cases}	}}
}}
"
	))
}

/// A walk over a window in any number of buffers, by their addresses. [`super::address`] fills in the body
/// of the read.
pub fn walk_by_addresses() -> String {
	walk(&format!(
		"@group(0) @binding(2) var<storage, read> addresses: array<vec2<u32>>;

fn {READ}(address: vec2<u32>, index: u32) -> vec4<u32> {{
	return vec4<u32>(address, index, 0u);
}}

fn part(buffer: u32, index: u32) -> vec4<u32> {{
	return {READ}(addresses[buffer], index);
}}
"
	))
}

/// A walk over a window that `part` reads: one workgroup for each lane, whose state is a line of `z`.
fn walk(part: &str) -> String {
	format!(
		"
struct Params {{
	// Number of lines of the window, and of each of its buffers.
	lines: u32,
	each: u32,
	kappa: u32,
	// The window's first line: 0, except in measurements of a part.
	first: u32,
}}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<vec4<u32>>;
{part}
var<workgroup> folded: array<u32, {LANE}>;
var<workgroup> firsts: array<u32, {LANE}>;
var<workgroup> eighths: array<u32, 8>;

fn high_product(a: u32, b: u32) -> u32 {{
	let low = (a & 0xffffu) * (b & 0xffffu);
	let one = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
	let two = (a & 0xffffu) * (b >> 16u) + (one & 0xffffu);
	return (a >> 16u) * (b >> 16u) + (one >> 16u) + (two >> 16u);
}}

@compute @workgroup_size({LANE})
fn main(
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(num_workgroups) groups: vec3<u32>,
	@builtin(local_invocation_index) k: u32,
) {{
	let at = (group.y * groups.x + group.x) * {LANE}u + k;
	var s = z[at];
	for (var read = 0u; read < {READS}u; read++) {{
		folded[k] = s.x ^ s.y ^ s.z ^ s.w;
		firsts[k] = s.x;
		workgroupBarrier();
		let next = firsts[(k + 1u) % {LANE}u];
		if (k < 8u) {{
			let base = k * 8u;
			eighths[k] = folded[base] ^ folded[base + 1u] ^ folded[base + 2u] ^ folded[base + 3u]
				^ folded[base + 4u] ^ folded[base + 5u] ^ folded[base + 6u] ^ folded[base + 7u];
		}}
		workgroupBarrier();
		let all = eighths[0] ^ eighths[1] ^ eighths[2] ^ eighths[3]
			^ eighths[4] ^ eighths[5] ^ eighths[6] ^ eighths[7];
		let line = p.first + high_product((all * 0x9E3779B1u) ^ p.kappa, p.lines);
		let x = part(line / p.each, (line % p.each) * {LANE}u + k);
		var h = (((s << vec4<u32>(5u)) | (s >> vec4<u32>(27u))) ^ x)
			+ vec4<u32>(s.y, s.z, s.w, next);
		h ^= h >> vec4<u32>(15u);
		h *= vec4<u32>(0x2C1B3C6Du);
		s = h ^ (h >> vec4<u32>(13u));
	}}
	z[at] = s;
}}
"
	)
}
