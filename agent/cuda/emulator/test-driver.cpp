// Tests the libcuda.so.1 of libcuda.cpp the way a program uses CUDA's driver, with the PTX in ../ptx.
//
// ./build.sh libcuda.so.1 && c++ -std=c++17 -O2 -pthread -DKAISAR_EMULATED test-driver.cpp ./libcuda.so.1
//     -o test-driver && LD_LIBRARY_PATH=. ./test-driver ../ptx
//
// With -DWITH_CUDA_H, it uses the declarations of NVIDIA's <cuda.h>, to show that ours are the same.
#include "plain.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>

#ifdef WITH_CUDA_H
#include <cuda.h>
// The agent calls it by this name; newer headers no longer have it.
extern "C" CUresult cuCtxCreate_v2(CUcontext *, unsigned, CUdevice);
#else
using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct Context *;
using CUmodule = struct Module *;
using CUfunction = struct Function *;
using CUstream = struct Stream *;
using CUevent = struct Event *;
using CUdevice_attribute = int;
using CUfunction_attribute = int;
using CUjit_option = int;
using CUtensorMapDataType = int;
using CUtensorMapInterleave = int;
using CUtensorMapSwizzle = int;
using CUtensorMapL2promotion = int;
using CUtensorMapFloatOOBfill = int;
using cuuint64_t = unsigned long long;
using cuuint32_t = unsigned;
struct CUuuid {
	char bytes[16];
};
struct alignas(64) CUtensorMap {
	cuuint64_t opaque[16];
};
struct CUlaunchAttribute {
	int id;
	char pad[4];
	union {
		char pad[64];
		struct {
			unsigned x, y, z;
		} clusterDim;
		int programmaticStreamSerializationAllowed;
	} value;
};
struct CUlaunchConfig {
	unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
	CUstream hStream;
	CUlaunchAttribute *attrs;
	unsigned numAttrs;
};
#define CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION 4
#define CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION 6
extern "C" {
CUresult cuInit(unsigned);
CUresult cuDriverGetVersion(int *);
CUresult cuDeviceGetCount(int *);
CUresult cuDeviceGet(CUdevice *, int);
CUresult cuDeviceGetName(char *, int, CUdevice);
CUresult cuDeviceGetUuid(CUuuid *, CUdevice);
CUresult cuDeviceTotalMem_v2(size_t *, CUdevice);
CUresult cuDeviceGetAttribute(int *, CUdevice_attribute, CUdevice);
CUresult cuDeviceGetPCIBusId(char *, int, CUdevice);
CUresult cuDevicePrimaryCtxRetain(CUcontext *, CUdevice);
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice);
CUresult cuDevicePrimaryCtxReset_v2(CUdevice);
CUresult cuCtxCreate_v2(CUcontext *, unsigned, CUdevice);
CUresult cuCtxDestroy_v2(CUcontext);
CUresult cuCtxSetCurrent(CUcontext);
CUresult cuCtxGetCurrent(CUcontext *);
CUresult cuCtxSynchronize();
CUresult cuModuleLoadDataEx(CUmodule *, const void *, unsigned, CUjit_option *, void **);
CUresult cuModuleUnload(CUmodule);
CUresult cuModuleGetFunction(CUfunction *, CUmodule, const char *);
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int);
CUresult cuFuncGetAttribute(int *, CUfunction_attribute, CUfunction);
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *, CUfunction, int, size_t);
CUresult cuMemGetInfo_v2(size_t *, size_t *);
CUresult cuMemAlloc_v2(CUdeviceptr *, size_t);
CUresult cuMemFree_v2(CUdeviceptr);
CUresult cuMemAllocHost_v2(void **, size_t);
CUresult cuMemFreeHost(void *);
CUresult cuMemcpyHtoD_v2(CUdeviceptr, const void *, size_t);
CUresult cuMemcpyDtoH_v2(void *, CUdeviceptr, size_t);
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr, const void *, size_t, CUstream);
CUresult cuMemcpyDtoHAsync_v2(void *, CUdeviceptr, size_t, CUstream);
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, size_t, CUstream);
CUresult cuMemsetD8Async(CUdeviceptr, unsigned char, size_t, CUstream);
CUresult cuMemsetD32Async(CUdeviceptr, unsigned, size_t, CUstream);
CUresult cuStreamCreate(CUstream *, unsigned);
CUresult cuStreamDestroy_v2(CUstream);
CUresult cuStreamQuery(CUstream);
CUresult cuStreamSynchronize(CUstream);
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned);
CUresult cuEventCreate(CUevent *, unsigned);
CUresult cuEventDestroy_v2(CUevent);
CUresult cuEventRecord(CUevent, CUstream);
CUresult cuEventQuery(CUevent);
CUresult cuEventSynchronize(CUevent);
CUresult cuEventElapsedTime(float *, CUevent, CUevent);
CUresult cuLaunchKernel(
	CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **);
CUresult cuLaunchKernelEx(const CUlaunchConfig *, CUfunction, void **, void **);
CUresult cuTensorMapEncodeTiled(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
	const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
	CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
CUresult cuGetErrorName(CUresult, const char **);
CUresult cuGetErrorString(CUresult, const char **);
CUresult cuGetProcAddress_v2(const char *, void **, int, cuuint64_t, int *);
}
#define cuDeviceTotalMem cuDeviceTotalMem_v2
#define cuDevicePrimaryCtxRelease cuDevicePrimaryCtxRelease_v2
#define cuDevicePrimaryCtxReset cuDevicePrimaryCtxReset_v2
#define cuCtxDestroy cuCtxDestroy_v2
#define cuMemGetInfo cuMemGetInfo_v2
#define cuMemAlloc cuMemAlloc_v2
#define cuMemFree cuMemFree_v2
#define cuMemAllocHost cuMemAllocHost_v2
#define cuMemcpyHtoD cuMemcpyHtoD_v2
#define cuMemcpyDtoH cuMemcpyDtoH_v2
#define cuMemcpyHtoDAsync cuMemcpyHtoDAsync_v2
#define cuMemcpyDtoHAsync cuMemcpyDtoHAsync_v2
#define cuMemcpyDtoDAsync cuMemcpyDtoDAsync_v2
#define cuStreamDestroy cuStreamDestroy_v2
#define cuEventDestroy cuEventDestroy_v2
#define cuGetProcAddress cuGetProcAddress_v2
#endif

#include "../hardware.h"

namespace {
#include "../trial.h"

using plain::Bytes;
using plain::Hash;

std::string ptx_folder = "../ptx";
int failures = 0;

// Reports a call that did not return the expected value.
#define IS(expected, ...)                                                                                              \
	do {                                                                                                               \
		const int got_ = (int)(__VA_ARGS__);                                                                           \
		if (got_ != (int)(expected)) {                                                                                 \
			printf("WRONG  line %d: %s is %d, not %d\n", __LINE__, #__VA_ARGS__, got_, (int)(expected));               \
			failures++;                                                                                                \
		}                                                                                                              \
	} while (0)
#define OK(...) IS(0, __VA_ARGS__)
#define TRUE(...) IS(1, (__VA_ARGS__) ? 1 : 0)

void set(const char *name, const std::string &value) {
	setenv((std::string("KAISAR_EMULATED_") + name).c_str(), value.c_str(), 1);
}
void unset(const char *name) { unsetenv((std::string("KAISAR_EMULATED_") + name).c_str()); }

void test(const char *name, const std::function<void()> &run) {
	const int before = failures;
	for (const char *one : {"DRIVER", "DEVICES", "CAPABILITY", "MEMORY_MIB", "UUID", "FAIL", "WRONG", "HANG", "EAGER"})
		unset(one);
	const auto start = std::chrono::steady_clock::now();
	run();
	printf("%s  %6.3f s  %s\n", failures == before ? "ok    " : "WRONG ",
		std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), name);
	fflush(stdout);
}

std::string file(const std::string &name) {
	std::ifstream from(ptx_folder + "/" + name + ".ptx");
	std::stringstream text;
	text << from.rdbuf();
	if (text.str().empty()) {
		printf("no %s/%s.ptx\n", ptx_folder.c_str(), name.c_str());
		exit(2);
	}
	return text.str();
}

CUresult load(CUmodule *module, const std::string &text) {
	return cuModuleLoadDataEx(module, text.c_str(), 0, nullptr, nullptr);
}

// A context with its own stream, and the kernels other than products.
struct Opened {
	CUcontext context = nullptr;
	CUstream stream = nullptr;
	CUmodule base = nullptr;
	explicit Opened(const std::string &code = "base_90") {
		OK(cuInit(0));
		CUdevice device;
		OK(cuDeviceGet(&device, 0));
		OK(cuCtxCreate_v2(&context, 4, device));
		OK(cuStreamCreate(&stream, 1));
		if (!code.empty()) OK(load(&base, file(code)));
	}
	~Opened() {
		if (context) OK(cuCtxDestroy(context));
	}
	CUdeviceptr take(size_t bytes) const {
		CUdeviceptr at = 0;
		OK(cuMemAlloc(&at, bytes));
		return at;
	}
	CUdeviceptr take(const Bytes &bytes) const {
		const CUdeviceptr at = take(bytes.size());
		OK(cuMemcpyHtoD(at, bytes.data(), bytes.size()));
		return at;
	}
	Bytes bytes(CUdeviceptr at, size_t count) const {
		Bytes out(count);
		OK(cuMemcpyDtoH(out.data(), at, count));
		return out;
	}
	CUfunction kernel(const char *name, CUmodule module = nullptr) const {
		CUfunction out = nullptr;
		OK(cuModuleGetFunction(&out, module ? module : base, name));
		return out;
	}
	template <class... Parameters> CUresult launch(CUfunction kernel, unsigned blocks, unsigned threads,
		unsigned shared, bool early, const Parameters &...parameters) const {
		void *all[] = {(void *)&parameters...};
		if (!early) return cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, shared, stream, all, nullptr);
		CUlaunchAttribute attribute = {};
		attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
		attribute.value.programmaticStreamSerializationAllowed = 1;
		CUlaunchConfig config = {};
		config.gridDimX = blocks;
		config.gridDimY = config.gridDimZ = 1;
		config.blockDimX = threads;
		config.blockDimY = config.blockDimZ = 1;
		config.sharedMemBytes = shared;
		config.hStream = stream;
		config.attrs = &attribute;
		config.numAttrs = 1;
		return cuLaunchKernelEx(&config, kernel, all, nullptr);
	}
	CUresult fill(CUdeviceptr at, uint32_t n, const Hash &key, unsigned threads = 256) const {
		Fill p = {(uint4 *)at, n, 1, {}};
		memcpy(p.key.word, key.data(), 32);
		return launch(kernel("fill"), (n * n / 64 + 255) / 256, threads, 0, false, p);
	}
	// Waits like the agent.
	CUresult wait() const {
		for (;;) {
			const CUresult result = cuStreamQuery(stream);
			if ((int)result != 600) return result;
		}
	}
};

CUtensorMap map_of(
	CUdeviceptr at, std::vector<cuuint64_t> sizes, std::vector<cuuint64_t> strides, std::vector<cuuint32_t> box) {
	CUtensorMap map;
	const cuuint32_t steps[] = {1, 1, 1, 1, 1};
	OK(cuTensorMapEncodeTiled(&map, (CUtensorMapDataType)0, (cuuint32_t)sizes.size(), (void *)at, sizes.data(),
		strides.data(), box.data(), steps, (CUtensorMapInterleave)0, (CUtensorMapSwizzle)3, (CUtensorMapL2promotion)3,
		(CUtensorMapFloatOOBfill)0));
	return map;
}

const Hash KEY = {1, 2, 3, 4, 5, 6, 7, 8};

void devices() {
	set("DEVICES", "");
	IS(100, cuInit(0));
	int count = -1;
	IS(3, cuDeviceGetCount(&count));
	set("DEVICES", "9.0,8.6,7.5");
	set("DRIVER", "12040");
	set("MEMORY_MIB", "100");
	OK(cuInit(0));
	IS(1, cuInit(1));
	int version = 0;
	OK(cuDriverGetVersion(&version));
	IS(12040, version);
	OK(cuDeviceGetCount(&count));
	IS(3, count);
	CUdevice device = -1;
	OK(cuDeviceGet(&device, 1));
	IS(101, cuDeviceGet(&device, 3));
	char name[64], bus[32];
	OK(cuDeviceGetName(name, 64, 1));
	TRUE(std::string(name) == "Emulated GPU 8.6 #1");
	OK(cuDeviceGetPCIBusId(bus, 32, 1));
	TRUE(std::string(bus) == "0000:02:00.0");
	CUuuid first, second;
	OK(cuDeviceGetUuid(&first, 0));
	OK(cuDeviceGetUuid(&second, 1));
	TRUE(memcmp(&first, &second, 16) != 0);
	set("UUID", "GPU-00112233-4455-6677-8899-aabbccddeeff");
	OK(cuInit(0));
	OK(cuDeviceGetUuid(&first, 0));
	TRUE((uint8_t)first.bytes[1] == 0x11 && (uint8_t)first.bytes[15] == 0xFF);
	size_t bytes = 0;
	OK(cuDeviceTotalMem(&bytes, 0));
	TRUE(bytes == 100 << 20);
	int major = 0, minor = 0, shared = 0;
	OK(cuDeviceGetAttribute(&major, (CUdevice_attribute)75, 1));
	OK(cuDeviceGetAttribute(&minor, (CUdevice_attribute)76, 1));
	OK(cuDeviceGetAttribute(&shared, (CUdevice_attribute)97, 1));
	IS(86, 10 * major + minor);
	IS(101376, shared);
	const char *text = nullptr;
	OK(cuGetErrorName((CUresult)719, &text));
	TRUE(std::string(text) == "CUDA_ERROR_LAUNCH_FAILED");
	OK(cuGetErrorString((CUresult)2, &text));
	TRUE(std::string(text) == "out of memory");
	IS(1, cuGetErrorString((CUresult)12345, &text));
}

void contexts() {
	OK(cuInit(0));
	OK(cuCtxSetCurrent(nullptr));
	CUdeviceptr at = 0;
	IS(201, cuMemAlloc(&at, 16));
	CUcontext one = nullptr, other = nullptr, current = nullptr;
	OK(cuCtxCreate_v2(&one, 0, 0));
	OK(cuCtxCreate_v2(&other, 0, 0));
	OK(cuCtxGetCurrent(&current));
	TRUE(current == other);
	OK(cuMemAlloc(&at, 16));
	OK(cuCtxSetCurrent(one));
	IS(1, cuMemFree(at));
	OK(cuCtxDestroy(other));
	IS(709, cuCtxSetCurrent(other));
	IS(709, cuCtxDestroy(other));
	OK(cuCtxSetCurrent(one));
	std::thread([&] {
		OK(cuCtxSetCurrent(one));
		OK(cuCtxDestroy(one));
	}).join();
	IS(709, cuMemAlloc(&at, 16));
	CUcontext primary = nullptr, again = nullptr;
	OK(cuDevicePrimaryCtxRetain(&primary, 0));
	OK(cuDevicePrimaryCtxRetain(&again, 0));
	TRUE(primary == again);
	OK(cuCtxSetCurrent(primary));
	OK(cuMemAlloc(&at, 16));
	OK(cuDevicePrimaryCtxRelease(0));
	OK(cuMemFree(at));
	OK(cuDevicePrimaryCtxRelease(0));
	IS(709, cuMemAlloc(&at, 16));
	IS(201, cuDevicePrimaryCtxRelease(0));
	OK(cuDevicePrimaryCtxRetain(&primary, 0));
	OK(cuCtxSetCurrent(primary));
	OK(cuDevicePrimaryCtxReset(0));
	IS(709, cuCtxSynchronize());
	OK(cuCtxSetCurrent(nullptr));
}

void memory() {
	set("MEMORY_MIB", "64");
	Opened on("");
	size_t before = 0, all = 0, now = 0;
	OK(cuMemGetInfo(&before, &all));
	TRUE(before == (62 << 20) && all == (64 << 20));
	const CUdeviceptr half = on.take((size_t)40 << 20);
	OK(cuMemGetInfo(&now, &all));
	TRUE(now == before - (40 << 20));
	CUdeviceptr more = 0;
	IS(2, cuMemAlloc(&more, (size_t)30 << 20));
	IS(1, cuMemAlloc(&more, 0));
	uint8_t byte = 0;
	IS(1, cuMemcpyDtoH(&byte, half + ((size_t)40 << 20), 1));
	OK(cuMemFree(half));
	IS(1, cuMemFree(half));
	OK(cuMemGetInfo(&now, &all));
	TRUE(now == before);
	const CUdeviceptr words = on.take(64);
	OK(cuMemsetD32Async(words, 0x01020304, 16, on.stream));
	OK(cuMemsetD8Async(words + 1, 9, 2, on.stream));
	OK(on.wait());
	uint32_t got[16];
	OK(cuMemcpyDtoH(got, words, 64));
	TRUE(got[0] == 0x01090904 && got[15] == 0x01020304);
}

void modules() {
	{
		Opened on;
		CUmodule module = nullptr;
		OK(load(&module, file("product_90a")));
		OK(cuModuleUnload(module));
		IS(400, cuModuleUnload(module));
		OK(load(&module, file("product_80")));
		OK(load(&module, file("product_75")));
		CUfunction function = nullptr;
		IS(500, cuModuleGetFunction(&function, module, "product_256x256"));
		IS(218, load(&module, "not PTX"));
		IS(218, load(&module, ".version 7.0\n.target sm_80\n.entry fill() {"));
		IS(209, load(&module, "\177ELF"));
		char log[256] = "";
		CUjit_option options[] = {(CUjit_option)5, (CUjit_option)6};
		void *values[] = {log, (void *)sizeof log};
		IS(222, cuModuleLoadDataEx(&module, ".version 99.0\n.target sm_80\n", 2, options, values));
		TRUE(std::string(log).find("unsupported .version 99.0") != std::string::npos);
		IS(209, load(&module, ".version 8.0\n.target sm_100a\n"));
		IS(209, load(&module, ".version 8.0\n.target sm_120\n"));
		int value = 0;
		CUfunction tree_kernel = on.kernel("tree");
		OK(cuFuncGetAttribute(&value, (CUfunction_attribute)0, tree_kernel));
		IS(128, value);
		OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, tree_kernel, 128, 4112));
		TRUE(value >= 1);
	}
	struct {
		const char *capability, *driver, *code;
		int result;
	} all[] = {{"7.5", "13000", "base_75", 0}, {"7.5", "13000", "product_75", 0}, {"7.5", "13000", "product_80", 209},
		{"8.6", "13000", "product_80", 0}, {"8.6", "13000", "product_90", 209}, {"8.9", "11000", "product_80", 0},
		{"8.9", "10020", "product_80", 222}, {"7.5", "10020", "product_75", 0}, {"9.0", "11080", "base_90", 0},
		{"9.0", "11080", "product_90a", 222}, {"9.0", "12000", "product_90a", 0}, {"10.0", "13000", "product_90a", 209},
		{"12.0", "13000", "product_90", 0}};
	for (auto &one : all) {
		set("CAPABILITY", one.capability);
		set("DRIVER", one.driver);
		Opened on("");
		CUmodule module = nullptr;
		IS(one.result, load(&module, file(one.code)));
	}
}

void work() {
	Opened on;
	const uint32_t n = 256;
	const CUdeviceptr matrix = on.take(n * n);
	OK(on.fill(matrix, n, KEY));
	// Nothing is executed before a wait for this stream.
	TRUE(on.bytes(matrix, n * n) != plain::rows(KEY, 1, n));
	IS(600, cuStreamQuery(on.stream));
	OK(cuStreamQuery(on.stream));
	TRUE(on.bytes(matrix, n * n) == plain::rows(KEY, 1, n));
	IS(1, on.fill(matrix, n, KEY, 257));
	IS(1, on.fill(matrix, n, KEY, 0));
	Fill p = {};
	IS(1, on.launch(on.kernel("fill"), 1, 256, (48 << 10) + 1, false, p));
	CUfunction fill_kernel = on.kernel("fill");
	OK(cuFuncSetAttribute(fill_kernel, (CUfunction_attribute)8, 64 << 10));
	IS(1, cuFuncSetAttribute(fill_kernel, (CUfunction_attribute)8, 228 << 10));
	IS(400, cuLaunchKernel((CUfunction)&p, 1, 1, 1, 1, 1, 1, 0, on.stream, nullptr, nullptr));
	OK(cuCtxSynchronize());
	// Pinned memory is read and written late, other memory at once.
	uint8_t *pinned = nullptr;
	OK(cuMemAllocHost((void **)&pinned, 2 * n));
	const CUdeviceptr some = on.take(n);
	memset(pinned, 1, n);
	OK(cuMemcpyHtoDAsync(some, pinned, n, on.stream));
	memset(pinned, 2, n);
	OK(cuMemcpyDtoHAsync(pinned + n, some, n, on.stream));
	TRUE(pinned[n] != 2 || pinned[n + 1] != 2);
	OK(cuStreamSynchronize(on.stream));
	IS(2, pinned[n]);
	Bytes plain_bytes(n, 3);
	OK(cuMemcpyHtoDAsync(some, plain_bytes.data(), n, on.stream));
	memset(plain_bytes.data(), 4, n);
	OK(cuMemcpyDtoHAsync(plain_bytes.data(), some, n, on.stream));
	IS(3, plain_bytes[0]);
	OK(cuMemFreeHost(pinned));
	// Events, and streams that wait for them.
	CUstream other = nullptr;
	CUevent start = nullptr, end = nullptr;
	OK(cuStreamCreate(&other, 1));
	OK(cuEventCreate(&start, 0));
	OK(cuEventCreate(&end, 0));
	OK(cuEventQuery(end));
	OK(cuEventRecord(start, on.stream));
	OK(cuMemsetD8Async(matrix, 5, n * n, on.stream));
	OK(cuEventRecord(end, on.stream));
	OK(cuStreamWaitEvent(other, end, 0));
	OK(cuMemcpyDtoDAsync(some, matrix, n, other));
	float ms = -1;
	IS(600, cuEventElapsedTime(&ms, start, end));
	OK(cuStreamSynchronize(other));
	IS(5, on.bytes(some, n)[0]);
	OK(cuEventElapsedTime(&ms, start, end));
	TRUE(ms >= 0 && ms < 1000);
	OK(cuEventSynchronize(end));
	OK(cuEventDestroy(end));
	IS(400, cuEventDestroy(end));
	OK(cuStreamDestroy(other));
	IS(400, cuStreamQuery(other));
}

// A product by Hopper's units, the tree over it and a walk, as the agent launches them.
void turn(bool eager) {
	if (eager) set("EAGER", "1");
	Opened on;
	CUmodule products = nullptr;
	OK(load(&products, file("product_90a")));
	const uint32_t n = 512, lines = n * n / LINE, shared = 4 * (128 + 256) * 128 + 128;
	Bytes a = plain::rows(KEY, 0, n), x = plain::rows(KEY, 1, n);
	const CUdeviceptr on_a = on.take(a), on_x = on.take(x), y = on.take(n * n), nodes = on.take(2 * lines * 32),
					  roots = on.take(1024);
	const Bytes zeros(4096);
	const CUdeviceptr arrived = on.take(zeros), done = on.take(zeros);
	State state = {};
	memcpy(state.running.word, KEY.data(), 32);
	state.kappa = 77;
	const CUdeviceptr on_state = on.take(Bytes((uint8_t *)&state, (uint8_t *)(&state + 1)));
	CUfunction product_kernel = on.kernel("product_hopper", products);
	IS(1, cuFuncSetAttribute(product_kernel, (CUfunction_attribute)8, 232448 + 1));
	OK(cuFuncSetAttribute(product_kernel, (CUfunction_attribute)8, (int)shared));
	const CUtensorMap map_a = map_of(on_a, {n, n}, {n}, {128, 128});
	const CUtensorMap map_x = map_of(on_x, {n, 2, 4, 8, n / 64}, {n, 16 * n, 2 * n, 64 * n}, {128, 2, 4, 8, 2});
	Product product = {};
	product.a = (const uint8_t *)on_a;
	product.x = (const uint8_t *)on_x;
	product.y = (uint8_t *)y;
	product.state = (const State *)on_state;
	product.done = (uint32_t *)done;
	product.n = n;
	product.t = 4;
	product.epoch = 9;
	Tree tree = {};
	tree.lines = (const uint4 *)y;
	tree.nodes = (uint4 *)nodes;
	tree.roots = (uint4 *)roots;
	tree.state = (State *)on_state;
	tree.arrived = (uint32_t *)arrived;
	tree.done = (const uint32_t *)done;
	tree.count = lines;
	tree.n = n;
	tree.epoch = 9;
	tree.root = 4;
	tree.after = STEP;
	tree.step = 4;
	tree.one = 1;
	memcpy(tree.key.word, KEY.data(), 32);
	Walk walk = {(uint4 *)y, (const uint4 *)on_x, (const State *)on_state, lines, 0};
	OK(on.launch(product_kernel, 6, 256, shared, false, map_a, map_x, product));
	OK(on.launch(on.kernel("tree"), lines / LEAVES, LEAVES, 32 * LEAVES + 16, true, tree));
	OK(on.launch(on.kernel("walk"), lines / LANES, LANE * LANES, 0, true, walk));
	IS(1, on.launch(product_kernel, 5, 256, shared, false, map_a, map_x, product));
	OK(on.wait());
	Bytes expected = plain::product(a, x, n, 4, 77);
	const Hash root = plain::tree(KEY, expected.data(), LINE, lines).back()[0];
	const uint32_t kappa = plain::kappa(KEY, root, 5);
	plain::walk(expected, x, kappa);
	TRUE(memcmp(on.bytes(roots, 1024).data() + 4 * 32, root.data(), 32) == 0);
	TRUE(on.bytes(y, n * n) == expected);
}

void tensor_maps() {
	Opened on("");
	const CUdeviceptr at = on.take(1 << 20);
	CUtensorMap map;
	const cuuint32_t steps[] = {1, 1};
	auto encode = [&](CUdeviceptr from, cuuint64_t stride, cuuint32_t wide) {
		const cuuint64_t sizes[] = {256, 256}, strides[] = {stride};
		const cuuint32_t box[] = {wide, 64};
		return cuTensorMapEncodeTiled(&map, (CUtensorMapDataType)0, 2, (void *)from, sizes, strides, box, steps,
			(CUtensorMapInterleave)0, (CUtensorMapSwizzle)3, (CUtensorMapL2promotion)3, (CUtensorMapFloatOOBfill)0);
	};
	OK(encode(at, 256, 128));
	IS(1, encode(at + 8, 256, 128));
	IS(1, encode(at, 260, 128));
	IS(1, encode(at, 256, 256));
	IS(1, encode(at, 256, 120));
}

void faults() {
	const uint32_t n = 256;
	set("FAIL", "cuMemAlloc:2:2,fill:3:700");
	{
		Opened on;
		const CUdeviceptr matrix = on.take(n * n);
		CUdeviceptr none = 0;
		IS(2, cuMemAlloc(&none, 16));
		OK(cuMemAlloc(&none, 16));
		OK(on.fill(matrix, n, KEY));
		OK(on.wait());
		OK(on.fill(matrix, n, KEY));
		OK(on.fill(matrix, n, KEY));
		OK(on.fill(matrix, n, KEY));
		IS(600, cuStreamQuery(on.stream));
		IS(700, cuStreamQuery(on.stream));
		// The context is lost, but no other.
		IS(700, cuMemAlloc(&none, 16));
		IS(700, cuMemFree(matrix));
		IS(700, cuCtxSynchronize());
	}
	set("FAIL", "cuMemAlloc:1:999");
	{
		Opened on;
		CUdeviceptr none = 0;
		IS(999, cuMemAlloc(&none, 16));
		IS(999, cuMemAlloc(&none, 16));
	}
	unset("FAIL");
	set("WRONG", "fill:2");
	{
		Opened on;
		const CUdeviceptr matrix = on.take(n * n);
		const Bytes expected = plain::rows(KEY, 1, n);
		for (int call = 1; call <= 3; call++) {
			OK(on.fill(matrix, n, KEY));
			OK(on.wait());
			const Bytes got = on.bytes(matrix, n * n);
			int bits = 0;
			for (size_t byte = 0; byte < got.size(); byte++) bits += __builtin_popcount(got[byte] ^ expected[byte]);
			IS(call > 1, bits);
		}
	}
	unset("WRONG");
	set("HANG", "fill:1");
	{
		Opened on;
		const CUdeviceptr matrix = on.take(n * n);
		CUevent event = nullptr;
		OK(cuEventCreate(&event, 0));
		OK(on.fill(matrix, n, KEY));
		OK(cuEventRecord(event, on.stream));
		for (int times = 0; times < 5; times++) {
			IS(600, cuStreamQuery(on.stream));
			IS(600, cuEventQuery(event));
		}
		// A wait lasts until the context is destroyed.
		std::thread waiting([&] {
			OK(cuCtxSetCurrent(on.context));
			IS(709, cuStreamSynchronize(on.stream));
		});
		std::this_thread::sleep_for(std::chrono::milliseconds(50));
		OK(cuCtxDestroy(on.context));
		waiting.join();
		on.context = nullptr;
	}
	unset("HANG");
	// An error of a kernel is reported later, and stays.
	{
		Opened on;
		const CUdeviceptr matrix = on.take(n * n - 4096);
		OK(on.fill(matrix, n, KEY));
		IS(719, cuStreamSynchronize(on.stream));
		IS(719, cuStreamSynchronize(on.stream));
	}
	Opened on;
	const CUdeviceptr matrix = on.take(n * n);
	OK(on.fill(matrix, n, KEY));
	OK(cuStreamSynchronize(on.stream));
	TRUE(on.bytes(matrix, n * n) == plain::rows(KEY, 1, n));
}

void addresses() {
	OK(cuInit(0));
	void *function = nullptr;
#ifdef WITH_CUDA_H
	CUdriverProcAddressQueryResult status;
#else
	int status = -1;
#endif
	OK(cuGetProcAddress("cuMemAlloc", &function, 12000, 0, &status));
	TRUE(function == (void *)cuMemAlloc);
	IS(500, cuGetProcAddress("cuMemMap", &function, 12000, 0, &status));
	IS(1, status);
	IS(500, cuGetProcAddress("cuTensorMapEncodeTiled", &function, 11000, 0, &status));
	IS(2, status);
}

} // namespace

int main(int count, char **values) {
	if (count > 1) ptx_folder = values[1];
	test("devices", devices);
	test("contexts", contexts);
	test("memory", memory);
	test("modules", modules);
	test("work", work);
	test("a product, its tree and a walk", [] { turn(false); });
	test("the same, done when it is queued", [] { turn(true); });
	test("descriptions of matrices", tensor_maps);
	test("what goes wrong on purpose", faults);
	test("addresses of functions", addresses);
	printf("%d wrong\n", failures);
	return failures != 0;
}
