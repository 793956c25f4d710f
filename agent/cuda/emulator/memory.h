// A device's memory: allocations of this machine's, each between red zones.
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
	// By their beginnings.
	std::map<uintptr_t, Allocation> all;
	uint64_t seed;

public:
	explicit Memory(uint64_t seed = 1) : seed(seed) {}
	Memory(const Memory &) = delete;
	Memory &operator=(const Memory &) = delete;
	~Memory();

	// Takes memory, which holds garbage. Returns nothing if this machine has none left.
	void *allocate(uint64_t bytes);
	// Gives it back; false if there is none that begins there.
	bool release(const void *at);
	// Whether all these bytes lie in one allocation.
	bool holds(const void *at, uint64_t bytes) const;
	// Whether one begins there, and its size.
	uint64_t size_of(const void *at) const;
	// Describes a write between allocations; empty if there was none.
	std::string damage() const;

	// Bytes of a device's memory that an allocation takes.
	static uint64_t taken(uint64_t bytes) { return (bytes + 511) / 512 * 512; }
};

// Fills with garbage.
void fill_with_garbage(void *at, size_t bytes, uint64_t seed);

} // namespace emulated
