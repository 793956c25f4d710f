#include "kernels.h"
#include "../hardware.h"
#include <cstdio>

// Each source in its own namespace: kernels for different GPUs have the same names.
namespace {
#include "../hash.h"
namespace base {
#include "../base.cu"
}
namespace turing {
#define KAISAR_ARCH 750
#include "../product.cu"
#undef KAISAR_ARCH
#undef PRODUCT
} // namespace turing
namespace ampere {
#define KAISAR_ARCH 800
#include "../product.cu"
#undef KAISAR_ARCH
#undef PRODUCT
} // namespace ampere
namespace hopper {
#include "../hopper.cu"
}

using emulated::Kernel;
using emulated::kernel;
using emulated::Written;

// Returns a kernel's structure of parameters, which is its last argument.
template <class Parameters> Parameters last(void *const *arguments, size_t number) {
	return emulated::argument<Parameters>(arguments[number]);
}

Written of_fill(void *const *arguments) {
	const auto p = last<Fill>(arguments, 0);
	return {(uint8_t *)p.rows, (uint64_t)p.n * p.n};
}
Written of_tree(void *const *arguments) {
	const auto p = last<Tree>(arguments, 0);
	return {(uint8_t *)(p.roots + 2 * (uint64_t)p.root), sizeof(Words)};
}
Written of_walk(void *const *arguments) {
	const auto p = last<Walk>(arguments, 0);
	// At least one line: only the launch has the number of lanes.
	return {(uint8_t *)p.z, LINE};
}
Written of_gather(void *const *arguments) {
	const auto p = last<Gather>(arguments, 0);
	return {(uint8_t *)p.out, LINE + 32 * (uint64_t)p.levels};
}
Written of_copy(void *const *arguments) {
	const auto p = last<Copy>(arguments, 0);
	return {(uint8_t *)p.to, 16 * p.count};
}
template <int PLACE> Written of_product(void *const *arguments) {
	const auto p = last<Product>(arguments, PLACE);
	return {p.y, (uint64_t)p.n * p.n};
}

std::vector<Kernel> all_kernels() {
	std::vector<Kernel> all;
	// In the order of their sources, like their bounds.
	auto add = [&](Kernel one, uint32_t from, uint32_t below, Written (*written)(void *const *)) {
		if (all.size() >= Bound::all().size()) {
			fprintf(stderr, "emulator: kernels.cpp names more kernels than there are\n");
			abort();
		}
		one.most_threads = Bound::all()[all.size()].most_threads;
		one.registers = Bound::all()[all.size()].registers;
		one.from = from;
		one.below = below;
		one.written = written;
		all.push_back(one);
	};
	add(kernel<base::fill>("fill", 0), 750, ~0u, of_fill);
	add(kernel<base::tree>("tree", 0), 750, ~0u, of_tree);
	add(kernel<base::walk>("walk", 0), 750, ~0u, of_walk);
	add(kernel<base::gather>("gather", 0), 750, ~0u, of_gather);
	add(kernel<base::reads>("reads", 0), 750, ~0u, of_walk);
	add(kernel<base::copy>("copy", 0), 750, ~0u, of_copy);
	add(kernel<turing::product_128x256>("product_128x256", 0), 750, 800, of_product<0>);
	add(kernel<turing::product_256x128>("product_256x128", 0), 750, 800, of_product<0>);
	add(kernel<ampere::product_128x256>("product_128x256", 0), 800, ~0u, of_product<0>);
	add(kernel<ampere::product_128x128>("product_128x128", 0), 800, ~0u, of_product<0>);
	add(kernel<ampere::product_256x128>("product_256x128", 0), 800, ~0u, of_product<0>);
	for (Kernel pairs : {kernel<hopper::product_hopper>("product_hopper", 0),
			 kernel<hopper::product_hopper_apart>("product_hopper_apart", 0)}) {
		pairs.cluster = hopper::CLUSTER;
		add(pairs, 900, 910, of_product<2>);
	}
	if (all.size() != Bound::all().size()) {
		fprintf(stderr, "emulator: kernels.cpp names %zu kernels of %zu\n", all.size(), Bound::all().size());
		abort();
	}
	return all;
}

} // namespace

namespace emulated {

const Kernel *kernel_of(const char *name, uint32_t target) {
	static const std::vector<Kernel> &all = *new std::vector<Kernel>(all_kernels());
	for (const Kernel &one : all)
		if (strcmp(one.name, name) == 0 && one.from <= target && target < one.below) return &one;
	return nullptr;
}

} // namespace emulated
