#include "memory.h"
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace emulated {
namespace {

// Alignment of allocations; on purpose, rarely more.
constexpr uint64_t ALIGNED = 256;
constexpr uint8_t UNTOUCHED = 0xC5;
// Larger allocations hold garbage only at their ends, so that the rest takes no memory.
constexpr uint64_t MOST_GARBAGE = 64 << 20;

uint64_t up_to(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

} // namespace

void fill_with_garbage(void *at, size_t bytes, uint64_t seed) {
	// A repeated pattern, since nothing depends on its randomness. On the heap, as in instructions.cpp.
	static thread_local std::vector<uint64_t> pattern(1024);
	for (uint64_t &word : pattern) {
		seed = seed * 0x5851F42D4C957F2Dull + 0x14057B7EF767814Full;
		word = seed ^ seed >> 29;
	}
	const size_t each = pattern.size() * sizeof pattern[0];
	for (size_t done = 0; done < bytes; done += each)
		memcpy((uint8_t *)at + done, pattern.data(), bytes - done < each ? bytes - done : each);
}

Memory::~Memory() {
	for (auto &[at, one] : all) munmap(one.mapped, one.mapped_bytes);
}

void *Memory::allocate(uint64_t bytes) {
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), rounded = up_to(bytes, ALIGNED);
	// Before it a zone of at least 256 bytes; after it padding to a multiple of 256, then a page.
	const uint64_t inner = up_to(rounded + ALIGNED, page), whole = inner + 2 * page;
	void *mapped = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mapped == MAP_FAILED) return nullptr;
	uint8_t *first = (uint8_t *)mapped + page, *at = first + inner - rounded;
	if (mprotect(first, inner, PROT_READ | PROT_WRITE) != 0) {
		munmap(mapped, whole);
		return nullptr;
	}
	memset(first, UNTOUCHED, (size_t)(at - first));
	memset(at + bytes, UNTOUCHED, rounded - bytes);
	const uint64_t each = bytes < MOST_GARBAGE ? bytes : MOST_GARBAGE / 2;
	fill_with_garbage(at, each, ++seed);
	fill_with_garbage(at + bytes - each, each, ++seed);
	all[(uintptr_t)at] = {bytes, (uint8_t *)mapped, whole};
	return at;
}

bool Memory::release(const void *at) {
	auto found = all.find((uintptr_t)at);
	if (found == all.end()) return false;
	munmap(found->second.mapped, found->second.mapped_bytes);
	all.erase(found);
	return true;
}

bool Memory::holds(const void *at, uint64_t bytes) const {
	const uintptr_t start = (uintptr_t)at;
	auto after = all.upper_bound(start);
	if (after == all.begin()) return false;
	auto [first, one] = *--after;
	return start - first <= one.bytes && bytes <= one.bytes - (start - first);
}

uint64_t Memory::size_of(const void *at) const {
	auto found = all.find((uintptr_t)at);
	return found == all.end() ? 0 : found->second.bytes;
}

std::string Memory::damage() const {
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	for (auto &[at, one] : all) {
		const uint8_t *start = (const uint8_t *)at, *first = one.mapped + page;
		const uint8_t *end = one.mapped + one.mapped_bytes - page;
		for (const uint8_t *byte = first; byte < end; byte++) {
			if (byte == start) byte += one.bytes;
			if (byte < end && *byte != UNTOUCHED) {
				char text[160];
				snprintf(text, sizeof text, "byte %td of an allocation of %llu bytes was written to", byte - start,
					(unsigned long long)one.bytes);
				return text;
			}
		}
	}
	return {};
}

} // namespace emulated
