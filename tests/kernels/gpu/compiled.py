"""Compiles kernels for GPUs that need not be there: `python -m tests.kernels.gpu.compiled Q4_K:sm_90 ...` prints JSON.

For each: what in the low-level text would change the bytes, the size of the binary, and the seconds it took. It needs a
process of its own, as a process that interprets kernels cannot compile them.
"""

import json
import re
import sys
import time

from kernels import gpu

TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
SIGNATURE = {"x_ptr": "*bf16", "out_ptr": "*u8", "peak_ptr": "*i32", "count": "i32", "N": "constexpr"}
ALIGNED = {(i,): [["tt.divisibility", 16]] for i in range(3)}

# Fused, approximate or flushing arithmetic.
_IN_PTX = r"fma\.rn\S*|div\.full\S*|\w+\.approx\S*|\w+\.ftz\S*"
_IN_LLVM = r"\bf(?:add|sub|mul|div)(?: \w+)*? (?:fast|contract|reassoc|arcp|afn)\b|llvm\.fm(?:a|uladd)\b|!fpmath"


def spoiling(*, llvm: str, ptx: str = "", amdgcn: str = "") -> list[str]:
    """The operations that would change the bytes."""
    found = {*re.findall(_IN_LLVM, llvm), *re.findall(_IN_PTX, ptx)}
    # A correctly rounded division of AMD's is five fused operations around a v_div_fixup, a square root two.
    fused, divisions, roots = (
        len(re.findall(p, amdgcn)) for p in (r"v_(?:pk_|dual_)?fmac?_f32", "v_div_fixup_f32", "v_sqrt_f32")
    )
    if fused != 5 * divisions + 2 * roots:
        found.add(f"{fused} fused operations with {divisions} divisions and {roots} roots")
    return sorted(found)


def compile_for(name: str, target: str) -> dict:
    """What compiling the kernel of a format for a target gives."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, function, blocks = gpu.KERNELS[name]
    source = ASTSource(fn=gpu._kernel(module, function), signature=SIGNATURE, constexprs={"N": blocks}, attrs=ALIGNED)
    start = time.perf_counter()
    asm = triton.compile(source, target=GPUTarget(*TARGETS[target]), options=gpu.OPTIONS).asm
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "spoiling": spoiling(llvm=asm["llir"], ptx=asm.get("ptx", ""), amdgcn=asm.get("amdgcn", "")),
        "bytes": len(asm.get("cubin") or asm["hsaco"]),
    }


if __name__ == "__main__":
    print(json.dumps({pair: compile_for(*pair.split(":")) for pair in sys.argv[1:]}))
