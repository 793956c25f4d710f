// The kernels of ../ as the emulator runs them.
#pragma once
#include "machine.h"

namespace emulated {

// A kernel by its name in code for a target, times ten; nothing if it has none.
const Kernel *kernel_of(const char *name, uint32_t target);

} // namespace emulated
