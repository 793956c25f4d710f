//! The kernels, in WGSL. What is unrolled is written out by a program; the definitions are those of
//! [`crate::bench::chain`], [`crate::bench::hash`] and [`crate::bench::walk`], bit for bit.

use crate::bench::{
	hash::{Kind, TreeTag, place},
	walk::{READS, WORDS},
};
use std::fmt::Write;

/// Rows, and columns, that one workgroup of the product computes.
pub const TILE: u32 = 128;
/// Words of both matrices that it holds at a time.
const DEPTH: usize = 8;
/// Between two such words of four rows: one more than there are, so that threads that write next to
/// each other meet in no bank.
const STRIDE: usize = TILE as usize / 4 + 1;
/// Chunks that one workgroup hashes.
pub const CHUNKS: u32 = 64;
/// Leaves that one workgroup of the reduction takes, at most.
pub const LEAVES: u32 = 512;
/// Lanes of one workgroup of the walk.
pub const LANES: u32 = 4;

/// What every kernel but the walk is told, one for each dispatch.
pub const PARAMS: &str = "
struct Params {
	n: u32,
	t: u32,
	level: u32,
	active_pairs: u32,
	out: u32,
	pad0: u32,
	pad1: u32,
	pad2: u32,
	key0: vec4<u32>,
	key1: vec4<u32>,
}
@group(0) @binding(0) var<uniform> p: Params;
";

/// ChaCha8, a block an invocation: fills a matrix whose row `r` is stream `r`.
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
	let place = vec4<u32>(id.x % blocks, 0u, id.x / blocks, 0u);
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

/// One step of the chain: tiles of 128 × 128 sums, 8 × 8 an invocation, four products at a time.
pub fn step() -> String {
	let mut code = String::from(PARAMS);
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
		^ (vec4<u32>(p.t * 0x9E3779B1u + i * 0x85EBCA77u) + js * vec4<u32>(0xC2B2AE3Du));
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

/// BLAKE3's compression, and the keys of places in trees.
fn blake3() -> String {
	const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
	let key = place(Kind::Leaf, TreeTag::Rows, 0, 0);
	let words: Vec<String> = key[..16]
		.chunks_exact(4)
		.map(|bytes| {
			let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
			format!("{word:#010x}u")
		})
		.collect();
	let mut code = format!(
		"
const CHUNK_START: u32 = 1u;
const CHUNK_END: u32 = 2u;
const PARENT: u32 = 4u;
const ROOT: u32 = 8u;
const KEYED: u32 = 16u;

struct Value {{
	a: vec4<u32>,
	b: vec4<u32>,
}}

fn place_key(kind: u32, tag: u32, level: u32, low: u32, high: u32) -> Value {{
	return Value(
		vec4<u32>({}),
		vec4<u32>(kind | (tag << 8u) | (level << 16u), 0u, low, high),
	);
}}

fn rotr(x: vec4<u32>, bits: u32) -> vec4<u32> {{
	return (x >> vec4<u32>(bits)) | (x << vec4<u32>(32u - bits));
}}

fn compress(
	before: Value,
	m0: vec4<u32>,
	m1: vec4<u32>,
	m2: vec4<u32>,
	m3: vec4<u32>,
	counter: u32,
	flags: u32,
) -> Value {{
	var a = before.a;
	var b = before.b;
	var c = vec4<u32>(0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au);
	var d = vec4<u32>(counter, 0u, 64u, flags);
",
		words.join(", ")
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

/// The leaves of a step's rows: a chunk an invocation, then the chunks of each row together.
pub fn leaves() -> String {
	let tag = TreeTag::Rows as u8;
	let leaf = Kind::Leaf as u8;
	format!(
		"{PARAMS}{}
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> leaves: array<vec4<u32>>;
var<workgroup> values_a: array<vec4<u32>, {CHUNKS}>;
var<workgroup> values_b: array<vec4<u32>, {CHUNKS}>;

@compute @workgroup_size({CHUNKS})
fn main(
	@builtin(global_invocation_id) id: vec3<u32>,
	@builtin(local_invocation_index) me: u32,
) {{
	let chunks = p.n / 1024u;
	let row = id.x / chunks;
	let chunk = id.x % chunks;
	let key = place_key({leaf}u, {tag}u, 0u, row, p.t);
	var value = key;
	for (var block = 0u; block < 16u; block++) {{
		var flags = KEYED;
		if (block == 0u) {{
			flags |= CHUNK_START;
		}}
		if (block == 15u) {{
			flags |= CHUNK_END;
			if (chunks == 1u) {{
				flags |= ROOT;
			}}
		}}
		let at = id.x * 64u + block * 4u;
		value = compress(value, x[at], x[at + 1u], x[at + 2u], x[at + 3u], chunk, flags);
	}}
	values_a[me] = value.a;
	values_b[me] = value.b;
	for (var width = 1u; width < chunks; width *= 2u) {{
		workgroupBarrier();
		if (chunk % (2u * width) == 0u) {{
			var flags = KEYED | PARENT;
			if (2u * width == chunks) {{
				flags |= ROOT;
			}}
			let right = me + width;
			value = compress(
				key, values_a[me], values_b[me], values_a[right], values_b[right], 0u, flags,
			);
			values_a[me] = value.a;
			values_b[me] = value.b;
		}}
	}}
	if (chunk == 0u) {{
		leaves[row * 2u] = value.a;
		leaves[row * 2u + 1u] = value.b;
	}}
}}
",
		blake3()
	)
}

/// Up to 512 hashes of one level of the rows' tree to the one above them all.
pub fn reduce() -> String {
	let tag = TreeTag::Rows as u8;
	let node = Kind::Node as u8;
	let pairs = LEAVES / 2;
	format!(
		"{PARAMS}{}
@group(0) @binding(1) var<storage, read> below: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> above: array<vec4<u32>>;
var<workgroup> values_a: array<vec4<u32>, {pairs}>;
var<workgroup> values_b: array<vec4<u32>, {pairs}>;

fn node(
	level: u32, index: u32, la: vec4<u32>, lb: vec4<u32>, ra: vec4<u32>, rb: vec4<u32>,
) -> Value {{
	let key = place_key({node}u, {tag}u, level, index, 0u);
	return compress(key, la, lb, ra, rb, 0u, KEYED | CHUNK_START | CHUNK_END | ROOT);
}}

@compute @workgroup_size({pairs})
fn main(
	@builtin(global_invocation_id) id: vec3<u32>,
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(local_invocation_index) me: u32,
) {{
	var value = Value(vec4<u32>(0u), vec4<u32>(0u));
	if (me < p.active_pairs) {{
		let at = id.x * 4u;
		value = node(
			p.level + 1u, id.x, below[at], below[at + 1u], below[at + 2u], below[at + 3u],
		);
		values_a[me] = value.a;
		values_b[me] = value.b;
	}}
	var level = p.level + 2u;
	for (var width = 1u; width < p.active_pairs; width *= 2u) {{
		workgroupBarrier();
		if (me % (2u * width) == 0u && me + width < p.active_pairs) {{
			let right = me + width;
			value = node(
				level, id.x / (2u * width),
				values_a[me], values_b[me], values_a[right], values_b[right],
			);
			values_a[me] = value.a;
			values_b[me] = value.b;
		}}
		level += 1u;
	}}
	if (me == 0u) {{
		let at = p.out + group.x * 2u;
		above[at] = value.a;
		above[at + 1u] = value.b;
	}}
}}
",
		blake3()
	)
}

/// One stage of the walk, over a window that lies in `buffers` buffers.
pub fn walk(buffers: usize) -> String {
	let mut ring = String::new();
	let mut cases = String::new();
	for at in 0..buffers {
		let binding = at + 3;
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
	let threads = LANES as usize * WORDS;
	let words = WORDS + 8;
	format!(
		"{}
struct Params {{
	n: u32,
	lines: u32,
	slots: u32,
	lanes: u32,
	legs: u32,
	stage: u32,
	first_slot: u32,
	trace: u32,
}}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> kept: array<u32>;
@group(0) @binding(2) var<storage, read_write> traced: array<u32>;
{ring}
var<workgroup> even: array<u32, {threads}>;
var<workgroup> odd: array<u32, {threads}>;

fn part(buffer: u32, index: u32) -> vec4<u32> {{
	switch buffer {{
{cases}	}}
}}

fn high_product(a: u32, b: u32) -> u32 {{
	let low = (a & 0xffffu) * (b & 0xffffu);
	let one = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
	let two = (a & 0xffffu) * (b >> 16u) + (one & 0xffffu);
	return (a >> 16u) * (b >> 16u) + (one >> 16u) + (two >> 16u);
}}

// Where the line lies that a lane reads next: which buffer, and which 16 bytes of it come first.
fn place_of(word: u32) -> vec2<u32> {{
	let line = high_product(word * 0x9E3779B1u, p.lines);
	let lines_of_step = p.n * (p.n / 1024u);
	let slot = p.first_slot + line / lines_of_step;
	let within = line % lines_of_step;
	return vec2<u32>(slot / p.slots, (slot % p.slots) * lines_of_step * 64u + within * 64u);
}}

fn taken(h: u32, value: u32) -> u32 {{
	return (((h << 5u) | (h >> 27u)) ^ value) * 0x9E3779B1u;
}}

fn absorbed(word: u32, right: u32, at: vec2<u32>, k: u32) -> u32 {{
	let v0 = part(at.x, at.y + k);
	let v1 = part(at.x, at.y + k + {WORDS}u);
	let v2 = part(at.x, at.y + k + {}u);
	let v3 = part(at.x, at.y + k + {}u);
	var h = taken(taken(taken(taken(word, v0.x), v0.y), v0.z), v0.w);
	h = taken(taken(taken(taken(h, v1.x), v1.y), v1.z), v1.w);
	h = taken(taken(taken(taken(h, v2.x), v2.y), v2.z), v2.w);
	h = taken(taken(taken(taken(h, v3.x), v3.y), v3.z), v3.w);
	h += right;
	h ^= h >> 15u;
	h *= 0x2C1B3C6Du;
	return h ^ (h >> 13u);
}}

@compute @workgroup_size({threads})
fn main(
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(local_invocation_index) me: u32,
) {{
	let local = me / {WORDS}u;
	let base = local * {WORDS}u;
	let k = me % {WORDS}u;
	let lane = group.x * {LANES}u + local;
	let source = (p.stage * p.lanes + lane) * {words}u;
	let right = base + (k + 1u) % {WORDS}u;
	even[me] = kept[source + k];
	var digest = Value(vec4<u32>(0u), vec4<u32>(0u));
	if (k == 0u) {{
		let at = source + {WORDS}u;
		digest.a = vec4<u32>(kept[at], kept[at + 1u], kept[at + 2u], kept[at + 3u]);
		digest.b = vec4<u32>(kept[at + 4u], kept[at + 5u], kept[at + 6u], kept[at + 7u]);
	}}
	workgroupBarrier();
	for (var leg = 0u; leg < p.legs; leg++) {{
		for (var read = 0u; read < {READS}u; read += 2u) {{
			let e0 = base + read % {WORDS}u;
			let e1 = base + (read + 4u) % {WORDS}u;
			let e2 = base + (read + 8u) % {WORDS}u;
			let e3 = base + (read + 12u) % {WORDS}u;
			let at_even = place_of(even[e0] ^ even[e1] ^ even[e2] ^ even[e3]);
			odd[me] = absorbed(even[me], even[right], at_even, k);
			workgroupBarrier();
			let o0 = base + (read + 1u) % {WORDS}u;
			let o1 = base + (read + 5u) % {WORDS}u;
			let o2 = base + (read + 9u) % {WORDS}u;
			let o3 = base + (read + 13u) % {WORDS}u;
			let at_odd = place_of(odd[o0] ^ odd[o1] ^ odd[o2] ^ odd[o3]);
			even[me] = absorbed(odd[me], odd[right], at_odd, k);
			workgroupBarrier();
		}}
		if (p.trace == 1u) {{
			traced[(local * p.legs + leg) * {WORDS}u + k] = even[me];
		}}
		// The next read writes to `odd` only, so `even` stays until all have passed its barrier.
		if (k == 0u) {{
			digest = compress(
				digest,
				vec4<u32>(even[base], even[base + 1u], even[base + 2u], even[base + 3u]),
				vec4<u32>(even[base + 4u], even[base + 5u], even[base + 6u], even[base + 7u]),
				vec4<u32>(even[base + 8u], even[base + 9u], even[base + 10u], even[base + 11u]),
				vec4<u32>(even[base + 12u], even[base + 13u], even[base + 14u], even[base + 15u]),
				0u,
				KEYED | CHUNK_START | CHUNK_END | ROOT,
			);
		}}
	}}
	if (p.trace == 1u) {{
		return;
	}}
	let to = ((p.stage + 1u) * p.lanes + lane) * {words}u;
	kept[to + k] = even[me];
	if (k == 0u) {{
		let at = to + {WORDS}u;
		kept[at] = digest.a.x;
		kept[at + 1u] = digest.a.y;
		kept[at + 2u] = digest.a.z;
		kept[at + 3u] = digest.a.w;
		kept[at + 4u] = digest.b.x;
		kept[at + 5u] = digest.b.y;
		kept[at + 6u] = digest.b.z;
		kept[at + 7u] = digest.b.w;
	}}
}}
",
		blake3(),
		2 * WORDS,
		3 * WORDS,
	)
}
