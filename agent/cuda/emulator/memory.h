// A device's memory: host allocations, each between red zones.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace emulated {

class Memory {
	struct Allocation {
		uint64_t bytes;
		// The mapping, with an inaccessible page at each end.
		uint8_t *mapped;
		size_t mapped_bytes;
	};
	// By their first addresses.
	std::map<uintptr_t, Allocation> all;
	uint64_t seed;

public:
	explicit Memory(uint64_t seed = 1) : seed(seed) {}
	Memory(const Memory &) = delete;
	Memory &operator=(const Memory &) = delete;
	~Memory();

	// Allocates memory, filled with garbage. Returns null if the host has none left.
	void *allocate(uint64_t bytes);
	// Frees an allocation; false if none begins there.
	bool release(const void *at);
	// Returns whether all these bytes lie in one allocation.
	bool holds(const void *at, uint64_t bytes) const;
	// Returns the size of the allocation that begins there, or 0.
	uint64_t size_of(const void *at) const;
	// Describes a write between allocations; empty if there was none.
	std::string damage() const;

	// Returns the bytes of device memory that an allocation takes.
	static uint64_t taken(uint64_t bytes) { return (bytes + 511) / 512 * 512; }
};

// Fills with garbage.
void fill_with_garbage(void *at, size_t bytes, uint64_t seed);

} // namespace emulated
