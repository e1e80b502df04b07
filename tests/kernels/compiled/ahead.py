"""Compile each kernel of an operation for GPUs that need not be there: `python ahead.py OPERATION ARCH`.

`OPERATION.py` beside this file has `calls()`: functions that run the operation on meta tensors, by name. One line of
JSON is printed for each kernel: what it is and what it needs.
"""

import json
import re
import sys
import tempfile
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

POINTERS = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.bool: "*i1",
    torch.uint8: "*u8",
}
MATRIX = r"\b(?:mma\.sync|wgmma\.mma_async|tcgen05\.mma)\b"
"""Matrix instructions, by generation."""


def recorded(operation):
    """Return what each call starts: [(call, kernel, arguments, constants)]."""
    module = import_module(f"foveal.kernels.{operation}.triton")
    found = []

    def record(name):
        return lambda kernel, grid, *arguments, **constants: found.append((name, kernel, arguments, constants))

    for name, call in import_module(operation).calls().items():
        module.launch = record(name)
        call()
    return found


def compiled(kernel, arguments, constants, arch):
    """Return a kernel compiled for a GPU, as the launcher would do it for these arguments."""
    options = {name: constants.pop(name) for name in ("num_warps", "num_stages")}
    names = [name for name in kernel.arg_names if name not in constants]
    signature, attributes, fixed = {}, {}, dict(constants)
    for name, value in zip(names, arguments, strict=True):
        if isinstance(value, torch.Tensor):
            signature[name] = POINTERS[value.dtype]
            attributes[(kernel.arg_names.index(name),)] = [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[name] = "fp32"
        elif value is None or value == 1:
            signature[name], fixed[name] = "constexpr", value
        else:
            signature[name] = "i32"
            if value % 16 == 0:
                attributes[(kernel.arg_names.index(name),)] = [["tt.divisibility", 16]]
    signature = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def report(made, told):
    """Return what a compiled kernel needs: shared memory, registers, spilled bytes, matrix instructions.

    "products" tells whether it has products of blocks that matrix units do, unlike exact ones of float32.
    """
    dots = [line for line in made.asm["ttir"].splitlines() if "tt.dot" in line]
    stores, loads = (int(re.search(rf"(\d+) bytes spill {what}", told)[1]) for what in ("stores", "loads"))
    return {
        "shared": made.metadata.shared,
        "registers": int(re.search(r"Used (\d+) registers", told)[1]),
        "spilled": stores + loads,
        "products": any("f16>" in line or "tf32" in line for line in dots),
        "matrix": len(re.findall(MATRIX, made.asm["ptx"])),
    }


def main(operation, arch):
    """Print the reports."""
    knobs.nvidia.dump_ptxas_log, logs = True, {}
    with tempfile.TemporaryDirectory() as knobs.cache.dir:
        for name, kernel, arguments, constants in recorded(operation):
            with redirect_stdout(StringIO()) as told:
                made = compiled(kernel, arguments, dict(constants), int(arch))
            log = logs.setdefault(made.hash, told.getvalue())  # the cache, which is empty at first, gives none
            print(json.dumps({"call": name, "kernel": kernel.__name__, **report(made, log)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
