// Attack: host memory instead of a part of the GPU's, or to store another window. Measures the link between
// them: copies in each direction and in both at once, the time to swap a window, and walks with lines in
// host memory.
#include "walk.h"
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <thread>
#include <vector>

// Host memory mapped for the GPU, written by all cores.
static void *pinned(size_t bytes) {
	void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		fprintf(stderr, "there is no host memory\n");
		exit(1);
	}
	madvise(at, bytes, MADV_HUGEPAGE);
	const size_t cores = std::max(1u, std::thread::hardware_concurrency());
	std::vector<std::thread> threads;
	for (size_t core = 0; core < cores; core++)
		threads.emplace_back([=] {
			uint64_t *words = (uint64_t *)at;
			for (size_t i = bytes / 8 / cores * core; i < bytes / 8 / cores * (core + 1); i++) words[i] = splitmix(i);
		});
	for (auto &thread : threads) thread.join();
	CHECK(cudaHostRegister(at, bytes, cudaHostRegisterMapped));
	return at;
}

int main() {
	struct sysinfo system;
	if (sysinfo(&system) != 0) return 1;
	size_t free, total, ram = (size_t)system.freeram * system.mem_unit;
	CHECK(cudaMemGetInfo(&free, &total));
	const size_t GIB = 1ull << 30;
	const size_t bytes = std::min({32 * GIB, ram / 3 / GIB * GIB, free / 2 / GIB * GIB});
	if (bytes == 0) {
		fprintf(stderr, "there is too little memory\n");
		return 1;
	}
	uint8_t *host = (uint8_t *)pinned(bytes), *device;
	CHECK(cudaMalloc(&device, bytes));
	number_words<<<4096, 256>>>((uint4 *)device, bytes / 16, 1ull << 40);
	CHECK(cudaDeviceSynchronize());
	figure("host memory that was pinned", (double)bytes / GIB, "GiB");

	cudaStream_t in, out;
	CHECK(cudaStreamCreateWithFlags(&in, cudaStreamNonBlocking));
	CHECK(cudaStreamCreateWithFlags(&out, cudaStreamNonBlocking));
	auto gbps = [&](size_t moved, float ms) { return (double)moved / ms / 1e6; };
	auto copy = [&](bool up, cudaStream_t stream, size_t from, size_t size) {
		uint8_t *d = device + from, *h = host + from;
		CHECK(cudaMemcpyAsync(up ? d : h, up ? h : d, size, up ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost, stream));
	};
	for (bool up : {true, false}) {
		float ms = fastest(2, [&] {
			Timer timer(in);
			timer.start();
			copy(up, in, 0, bytes);
			return timer.stop();
		});
		figure(up ? "copies from host to GPU" : "copies from GPU to host", gbps(bytes, ms), "GB/s");
	}
	// One half is copied out while the other is copied in.
	float both = fastest(2, [&] {
		CHECK(cudaDeviceSynchronize());
		Timer first(in), second(out);
		first.start();
		second.start();
		copy(true, in, 0, bytes / 2);
		copy(false, out, bytes / 2, bytes / 2);
		return std::max(first.stop(), second.stop());
	});
	figure("copies both ways at once, each way", gbps(bytes / 2, both), "GB/s");
	figure("120 GB out and 120 GB in, at that rate", 120 / gbps(bytes / 2, both), "s");

	uint8_t *from, *to, *shown;
	uint32_t *kappa;
	CHECK(cudaMalloc(&from, N * N));
	CHECK(cudaMalloc(&to, N * N));
	CHECK(cudaMalloc(&kappa, 4));
	CHECK(cudaMemset(kappa, 7, 4));
	number_words<<<4096, 256>>>((uint4 *)from, N * N / 16, 1ull << 41);
	CHECK(cudaHostGetDevicePointer((void **)&shown, host, 0));
	const uint32_t lines = (uint32_t)(bytes / 1024);
	for (int percent : {0, 1, 2, 5, 10, 20, 50, 100}) {
		uint32_t near = (uint32_t)((uint64_t)lines * (uint64_t)(100 - percent) / 100);
		float ms = fastest(5, [&] {
			Timer timer;
			timer.start();
			walk_kernel<<<LINES / 16, 256>>>({(uint4 *)from, (uint4 *)to, (uint4 *)device, lines, kappa, (uint4 *)shown, near});
			return timer.stop();
		});
		std::string name = "a walk, " + std::to_string(percent) + " % of its lines in host memory";
		figure(name, ms * 1e3, "us");
		figure(name, gbps((size_t)LINES * 8 * 1024, ms), "GB/s");
		figure(name + ": 8 walks of a turn", 8 * ms, "ms");
	}
	return 0;
}
