// The trial's product (docs/spec/07-agent.md, "GPU") on Hopper's matrix units: Y[i][j] = f(Σ_k
// A[i][k]·X[j][k], t, i, j, κ), n × n signed bytes, n a multiple of 256. Tiles of 128 × 256, in clusters of
// two that share the tile of X. Where it walks too, the warps that do not multiply go along the lanes of
// another matrix meanwhile.
#pragma once
#include "walk.h"
#include <cstdint>
#include <cuda.h>

constexpr int TILE_I = 128, TILE_J = 256, DEEP = 128, STAGED = 4, CLUSTER = 2;
constexpr int PRODUCT_SHARED = STAGED * (TILE_I + TILE_J) * DEEP + 1024, PRODUCT_THREADS = 384;

__host__ __device__ inline uint32_t place_of(uint32_t t, uint32_t i, uint32_t j, uint32_t kappa) {
	return t * 0x9E3779B1u + i * 0x85EBCA77u + j * 0xC2B2AE3Du + kappa;
}

__host__ __device__ inline uint32_t byte_of(uint32_t sum, uint32_t place) {
	uint32_t h = sum ^ place;
	h = (h ^ h >> 15) * 0x2C1B3C6Du;
	h = (h ^ h >> 12) * 0x297A2D39u;
	return (h ^ h >> 15) >> 24;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
__device__ __forceinline__ uint32_t address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void barrier_init(uint32_t barrier, int count) {
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count));
}

__device__ __forceinline__ void barrier_expect(uint32_t barrier, int bytes) {
	asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_wait(uint32_t barrier, int phase) {
	asm volatile("{\n.reg .pred done;\nagain:\n"
				 "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 done, [%0], %1;\n"
				 "@done bra.uni over;\nbra.uni again;\nover:\n}" ::"r"(barrier), "r"(phase) : "memory");
}

__device__ __forceinline__ void barrier_arrive(uint32_t barrier, uint32_t block) {
	asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
				 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(barrier), "r"(block) : "memory");
}

__device__ __forceinline__ void copy_tile(uint32_t to, const CUtensorMap *map, int x, int y, uint32_t barrier) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
				 ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}

// The same for all blocks of the cluster.
__device__ __forceinline__ void copy_tile_for_all(uint32_t to, const CUtensorMap *map, int x, int y, uint32_t barrier) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
				 " [%0], [%1, {%2, %3}], [%4], %5;"
				 ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier), "h"((uint16_t)((1 << CLUSTER) - 1)) : "memory");
}

// Rows of 128 bytes, swizzled over 128.
__device__ __forceinline__ uint64_t matrix_at(uint32_t at) {
	return (uint64_t)((at & 0x3FFFF) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

#define EIGHT(d, at) "+r"(d[at]), "+r"(d[at + 1]), "+r"(d[at + 2]), "+r"(d[at + 3]), "+r"(d[at + 4]), "+r"(d[at + 5]), "+r"(d[at + 6]), "+r"(d[at + 7])
#define THIRTY_TWO(d, at) EIGHT(d, at), EIGHT(d, at + 8), EIGHT(d, at + 16), EIGHT(d, at + 24)

__device__ __forceinline__ void multiply(int (&d)[128], uint64_t a, uint64_t b, int add) {
	asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
				 "wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {"
				 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
				 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
				 "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
				 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127},"
				 " %128, %129, p;\n}"
				 : THIRTY_TWO(d, 0), THIRTY_TWO(d, 32), THIRTY_TWO(d, 64), THIRTY_TWO(d, 96)
				 : "l"(a), "l"(b), "r"(add));
}
#endif

template <bool WALKS>
__global__ __launch_bounds__(PRODUCT_THREADS, 1) void product_kernel(
	const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_x, uint8_t *__restrict__ y, int n,
	uint32_t t, const uint32_t *kappa, Walk walk) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
	extern __shared__ __align__(1024) uint8_t raw[];
	const uint32_t tile_a = (address(raw) + 1023) & ~1023u, tile_x = tile_a + STAGED * TILE_I * DEEP;
	__shared__ __align__(8) uint64_t full[STAGED], empty[STAGED];
	const int group = (int)threadIdx.x / 128;
	uint32_t rank;
	asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
	if (threadIdx.x == 0) {
		for (int i = 0; i < STAGED; i++) {
			barrier_init(address(&full[i]), 1);
			barrier_init(address(&empty[i]), 2 * CLUSTER);
		}
		asm volatile("fence.mbarrier_init.release.cluster;");
	}
	asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;");
	const int down = n / (TILE_I * CLUSTER), tiles = down * (n / TILE_J), deep = n / DEEP;
	// Eight tiles down before one to the right.
	constexpr int BAND = 8;
	auto place = [&](int tile, int &i, int &j) {
		int band = min(BAND, down), of_band = band * (n / TILE_J);
		i = ((tile / of_band * band + tile % of_band % band) * CLUSTER + (int)rank) * TILE_I;
		j = tile % of_band / band * TILE_J;
	};
	int staged = 0, phase = 0;
	auto next = [&] {
		if (++staged == STAGED) {
			staged = 0;
			phase ^= 1;
		}
	};
	const int from = (int)blockIdx.x / CLUSTER, step = (int)gridDim.x / CLUSTER;
	if (group == 0) {
		if constexpr (WALKS) asm volatile("setmaxnreg.dec.sync.aligned.u32 96;");
		else asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
		// The first warp copies; the others walk, with four lanes each.
		constexpr uint32_t WALKERS = 3, EACH = 4;
		const uint32_t warp = threadIdx.x / 32, half = threadIdx.x % 32 / 16;
		if (WALKS && warp != 0)
			for (uint32_t lane = (blockIdx.x * WALKERS + warp - 1) * EACH; lane < LINES; lane += gridDim.x * WALKERS * EACH)
				walk_lanes<EACH / 2>(walk, lane + half, (int)threadIdx.x % 16);
		if (threadIdx.x == 0)
			for (int tile = from; tile < tiles; tile += step) {
				int i, j;
				place(tile, i, j);
				for (int k = 0; k < deep; k++, next()) {
					barrier_wait(address(&empty[staged]), phase ^ 1);
					uint32_t barrier = address(&full[staged]);
					barrier_expect(barrier, (TILE_I + TILE_J) * DEEP);
					copy_tile(tile_a + staged * TILE_I * DEEP, &map_a, k * DEEP, i, barrier);
					uint32_t part = rank * (TILE_J / CLUSTER);
					copy_tile_for_all(tile_x + staged * TILE_J * DEEP + part * DEEP, &map_x, k * DEEP, j + (int)part, barrier);
				}
			}
	} else {
		if constexpr (WALKS) asm volatile("setmaxnreg.inc.sync.aligned.u32 200;");
		else asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
		const int consumer = group - 1, thread = (int)threadIdx.x % 128;
		int d[128];
		auto release = [&](int stage) {
			if (thread < CLUSTER) barrier_arrive(address(&empty[stage]), (uint32_t)thread);
		};
		for (int tile = from; tile < tiles; tile += step) {
			int i, j, before = -1;
			place(tile, i, j);
			for (int k = 0; k < deep; k++, next()) {
				barrier_wait(address(&full[staged]), phase);
				asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
				uint64_t a = matrix_at(tile_a + staged * TILE_I * DEEP + consumer * 64 * DEEP);
				uint64_t x = matrix_at(tile_x + staged * TILE_J * DEEP);
#pragma unroll
				for (int q = 0; q < DEEP / 32; q++) multiply(d, a + 2 * q, x + 2 * q, (k | q) != 0);
				asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
				if (before >= 0) {
					asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
					release(before);
				}
				before = staged;
			}
			asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
			release(before);
			const int lane = thread % 32, quad = lane & 3, row = i + consumer * 64 + thread / 32 * 16 + lane / 4;
			const uint32_t upper = place_of(t, (uint32_t)row, (uint32_t)(j + quad * 2), *kappa);
			uint8_t *out = y + (size_t)row * n + j;
			// Four groups of eight columns: a quad of threads has 4 × 8 bytes of a row, and is transposed so
			// that each thread stores eight adjacent ones.
#pragma unroll
			for (int g = 0; g < 8; g++)
#pragma unroll
				for (int below = 0; below < 2; below++) {
					uint32_t own[4], low = 0, high = 0;
#pragma unroll
					for (int q = 0; q < 4; q++) {
						uint32_t at = upper + below * 8u * 0x85EBCA77u + (uint32_t)(8 * (4 * g + q)) * 0xC2B2AE3Du;
						const int *sums = d + 4 * (4 * g + q) + 2 * below;
						own[q] = byte_of((uint32_t)sums[0], at) | byte_of((uint32_t)sums[1], at + 0xC2B2AE3Du) << 8;
					}
#pragma unroll
					for (int turn = 0; turn < 4; turn++) {
						int source = (quad + turn) & 3, give = (quad - turn) & 3;
						uint32_t mine = give == 0 ? own[0] : give == 1 ? own[1] : give == 2 ? own[2] : own[3];
						uint32_t got = __shfl_sync(~0u, mine, (lane & ~3) | source);
						if (source < 2) low |= got << 16 * source;
						else high |= got << 16 * (source - 2);
					}
					*(uint2 *)(out + (size_t)below * 8 * n + g * 32 + quad * 8) = make_uint2(low, high);
				}
		}
	}
	asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;");
#endif
}

// Products of a fixed A.
class Product {
	CUtensorMap map(const void *at, int rows) {
		using Encode = CUresult (*)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
			const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
			CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
		void *encode;
		cudaDriverEntryPointQueryResult found;
		CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000, cudaEnableDefault, &found));
		CUtensorMap out;
		cuuint64_t sizes[2] = {(cuuint64_t)n, (cuuint64_t)n}, strides[1] = {(cuuint64_t)n};
		cuuint32_t box[2] = {(cuuint32_t)DEEP, (cuuint32_t)rows}, steps[2] = {1, 1};
		CHECK(((Encode)encode)(&out, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void *>(at), sizes, strides, box, steps,
			CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
			CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
		return out;
	}
	CUtensorMap map_a, map_x;
	uint8_t *y;
	int n;

public:
	Product(const void *a, const void *x, uint8_t *y, int n) : y(y), n(n) {
		map_a = map(a, TILE_I);
		map_x = map(x, TILE_J / CLUSTER);
		for (auto kernel : {product_kernel<false>, product_kernel<true>})
			CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, PRODUCT_SHARED));
	}
	// Runs on `blocks` multiprocessors, with a walk if one is given.
	void run(cudaStream_t stream, int blocks, uint32_t t, const uint32_t *kappa, const Walk *walk = nullptr) {
		cudaLaunchConfig_t config = {};
		config.gridDim = (unsigned)(blocks / CLUSTER * CLUSTER);
		config.blockDim = PRODUCT_THREADS;
		config.dynamicSmemBytes = PRODUCT_SHARED;
		config.stream = stream;
		cudaLaunchAttribute cluster;
		cluster.id = cudaLaunchAttributeClusterDimension;
		cluster.val.clusterDim.x = CLUSTER;
		cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
		config.attrs = &cluster;
		config.numAttrs = 1;
		CHECK(cudaLaunchKernelEx(&config, walk ? product_kernel<true> : product_kernel<false>, map_a, map_x, y, n, t, kappa,
			walk ? *walk : Walk{}));
	}
};
