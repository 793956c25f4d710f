// The kernels of ../ for the emulator.
#pragma once
#include "machine.h"

namespace emulated {

// Returns a kernel by its name in code for a target, times ten; null if there is none.
const Kernel *kernel_of(const char *name, uint32_t target);

} // namespace emulated
