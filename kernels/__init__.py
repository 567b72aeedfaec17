"""Number formats of language-model weights: layouts, encoders and decoders. Needs numpy alone to import.

    FORMATS["Q4_K"].bits_per_weight                # every layout, as data
    data = encode(rows, "Q4_K")                    # float32, float16 or bf16 rows -> packed rows
    data = encode(rows, "Q4_K", importance=vector) # the same, searched by what each column counts
    values = decode(data, "Q4_K")                  # packed rows -> float32 rows

Formats that are not GGML's blocks (INT8, FP8, NF4 and kin) are in `numbers`.

The bytes are GGML's: what `encode` gives equals what llama-quantize writes, without an importance matrix or with one,
and tests hold it to that. Backends differ in speed only: `reference` is the definition in plain numpy, `cpu` is
explicit SIMD through numba, `gpu` is Triton, asked for by name. The effort "best" is the exception: its bytes are not
GGML's, but have less error in the same format, block by block (see best/).

Numeric contract (all backends): IEEE float32 without fused multiply-add or fast-math, correctly rounded division,
sums inside a block left to right, halves to nearest even, first best wins strictly. Non-finite weights are refused,
and any split of the rows gives the same bytes. A scale that overflows f16 is stored as infinite, as GGML does;
`scales_are_finite` finds it.

To add a format:

1. formats.py: one row, e.g. `_format("Q9_X", 99, 32, "d:f16 qs:u8*36")`. Plans and sizes know it now.
2. reference/<family>.py: `encode_q9_x(x: [n, 32] float32) -> [n, block_bytes] uint8`, which fills
   `np.zeros(n, FORMATS["Q9_X"].dtype)` field by field, and `decode_q9_x` back.
3. The same file: both into ENCODERS and DECODERS. `encode(rows, "Q9_X")` works, backend "reference".
4. tests/kernels: the name into the lists of the oracle tests, and a golden hash.
5. When it should be fast: a lane kernel of the same name in cpu/<family>.py, and a row in cpu/__init__.py.
6. When importance matters to it: the same once more, `encode_q9_x_weighted` in WEIGHTED_ENCODERS and a lane kernel in
   WEIGHTED_KERNELS.
"""

from kernels import numbers
from kernels.codec import (
    EFFORTS,
    backends,
    decodable,
    decode,
    encodable,
    encode,
    is_prepared,
    prepare,
    scales_are_finite,
)
from kernels.cpu.aside import compiled_aside
from kernels.errors import NonFinite, UnsupportedBackend, UnsupportedFormat
from kernels.formats import FORMATS, BlockFormat, Field
from kernels.version import version

__all__ = [
    "EFFORTS",
    "FORMATS",
    "BlockFormat",
    "Field",
    "NonFinite",
    "UnsupportedBackend",
    "UnsupportedFormat",
    "backends",
    "compiled_aside",
    "decodable",
    "decode",
    "encodable",
    "encode",
    "is_prepared",
    "numbers",
    "prepare",
    "scales_are_finite",
    "version",
]
