// A `libcuda.so.1` without a GPU, for tests: the functions of CUDA's driver that the agent needs, on the
// emulator. Build it with
//
// ./build.sh FILE [FLAG …]
//
// With -DKAISAR_OLD_DRIVER, it lacks the functions that came with CUDA 11.4 and later: cuDeviceGetUuid_v2,
// cuLaunchKernelEx, cuTensorMapEncodeTiled, cuGetProcAddress_v2, cuEventElapsedTime_v2.
//
// Work is queued and executed as late as possible: when the program waits for it or queries it. Each query
// executes one step, and returns "not ready" if there was one. Pinned memory is also read and written only
// then. Streams wait for each other only where they must. A kernel that may start early overlaps the
// preceding ones in its stream. Like on a GPU, later calls report errors of work; the reason goes to stderr.
//
// Environment, read by cuInit while no context is open; faults are reread whenever one is opened:
//
// KAISAR_EMULATED_DRIVER: version of the driver, such as 13000 (the default), 12000, 11000, 10020.
// KAISAR_EMULATED_DEVICES: compute capabilities such as 9.0,8.6, one per device, from 0000:01:00.0 upwards;
//     empty: no device.
// KAISAR_EMULATED_CAPABILITY: the same for one device; 9.0 by default.
// KAISAR_EMULATED_MEMORY_MIB: memory of each device; 512 by default. A 32nd of it is never free.
// KAISAR_EMULATED_MULTIPROCESSORS: of each device; 6 by default.
// KAISAR_EMULATED_UUID: of the first device, as 32 hexadecimal digits, with or without GPU- and dashes.
// KAISAR_EMULATED_FAIL: NAME:CALL:CODE, …: this call of a driver function or launch of a kernel, counted
//     from 1 (or N+, from then on), ends with this CUresult. Codes that break a real context, and all codes
//     of kernels, persist until the context is destroyed or reset.
// KAISAR_EMULATED_WRONG: KERNEL[:CALL], …: from this launch on, a bit of the kernel's output is flipped.
// KAISAR_EMULATED_HANG: KERNEL:CALL, …: this launch never ends. Queries return "not ready"; waits return
//     when the context is destroyed or reset.
// KAISAR_EMULATED_EAGER: 1: work is executed when queued, in order.
// KAISAR_EMULATED_SEED: seed of all random choices; 1 by default.
// KAISAR_EMULATED_WORKERS: threads that run blocks; by default as many as processors.
// KAISAR_EMULATED_PATIENCE_MS: longest standstill of all kernels before a launch fails; 10000 by default.
// KAISAR_EMULATED_STRICT: 1: a block may not end while others arrive at its barriers.
// KAISAR_EMULATED_TRACE: 1: every launch is printed.
#include "kernels.h"
#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

using emulated::Kernel;
using emulated::Launch;
using emulated::Memory;
using emulated::TensorMap;
using Clock = std::chrono::steady_clock;

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;

enum : CUresult {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	NO_DEVICE = 100,
	INVALID_DEVICE = 101,
	INVALID_IMAGE = 200,
	INVALID_CONTEXT = 201,
	NO_BINARY_FOR_GPU = 209,
	INVALID_PTX = 218,
	UNSUPPORTED_PTX_VERSION = 222,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
	NOT_READY = 600,
	PRIMARY_CONTEXT_ACTIVE = 708,
	CONTEXT_IS_DESTROYED = 709,
	LAUNCH_FAILED = 719,
	NOT_SUPPORTED = 801,
	INVALID_CLUSTER_SIZE = 912,
	// Never returned: the preceding work hangs.
	HUNG = -1,
};

struct Error {
	CUresult code;
	const char *name, *text;
};
const Error ERRORS[] = {
	{SUCCESS, "CUDA_SUCCESS", "no error"},
	{INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
	{OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	{NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
	{4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
	{46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
	{NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
	{INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
	{INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
	{INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
	{NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
	{214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
	{INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
	{220, "CUDA_ERROR_NVLINK_UNCORRECTABLE", "uncorrectable NVLink error detected during the execution"},
	{221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "PTX JIT compiler library not found"},
	{UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
		"the provided PTX was compiled with an unsupported toolchain."},
	{INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
	{NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	{NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
	{700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	{701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
	{702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
	{PRIMARY_CONTEXT_ACTIVE, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "cannot set while device is active in this process"},
	{CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
	{710, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
	{714, "CUDA_ERROR_HARDWARE_STACK_ERROR", "hardware stack error"},
	{715, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "an illegal instruction was encountered"},
	{716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
	{717, "CUDA_ERROR_INVALID_ADDRESS_SPACE", "operation not supported on global/shared address space"},
	{718, "CUDA_ERROR_INVALID_PC", "invalid program counter"},
	{LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
	{800, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
	{NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
	{802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
	{803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
	{INVALID_CLUSTER_SIZE, "CUDA_ERROR_INVALID_CLUSTER_SIZE", "cluster misconfiguration"},
	{999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

// Codes after which a context is unusable.
bool is_sticky(CUresult code) {
	return code == 214 || code == 220 || code == 700 || code == 702 || code == 710 ||
		(code >= 714 && code <= LAUNCH_FAILED) || code == 999;
}

void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void complain(const char *format, ...) {
	char text[1024];
	va_list list;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	fprintf(stderr, "libcuda emulator: %s\n", text);
}

std::string variable(const char *name, const char *otherwise) {
	const char *text = getenv(name);
	return text ? text : otherwise;
}

std::vector<std::string> parts_of(const std::string &text, char by) {
	std::vector<std::string> out;
	for (size_t at = 0; at <= text.size();) {
		const size_t end = std::min(text.find(by, at), text.size());
		if (end > at) out.push_back(text.substr(at, end - at));
		at = end + 1;
	}
	return out;
}

// -- Injected faults --------------------------------------------------------------------------------------

class Faults {
	struct Fault {
		std::string name;
		uint64_t call;
		bool on;
		CUresult code;
	};
	std::string text;
	std::vector<Fault> all;
	std::map<std::string, uint64_t> calls;

	static std::string plain(const std::string &name) {
		const size_t end =
			name.size() > 3 && name.compare(name.size() - 3, 2, "_v") == 0 ? name.size() - 3 : name.size();
		return name.substr(0, end);
	}

public:
	void read(const char *name, bool on) {
		const std::string now = variable(name, "");
		if (now == text) return;
		text = now;
		all.clear();
		calls.clear();
		for (const std::string &one : parts_of(text, ',')) {
			const auto parts = parts_of(one, ':');
			Fault fault = {plain(parts[0]), 1, on, LAUNCH_FAILED};
			if (parts.size() > 1) {
				fault.call = strtoull(parts[1].c_str(), nullptr, 10);
				fault.on = on || parts[1].back() == '+';
			}
			if (parts.size() > 2) fault.code = (CUresult)strtol(parts[2].c_str(), nullptr, 10);
			all.push_back(fault);
		}
	}
	// Counts a call, and returns the code with which it must fail.
	CUresult next(const std::string &of) {
		if (all.empty()) return SUCCESS;
		const std::string name = plain(of);
		const uint64_t call = ++calls[name];
		for (const Fault &fault : all)
			if (fault.name == name && (call == fault.call || (fault.on && call > fault.call))) return fault.code;
		return SUCCESS;
	}
};

// -- Objects ----------------------------------------------------------------------------------------------

struct Context;
struct Stream;

struct Device {
	int number;
	// Ten times the compute capability.
	uint32_t capability;
	std::string name;
	uint8_t uuid[16];
	uint64_t total, used = 0;
	Memory memory;
	std::shared_ptr<Context> primary;
	int retained = 0;

	Device(int number, uint32_t capability, uint64_t total, uint64_t seed)
		: number(number), capability(capability), total(total), memory(seed + (uint64_t)number) {
		name = "Emulated GPU " + std::to_string(capability / 10) + "." + std::to_string(capability % 10) + " #" +
			std::to_string(number);
		memcpy(uuid, "KAISAR-EMULATED", 14);
		uuid[14] = (uint8_t)capability;
		uuid[15] = (uint8_t)number;
	}
	uint64_t free_bytes() const { return total - total / 32 - used; }
	uint32_t target() const { return capability * 10; }
	// Returns the maximum shared memory of a block.
	int shared_limit() const {
		switch (capability) {
		case 75: return 65536;
		case 80:
		case 87: return 166912;
		case 90:
		case 100:
		case 103: return 232448;
		default: return 101376;
		}
	}
	int threads_limit() const {
		return capability == 75 ? 1024 : capability == 80 || capability == 90 || capability == 100 ? 2048 : 1536;
	}
};

// A point in a stream that an event recorded.
struct Moment {
	std::shared_ptr<Stream> stream;
	uint64_t position;
	bool done = false;
	Clock::time_point at;
};

struct Operation {
	enum Kind { KERNEL, WORK, RECORD, WAIT } kind;
	Launch launch;
	CUresult fails = SUCCESS;
	bool hangs = false, wrong = false;
	std::function<void()> work;
	std::shared_ptr<Moment> moment;
	// The position that another stream must reach.
	std::shared_ptr<Stream> other;
	uint64_t until = 0;
	bool is_plain() const { return fails == SUCCESS && !hangs && !wrong; }
};

struct Stream {
	Context *context;
	// It and the default stream wait for each other.
	bool blocking;
	std::deque<Operation> queue;
	uint64_t queued = 0, done = 0;
	bool hung = false;
};

struct Event {
	Context *context;
	bool timed;
	std::shared_ptr<Moment> moment;
};

struct Entry {
	std::string name;
	uint32_t most_threads = 1024;
	uint32_t cluster = 1;
	std::vector<size_t> sizes;
	bool has_sizes = false;
};

struct Module;
struct Function {
	Module *module;
	Entry entry;
	const Kernel *kernel;
	int shared = 48 << 10;
	bool prefers_shared = false;
};

struct Module {
	Context *context;
	// Ten times the target.
	uint32_t target;
	std::map<std::string, Entry> entries;
	std::map<std::string, std::unique_ptr<Function>> functions;
};

struct Context {
	Device *device;
	bool alive = true;
	CUresult error = SUCCESS;
	std::shared_ptr<Stream> legacy = std::make_shared<Stream>();
	std::map<void *, std::shared_ptr<Stream>> streams;
	std::map<void *, std::unique_ptr<Event>> events;
	std::map<void *, std::unique_ptr<Module>> modules;
	std::map<CUdeviceptr, uint64_t> allocations;
	std::map<uintptr_t, uint64_t> pinned;

	explicit Context(Device *device) : device(device) {
		legacy->context = this;
		legacy->blocking = false;
	}
};

struct Driver {
	std::mutex mutex;
	// Signals that a context was destroyed.
	std::condition_variable destroyed;
	bool initialized = false, eager = false, trace = false;
	int version = 13000, multiprocessors = 6;
	std::vector<std::unique_ptr<Device>> devices;
	// All contexts ever opened, including destroyed ones, whose handles remain known.
	std::map<void *, std::shared_ptr<Context>> contexts;
	Faults fail, wrong, hang;
	uint64_t launches = 0;

	void read_faults() {
		fail.read("KAISAR_EMULATED_FAIL", false);
		wrong.read("KAISAR_EMULATED_WRONG", true);
		hang.read("KAISAR_EMULATED_HANG", false);
	}
	void read_all() {
		read_faults();
		for (auto &[handle, context] : contexts)
			if (context->alive) return;
		version = atoi(variable("KAISAR_EMULATED_DRIVER", "13000").c_str());
		multiprocessors = std::max(1, atoi(variable("KAISAR_EMULATED_MULTIPROCESSORS", "6").c_str()));
		eager = variable("KAISAR_EMULATED_EAGER", "0") == "1";
		trace = variable("KAISAR_EMULATED_TRACE", "0") == "1";
		const uint64_t mib = strtoull(variable("KAISAR_EMULATED_MEMORY_MIB", "512").c_str(), nullptr, 10);
		const std::string one = variable("KAISAR_EMULATED_CAPABILITY", "9.0");
		// Destroyed contexts refer to their devices.
		static auto &old = *new std::vector<std::unique_ptr<Device>>();
		for (auto &device : devices) old.push_back(std::move(device));
		devices.clear();
		for (const std::string &text : parts_of(variable("KAISAR_EMULATED_DEVICES", one.c_str()), ',')) {
			const auto numbers = parts_of(text, '.');
			const uint32_t minor = numbers.size() > 1 ? (uint32_t)atoi(numbers[1].c_str()) : 0;
			const uint32_t capability = (uint32_t)atoi(numbers[0].c_str()) * 10 + minor;
			devices.push_back(std::make_unique<Device>((int)devices.size(), capability, mib << 20, emulated::seed_of_environment()));
		}
		std::string digits;
		for (char c : variable("KAISAR_EMULATED_UUID", ""))
			if (isxdigit((unsigned char)c)) digits += c;
		// "GPU-" has none.
		for (size_t at = 0; !devices.empty() && digits.size() == 32 && at < 16; at++)
			devices[0]->uuid[at] = (uint8_t)strtoul(digits.substr(2 * at, 2).c_str(), nullptr, 16);
	}
};

Driver &driver() {
	// Never destroyed: threads may call until the process ends.
	static Driver &one = *new Driver();
	return one;
}

// This thread's contexts, the current one last.
thread_local std::vector<Context *> stack_of_contexts;

// -- Work -------------------------------------------------------------------------------------------------

CUresult work_until(const std::shared_ptr<Stream> &stream, uint64_t until);

void damage(const Operation &operation, uint64_t seed) {
	void *arguments[16];
	for (size_t at = 0; at < operation.launch.arguments.size(); at++)
		arguments[at] = (void *)operation.launch.arguments[at].data();
	const emulated::Written written = operation.launch.kernel->written(arguments);
	emulated::Random random(seed);
	const uint64_t bit = random.next() % (written.bytes * 8);
	written.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

// Executes the first operation of a stream's queue, or all kernels that may overlap.
CUresult step(Stream &stream) {
	Driver &all = driver();
	Context &context = *stream.context;
	Operation &first = stream.queue.front();
	auto next = [&] {
		stream.queue.pop_front();
		stream.done++;
	};
	switch (first.kind) {
	case Operation::WAIT: {
		const CUresult result = work_until(first.other, first.until);
		if (result != SUCCESS) return result;
		next();
		return SUCCESS;
	}
	case Operation::WORK:
		first.work();
		next();
		return SUCCESS;
	case Operation::RECORD:
		first.moment->done = true;
		first.moment->at = Clock::now();
		next();
		return SUCCESS;
	case Operation::KERNEL: break;
	}
	if (first.hangs) {
		stream.hung = true;
		return HUNG;
	}
	if (first.fails != SUCCESS) {
		complain("%s fails with %d, as KAISAR_EMULATED_FAIL says", first.launch.kernel->name, first.fails);
		return context.error = first.fails;
	}
	std::vector<Launch> chain = {first.launch};
	chain[0].early = false;
	for (size_t at = 1; first.is_plain() && at < stream.queue.size(); at++) {
		const Operation &operation = stream.queue[at];
		if (operation.kind != Operation::KERNEL || !operation.launch.early || !operation.is_plain()) break;
		chain.push_back(operation.launch);
	}
	const uint64_t seed = emulated::Random::mixed(++all.launches);
	const auto start = Clock::now();
	const std::string wrong = emulated::run(chain, context.device->memory, seed);
	if (all.trace) {
		std::string names;
		for (const Launch &launch : chain) names += std::string(names.empty() ? "" : ", ") + launch.kernel->name;
		complain("%s: %.3f ms", names.c_str(), std::chrono::duration<double, std::milli>(Clock::now() - start).count());
	}
	if (!wrong.empty()) {
		complain("%s", wrong.c_str());
		return context.error = LAUNCH_FAILED;
	}
	if (first.wrong) damage(first, seed);
	for (size_t at = 0; at < chain.size(); at++) next();
	return SUCCESS;
}

CUresult work_until(const std::shared_ptr<Stream> &stream, uint64_t until) {
	while (stream->done < until) {
		if (!stream->context->alive) return CONTEXT_IS_DESTROYED;
		if (stream->context->error != SUCCESS) return stream->context->error;
		if (stream->hung) return HUNG;
		const CUresult result = step(*stream);
		if (result != SUCCESS) return result;
	}
	return SUCCESS;
}

// Executes all work of a stream; if it hangs, waits until the context is destroyed.
CUresult finish(
	std::unique_lock<std::mutex> &lock, Context &context, const std::shared_ptr<Stream> &stream, uint64_t until) {
	const CUresult result = work_until(stream, until);
	if (result != HUNG) return result;
	driver().destroyed.wait(lock, [&] { return !context.alive; });
	return CONTEXT_IS_DESTROYED;
}

CUresult finish_all(std::unique_lock<std::mutex> &lock, Context &context) {
	std::vector<std::shared_ptr<Stream>> all = {context.legacy};
	for (auto &[handle, stream] : context.streams) all.push_back(stream);
	for (auto &stream : all)
		if (const CUresult result = finish(lock, context, stream, stream->queued)) return result;
	return SUCCESS;
}

CUresult queue(Context &context, const std::shared_ptr<Stream> &stream, Operation operation) {
	auto wait_for = [&](const std::shared_ptr<Stream> &other) {
		if (other->done == other->queued) return;
		Operation wait = {};
		wait.kind = Operation::WAIT;
		wait.other = other;
		wait.until = other->queued;
		stream->queue.push_back(std::move(wait));
		stream->queued++;
	};
	if (stream == context.legacy) {
		for (auto &[handle, other] : context.streams)
			if (other->blocking) wait_for(other);
	} else if (stream->blocking) {
		wait_for(context.legacy);
	}
	stream->queue.push_back(std::move(operation));
	stream->queued++;
	// The next call reports an error.
	if (driver().eager) work_until(stream, stream->queued);
	return SUCCESS;
}

// -- Calls ------------------------------------------------------------------------------------------------

struct Here {
	Driver &all;
	std::unique_lock<std::mutex> &lock;
	Context *context;
	Device &device() const { return *context->device; }
	Memory &memory() const { return context->device->memory; }
};

enum class Needs { NOTHING, DRIVER, CONTEXT };

template <class Body> CUresult call(const char *name, Needs needs, Body body) {
	Driver &all = driver();
	std::unique_lock<std::mutex> lock(all.mutex);
	if (needs != Needs::NOTHING && !all.initialized) return NOT_INITIALIZED;
	Context *context = stack_of_contexts.empty() ? nullptr : stack_of_contexts.back();
	if (needs == Needs::CONTEXT) {
		if (!context) return INVALID_CONTEXT;
		if (!context->alive) return CONTEXT_IS_DESTROYED;
		if (context->error != SUCCESS) return context->error;
	}
	if (const CUresult fault = all.fail.next(name)) {
		if (context && context->alive && is_sticky(fault)) context->error = fault;
		return fault;
	}
	return body(Here{all, lock, context});
}

// Returns whether a driver of this version lacks a function, which the library has anyway.
__attribute__((unused)) bool lacks(const char *name, int since) {
	if (driver().version >= since) return false;
	complain("%s came with CUDA %d, and this driver is %d", name, since, driver().version);
	return true;
}

std::shared_ptr<Stream> stream_of(const Here &here, void *handle) {
	// The default stream, by its names.
	if ((uintptr_t)handle <= 2) return here.context->legacy;
	auto found = here.context->streams.find(handle);
	return found == here.context->streams.end() ? nullptr : found->second;
}

Device *device_of(const Here &here, CUdevice device) {
	return device < 0 || (size_t)device >= here.all.devices.size() ? nullptr : here.all.devices[(size_t)device].get();
}

void *open(const Here &here, Device *device, bool primary) {
	here.all.read_faults();
	auto context = std::make_shared<Context>(device);
	void *handle = context.get();
	here.all.contexts[handle] = context;
	if (primary) device->primary = context;
	return handle;
}

void close(const Here &here, Context &context) {
	context.alive = false;
	for (auto &[at, bytes] : context.allocations) {
		context.device->used -= Memory::taken(bytes);
		context.device->memory.release((void *)at);
	}
	for (auto &[at, bytes] : context.pinned) free((void *)at);
	context.allocations.clear();
	context.pinned.clear();
	context.streams.clear();
	context.events.clear();
	context.modules.clear();
	context.legacy->queue.clear();
	here.all.destroyed.notify_all();
}

// -- PTX --------------------------------------------------------------------------------------------------

// Returns the newest PTX that a driver supports, as ten times its version.
int newest_ptx(int version) {
	static const int ALL[][2] = {{9000, 60}, {9010, 61}, {9020, 62}, {10000, 63}, {10010, 64}, {10020, 65}, {11000, 70},
		{11010, 71}, {11020, 72}, {11030, 73}, {11040, 74}, {11050, 75}, {11060, 76}, {11070, 77}, {11080, 78},
		{12000, 80}, {12010, 81}, {12020, 82}, {12030, 83}, {12040, 84}, {12050, 85}, {12070, 86}, {12080, 87},
		{12090, 88}, {13000, 90}, {13010, 91}, {13020, 92}};
	int newest = 0;
	for (auto &one : ALL)
		if (version >= one[0]) newest = one[1];
	return newest;
}

// Reads PTX word by word.
struct Reader {
	const std::string &text;
	size_t at = 0;
	std::string word() {
		auto is_gap = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
		for (;;) {
			while (at < text.size() && is_gap(text[at])) at++;
			if (text.compare(at, 2, "//") == 0) at = std::min(text.find('\n', at), text.size());
			else if (text.compare(at, 2, "/*") == 0) at = std::min(text.find("*/", at), text.size() - 2) + 2;
			else break;
		}
		if (at >= text.size()) return "";
		const size_t start = at++;
		auto is_mark = [](char c) {
			return c == '(' || c == ')' || c == ',' || c == '{' || c == '}' || c == '[' || c == ']' || c == ';';
		};
		if (!is_mark(text[start]))
			while (at < text.size() && !is_gap(text[at]) && !is_mark(text[at])) at++;
		return text.substr(start, at - start);
	}
};

struct Log {
	std::string text;
	CUresult say(CUresult code, const std::string &what) {
		text = what;
		return code;
	}
};

size_t size_of_type(const std::string &type) {
	const size_t digits = type.find_first_of("0123456789");
	return digits == std::string::npos ? 0 : (size_t)atoi(type.c_str() + digits) / 8;
}

CUresult read_ptx(const std::string &text, const Here &here, Module &module, Log &log) {
	Reader reader{text};
	if (reader.word() != ".version") return log.say(INVALID_PTX, "ptxas fatal: no .version at the beginning");
	const std::string version = reader.word();
	const auto numbers = parts_of(version, '.');
	if (numbers.size() != 2) return log.say(INVALID_PTX, "ptxas fatal: invalid .version");
	const int newest = newest_ptx(here.all.version);
	if (atoi(numbers[0].c_str()) * 10 + atoi(numbers[1].c_str()) > newest)
		return log.say(UNSUPPORTED_PTX_VERSION,
			"ptxas fatal: unsupported .version " + version + "; current version is '" + std::to_string(newest / 10) +
				"." + std::to_string(newest % 10) + "'");
	if (reader.word() != ".target") return log.say(INVALID_PTX, "ptxas fatal: no .target");
	const std::string target = reader.word();
	if (target.compare(0, 3, "sm_") != 0) return log.say(INVALID_PTX, "ptxas fatal: unknown .target " + target);
	const uint32_t number = (uint32_t)atoi(target.c_str() + 3), capability = here.device().capability;
	const char kind = target.back();
	// Code for one GPU only, for its family, or for all newer ones.
	bool fits = number <= capability;
	if (kind == 'a') fits = number == capability;
	if (kind == 'f') fits = fits && number / 10 == capability / 10;
	if (number == 0) return log.say(INVALID_PTX, "ptxas fatal: unknown .target " + target);
	if (!fits) return log.say(NO_BINARY_FOR_GPU, "ptxas fatal: .target " + target + " is not for this device");
	module.target = number * 10;
	uint32_t depth = 0;
	for (std::string word = reader.word(); !word.empty(); word = reader.word()) {
		if (word == "{") depth++;
		if (word == "}" && depth-- == 0) return log.say(INVALID_PTX, "ptxas error: unexpected }");
		if (word != ".entry" || depth != 0) continue;
		Entry entry;
		entry.name = reader.word();
		word = reader.word();
		if (word == "(") {
			entry.has_sizes = true;
			// .param [.align N] .TYPE NAME[SIZE]
			std::string type;
			for (word = reader.word(); !word.empty() && word != ")"; word = reader.word()) {
				if (word == ".param") {
					entry.sizes.push_back(0);
				} else if (word == ".align") {
					reader.word();
				} else if (word[0] == '.' && !entry.sizes.empty()) {
					entry.sizes.back() = size_of_type(word);
				} else if (word == "[" && !entry.sizes.empty()) {
					entry.sizes.back() *= (size_t)atoi(reader.word().c_str());
				}
			}
			word = reader.word();
		}
		while (!word.empty() && word != "{" && word != ";") {
			if (word == ".maxntid" || word == ".reqntid") entry.most_threads = (uint32_t)atoi(reader.word().c_str());
			if (word == ".reqnctapercluster") entry.cluster = (uint32_t)atoi(reader.word().c_str());
			word = reader.word();
		}
		if (word.empty()) return log.say(INVALID_PTX, "ptxas error: " + entry.name + " has no body");
		if (word == "{") depth++;
		if (const Kernel *kernel = emulated::kernel_of(entry.name.c_str(), module.target)) {
			if (entry.has_sizes && entry.sizes != kernel->sizes) {
				complain("%s has other parameters in PTX than in its source: make the PTX again", entry.name.c_str());
				return log.say(INVALID_PTX, entry.name + ": other parameters than in its source");
			}
		}
		module.entries[entry.name] = entry;
	}
	if (depth != 0) return log.say(INVALID_PTX, "ptxas error: unexpected end of file");
	return SUCCESS;
}

CUresult load(
	const Here &here, void **module, const void *image, unsigned count, const int *options, void *const *values) {
	if (!module || !image) return INVALID_VALUE;
	if (memcmp(image, "\177ELF", 4) == 0) {
		complain("only PTX is emulated");
		return NO_BINARY_FOR_GPU;
	}
	const std::string text = (const char *)image;
	auto made = std::make_unique<Module>();
	made->context = here.context;
	Log log;
	const CUresult result = read_ptx(text, here, *made, log);
	void *buffer = nullptr;
	size_t room = 0;
	for (unsigned at = 0; at < count; at++) {
		// CU_JIT_ERROR_LOG_BUFFER, and its size.
		if (options[at] == 5) buffer = values[at];
		if (options[at] == 6) room = (size_t)(uintptr_t)values[at];
	}
	if (buffer && room) snprintf((char *)buffer, room, "%s", log.text.c_str());
	if (result != SUCCESS) return result;
	*module = made.get();
	here.context->modules[made.get()] = std::move(made);
	return SUCCESS;
}

// -- Launches ---------------------------------------------------------------------------------------------

struct Config {
	unsigned grid[3], block[3], shared;
	void *stream;
	bool early = false;
	unsigned cluster[3] = {0, 0, 0};
};

Function *function_of(const Here &here, void *handle) {
	for (auto &[at, module] : here.context->modules)
		for (auto &[name, function] : module->functions)
			if (function.get() == handle) return function.get();
	return nullptr;
}

CUresult start(const Here &here, const Config &config, void *handle, void *const *parameters, void *const *extra) {
	auto refuse = [&](CUresult code, const char *why) {
		complain("a launch is refused: %s", why);
		return code;
	};
	Function *function = function_of(here, handle);
	if (!function) return refuse(INVALID_HANDLE, "the kernel is not of the current context");
	const auto stream = stream_of(here, config.stream);
	if (!stream) return refuse(INVALID_HANDLE, "the stream is not of the current context");
	if (extra || (!parameters && !function->kernel->sizes.empty()))
		return refuse(INVALID_VALUE, "only kernelParams are emulated");
	for (int at = 1; at < 3; at++)
		if (config.grid[at] != 1 || config.block[at] != 1)
			return refuse(INVALID_VALUE, "only one dimension is emulated");
	if (config.grid[0] == 0 || config.block[0] == 0) return refuse(INVALID_VALUE, "no threads");
	if (config.grid[0] > 0x7FFFFFFF) return refuse(INVALID_VALUE, "too many blocks");
	const uint32_t most = std::min(function->entry.most_threads, function->kernel->most_threads);
	if (config.block[0] > most) return refuse(INVALID_VALUE, "more threads than the kernel may have");
	if (config.shared > (unsigned)function->shared)
		return refuse(INVALID_VALUE, "more shared memory than cuFuncSetAttribute allowed");
	const uint32_t cluster = function->kernel->cluster;
	if (config.cluster[0] && (config.cluster[0] != cluster || config.cluster[1] != 1 || config.cluster[2] != 1))
		return refuse(INVALID_CLUSTER_SIZE, "clusters of another size than the kernel's");
	if (config.grid[0] % cluster) return refuse(INVALID_VALUE, "blocks that are not a multiple of the cluster");
	if (config.early && here.device().capability < 90)
		return refuse(NOT_SUPPORTED, "kernels begin early on compute capability 9.0 and newer");
	Operation operation = {};
	operation.kind = Operation::KERNEL;
	Launch &launch = operation.launch;
	launch.kernel = function->kernel;
	launch.blocks = config.grid[0];
	launch.threads = config.block[0];
	launch.shared = config.shared;
	launch.target = function->module->target;
	launch.early = config.early;
	for (size_t at = 0; at < launch.kernel->sizes.size(); at++) {
		const uint8_t *from = (const uint8_t *)parameters[at];
		launch.arguments.emplace_back(from, from + launch.kernel->sizes[at]);
	}
	const std::string name = launch.kernel->name;
	operation.fails = here.all.fail.next(name);
	operation.hangs = here.all.hang.next(name) != SUCCESS;
	operation.wrong = here.all.wrong.next(name) != SUCCESS;
	return queue(*here.context, stream, std::move(operation));
}

CUresult work_on(const Here &here, void *handle, std::function<void()> work) {
	const auto stream = stream_of(here, handle);
	if (!stream) return INVALID_HANDLE;
	Operation operation = {};
	operation.kind = Operation::WORK;
	operation.work = std::move(work);
	return queue(*here.context, stream, std::move(operation));
}

bool holds(const Here &here, CUdeviceptr at, uint64_t bytes) {
	if (here.memory().holds((const void *)at, bytes)) return true;
	complain("a copy of %llu bytes at %#llx leaves all allocations", (unsigned long long)bytes, at);
	return false;
}

bool is_pinned(const Here &here, const void *at, uint64_t bytes) {
	auto after = here.context->pinned.upper_bound((uintptr_t)at);
	if (after == here.context->pinned.begin()) return false;
	auto [start, size] = *--after;
	return (uintptr_t)at - start + bytes <= size;
}

// Executes work before the call returns.
CUresult now(const Here &here, std::function<void()> work) {
	const CUresult result = work_on(here, nullptr, std::move(work));
	if (result != SUCCESS) return result;
	return finish(here.lock, *here.context, here.context->legacy, here.context->legacy->queued);
}

} // namespace

// -- The driver, its devices ------------------------------------------------------------------------------

EXPORTED CUresult cuInit(unsigned flags) {
	return call("cuInit", Needs::NOTHING, [&](const Here &here) -> CUresult {
		if (flags) return INVALID_VALUE;
		here.all.read_all();
		here.all.initialized = !here.all.devices.empty();
		return here.all.initialized ? SUCCESS : NO_DEVICE;
	});
}

EXPORTED CUresult cuDriverGetVersion(int *version) {
	return call("cuDriverGetVersion", Needs::NOTHING, [&](const Here &here) -> CUresult {
		if (!version) return INVALID_VALUE;
		if (!here.all.initialized) here.all.read_all();
		*version = here.all.version;
		return SUCCESS;
	});
}

EXPORTED CUresult cuDeviceGetCount(int *count) {
	return call("cuDeviceGetCount", Needs::DRIVER, [&](const Here &here) -> CUresult {
		if (!count) return INVALID_VALUE;
		*count = (int)here.all.devices.size();
		return SUCCESS;
	});
}

EXPORTED CUresult cuDeviceGet(CUdevice *device, int ordinal) {
	return call("cuDeviceGet", Needs::DRIVER, [&](const Here &here) -> CUresult {
		if (!device) return INVALID_VALUE;
		if (!device_of(here, ordinal)) return INVALID_DEVICE;
		*device = ordinal;
		return SUCCESS;
	});
}

EXPORTED CUresult cuDeviceGetName(char *name, int length, CUdevice number) {
	return call("cuDeviceGetName", Needs::DRIVER, [&](const Here &here) -> CUresult {
		const Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!name || length <= 0) return INVALID_VALUE;
		snprintf(name, (size_t)length, "%s", device->name.c_str());
		return SUCCESS;
	});
}

static CUresult give_uuid(const char *name, void *uuid, CUdevice number) {
	return call(name, Needs::DRIVER, [&](const Here &here) -> CUresult {
		const Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!uuid) return INVALID_VALUE;
		memcpy(uuid, device->uuid, sizeof device->uuid);
		return SUCCESS;
	});
}

EXPORTED CUresult cuDeviceGetUuid(void *uuid, CUdevice device) { return give_uuid("cuDeviceGetUuid", uuid, device); }
#ifndef KAISAR_OLD_DRIVER
EXPORTED CUresult cuDeviceGetUuid_v2(void *uuid, CUdevice device) {
	if (lacks("cuDeviceGetUuid_v2", 11040)) return NOT_SUPPORTED;
	return give_uuid("cuDeviceGetUuid_v2", uuid, device);
}
#endif

EXPORTED CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice number) {
	return call("cuDeviceTotalMem_v2", Needs::DRIVER, [&](const Here &here) -> CUresult {
		const Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!bytes) return INVALID_VALUE;
		*bytes = device->total;
		return SUCCESS;
	});
}

EXPORTED CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice number) {
	return call("cuDeviceGetAttribute", Needs::DRIVER, [&](const Here &here) -> CUresult {
		const Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!value) return INVALID_VALUE;
		const bool hopper = device->capability >= 90;
		switch (attribute) {
		case 1: *value = 1024; break; // MAX_THREADS_PER_BLOCK
		case 2:
		case 3: *value = 1024; break; // MAX_BLOCK_DIM_X, _Y
		case 4: *value = 64; break;
		case 5: *value = 0x7FFFFFFF; break; // MAX_GRID_DIM_X
		case 6:
		case 7: *value = 65535; break;
		case 8: *value = 48 << 10; break; // MAX_SHARED_MEMORY_PER_BLOCK
		case 9: *value = 64 << 10; break; // TOTAL_CONSTANT_MEMORY
		case 10: *value = 32; break; // WARP_SIZE
		case 12: *value = 65536; break; // MAX_REGISTERS_PER_BLOCK
		case 13: *value = 1500000; break; // CLOCK_RATE
		case 15: *value = 1; break; // GPU_OVERLAP
		case 16: *value = here.all.multiprocessors; break; // MULTIPROCESSOR_COUNT
		case 17: *value = 0; break; // KERNEL_EXEC_TIMEOUT
		case 18: *value = 0; break; // INTEGRATED
		case 19: *value = 1; break; // CAN_MAP_HOST_MEMORY
		case 20: *value = 0; break; // COMPUTE_MODE
		case 31: *value = 1; break; // CONCURRENT_KERNELS
		case 32: *value = 0; break; // ECC_ENABLED
		case 33: *value = device->number + 1; break; // PCI_BUS_ID
		case 34: *value = 0; break; // PCI_DEVICE_ID
		case 35: *value = 0; break; // TCC_DRIVER
		case 36: *value = 5000000; break; // MEMORY_CLOCK_RATE
		case 37: *value = 256; break; // GLOBAL_MEMORY_BUS_WIDTH
		case 38: *value = 4 << 20; break; // L2_CACHE_SIZE
		case 39: *value = device->threads_limit(); break; // MAX_THREADS_PER_MULTIPROCESSOR
		case 40: *value = 2; break; // ASYNC_ENGINE_COUNT
		case 41: *value = 1; break; // UNIFIED_ADDRESSING
		case 50: *value = 0; break; // PCI_DOMAIN_ID
		case 75: *value = (int)device->capability / 10; break; // COMPUTE_CAPABILITY_MAJOR
		case 76: *value = (int)device->capability % 10; break; // COMPUTE_CAPABILITY_MINOR
		case 78: *value = 1; break; // STREAM_PRIORITIES_SUPPORTED
		case 81: *value = device->shared_limit() + 1024; break; // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
		case 82: *value = 65536; break; // MAX_REGISTERS_PER_MULTIPROCESSOR
		case 95: *value = 1; break; // COOPERATIVE_LAUNCH
		case 97: *value = device->shared_limit(); break; // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
		case 106: *value = device->capability == 75 ? 16 : 32; break; // MAX_BLOCKS_PER_MULTIPROCESSOR
		case 111: *value = device->capability >= 80 ? 1024 : 0; break; // RESERVED_SHARED_MEMORY_PER_BLOCK
		case 115: *value = 0; break; // MEMORY_POOLS_SUPPORTED
		case 120: *value = hopper; break; // CLUSTER_LAUNCH
		case 127: *value = hopper; break; // TENSOR_MAP_ACCESS_SUPPORTED
		default:
			if (attribute <= 0) return INVALID_VALUE;
			*value = 0;
		}
		return SUCCESS;
	});
}

EXPORTED CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice number) {
	return call("cuDeviceGetPCIBusId", Needs::DRIVER, [&](const Here &here) -> CUresult {
		const Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!text || length < 13) return INVALID_VALUE;
		snprintf(text, (size_t)length, "0000:%02X:00.0", device->number + 1);
		return SUCCESS;
	});
}

// -- Contexts ---------------------------------------------------------------------------------------------

EXPORTED CUresult cuDevicePrimaryCtxRetain(void **context, CUdevice number) {
	return call("cuDevicePrimaryCtxRetain", Needs::DRIVER, [&](const Here &here) -> CUresult {
		Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!context) return INVALID_VALUE;
		if (device->primary && device->primary->alive) *context = device->primary.get();
		else *context = open(here, device, true);
		device->retained++;
		return SUCCESS;
	});
}

EXPORTED CUresult cuDevicePrimaryCtxRelease_v2(CUdevice number) {
	return call("cuDevicePrimaryCtxRelease_v2", Needs::DRIVER, [&](const Here &here) -> CUresult {
		Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (device->retained == 0) return INVALID_CONTEXT;
		if (--device->retained == 0) close(here, *device->primary);
		return SUCCESS;
	});
}

EXPORTED CUresult cuDevicePrimaryCtxReset_v2(CUdevice number) {
	return call("cuDevicePrimaryCtxReset_v2", Needs::DRIVER, [&](const Here &here) -> CUresult {
		Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (device->primary && device->primary->alive) close(here, *device->primary);
		device->retained = 0;
		here.all.read_faults();
		return SUCCESS;
	});
}

EXPORTED CUresult cuDevicePrimaryCtxGetState(CUdevice number, unsigned *flags, int *active) {
	return call("cuDevicePrimaryCtxGetState", Needs::DRIVER, [&](const Here &here) -> CUresult {
		const Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!flags || !active) return INVALID_VALUE;
		*flags = 0;
		*active = device->primary && device->primary->alive;
		return SUCCESS;
	});
}

EXPORTED CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice number, unsigned) {
	return call("cuDevicePrimaryCtxSetFlags_v2", Needs::DRIVER,
		[&](const Here &here) -> CUresult { return device_of(here, number) ? SUCCESS : INVALID_DEVICE; });
}

EXPORTED CUresult cuCtxCreate_v2(void **context, unsigned, CUdevice number) {
	return call("cuCtxCreate_v2", Needs::DRIVER, [&](const Here &here) -> CUresult {
		Device *device = device_of(here, number);
		if (!device) return INVALID_DEVICE;
		if (!context) return INVALID_VALUE;
		*context = open(here, device, false);
		stack_of_contexts.push_back((Context *)*context);
		return SUCCESS;
	});
}

EXPORTED CUresult cuCtxDestroy_v2(void *handle) {
	return call("cuCtxDestroy_v2", Needs::DRIVER, [&](const Here &here) -> CUresult {
		auto found = here.all.contexts.find(handle);
		if (found == here.all.contexts.end()) return INVALID_CONTEXT;
		Context &context = *found->second;
		if (!context.alive) return CONTEXT_IS_DESTROYED;
		if (context.device->primary == found->second) return INVALID_CONTEXT;
		close(here, context);
		if (!stack_of_contexts.empty() && stack_of_contexts.back() == &context) stack_of_contexts.pop_back();
		return SUCCESS;
	});
}

EXPORTED CUresult cuCtxSetCurrent(void *handle) {
	return call("cuCtxSetCurrent", Needs::DRIVER, [&](const Here &here) -> CUresult {
		if (!stack_of_contexts.empty()) stack_of_contexts.pop_back();
		if (!handle) return SUCCESS;
		auto found = here.all.contexts.find(handle);
		if (found == here.all.contexts.end()) return INVALID_CONTEXT;
		if (!found->second->alive) return CONTEXT_IS_DESTROYED;
		stack_of_contexts.push_back(found->second.get());
		return SUCCESS;
	});
}

EXPORTED CUresult cuCtxGetCurrent(void **handle) {
	return call("cuCtxGetCurrent", Needs::DRIVER, [&](const Here &here) -> CUresult {
		if (!handle) return INVALID_VALUE;
		*handle = here.context;
		return SUCCESS;
	});
}

EXPORTED CUresult cuCtxPushCurrent_v2(void *handle) {
	return call("cuCtxPushCurrent_v2", Needs::DRIVER, [&](const Here &here) -> CUresult {
		auto found = here.all.contexts.find(handle);
		if (found == here.all.contexts.end()) return INVALID_CONTEXT;
		if (!found->second->alive) return CONTEXT_IS_DESTROYED;
		stack_of_contexts.push_back(found->second.get());
		return SUCCESS;
	});
}

EXPORTED CUresult cuCtxPopCurrent_v2(void **handle) {
	return call("cuCtxPopCurrent_v2", Needs::DRIVER, [&](const Here &here) -> CUresult {
		if (!here.context) return INVALID_CONTEXT;
		if (handle) *handle = here.context;
		stack_of_contexts.pop_back();
		return SUCCESS;
	});
}

EXPORTED CUresult cuCtxGetDevice(CUdevice *device) {
	return call("cuCtxGetDevice", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!device) return INVALID_VALUE;
		*device = here.device().number;
		return SUCCESS;
	});
}

EXPORTED CUresult cuCtxSynchronize() {
	return call(
		"cuCtxSynchronize", Needs::CONTEXT, [&](const Here &here) { return finish_all(here.lock, *here.context); });
}

EXPORTED CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
	return call("cuCtxGetStreamPriorityRange", Needs::CONTEXT, [&](const Here &) -> CUresult {
		if (least) *least = 0;
		if (greatest) *greatest = -5;
		return SUCCESS;
	});
}

// -- Modules and kernels ----------------------------------------------------------------------------------

EXPORTED CUresult cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
	return call("cuModuleLoadDataEx", Needs::CONTEXT,
		[&](const Here &here) { return load(here, module, image, count, options, values); });
}

EXPORTED CUresult cuModuleLoadData(void **module, const void *image) {
	return call("cuModuleLoadData", Needs::CONTEXT,
		[&](const Here &here) { return load(here, module, image, 0, nullptr, nullptr); });
}

EXPORTED CUresult cuModuleUnload(void *module) {
	return call("cuModuleUnload", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!here.context->modules.count(module)) return INVALID_HANDLE;
		// Its kernels may be queued.
		if (const CUresult result = finish_all(here.lock, *here.context)) return result;
		here.context->modules.erase(module);
		return SUCCESS;
	});
}

EXPORTED CUresult cuModuleGetFunction(void **function, void *handle, const char *name) {
	return call("cuModuleGetFunction", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!function || !name) return INVALID_VALUE;
		auto found = here.context->modules.find(handle);
		if (found == here.context->modules.end()) return INVALID_HANDLE;
		Module &module = *found->second;
		auto entry = module.entries.find(name);
		if (entry == module.entries.end()) return NOT_FOUND;
		auto &known = module.functions[name];
		if (!known) {
			const Kernel *kernel = emulated::kernel_of(name, module.target);
			if (!kernel) {
				module.functions.erase(name);
				complain("%s is not among the kernels that are emulated for sm_%u", name, module.target / 10);
				return NOT_FOUND;
			}
			known = std::make_unique<Function>(Function{&module, entry->second, kernel});
		}
		*function = known.get();
		return SUCCESS;
	});
}

EXPORTED CUresult cuFuncSetAttribute(void *handle, int attribute, int value) {
	return call("cuFuncSetAttribute", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		Function *function = function_of(here, handle);
		if (!function) return INVALID_HANDLE;
		switch (attribute) {
		case 8: // MAX_DYNAMIC_SHARED_SIZE_BYTES
			if (value < 0 || value > here.device().shared_limit()) return INVALID_VALUE;
			function->shared = value;
			return SUCCESS;
		case 9: // PREFERRED_SHARED_MEMORY_CARVEOUT
			return value < -1 || value > 100 ? INVALID_VALUE : SUCCESS;
		case 14: // NON_PORTABLE_CLUSTER_SIZE_ALLOWED
			return SUCCESS;
		default: return INVALID_VALUE;
		}
	});
}

EXPORTED CUresult cuFuncGetAttribute(int *value, int attribute, void *handle) {
	return call("cuFuncGetAttribute", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		Function *function = function_of(here, handle);
		if (!function) return INVALID_HANDLE;
		if (!value) return INVALID_VALUE;
		switch (attribute) {
		case 0: *value = (int)std::min(function->entry.most_threads, function->kernel->most_threads); break;
		case 4: *value = 64; break; // NUM_REGS
		case 5:
		case 6: *value = (int)function->module->target / 10; break; // PTX_VERSION, BINARY_VERSION
		case 8: *value = function->shared; break;
		default:
			if (attribute < 0) return INVALID_VALUE;
			*value = 0;
		}
		return SUCCESS;
	});
}

EXPORTED CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *handle, int threads, size_t shared) {
	return call("cuOccupancyMaxActiveBlocksPerMultiprocessor", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!function_of(here, handle)) return INVALID_HANDLE;
		if (!blocks || threads <= 0) return INVALID_VALUE;
		const Device &device = here.device();
		const size_t each = shared + (device.capability >= 80 ? 1024 : 0), all = (size_t)device.shared_limit() + 1024;
		*blocks = std::min({device.threads_limit() / ((threads + 31) / 32 * 32), each ? (int)(all / each) : 32, 16});
		return SUCCESS;
	});
}

// -- Memory -----------------------------------------------------------------------------------------------

EXPORTED CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
	return call("cuMemGetInfo_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!free_bytes || !total) return INVALID_VALUE;
		*free_bytes = here.device().free_bytes();
		*total = here.device().total;
		return SUCCESS;
	});
}

EXPORTED CUresult cuMemAlloc_v2(CUdeviceptr *at, size_t bytes) {
	return call("cuMemAlloc_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!at || bytes == 0) return INVALID_VALUE;
		Device &device = here.device();
		if (Memory::taken(bytes) > device.free_bytes()) return OUT_OF_MEMORY;
		void *taken = device.memory.allocate(bytes);
		if (!taken) return OUT_OF_MEMORY;
		device.used += Memory::taken(bytes);
		*at = (CUdeviceptr)taken;
		here.context->allocations[*at] = bytes;
		return SUCCESS;
	});
}

EXPORTED CUresult cuMemFree_v2(CUdeviceptr at) {
	return call("cuMemFree_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (at == 0) return SUCCESS;
		if (!here.context->allocations.count(at)) return INVALID_VALUE;
		// Waits for all work, which may use the memory.
		if (const CUresult result = finish_all(here.lock, *here.context)) return result;
		auto found = here.context->allocations.find(at);
		if (found == here.context->allocations.end()) return INVALID_VALUE;
		here.device().used -= Memory::taken(found->second);
		here.memory().release((void *)at);
		here.context->allocations.erase(found);
		return SUCCESS;
	});
}

static CUresult take_pinned(const char *name, void **at, size_t bytes) {
	return call(name, Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!at || bytes == 0) return INVALID_VALUE;
		*at = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
		if (!*at) return OUT_OF_MEMORY;
		emulated::fill_with_garbage(*at, bytes, 7);
		here.context->pinned[(uintptr_t)*at] = bytes;
		return SUCCESS;
	});
}

EXPORTED CUresult cuMemAllocHost_v2(void **at, size_t bytes) { return take_pinned("cuMemAllocHost_v2", at, bytes); }
EXPORTED CUresult cuMemHostAlloc(void **at, size_t bytes, unsigned) { return take_pinned("cuMemHostAlloc", at, bytes); }

EXPORTED CUresult cuMemFreeHost(void *at) {
	return call("cuMemFreeHost", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!here.context->pinned.count((uintptr_t)at)) return INVALID_VALUE;
		if (const CUresult result = finish_all(here.lock, *here.context)) return result;
		here.context->pinned.erase((uintptr_t)at);
		free(at);
		return SUCCESS;
	});
}

EXPORTED CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
	return call("cuMemcpyHtoD_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!from || !holds(here, to, bytes)) return INVALID_VALUE;
		return now(here, [=] { memcpy((void *)to, from, bytes); });
	});
}

EXPORTED CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
	return call("cuMemcpyDtoH_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!to || !holds(here, from, bytes)) return INVALID_VALUE;
		return now(here, [=] { memcpy(to, (const void *)from, bytes); });
	});
}

EXPORTED CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
	return call("cuMemcpyDtoD_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!holds(here, to, bytes) || !holds(here, from, bytes)) return INVALID_VALUE;
		return work_on(here, nullptr, [=] { memmove((void *)to, (const void *)from, bytes); });
	});
}

EXPORTED CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, void *stream) {
	return call("cuMemcpyHtoDAsync_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!from || !holds(here, to, bytes)) return INVALID_VALUE;
		if (is_pinned(here, from, bytes)) return work_on(here, stream, [=] { memcpy((void *)to, from, bytes); });
		// The driver reads unpinned memory before the call returns.
		auto taken = std::make_shared<std::vector<uint8_t>>((const uint8_t *)from, (const uint8_t *)from + bytes);
		return work_on(here, stream, [=] { memcpy((void *)to, taken->data(), taken->size()); });
	});
}

EXPORTED CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, void *handle) {
	return call("cuMemcpyDtoHAsync_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!to || !holds(here, from, bytes)) return INVALID_VALUE;
		const bool pinned = is_pinned(here, to, bytes);
		// A program that reads it too early reads garbage.
		emulated::fill_with_garbage(to, bytes, 3);
		const CUresult result = work_on(here, handle, [=] { memcpy(to, (const void *)from, bytes); });
		if (result != SUCCESS || pinned) return result;
		// It copies to unpinned memory before the call returns.
		const auto stream = stream_of(here, handle);
		return finish(here.lock, *here.context, stream, stream->queued);
	});
}

EXPORTED CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void *stream) {
	return call("cuMemcpyDtoDAsync_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!holds(here, to, bytes) || !holds(here, from, bytes)) return INVALID_VALUE;
		return work_on(here, stream, [=] { memmove((void *)to, (const void *)from, bytes); });
	});
}

EXPORTED CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, void *stream) {
	return call("cuMemsetD8Async", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!holds(here, to, count)) return INVALID_VALUE;
		return work_on(here, stream, [=] { memset((void *)to, value, count); });
	});
}

EXPORTED CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, void *stream) {
	return call("cuMemsetD32Async", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (to % 4 || !holds(here, to, 4 * count)) return INVALID_VALUE;
		return work_on(here, stream, [=] { std::fill_n((unsigned *)to, count, value); });
	});
}

// -- Streams and events -----------------------------------------------------------------------------------

static CUresult make_stream(const char *name, void **handle, unsigned flags) {
	return call(name, Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!handle || flags > 1) return INVALID_VALUE;
		auto stream = std::make_shared<Stream>();
		stream->context = here.context;
		// CU_STREAM_NON_BLOCKING
		stream->blocking = flags != 1;
		*handle = stream.get();
		here.context->streams[stream.get()] = stream;
		return SUCCESS;
	});
}

EXPORTED CUresult cuStreamCreate(void **handle, unsigned flags) { return make_stream("cuStreamCreate", handle, flags); }
EXPORTED CUresult cuStreamCreateWithPriority(void **handle, unsigned flags, int) {
	return make_stream("cuStreamCreateWithPriority", handle, flags);
}

EXPORTED CUresult cuStreamDestroy_v2(void *handle) {
	return call("cuStreamDestroy_v2", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		auto found = here.context->streams.find(handle);
		if (found == here.context->streams.end()) return INVALID_HANDLE;
		const auto stream = found->second;
		// Its work is still executed.
		const CUresult result = work_until(stream, stream->queued);
		if (result != SUCCESS && result != HUNG) return result;
		here.context->streams.erase(handle);
		return SUCCESS;
	});
}

EXPORTED CUresult cuStreamQuery(void *handle) {
	return call("cuStreamQuery", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		const auto stream = stream_of(here, handle);
		if (!stream) return INVALID_HANDLE;
		if (stream->done == stream->queued) return SUCCESS;
		if (!stream->hung) step(*stream);
		return here.context->error ? here.context->error : (CUresult)NOT_READY;
	});
}

EXPORTED CUresult cuStreamSynchronize(void *handle) {
	return call("cuStreamSynchronize", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		const auto stream = stream_of(here, handle);
		if (!stream) return INVALID_HANDLE;
		return finish(here.lock, *here.context, stream, stream->queued);
	});
}

EXPORTED CUresult cuStreamWaitEvent(void *handle, void *which, unsigned) {
	return call("cuStreamWaitEvent", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		const auto stream = stream_of(here, handle);
		auto found = here.context->events.find(which);
		if (!stream || found == here.context->events.end()) return INVALID_HANDLE;
		const auto moment = found->second->moment;
		// An event that was never recorded needs no wait.
		if (!moment || moment->done || moment->stream == stream) return SUCCESS;
		Operation operation = {};
		operation.kind = Operation::WAIT;
		operation.other = moment->stream;
		operation.until = moment->position;
		return queue(*here.context, stream, std::move(operation));
	});
}

EXPORTED CUresult cuEventCreate(void **handle, unsigned flags) {
	return call("cuEventCreate", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!handle) return INVALID_VALUE;
		// CU_EVENT_DISABLE_TIMING
		auto event = std::make_unique<Event>(Event{here.context, !(flags & 2), nullptr});
		*handle = event.get();
		here.context->events[event.get()] = std::move(event);
		return SUCCESS;
	});
}

EXPORTED CUresult cuEventDestroy_v2(void *handle) {
	return call("cuEventDestroy_v2", Needs::CONTEXT,
		[&](const Here &here) -> CUresult { return here.context->events.erase(handle) ? SUCCESS : INVALID_HANDLE; });
}

EXPORTED CUresult cuEventRecord(void *handle, void *of) {
	return call("cuEventRecord", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		const auto stream = stream_of(here, of);
		auto found = here.context->events.find(handle);
		if (!stream || found == here.context->events.end()) return INVALID_HANDLE;
		auto moment = std::make_shared<Moment>();
		moment->stream = stream;
		found->second->moment = moment;
		Operation operation = {};
		operation.kind = Operation::RECORD;
		operation.moment = moment;
		const CUresult result = queue(*here.context, stream, std::move(operation));
		moment->position = stream->queued;
		return result;
	});
}

EXPORTED CUresult cuEventQuery(void *handle) {
	return call("cuEventQuery", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		auto found = here.context->events.find(handle);
		if (found == here.context->events.end()) return INVALID_HANDLE;
		const auto moment = found->second->moment;
		if (!moment || moment->done) return SUCCESS;
		if (!moment->stream->hung) step(*moment->stream);
		return here.context->error ? here.context->error : (CUresult)NOT_READY;
	});
}

EXPORTED CUresult cuEventSynchronize(void *handle) {
	return call("cuEventSynchronize", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		auto found = here.context->events.find(handle);
		if (found == here.context->events.end()) return INVALID_HANDLE;
		const auto moment = found->second->moment;
		return moment ? finish(here.lock, *here.context, moment->stream, moment->position) : (CUresult)SUCCESS;
	});
}

static CUresult elapsed(const char *name, float *ms, void *from, void *to) {
	return call(name, Needs::CONTEXT, [&](const Here &here) -> CUresult {
		auto first = here.context->events.find(from), last = here.context->events.find(to);
		if (first == here.context->events.end() || last == here.context->events.end()) return INVALID_HANDLE;
		if (!ms) return INVALID_VALUE;
		const Event &a = *first->second, &b = *last->second;
		if (!a.timed || !b.timed || !a.moment || !b.moment) return INVALID_HANDLE;
		if (!a.moment->done || !b.moment->done) return NOT_READY;
		*ms = std::chrono::duration<float, std::milli>(b.moment->at - a.moment->at).count();
		return SUCCESS;
	});
}

EXPORTED CUresult cuEventElapsedTime(float *ms, void *from, void *to) {
	return elapsed("cuEventElapsedTime", ms, from, to);
}
#ifndef KAISAR_OLD_DRIVER
EXPORTED CUresult cuEventElapsedTime_v2(float *ms, void *from, void *to) {
	if (lacks("cuEventElapsedTime_v2", 12080)) return NOT_SUPPORTED;
	return elapsed("cuEventElapsedTime_v2", ms, from, to);
}
#endif

// -- Launches ---------------------------------------------------------------------------------------------

EXPORTED CUresult cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
	unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters, void **extra) {
	return call("cuLaunchKernel", Needs::CONTEXT, [&](const Here &here) {
		const Config config = {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, stream};
		return start(here, config, function, parameters, extra);
	});
}

#ifndef KAISAR_OLD_DRIVER
namespace {

// As CUlaunchAttribute and CUlaunchConfig.
struct LaunchAttribute {
	int id;
	char pad[4];
	union {
		char bytes[64];
		int number;
		unsigned cluster[3];
	} value;
};
struct LaunchConfig {
	unsigned grid[3], block[3], shared;
	void *stream;
	LaunchAttribute *attributes;
	unsigned count;
};
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfig) == 56, "as in CUDA");

} // namespace

EXPORTED CUresult cuLaunchKernelEx(const LaunchConfig *of, void *function, void **parameters, void **extra) {
	if (lacks("cuLaunchKernelEx", 11080)) return NOT_SUPPORTED;
	return call("cuLaunchKernelEx", Needs::CONTEXT, [&](const Here &here) -> CUresult {
		if (!of || (of->count && !of->attributes)) return INVALID_VALUE;
		Config config = {{of->grid[0], of->grid[1], of->grid[2]}, {of->block[0], of->block[1], of->block[2]},
			of->shared, of->stream};
		for (unsigned at = 0; at < of->count; at++) {
			const LaunchAttribute &attribute = of->attributes[at];
			switch (attribute.id) {
			case 0: // IGNORE
			case 8: break; // PRIORITY
			case 4: // CLUSTER_DIMENSION
				if (here.device().capability < 90) return NOT_SUPPORTED;
				std::copy_n(attribute.value.cluster, 3, config.cluster);
				break;
			case 6: // PROGRAMMATIC_STREAM_SERIALIZATION
				config.early = attribute.value.number != 0;
				break;
			default: complain("launch attribute %d is not emulated", attribute.id); return NOT_SUPPORTED;
			}
		}
		return start(here, config, function, parameters, extra);
	});
}

EXPORTED CUresult cuTensorMapEncodeTiled(void *to, int type, unsigned rank, void *address,
	const unsigned long long *sizes, const unsigned long long *strides, const unsigned *box, const unsigned *steps,
	int interleave, int swizzle, int, int fill) {
	if (lacks("cuTensorMapEncodeTiled", 12000)) return NOT_SUPPORTED;
	// The only such function without a context: it is the same on all devices.
	return call("cuTensorMapEncodeTiled", Needs::DRIVER, [&](const Here &here) -> CUresult {
		auto refuse = [](const char *why) -> CUresult {
			complain("cuTensorMapEncodeTiled: %s", why);
			return INVALID_VALUE;
		};
		if (here.context && here.device().capability < 90) return NOT_SUPPORTED;
		static const uint8_t SIZES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
		if (!to || (uintptr_t)to % 64) return refuse("the map is not at a multiple of 64");
		if (type < 0 || type >= (int)sizeof SIZES) return refuse("unknown type");
		if (rank < 1 || rank > 5) return refuse("1 to 5 dimensions");
		if (!address || (uintptr_t)address % 16) return refuse("the matrix is not at a multiple of 16");
		if (!sizes || (rank > 1 && !strides) || !box || !steps) return refuse("nothing");
		if (interleave != 0 || fill != 0 || (swizzle != 0 && swizzle != 3)) {
			complain("cuTensorMapEncodeTiled: only without interleave and fill, swizzled over 128 bytes or not, is "
					 "emulated");
			return NOT_SUPPORTED;
		}
		TensorMap map = {};
		map.magic = TensorMap::MAGIC;
		map.address = (uint64_t)address;
		map.rank = (uint8_t)rank;
		map.element = SIZES[type];
		map.swizzle = (uint8_t)swizzle;
		for (unsigned of = 0; of < rank; of++) {
			if (sizes[of] < 1 || sizes[of] > 1ull << 32) return refuse("a dimension is not 1 … 2^32");
			if (box[of] < 1 || box[of] > 256) return refuse("a box is not 1 … 256");
			if (steps[of] != 1) return refuse("only steps of 1 are emulated");
			const uint64_t stride = of ? strides[of - 1] : map.element;
			if (of && (stride % 16 || stride >= 1ull << 40))
				return refuse("a stride is not a multiple of 16 below 2^40");
			map.sizes[of] = sizes[of];
			map.strides[of] = stride;
			map.box[of] = (uint16_t)box[of];
		}
		const uint64_t inner = (uint64_t)box[0] * map.element;
		if (inner % 16) return refuse("a box's rows are not a multiple of 16 bytes");
		if (swizzle == 3 && inner > 128) return refuse("a box's rows are longer than the swizzle");
		memcpy(to, &map, sizeof map);
		return SUCCESS;
	});
}
#endif

// -- Names ------------------------------------------------------------------------------------------------

EXPORTED CUresult cuGetErrorName(CUresult code, const char **text) {
	if (!text) return INVALID_VALUE;
	for (const Error &error : ERRORS)
		if (error.code == code) {
			*text = error.name;
			return SUCCESS;
		}
	*text = nullptr;
	return INVALID_VALUE;
}

EXPORTED CUresult cuGetErrorString(CUresult code, const char **text) {
	if (!text) return INVALID_VALUE;
	for (const Error &error : ERRORS)
		if (error.code == code) {
			*text = error.text;
			return SUCCESS;
		}
	*text = nullptr;
	return INVALID_VALUE;
}

#ifndef KAISAR_OLD_DRIVER
EXPORTED CUresult cuGetProcAddress_v2(
	const char *symbol, void **function, int version, unsigned long long, int *status) {
	struct Known {
		const char *name;
		void *function;
		int since;
	};
#define KNOWN(name, exported, since) {#name, (void *)exported, since}
	static const Known ALL[] = {KNOWN(cuInit, cuInit, 2000), KNOWN(cuDriverGetVersion, cuDriverGetVersion, 2020),
		KNOWN(cuDeviceGetCount, cuDeviceGetCount, 2000), KNOWN(cuDeviceGet, cuDeviceGet, 2000),
		KNOWN(cuDeviceGetName, cuDeviceGetName, 2000), KNOWN(cuDeviceGetUuid, cuDeviceGetUuid_v2, 11040),
		KNOWN(cuDeviceGetUuid, cuDeviceGetUuid, 9020), KNOWN(cuDeviceTotalMem, cuDeviceTotalMem_v2, 3020),
		KNOWN(cuDeviceGetAttribute, cuDeviceGetAttribute, 2000), KNOWN(cuDeviceGetPCIBusId, cuDeviceGetPCIBusId, 4010),
		KNOWN(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, 7000),
		KNOWN(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, 11000),
		KNOWN(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2, 11000),
		KNOWN(cuDevicePrimaryCtxGetState, cuDevicePrimaryCtxGetState, 7000),
		KNOWN(cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2, 11000),
		KNOWN(cuCtxCreate, cuCtxCreate_v2, 3020), KNOWN(cuCtxDestroy, cuCtxDestroy_v2, 4000),
		KNOWN(cuCtxSetCurrent, cuCtxSetCurrent, 4000), KNOWN(cuCtxGetCurrent, cuCtxGetCurrent, 4000),
		KNOWN(cuCtxPushCurrent, cuCtxPushCurrent_v2, 4000), KNOWN(cuCtxPopCurrent, cuCtxPopCurrent_v2, 4000),
		KNOWN(cuCtxGetDevice, cuCtxGetDevice, 2000), KNOWN(cuCtxSynchronize, cuCtxSynchronize, 2000),
		KNOWN(cuCtxGetStreamPriorityRange, cuCtxGetStreamPriorityRange, 5050),
		KNOWN(cuModuleLoadDataEx, cuModuleLoadDataEx, 2010), KNOWN(cuModuleLoadData, cuModuleLoadData, 2000),
		KNOWN(cuModuleUnload, cuModuleUnload, 2000), KNOWN(cuModuleGetFunction, cuModuleGetFunction, 2000),
		KNOWN(cuFuncSetAttribute, cuFuncSetAttribute, 9000), KNOWN(cuFuncGetAttribute, cuFuncGetAttribute, 2020),
		KNOWN(cuOccupancyMaxActiveBlocksPerMultiprocessor, cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050),
		KNOWN(cuMemGetInfo, cuMemGetInfo_v2, 3020), KNOWN(cuMemAlloc, cuMemAlloc_v2, 3020),
		KNOWN(cuMemFree, cuMemFree_v2, 3020), KNOWN(cuMemAllocHost, cuMemAllocHost_v2, 3020),
		KNOWN(cuMemHostAlloc, cuMemHostAlloc, 2020), KNOWN(cuMemFreeHost, cuMemFreeHost, 2000),
		KNOWN(cuMemcpyHtoD, cuMemcpyHtoD_v2, 3020), KNOWN(cuMemcpyDtoH, cuMemcpyDtoH_v2, 3020),
		KNOWN(cuMemcpyDtoD, cuMemcpyDtoD_v2, 3020), KNOWN(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, 3020),
		KNOWN(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, 3020), KNOWN(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, 3020),
		KNOWN(cuMemsetD8Async, cuMemsetD8Async, 3020), KNOWN(cuMemsetD32Async, cuMemsetD32Async, 3020),
		KNOWN(cuStreamCreate, cuStreamCreate, 2000),
		KNOWN(cuStreamCreateWithPriority, cuStreamCreateWithPriority, 5050),
		KNOWN(cuStreamDestroy, cuStreamDestroy_v2, 4000), KNOWN(cuStreamQuery, cuStreamQuery, 2000),
		KNOWN(cuStreamSynchronize, cuStreamSynchronize, 2000), KNOWN(cuStreamWaitEvent, cuStreamWaitEvent, 3020),
		KNOWN(cuEventCreate, cuEventCreate, 2000), KNOWN(cuEventDestroy, cuEventDestroy_v2, 4000),
		KNOWN(cuEventRecord, cuEventRecord, 2000), KNOWN(cuEventQuery, cuEventQuery, 2000),
		KNOWN(cuEventSynchronize, cuEventSynchronize, 2000), KNOWN(cuEventElapsedTime, cuEventElapsedTime_v2, 12080),
		KNOWN(cuEventElapsedTime, cuEventElapsedTime, 2000), KNOWN(cuLaunchKernel, cuLaunchKernel, 4000),
		KNOWN(cuLaunchKernelEx, cuLaunchKernelEx, 11060), KNOWN(cuTensorMapEncodeTiled, cuTensorMapEncodeTiled, 12000),
		KNOWN(cuGetErrorName, cuGetErrorName, 6000), KNOWN(cuGetErrorString, cuGetErrorString, 6000),
		KNOWN(cuGetProcAddress, cuGetProcAddress_v2, 12000)};
#undef KNOWN
	if (lacks("cuGetProcAddress_v2", 12000)) return NOT_SUPPORTED;
	return call("cuGetProcAddress_v2", Needs::NOTHING, [&](const Here &here) -> CUresult {
		if (!symbol || !function) return INVALID_VALUE;
		*function = nullptr;
		bool newer = false;
		for (const Known &known : ALL) {
			if (strcmp(known.name, symbol) != 0) continue;
			newer = true;
			if (known.since > version || known.since > here.all.version) continue;
			*function = known.function;
			break;
		}
		// Found, not found, or found only in a newer version than requested.
		if (status) *status = *function ? 0 : newer ? 2 : 1;
		return *function ? SUCCESS : NOT_FOUND;
	});
}
#endif
