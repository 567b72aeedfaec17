"""Kernels in Triton for GPUs: the reference's bytes. Importing this imports neither torch nor triton.

A kernel is `kernel(x_ptr, out_ptr, peak_ptr, count, N)`: it packs `count` blocks of the flat source x into the flat
bytes out, N blocks a program, and raises peak to the largest magnitude it met, as the bits of a float32, so that
finiteness costs no pass of its own. Fusion of multiplications and additions is off, divisions and roots are the
correctly rounded ones, and what is summed in an order is summed within one thread.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import NonFinite, UnsupportedBackend, UnsupportedFormat
from kernels.formats import FORMATS, BlockFormat

if TYPE_CHECKING:
    from torch import Tensor

# Format: module, function, blocks a program.
KERNELS: Mapping[str, tuple[str, str, int]] = {
    "F32": ("float", "f32", 1024),
    "F16": ("float", "f16", 1024),
    "BF16": ("float", "bf16", 1024),
    "Q4_0": ("legacy", "q4_0", 64),
    "Q4_1": ("legacy", "q4_1", 64),
    "Q5_0": ("legacy", "q5_0", 64),
    "Q5_1": ("legacy", "q5_1", 64),
    "Q8_0": ("legacy", "q8_0", 64),
    "Q2_K": ("k_quants", "q2_k", 8),
    "Q3_K": ("k_quants", "q3_k", 8),
    "Q4_K": ("k_quants", "q4_k", 16),
    "Q5_K": ("k_quants", "q5_k", 16),
    "Q6_K": ("k_quants", "q6_k", 8),
    "IQ4_NL": ("iq4", "iq4_nl", 128),
    "IQ4_XS": ("iq4", "iq4_xs", 16),
    "MXFP4": ("fp4", "mxfp4", 64),
    "NVFP4": ("fp4", "nvfp4", 32),
    "TQ1_0": ("ternary", "tq1_0", 16),
    "TQ2_0": ("ternary", "tq2_0", 16),
    "Q2_0": ("ternary", "q2_0", 64),
    "Q1_0": ("one_bit", "q1_0", 32),
}

OPTIONS: Mapping[str, Any] = {"num_warps": 4, "enable_fp_fusion": False}
_INFINITE_BITS = 0x7F800000
_SLAB = 1 << 26  # weights on the GPU at a time when they come from main memory
_TORCH_DTYPES = {"float32": "float32", "float16": "float16", "uint16": "bfloat16"}


@cache
def available() -> bool:
    """Whether torch, triton and a GPU that both can use are there. Never raises; imports torch only beside triton."""
    try:
        if importlib.util.find_spec("triton") is None:
            return False
        import torch

        importlib.import_module("triton")
        return bool(torch.cuda.is_available())
    except Exception:  # a broken installation or driver can raise anything, and means the same
        return False


def encode(tensor: "Tensor", format: str, *, out: "Tensor | None" = None, blocks: int | None = None) -> "Tensor":
    """Packed rows on the device of `tensor`: [rows, columns] -> uint8 [rows, row_bytes], the reference's bytes.

    `tensor` is contiguous float32, float16 or bfloat16 on a GPU. `out` takes the result if given. `blocks` a program, a
    power of two, changes the speed alone. Raises NonFinite, UnsupportedFormat, UnsupportedBackend, or ValueError for a
    wrong shape or dtype.
    """
    import torch

    layout = _layout(format)
    _check(tensor)
    shape = (tensor.shape[0], layout.row_bytes(tensor.shape[1]))
    packed = torch.empty(shape, dtype=torch.uint8, device=tensor.device) if out is None else _checked(out, shape)
    peak = torch.zeros(1, dtype=torch.int32, device=tensor.device)
    launch(tensor, packed, peak, format, blocks=blocks)
    if int(peak.item()) >= _INFINITE_BITS:
        raise _first_non_finite(tensor)
    return packed


def launch(tensor: "Tensor", packed: "Tensor", peak: "Tensor", format: str, *, blocks: int | None = None) -> None:
    """Starts the kernel of a format on checked tensors and returns at once; `peak` is one int32 of the device."""
    import torch

    module, name, usual = KERNELS[format]
    per_program = usual if blocks is None else blocks
    count = tensor.numel() // FORMATS[format].block_size
    if count == 0:
        return
    kernel = _kernel(module, name)
    with torch.cuda.device(tensor.get_device()):  # -1 and without effect in main memory
        kernel[(-(-count // per_program),)](tensor, packed, peak, count, N=per_program, **OPTIONS)


def encode_rows(
    rows: NDArray[np.generic], packed: NDArray[np.uint8], layout: BlockFormat, *, device: str = "cuda"
) -> bool:
    """Packs rows of main memory by way of the device, a slab at a time; False if a weight is not finite."""
    import torch

    sources, targets = rows.reshape(-1, layout.block_size), packed.reshape(-1, layout.block_bytes)
    step = _SLAB // layout.block_size
    # Page-locked memory is copied at the full speed of the bus, and takes read-only rows as well.
    size = min(step, len(sources)) * layout.block_size * rows.itemsize
    staging = torch.empty(size, dtype=torch.uint8, pin_memory=device == "cuda")
    dtype = getattr(torch, _TORCH_DTYPES[rows.dtype.name])
    for start in range(0, len(sources), step):
        part = sources[start : start + step]
        staging.numpy()[: part.nbytes] = part.reshape(-1).view(np.uint8)
        slab = staging[: part.nbytes].view(dtype).view(part.shape).to(device)
        try:
            encoded = encode(slab, layout.name)
        except NonFinite:
            return False
        targets[start : start + step] = encoded.cpu().numpy()
    return True


@cache
def _kernel(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"kernels.gpu.{module}"), name)


def _layout(format: str) -> BlockFormat:
    if format not in FORMATS:
        raise UnsupportedFormat(f"unknown format {format!r}")
    if format not in KERNELS:
        raise UnsupportedBackend(f"the gpu does not encode {format}")
    return FORMATS[format]


def _check(tensor: "Tensor") -> None:
    import torch

    if not tensor.is_cuda and not _interpreted():
        raise UnsupportedBackend(f"the tensor must be on a GPU, not on {tensor.device}")
    if tensor.ndim != 2 or not tensor.is_contiguous():
        raise ValueError(f"rows must be a contiguous matrix, not {tensor.ndim}-dimensional or strided")
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"rows must be float32, float16 or bfloat16, not {tensor.dtype}")


def _interpreted() -> bool:
    """Whether Triton runs kernels in Python, on tensors of main memory (TRITON_INTERPRET=1)."""
    try:
        triton: Any = importlib.import_module("triton")
    except ImportError:
        return False
    return bool(triton.knobs.runtime.interpret)


def _checked(out: "Tensor", shape: tuple[int, int]) -> "Tensor":
    if tuple(out.shape) != shape or str(out.dtype) != "torch.uint8" or not out.is_contiguous():
        raise ValueError(f"out must be contiguous uint8 of shape {shape}, not {out.dtype} of shape {tuple(out.shape)}")
    return out


def _first_non_finite(tensor: "Tensor") -> NonFinite:
    row, column = (~tensor.isfinite()).nonzero()[0].tolist()
    return NonFinite(int(row), int(column))
