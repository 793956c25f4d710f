"""Attack: a processor as a GPU. Products of 4,096 × 4,096 signed bytes into sums of 32 bits, by PyTorch's library
(oneDNN, with AMX or VNNI where the processor has them), and in 16-bit floats for comparison."""

import json
import os
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("PyTorch is not installed: int8 products of the processor are not measured")

N = 4096
OPERATIONS = 2 * N**3


def figure(name, value, unit):
    print(json.dumps({"figure": name, "value": round(value, 6), "unit": unit}, ensure_ascii=False), flush=True)


def fastest(multiply):
    multiply()
    best, begun = float("inf"), time.monotonic()
    while time.monotonic() - begun < 4:
        start = time.monotonic()
        multiply()
        best = min(best, time.monotonic() - start)
    return best


def flags():
    try:
        with open("/proc/cpuinfo") as info:
            line = next(line for line in info if line.startswith("flags"))
    except (OSError, StopIteration):
        return []
    return [flag for flag in line.split() if flag.startswith("amx") or "vnni" in flag]


torch.manual_seed(0)
cores = torch.get_num_threads()
print("processor: " + (" ".join(flags()) or "neither AMX nor VNNI"), file=sys.stderr)
a = torch.randint(-128, 128, (N, N), dtype=torch.int8)
x = torch.randint(-128, 128, (N, N), dtype=torch.int8)
ways = {
    "int8, _int_mm": lambda: torch._int_mm(a, x.t()),
    "bfloat16": lambda f=(a.bfloat16(), x.bfloat16()): f[0] @ f[1].t(),
    "float32": lambda f=(a.float(), x.float()): f[0] @ f[1].t(),
}
for name, multiply in ways.items():
    try:
        took = fastest(multiply)
    except RuntimeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        continue
    figure(f"processor, {cores} of {os.cpu_count()} cores: product, {name}", OPERATIONS / took / 1e12, "Top/s")
    figure(f"processor, {cores} of {os.cpu_count()} cores: 8 products of a turn, {name}", 8 * took * 1e3, "ms")
