"""Attack: a processor instead of a GPU. Products of 4,096 × 4,096 bytes into 32-bit sums by the installed libraries:
PyTorch (oneDNN, with AMX or VNNI if the processor has them) and ONNX Runtime (one factor unsigned, as in VNNI)."""

import json
import os
import sys
import time

try:
    import numpy
except ImportError:
    sys.exit("NumPy is not installed, so the processor's products cannot be measured: pip install numpy")

N = 4096
OPERATIONS = 2 * N**3


def fastest(multiply):
    multiply()
    best, begun = float("inf"), time.monotonic()
    while time.monotonic() - begun < 4:
        start = time.monotonic()
        multiply()
        best = min(best, time.monotonic() - start)
    return best


def measure(name, multiply):
    try:
        took = fastest(multiply)
    except RuntimeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return
    of = f"processor, {os.cpu_count()} cores: "
    figures = {
        f"{of}product, {name}": (OPERATIONS / took / 1e12, "Top/s"),
        f"{of}8 products of a turn, {name}": (8 * took * 1e3, "ms"),
    }
    for figure, (value, unit) in figures.items():
        line = {"figure": figure, "value": float(f"{value:.6g}"), "unit": unit}
        print(json.dumps(line, separators=(",", ":")), flush=True)


def flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            line = next(line for line in info if line.startswith("flags"))
    except (OSError, StopIteration):
        return []
    return [flag for flag in line.split() if flag.startswith("amx") or "vnni" in flag]


def by_torch(a, x):
    import torch

    a, x = torch.from_numpy(a), torch.from_numpy(x)
    for kind in (torch.bfloat16, torch.float32):
        left, right = a.to(kind), x.to(kind)
        measure(f"PyTorch, {str(kind).removeprefix('torch.')}", lambda: left @ right.t())
    # Last, since it is slow if oneDNN lacks it.
    measure("PyTorch, int8", lambda: torch._int_mm(a, x.t()))


def by_onnx(a, x):
    import onnx
    import onnxruntime

    of = onnx.helper
    inputs = [of.make_tensor_value_info("a", onnx.TensorProto.UINT8, [N, N])]
    outputs = [of.make_tensor_value_info("y", onnx.TensorProto.INT32, [N, N])]
    fixed = [onnx.numpy_helper.from_array(x, "x")]
    graph = of.make_graph([of.make_node("MatMulInteger", ["a", "x"], ["y"])], "product", inputs, outputs, fixed)
    model = of.make_model(graph, opset_imports=[of.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    a = a.view(numpy.uint8)
    measure("ONNX Runtime, uint8 by int8", lambda: session.run(None, {"a": a}))


def main():
    print("processor: " + (" ".join(flags()) or "neither AMX nor VNNI"), file=sys.stderr)
    random = numpy.random.default_rng(0)
    a, x = (random.integers(-128, 128, (N, N), dtype=numpy.int8) for _ in range(2))
    missing = 0
    for way in (by_onnx, by_torch):
        try:
            way(a, x)
        except ImportError as error:
            missing += 1
            print(f"not measured: {error}", file=sys.stderr)
    if missing == 2:
        sys.exit("neither PyTorch nor ONNX Runtime is installed: pip install torch or onnxruntime")


main()
