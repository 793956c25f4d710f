// Attack: one GPU for two or three identities at once. A turn alternates products and walks, so one identity
// leaves the matrix units idle while it walks and hashes. Here the products of one run beside the walks of
// another: in other streams, on separate multiprocessors, or in one kernel, in which the warps that do not
// multiply walk.
//
// Products, walks and trees as in the trial (κ enters from the roots, as words), n = 4,096; Hopper only.
// Also the time of int8 products with cuBLAS, and of recomputing a line instead of reading it.
#include "product.h"
#include "walk.h"
#include <chrono>
#include <cublas_v2.h>
#include <vector>

constexpr int PAIRS = 8;
constexpr uint32_t T = 0x00123456;

// Halves a level of a tree until one node is left; `nodes` is a power of two, at most the threads of the
// block.
__device__ void reduce(Hash *level, int nodes, const Hash &key, int from, uint32_t block) {
	for (int up = from; nodes > 1; up++) {
		nodes /= 2;
		Hash parent;
		int own = (int)threadIdx.x;
		if (own < nodes)
			parent = front(key, join(level[2 * own], level[2 * own + 1]), (uint64_t)up << 56 | (block * (uint32_t)nodes + (uint32_t)own));
		__syncthreads();
		if (own < nodes) level[own] = parent;
		__syncthreads();
	}
}

// The leaves of 128 lines, and the nodes over them.
__global__ __launch_bounds__(128) void leaves_kernel(const uint4 *matrix, Hash key, Hash *nodes) {
	__shared__ Hash level[128];
	uint32_t line = blockIdx.x * 128 + threadIdx.x;
	Hash h = key;
	for (int part = 0; part < 16; part++) {
		Block block;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			uint4 some = matrix[(size_t)line * 64 + part * 4 + i];
			block.w[4 * i] = some.x, block.w[4 * i + 1] = some.y, block.w[4 * i + 2] = some.z, block.w[4 * i + 3] = some.w;
		}
		h = front(h, block, line);
	}
	level[threadIdx.x] = h;
	__syncthreads();
	reduce(level, 128, key, 1, blockIdx.x);
	if (threadIdx.x == 0) nodes[blockIdx.x] = level[0];
}

__global__ __launch_bounds__(LINES / 128) void root_kernel(const Hash *nodes, Hash key, Hash *root) {
	__shared__ Hash level[LINES / 128];
	level[threadIdx.x] = nodes[threadIdx.x];
	__syncthreads();
	reduce(level, LINES / 128, key, 8, 0);
	if (threadIdx.x == 0) *root = level[0];
}

struct Identity {
	uint8_t *a, *x, *y, *window;
	uint32_t lines;
	// The nodes of the product's tree and of the walk's.
	Hash *nodes[2], *root[2], key = {{1, 2, 3, 4, 5, 6, 7, 8}};
	cudaStream_t stream, aside;
	cudaEvent_t multiplied, walked, hashed[2];
	Product product;

	static uint8_t *numbered(size_t bytes, uint64_t first) {
		uint8_t *out;
		CHECK(cudaMalloc(&out, bytes));
		number_words<<<4096, 256>>>((uint4 *)out, bytes / 16, first);
		CHECK(cudaGetLastError());
		return out;
	}

	Identity(size_t gib, uint64_t number, int priority)
		: a(numbered(N * N, number << 40)), x(numbered(N * N, number << 40 | 1ull << 38)), y(numbered(N * N, 0)),
		  window(numbered(gib << 30, number << 48)), lines((uint32_t)(gib << 20)), product(a, x, y, N) {
		for (int of = 0; of < 2; of++) {
			CHECK(cudaMalloc(&nodes[of], LINES / 128 * sizeof(Hash)));
			CHECK(cudaMalloc(&root[of], sizeof(Hash)));
			CHECK(cudaMemset(root[of], 7, sizeof(Hash)));
		}
		for (cudaStream_t *one : {&stream, &aside}) CHECK(cudaStreamCreateWithPriority(one, cudaStreamNonBlocking, priority));
		for (cudaEvent_t *one : {&multiplied, &walked, &hashed[0], &hashed[1]})
			CHECK(cudaEventCreateWithFlags(one, cudaEventDisableTiming));
		CHECK(cudaDeviceSynchronize());
	}
	~Identity() {
		CHECK(cudaDeviceSynchronize());
		for (void *at : {(void *)a, (void *)x, (void *)y, (void *)window}) cudaFree(at);
		for (int of = 0; of < 2; of++) {
			cudaFree(nodes[of]);
			cudaFree(root[of]);
			cudaEventDestroy(hashed[of]);
		}
		cudaStreamDestroy(stream);
		cudaStreamDestroy(aside);
		cudaEventDestroy(multiplied);
		cudaEventDestroy(walked);
	}
	Identity(const Identity &) = delete;

	// A walk needs the root of the preceding product; a product only the turn's κ, for which the same word
	// stands in.
	const uint32_t *kappa() const { return (const uint32_t *)root[0]; }
	Walk walks() const { return {(const uint4 *)y, (uint4 *)x, (const uint4 *)window, lines, kappa(), nullptr, lines}; }
	void multiply(cudaStream_t on, int blocks) { product.run(on, blocks, T, kappa()); }
	// Builds the tree of a product, 0, or of a walk, 1.
	void tree(int of, cudaStream_t on) {
		leaves_kernel<<<LINES / 128, 128, 0, on>>>((const uint4 *)(of ? x : y), key, nodes[of]);
		root_kernel<<<1, LINES / 128, 0, on>>>(nodes[of], key, root[of]);
	}
	void walk(int blocks) { walk_kernel<<<(unsigned)blocks, 256, 0, stream>>>(walks()); }
	// Everything except the product. Nothing waits for the walk's tree, except the next walk.
	void rest(bool trees, int blocks) {
		if (trees) {
			tree(0, stream);
			CHECK(cudaStreamWaitEvent(stream, hashed[1]));
		}
		walk(blocks);
		if (trees) {
			CHECK(cudaEventRecord(walked, stream));
			CHECK(cudaStreamWaitEvent(aside, walked));
			tree(1, aside);
			CHECK(cudaEventRecord(hashed[1], aside));
		}
	}

	// Compares a product, and then a walk, with the processor's code.
	void verify(int blocks) {
		std::vector<int8_t> hx(N * N);
		std::vector<uint8_t> hy(N * N), hz(N * N);
		std::vector<int8_t> ha(N * N);
		uint32_t k;
		CHECK(cudaMemcpy(ha.data(), a, N * N, cudaMemcpyDeviceToHost));
		CHECK(cudaMemcpy(hx.data(), x, N * N, cudaMemcpyDeviceToHost));
		CHECK(cudaMemcpy(&k, root[0], 4, cudaMemcpyDeviceToHost));
		multiply(stream, blocks);
		CHECK(cudaStreamSynchronize(stream));
		CHECK(cudaMemcpy(hy.data(), y, N * N, cudaMemcpyDeviceToHost));
		int wrong = 0;
		for (uint64_t sample = 0; sample < 4000; sample++) {
			uint32_t i = (uint32_t)splitmix(2 * sample) % N, j = (uint32_t)splitmix(2 * sample + 1) % N;
			int sum = 0;
			for (int at = 0; at < N; at++) sum += (int)ha[(size_t)i * N + (size_t)at] * (int)hx[(size_t)j * N + (size_t)at];
			wrong += hy[(size_t)i * N + j] != byte_of((uint32_t)sum, place_of(T, i, j, k));
		}
		walk(LINES / 16);
		CHECK(cudaStreamSynchronize(stream));
		CHECK(cudaMemcpy(hz.data(), x, N * N, cudaMemcpyDeviceToHost));
		std::vector<uint32_t> s(256), line(256), after(256);
		for (uint32_t lane = 0; lane < LINES; lane += 1111) {
			memcpy(s.data(), &hy[(size_t)lane * 1024], 1024);
			for (int read = 0; read < 8; read++) {
				uint32_t all = 0;
				for (uint32_t word : s) all ^= word;
				uint64_t at = (uint64_t)(all * 0x9E3779B1u ^ k) * lines >> 32;
				CHECK(cudaMemcpy(line.data(), window + at * 1024, 1024, cudaMemcpyDeviceToHost));
				for (size_t w = 0; w < 256; w++) after[w] = mix_word(((s[w] << 5 | s[w] >> 27) ^ line[w]) + s[(w + 1) % 256]);
				s.swap(after);
			}
			wrong += memcmp(s.data(), &hz[(size_t)lane * 1024], 1024) != 0;
		}
		if (wrong) {
			fprintf(stderr, "%d of 4000 bytes of a product and 15 lanes of a walk are wrong\n", wrong);
			exit(1);
		}
	}
};

using Identities = std::vector<Identity *>;

struct Way {
	// Multiprocessors for a product, blocks of a walk.
	int blocks, walkers;
	// All products in one stream, so that only one runs at a time; with the walk of another identity in the
	// same kernel.
	bool queue, fused;
	bool trees;
};

static cudaStream_t products;

// A product and the rest for each identity.
static void pair(const Identities &all, const Way &way) {
	const size_t count = all.size();
	for (size_t number = 0; number < count; number++) {
		Identity *one = all[number];
		if (way.fused) {
			// The identity whose product was the earliest, so that its tree is ready.
			Identity *other = all[(number + 1) % count];
			for (cudaEvent_t event : other->hashed) CHECK(cudaStreamWaitEvent(products, event));
			Walk walk = other->walks();
			one->product.run(products, way.blocks, T, one->kappa(), &walk);
			CHECK(cudaEventRecord(one->multiplied, products));
			if (!way.trees) continue;
			for (int of : {0, 1}) {
				Identity *whose = of ? other : one;
				cudaStream_t on = of ? whose->aside : whose->stream;
				CHECK(cudaStreamWaitEvent(on, one->multiplied));
				whose->tree(of, on);
				CHECK(cudaEventRecord(whose->hashed[of], on));
			}
			continue;
		}
		if (way.queue) {
			CHECK(cudaStreamWaitEvent(products, one->walked));
			one->multiply(products, way.blocks);
			CHECK(cudaEventRecord(one->multiplied, products));
			CHECK(cudaStreamWaitEvent(one->stream, one->multiplied));
		} else {
			one->multiply(one->stream, way.blocks);
		}
		one->rest(way.trees, way.walkers);
		CHECK(cudaEventRecord(one->walked, one->stream));
	}
}

// Milliseconds of a turn of all identities.
static double turn(const Identities &all, const Way &way) {
	constexpr int TURNS = 16;
	double best = 1e30;
	for (int time = 0; time < 3; time++) {
		CHECK(cudaDeviceSynchronize());
		auto from = std::chrono::steady_clock::now();
		for (int i = 0; i < TURNS * PAIRS; i++) pair(all, way);
		CHECK(cudaDeviceSynchronize());
		std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - from;
		best = std::min(best, took.count() / TURNS);
	}
	return best;
}

// Compares a product and a walk in one kernel with those in two kernels.
static bool fused_is_right(Identity &one, Identity &other, int blocks) {
	std::vector<uint8_t> alone[2], together[2];
	auto take = [](std::vector<uint8_t> &into, const uint8_t *from) {
		into.resize(N * N);
		CHECK(cudaMemcpy(into.data(), from, N * N, cudaMemcpyDeviceToHost));
	};
	one.multiply(products, blocks);
	other.walk(LINES / 16);
	CHECK(cudaDeviceSynchronize());
	take(alone[0], one.y);
	take(alone[1], other.x);
	CHECK(cudaMemset(one.y, 0, N * N));
	CHECK(cudaMemset(other.x, 0, N * N));
	Walk walk = other.walks();
	one.product.run(products, blocks, T, one.kappa(), &walk);
	CHECK(cudaDeviceSynchronize());
	take(together[0], one.y);
	take(together[1], other.x);
	return alone[0] == together[0] && alone[1] == together[1];
}

int main() {
	cudaDeviceProp gpu;
	CHECK(cudaGetDeviceProperties(&gpu, 0));
	const int sms = gpu.multiProcessorCount;
	const double operations = 2.0 * N * N * N;
	int low, high;
	CHECK(cudaDeviceGetStreamPriorityRange(&low, &high));
	CHECK(cudaStreamCreateWithPriority(&products, cudaStreamNonBlocking, low));

	{
		uint8_t *a = Identity::numbered(N * N, 0), *x = Identity::numbered(N * N, 1ull << 40);
		int32_t *sums;
		CHECK(cudaMalloc(&sums, sizeof(int32_t) * N * N));
		cublasHandle_t blas;
		CHECK(cublasCreate(&blas));
		const int one = 1, zero = 0;
		auto multiply = [&] {
			constexpr int TIMES = 20;
			Timer timer;
			timer.start();
			for (int i = 0; i < TIMES; i++)
				CHECK(cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, N, N, N, &one, a, CUDA_R_8I, N, x, CUDA_R_8I, N, &zero, sums,
					CUDA_R_32I, N, CUBLAS_COMPUTE_32I, CUBLAS_GEMM_DEFAULT));
			return timer.stop() / TIMES;
		};
		float ms = fastest(6, multiply);
		figure("int8 product, n = 4096, cuBLAS", ms * 1e3, "us");
		figure("int8 product, n = 4096, cuBLAS", operations / ms / 1e9, "Top/s");
		figure("a line computed again by 8 products of cuBLAS", 8 * ms * 1e3, "us");
		CHECK(cublasDestroy(blas));
		for (void *at : {(void *)a, (void *)x, (void *)sums}) CHECK(cudaFree(at));
	}
	if (gpu.major != 9) {
		fprintf(stderr, "the product for several identities needs a Hopper GPU; %s is none\n", gpu.name);
		return 0;
	}

	{
		Identity one(8, 1, high);
		one.verify(sms);
		auto each = [&](auto part) {
			constexpr int TIMES = 20;
			return fastest(5, [&] {
				Timer timer(one.stream);
				timer.start();
				for (int i = 0; i < TIMES; i++) part();
				return timer.stop() / TIMES;
			});
		};
		for (int blocks : {sms, sms - 16, sms - 32, sms - 48}) {
			float ms = each([&] { one.multiply(one.stream, blocks); });
			std::string name = "product, own, on " + std::to_string(blocks) + " multiprocessors";
			figure(name, ms * 1e3, "us");
			figure(name, operations / ms / 1e9, "Top/s");
		}
		float ms = each([&] { one.walk(LINES / 16); });
		figure("walk over 8 GiB", ms * 1e3, "us");
		figure("walk over 8 GiB, lines read", LINES * 8.0 * 1024 / ms / 1e6, "GB/s");
		figure("a line read in a walk", ms * 1e6 / LINES / 8, "ns");
		// The time of a turn if walks ran beside the product that follows, whose rows they produce one by
		// one.
		Walk walk = one.walks();
		float both = each([&] { one.product.run(one.stream, sms, T, one.kappa(), &walk); });
		figure("a product and a walk in one kernel", both * 1e3, "us");
		figure("tree of a matrix", each([&] { one.tree(1, one.stream); }) * 1e3, "us");
	}

	size_t free, total;
	CHECK(cudaMemGetInfo(&free, &total));
	// The largest windows for two, up to 60 each.
	size_t large = std::min<size_t>(60, ((free >> 30) - 2) / 2);
	for (size_t gib : {(size_t)8, large})
		for (bool trees : {false, true}) {
			Identities all;
			double alone = 0;
			std::string with = std::string(trees ? ", with trees" : ", without trees") + ", windows of " + std::to_string(gib) + " GiB";
			for (size_t count = 1; count <= 3; count++) {
				CHECK(cudaMemGetInfo(&free, &total));
				if ((gib << 30) + (256ull << 20) > free) break;
				all.push_back(new Identity(gib, count, high));
				if (count == 1) {
					alone = turn(all, {sms, LINES / 16, false, false, trees});
					// Reserves some multiprocessors for the trees, which then run beside the next product.
					for (int blocks : {sms - 4, sms - 8}) alone = std::min(alone, turn(all, {blocks, LINES / 16, false, false, trees}));
					figure("a turn of one identity" + with, alone, "ms");
					continue;
				}
				double best = 1e30;
				for (bool queue : {false, true})
					for (int blocks : {sms, sms - 8, sms - 16, sms - 24, sms - 32, sms - 48})
						for (int walkers : {LINES / 16, 8 * (sms - blocks)}) {
							if (walkers == 0) continue;
							double ms = turn(all, {blocks, walkers, queue, false, trees});
							if (count == 2 && gib == 8)
								figure("two identities, products on " + std::to_string(blocks) + ", walks of " + std::to_string(walkers) +
										   " blocks, " + (queue ? "one product at a time" : "free") + with + ": of one's time",
									ms / alone, "times");
							best = std::min(best, ms);
						}
				double together = 1e30;
				if (fused_is_right(*all[0], *all[1], sms)) {
					for (int blocks : {sms, sms - 2, sms - 4, sms - 8, sms - 16})
						together = std::min(together, turn(all, {blocks, 0, true, true, trees}));
					figure(std::to_string(count) + " identities, products and walks in one kernel" + with + ": of one's time",
						together / alone, "times");
				} else {
					fprintf(stderr, "a product and a walk in one kernel: another result than in two\n");
				}
				best = std::min(best, together);
				std::string name = std::to_string(count) + " identities at once" + with;
				figure(name + ": a turn of all", best, "ms");
				figure(name + ": of one's time", best / alone, "times");
			}
			for (Identity *one : all) delete one;
		}
	return 0;
}
