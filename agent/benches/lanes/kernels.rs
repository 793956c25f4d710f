//! The 192 steps of many words at once, in the ways that a processor offers. A lane has `PER` words in a
//! row, and its table has the lane's place among those given.

/// Words of a lane's table.
pub const TABLE: usize = 2_048;
const STEPS: usize = 192;
const M: u64 = 0x9E37_79B9_7F4A_7C15;

/// Steps all words, with the tables of their lanes in a row.
///
/// # Safety
///
/// The processor has what the kernel's [`Needs`] names.
pub type Steps = unsafe fn(tables: &[[u64; TABLE]], words: &mut [u64]);

/// Instructions that a kernel needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
	/// Those that every processor has.
	Nothing,
	/// AVX2.
	Avx2,
	/// AVX-512 F, DQ and VL.
	Avx512,
}

impl Needs {
	/// Returns true if this processor has them.
	pub fn met(self) -> bool {
		#[cfg(target_arch = "x86_64")]
		return match self {
			Self::Nothing => true,
			Self::Avx2 => is_x86_feature_detected!("avx2"),
			Self::Avx512 => {
				is_x86_feature_detected!("avx512f")
					&& is_x86_feature_detected!("avx512dq")
					&& is_x86_feature_detected!("avx512vl")
			}
		};
		#[cfg(not(target_arch = "x86_64"))]
		return self == Self::Nothing;
	}
}

/// A way to step words.
#[derive(Clone, Copy)]
pub struct Kernel {
	/// Its name.
	pub name: &'static str,
	/// Words that it steps at once.
	pub words: usize,
	/// Words of one lane among them, in a row.
	pub per: usize,
	/// The instructions that it needs.
	pub needs: Needs,
	/// The steps.
	pub steps: Steps,
}

#[inline(always)]
fn step(table: &[u64; TABLE], s: u64) -> u64 {
	(s ^ table[(s >> 53) as usize])
		.wrapping_mul(M)
		.rotate_left(23)
}

/// Plain code.
fn scalar<const N: usize, const LANES: usize, const PER: usize>(
	tables: &[[u64; TABLE]],
	words: &mut [u64],
) {
	// Of known length, so that nothing is checked in the loop.
	let (tables, _) = tables.as_chunks::<LANES>();
	let tables = &tables[0];
	let mut s: [u64; N] = std::array::from_fn(|at| words[at]);
	for _ in 0..STEPS {
		for (at, s) in s.iter_mut().enumerate() {
			*s = step(&tables[at / PER], *s);
		}
	}
	words.copy_from_slice(&s);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
	use super::{M, STEPS, TABLE, step};
	use std::arch::{asm, x86_64::*};

	/// Indices on their way from a vector to plain registers.
	#[repr(align(64))]
	#[derive(Clone, Copy)]
	struct Indices([u64; 8]);

	/// The entries at eight indices, loaded one by one. The last four are of the table that begins `HALF`
	/// bytes after the first.
	///
	/// Written out, since the development profile would check each pointer.
	///
	/// # Safety
	///
	/// All indices are below [`TABLE`], and the tables are there.
	#[inline]
	#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
	unsafe fn pick8<const HALF: usize>(
		table: *const [u64; TABLE],
		indices: &mut Indices,
		index: __m512i,
	) -> __m512i {
		let entries: __m512i;
		// SAFETY: it writes to the indices alone, and reads entries of the tables.
		unsafe {
			asm!(
				"vmovdqa64 [{at}], {index}",
				"mov {i}, [{at}]",
				"mov {j}, [{at} + 8]",
				"vmovq {a:x}, qword ptr [{table} + 8*{i}]",
				"mov {i}, [{at} + 16]",
				"vmovhps {a:x}, {a:x}, qword ptr [{table} + 8*{j}]",
				"mov {j}, [{at} + 24]",
				"vmovq {b:x}, qword ptr [{table} + 8*{i}]",
				"mov {i}, [{at} + 32]",
				"vmovhps {b:x}, {b:x}, qword ptr [{table} + 8*{j}]",
				"mov {j}, [{at} + 40]",
				"vmovq {c:x}, qword ptr [{table} + 8*{i} + {half}]",
				"mov {i}, [{at} + 48]",
				"vmovhps {c:x}, {c:x}, qword ptr [{table} + 8*{j} + {half}]",
				"mov {j}, [{at} + 56]",
				"vmovq {d:x}, qword ptr [{table} + 8*{i} + {half}]",
				"vinserti64x2 {a:y}, {a:y}, {b:x}, 1",
				"vmovhps {d:x}, {d:x}, qword ptr [{table} + 8*{j} + {half}]",
				"vinserti64x2 {c:y}, {c:y}, {d:x}, 1",
				"vinserti64x4 {a}, {a}, {c:y}, 1",
				at = in(reg) &raw mut indices.0,
				table = in(reg) table,
				index = in(zmm_reg) index,
				half = const HALF,
				i = out(reg) _,
				j = out(reg) _,
				a = out(zmm_reg) entries,
				b = out(zmm_reg) _,
				c = out(zmm_reg) _,
				d = out(zmm_reg) _,
				options(nostack, preserves_flags),
			);
		}
		entries
	}

	/// The same of four indices into one table, with AVX2.
	///
	/// # Safety
	///
	/// As above.
	#[inline]
	#[target_feature(enable = "avx2")]
	unsafe fn pick4(table: *const [u64; TABLE], indices: &mut Indices, index: __m256i) -> __m256i {
		let entries: __m256i;
		// SAFETY: as above.
		unsafe {
			asm!(
				"vmovdqa [{at}], {index}",
				"mov {i}, [{at}]",
				"mov {j}, [{at} + 8]",
				"vmovq {a:x}, qword ptr [{table} + 8*{i}]",
				"mov {i}, [{at} + 16]",
				"vmovhps {a:x}, {a:x}, qword ptr [{table} + 8*{j}]",
				"mov {j}, [{at} + 24]",
				"vmovq {b:x}, qword ptr [{table} + 8*{i}]",
				"vmovhps {b:x}, {b:x}, qword ptr [{table} + 8*{j}]",
				"vinserti128 {a}, {a}, {b:x}, 1",
				at = in(reg) &raw mut indices.0,
				table = in(reg) table,
				index = in(ymm_reg) index,
				i = out(reg) _,
				j = out(reg) _,
				a = out(ymm_reg) entries,
				b = out(ymm_reg) _,
				options(nostack, preserves_flags),
			);
		}
		entries
	}

	/// S words in plain registers, G vectors of eight with gathered entries, and P with entries loaded one
	/// by one, which the processor overlaps.
	#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
	pub unsafe fn avx512<const S: usize, const G: usize, const P: usize, const PER: usize>(
		tables: &[[u64; TABLE]],
		words: &mut [u64],
	) {
		const { assert!(S.is_multiple_of(8) && (PER == 4 || PER == 16)) };
		assert_eq!(words.len(), S + 8 * (G + P));
		assert_eq!(tables.len(), words.len().div_ceil(PER));
		let m = _mm512_set1_epi64(M.cast_signed());
		let place = |vector: usize| S + 8 * vector;
		let table = |word: usize| &raw const tables[word / PER];
		// SAFETY: it loads eight of the words.
		let load = |vector| unsafe { _mm512_loadu_si512(words[place(vector)..].as_ptr().cast()) };
		let mut single: [u64; S] = std::array::from_fn(|at| words[at]);
		let mut gathered: [__m512i; G] = std::array::from_fn(load);
		let mut picked: [__m512i; P] = std::array::from_fn(|at| load(G + at));
		let of_single: [&[u64; TABLE]; S] = std::array::from_fn(|at| &tables[at / PER]);
		let of_gathered: [*const [u64; TABLE]; G] = std::array::from_fn(|at| table(place(at)));
		let of_picked: [*const [u64; TABLE]; P] = std::array::from_fn(|at| table(place(G + at)));
		let mut indices = [Indices([0; 8]); P];
		// A vector of words of two lanes has two tables in a row.
		let second = TABLE as i64;
		let halves = _mm512_set_epi64(second, second, second, second, 0, 0, 0, 0);
		let next = |s, entries| {
			_mm512_rol_epi64::<23>(_mm512_mullo_epi64(_mm512_xor_si512(s, entries), m))
		};
		for _ in 0..STEPS {
			for at in 0..if G > P { G } else { P } {
				if at < G {
					let mut index = _mm512_srli_epi64::<53>(gathered[at]);
					if PER == 4 {
						index = _mm512_add_epi64(index, halves);
					}
					// SAFETY: each index is below 2,048, and counts from the table of its word's lane.
					let entries =
						unsafe { _mm512_i64gather_epi64::<8>(index, of_gathered[at].cast()) };
					gathered[at] = next(gathered[at], entries);
				}
				if at < P {
					let index = _mm512_srli_epi64::<53>(picked[at]);
					// SAFETY: as above.
					let entries = unsafe {
						if PER == 4 {
							pick8::<{ 8 * TABLE }>(of_picked[at], &mut indices[at], index)
						} else {
							pick8::<0>(of_picked[at], &mut indices[at], index)
						}
					};
					picked[at] = next(picked[at], entries);
				}
			}
			for (s, table) in single.iter_mut().zip(of_single) {
				*s = step(table, *s);
			}
		}
		words[..S].copy_from_slice(&single);
		for (at, vector) in gathered.into_iter().chain(picked).enumerate() {
			// SAFETY: it stores eight of the words.
			unsafe { _mm512_storeu_si512(words[place(at)..].as_mut_ptr().cast(), vector) };
		}
	}

	/// The same with AVX2: vectors of four, products of 64 bits from three of 32.
	#[target_feature(enable = "avx2")]
	pub unsafe fn avx2<const S: usize, const G: usize, const P: usize, const PER: usize>(
		tables: &[[u64; TABLE]],
		words: &mut [u64],
	) {
		const { assert!(S.is_multiple_of(4) && PER.is_multiple_of(4)) };
		assert_eq!(words.len(), S + 4 * (G + P));
		assert_eq!(tables.len(), words.len().div_ceil(PER));
		let m = _mm256_set1_epi64x(M.cast_signed());
		let m_high = _mm256_srli_epi64::<32>(m);
		let place = |vector: usize| S + 4 * vector;
		let table = |word: usize| &raw const tables[word / PER];
		// SAFETY: it loads four of the words.
		let load = |vector| unsafe { _mm256_loadu_si256(words[place(vector)..].as_ptr().cast()) };
		let mut single: [u64; S] = std::array::from_fn(|at| words[at]);
		let mut gathered: [__m256i; G] = std::array::from_fn(load);
		let mut picked: [__m256i; P] = std::array::from_fn(|at| load(G + at));
		let of_single: [&[u64; TABLE]; S] = std::array::from_fn(|at| &tables[at / PER]);
		let of_gathered: [*const [u64; TABLE]; G] = std::array::from_fn(|at| table(place(at)));
		let of_picked: [*const [u64; TABLE]; P] = std::array::from_fn(|at| table(place(G + at)));
		let mut indices = [Indices([0; 8]); P];
		let next = |s, entries| {
			let x = _mm256_xor_si256(s, entries);
			let high = _mm256_add_epi64(
				_mm256_mul_epu32(_mm256_srli_epi64::<32>(x), m),
				_mm256_mul_epu32(x, m_high),
			);
			let x = _mm256_add_epi64(_mm256_mul_epu32(x, m), _mm256_slli_epi64::<32>(high));
			_mm256_or_si256(_mm256_slli_epi64::<23>(x), _mm256_srli_epi64::<41>(x))
		};
		for _ in 0..STEPS {
			for at in 0..if G > P { G } else { P } {
				if at < G {
					let index = _mm256_srli_epi64::<53>(gathered[at]);
					// SAFETY: each index is below 2,048, and all words are of one lane.
					let entries =
						unsafe { _mm256_i64gather_epi64::<8>(of_gathered[at].cast(), index) };
					gathered[at] = next(gathered[at], entries);
				}
				if at < P {
					let index = _mm256_srli_epi64::<53>(picked[at]);
					// SAFETY: as above.
					let entries = unsafe { pick4(of_picked[at], &mut indices[at], index) };
					picked[at] = next(picked[at], entries);
				}
			}
			for (s, table) in single.iter_mut().zip(of_single) {
				*s = step(table, *s);
			}
		}
		words[..S].copy_from_slice(&single);
		for (at, vector) in gathered.into_iter().chain(picked).enumerate() {
			// SAFETY: it stores four of the words.
			unsafe { _mm256_storeu_si256(words[place(at)..].as_mut_ptr().cast(), vector) };
		}
	}
}

macro_rules! kernels {
	($($needs:ident $name:literal $kernel:ident<$($number:literal),+>, $words:literal of $per:literal;)+) => {
		[$(kernel!($needs $name $kernel<$($number),+>, $words of $per)),+].into_iter().flatten().collect()
	};
}

macro_rules! kernel {
	(Nothing $name:literal $kernel:ident<$($number:literal),+>, $words:literal of $per:literal) => {
		Some(Kernel {
			name: $name,
			words: $words,
			per: $per,
			needs: Needs::Nothing,
			steps: $kernel::<$($number,)+ $per>,
		})
	};
	($needs:ident $name:literal $kernel:ident<$($number:literal),+>, $words:literal of $per:literal) => {{
		#[cfg(target_arch = "x86_64")]
		let kernel = Some(Kernel {
			name: $name,
			words: $words,
			per: $per,
			needs: Needs::$needs,
			steps: x86::$kernel::<$($number,)+ $per>,
		});
		#[cfg(not(target_arch = "x86_64"))]
		let kernel = None;
		kernel
	}};
}

/// Kernels for lanes in step: four words of each, one of each chain.
pub fn in_step() -> Vec<Kernel> {
	kernels![
		Nothing "plain" scalar<4, 1>, 4 of 4;
		Nothing "plain" scalar<8, 2>, 8 of 4;
		Nothing "plain" scalar<12, 3>, 12 of 4;
		Nothing "plain" scalar<16, 4>, 16 of 4;
		Avx2 "AVX2, gathered" avx2<0, 1, 0>, 4 of 4;
		Avx2 "AVX2, gathered" avx2<0, 4, 0>, 16 of 4;
		Avx2 "AVX2, loaded" avx2<0, 0, 4>, 16 of 4;
		Avx2 "AVX2, loaded; plain" avx2<8, 0, 2>, 16 of 4;
		Avx512 "AVX-512, gathered" avx512<0, 1, 0>, 8 of 4;
		Avx512 "AVX-512, gathered" avx512<0, 2, 0>, 16 of 4;
		Avx512 "AVX-512, gathered" avx512<0, 4, 0>, 32 of 4;
		Avx512 "AVX-512, loaded" avx512<0, 0, 2>, 16 of 4;
		Avx512 "AVX-512, loaded" avx512<0, 0, 4>, 32 of 4;
		Avx512 "AVX-512, loaded; plain" avx512<8, 0, 1>, 16 of 4;
		Avx512 "AVX-512, both; plain" avx512<8, 2, 2>, 40 of 4;
	]
}

/// Kernels for waves: all sixteen words of each lane.
pub fn wave() -> Vec<Kernel> {
	kernels![
		Nothing "plain" scalar<16, 1>, 16 of 16;
		Avx2 "AVX2, gathered" avx2<0, 4, 0>, 16 of 16;
		Avx2 "AVX2, loaded" avx2<0, 0, 4>, 16 of 16;
		Avx2 "AVX2, loaded; plain" avx2<8, 0, 2>, 16 of 16;
		Avx2 "AVX2, loaded; plain" avx2<8, 0, 6>, 32 of 16;
		Avx512 "AVX-512, gathered" avx512<0, 2, 0>, 16 of 16;
		Avx512 "AVX-512, loaded" avx512<0, 0, 2>, 16 of 16;
		Avx512 "AVX-512, gathered" avx512<0, 4, 0>, 32 of 16;
		Avx512 "AVX-512, loaded" avx512<0, 0, 4>, 32 of 16;
		Avx512 "AVX-512, both" avx512<0, 2, 2>, 32 of 16;
		Avx512 "AVX-512, gathered; plain" avx512<8, 3, 0>, 32 of 16;
		Avx512 "AVX-512, both; plain" avx512<8, 2, 1>, 32 of 16;
		Avx512 "AVX-512, gathered" avx512<0, 6, 0>, 48 of 16;
		Avx512 "AVX-512, both" avx512<0, 3, 3>, 48 of 16;
		Avx512 "AVX-512, both; plain" avx512<8, 3, 2>, 48 of 16;
		Avx512 "AVX-512, both" avx512<0, 4, 4>, 64 of 16;
		Avx512 "AVX-512, both; plain" avx512<8, 4, 3>, 64 of 16;
		Avx512 "AVX-512, both; plain" avx512<8, 5, 4>, 80 of 16;
	]
}
