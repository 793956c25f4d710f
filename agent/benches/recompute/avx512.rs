//! Sixteen labels at a time in AVX-512.

use super::{pages::Graph, wide::WIDTH};
use kaisar_agent::trial::hash::{Block, u32_at};
use std::{arch::x86_64::*, time::Instant};

const IV: [u32; 4] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A];
/// Blocks that enter a label.
const INPUTS: usize = 17;

/// The rows as columns.
#[target_feature(enable = "avx512f")]
fn transpose(mut r: [__m512i; 16]) -> [__m512i; 16] {
	let mut t = r;
	for i in 0..8 {
		t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
		t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
	}
	for i in (0..16).step_by(4) {
		r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	for i in 0..4 {
		let even = _mm512_shuffle_i32x4::<0x88>(r[i], r[i + 4]);
		let odd = _mm512_shuffle_i32x4::<0xDD>(r[i], r[i + 4]);
		let even_2 = _mm512_shuffle_i32x4::<0x88>(r[i + 8], r[i + 12]);
		let odd_2 = _mm512_shuffle_i32x4::<0xDD>(r[i + 8], r[i + 12]);
		t[i] = _mm512_shuffle_i32x4::<0x88>(even, even_2);
		t[i + 4] = _mm512_shuffle_i32x4::<0x88>(odd, odd_2);
		t[i + 8] = _mm512_shuffle_i32x4::<0xDD>(even, even_2);
		t[i + 12] = _mm512_shuffle_i32x4::<0xDD>(odd, odd_2);
	}
	t
}

/// One of BLAKE3's mixings, of sixteen labels.
macro_rules! mix {
	($v:ident, $m:ident, $a:literal, $b:literal, $c:literal, $d:literal, $x:literal, $y:literal) => {
		$v[$a] = _mm512_add_epi32(_mm512_add_epi32($v[$a], $m[$x]), $v[$b]);
		$v[$d] = _mm512_ror_epi32::<16>(_mm512_xor_si512($v[$d], $v[$a]));
		$v[$c] = _mm512_add_epi32($v[$c], $v[$d]);
		$v[$b] = _mm512_ror_epi32::<12>(_mm512_xor_si512($v[$b], $v[$c]));
		$v[$a] = _mm512_add_epi32(_mm512_add_epi32($v[$a], $m[$y]), $v[$b]);
		$v[$d] = _mm512_ror_epi32::<8>(_mm512_xor_si512($v[$d], $v[$a]));
		$v[$c] = _mm512_add_epi32($v[$c], $v[$d]);
		$v[$b] = _mm512_ror_epi32::<7>(_mm512_xor_si512($v[$b], $v[$c]));
	};
}

/// A round, with the words of the message in its order.
macro_rules! round {
	($v:ident, $m:ident, $($x:literal)*) => { round!(@ $v, $m, $($x),*) };
	(@ $v:ident, $m:ident, $a:literal, $b:literal, $c:literal, $d:literal, $e:literal, $f:literal, $g:literal,
		$h:literal, $i:literal, $j:literal, $k:literal, $l:literal, $n:literal, $o:literal, $p:literal, $q:literal) => {
		mix!($v, $m, 0, 4, 8, 12, $a, $b);
		mix!($v, $m, 1, 5, 9, 13, $c, $d);
		mix!($v, $m, 2, 6, 10, 14, $e, $f);
		mix!($v, $m, 3, 7, 11, 15, $g, $h);
		mix!($v, $m, 0, 5, 10, 15, $i, $j);
		mix!($v, $m, 1, 6, 11, 12, $k, $l);
		mix!($v, $m, 2, 7, 8, 13, $n, $o);
		mix!($v, $m, 3, 4, 9, 14, $p, $q);
	};
}

/// Computes labels whose blocks are known. Label l is at place l + 1.
#[target_feature(enable = "avx512f")]
fn vector(graph: &[[u16; INPUTS]], words: &mut [[u32; 16]], labels: &[u16]) {
	let load = |at: u16| {
		let block = &words[usize::from(at)];
		// SAFETY: a block is 64 bytes.
		unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
	};
	let zero = _mm512_setzero_si512();
	let (mut m, mut folds, mut numbers) = ([zero; 16], [zero; 16], [0u32; WIDTH]);
	for (at, label) in labels.iter().enumerate() {
		let of = &graph[usize::from(*label)];
		m[at] = of
			.iter()
			.fold(zero, |input, block| _mm512_xor_si512(input, load(*block)));
		// The block before lies one place before, since place 0 is that before the first.
		let before = load(*label);
		folds[at] = _mm512_xor_si512(before, _mm512_shuffle_i64x2::<0x4E>(before, before));
		numbers[at] = u32::from(*label);
	}
	let (m, folds) = (transpose(m), transpose(folds));
	let mut v = folds;
	for at in 0..4 {
		v[8 + at] = _mm512_set1_epi32(IV[at] as i32);
	}
	// SAFETY: sixteen words are 64 bytes.
	v[12] = unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) };
	v[13] = zero;
	v[14] = _mm512_set1_epi32(64);
	v[15] = zero;
	round!(v, m, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
	round!(v, m, 2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8);
	round!(v, m, 3 4 10 12 13 2 7 14 6 5 9 0 11 15 8 1);
	round!(v, m, 10 7 12 9 14 3 13 15 4 0 11 2 5 8 1 6);
	round!(v, m, 12 13 9 11 15 10 14 8 7 2 5 3 0 1 6 4);
	round!(v, m, 9 14 11 5 8 12 15 1 13 3 0 10 2 6 4 7);
	round!(v, m, 11 15 5 0 1 9 8 6 14 10 2 12 3 4 7 13);
	for at in 0..8 {
		v[at] = _mm512_xor_si512(v[at], v[at + 8]);
		v[at + 8] = _mm512_xor_si512(v[at + 8], folds[at]);
	}
	let v = transpose(v);
	for (at, label) in labels.iter().enumerate() {
		let block = &mut words[usize::from(*label) + 1];
		// SAFETY: a block is 64 bytes.
		unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), v[at]) };
	}
}

/// Runs a plan over a page of which only the other labels are known, checks the result, and returns the
/// seconds that a vector takes. `None` without AVX-512.
pub fn seconds(graph: &Graph, first: &Block, labels: &[Block], plan: &[Vec<u16>]) -> Option<f64> {
	if !std::arch::is_x86_feature_detected!("avx512f") {
		return None;
	}
	// Place 0 is the block before the first label, the last place zeros.
	let zeros = graph.labels() as u16 + 1;
	let blocks: Vec<[u16; INPUTS]> = graph
		.blocks
		.iter()
		.map(|blocks| {
			std::array::from_fn(|at| blocks.get(at).map_or(zeros, |block| *block as u16 + 1))
		})
		.collect();
	let words = |block: &Block| std::array::from_fn(|at| u32_at(block, 4 * at));
	let whole: Vec<[u32; 16]> = [first]
		.into_iter()
		.chain(labels)
		.map(words)
		.chain([[0; 16]])
		.collect();
	let mut known = whole.clone();
	for label in plan.iter().flatten() {
		known[usize::from(*label) + 1] = [0; 16];
	}
	let mut best = f64::INFINITY;
	for _ in 0..500 {
		let mut words = known.clone();
		let start = Instant::now();
		for labels in plan {
			// SAFETY: the processor has what it needs, by the check above.
			unsafe { vector(&blocks, &mut words, labels) };
		}
		best = best.min(start.elapsed().as_secs_f64());
		assert!(words == whole, "the plan gives the page's labels");
	}
	Some(best / plan.len() as f64)
}
