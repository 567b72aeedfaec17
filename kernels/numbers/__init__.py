"""Plain number formats, for files other than GGUF: INT8, FP8, FP4 and NF4, and ternary weights.

    q = symmetric_int8(x, CHANNEL)            # x: [rows, columns] float32, float16, or uint16 holding bf16 bits
    q.codes, q.scale                          # int8 like x, float32 a tile
    values = dequantize_int8(q)

A tile says which weights share a scale: TENSOR, CHANNEL (a row), group(n) (n columns of a row) or BLOCK_128. Every
function is defined in plain numpy, backend "reference"; "cpu", which "auto" takes, gives the same bytes faster.
Non-finite weights are refused with NonFinite, and a wrong shape or dtype with ValueError.
"""

from kernels.numbers.fp4 import FP4, NF4, CodeBook, FourBit, Nested, dequantize_4bit, nest, quantize_4bit, unnest
from kernels.numbers.fp8 import E4M3, E5M2, Fp8, ScaledFp8, decode_fp8, dequantize_fp8, encode_fp8, quantize_fp8
from kernels.numbers.int8 import (
    Int8,
    LeastError,
    Percentile,
    asymmetric_int8,
    dequantize_int8,
    dequantize_llm_int8,
    llm_int8,
    symmetric_int8,
)
from kernels.numbers.preparing import KERNELS, is_prepared, prepare
from kernels.numbers.ternary import Ternary, dequantize_ternary, pack_ternary, quantize_ternary, unpack_ternary
from kernels.numbers.tiles import BLOCK_128, CHANNEL, TENSOR, Tile, group

__all__ = [
    "BLOCK_128",
    "CHANNEL",
    "E4M3",
    "E5M2",
    "FP4",
    "KERNELS",
    "NF4",
    "TENSOR",
    "CodeBook",
    "FourBit",
    "Fp8",
    "Int8",
    "LeastError",
    "Nested",
    "Percentile",
    "ScaledFp8",
    "Ternary",
    "Tile",
    "asymmetric_int8",
    "decode_fp8",
    "dequantize_4bit",
    "dequantize_fp8",
    "dequantize_int8",
    "dequantize_llm_int8",
    "dequantize_ternary",
    "encode_fp8",
    "group",
    "is_prepared",
    "llm_int8",
    "nest",
    "pack_ternary",
    "prepare",
    "quantize_4bit",
    "quantize_fp8",
    "quantize_ternary",
    "symmetric_int8",
    "unnest",
    "unpack_ternary",
]
