"""encode and decode: checks, blocks, backend and bytes, written once for all formats."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernels import cpu, reference
from kernels.errors import NonFinite, UnsupportedBackend, UnsupportedFormat
from kernels.formats import FORMATS, BlockFormat
from kernels.reference.float import bf16_values

_SOURCE_DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.uint16))
_NOT_A_NUMBER = {"MXFP4": ("e", 0xFF), "NVFP4": ("d", 0x7F)}  # an 8-bit scale with all these bits set is none
_REFERENCE_CHUNK = 1 << 17  # weights at a time: keeps the reference's temporaries small


def encode(
    rows: NDArray[np.generic],
    format: str,
    *,
    importance: None = None,
    backend: str = "auto",
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Packed rows: [rows, columns] -> uint8 [rows, row_bytes], the bytes of ggml_quantize_chunk.

    `rows` is C-contiguous float32, float16, or uint16 holding bf16 bit patterns. `backend` is "auto" (cpu, else
    reference), "cpu" or "reference". `out` takes the result if given. Importance matrices are not supported yet.
    Raises NonFinite, UnsupportedFormat, UnsupportedBackend, or ValueError for a wrong shape or dtype. Safe in
    threads; the cpu backend releases the GIL.
    """
    if importance is not None:
        raise NotImplementedError("encoding with an importance matrix is not supported yet")
    layout = _layout(format)
    chosen = _choose(format, backend)
    _check_rows(rows)
    shape = (rows.shape[0], layout.row_bytes(rows.shape[1]))
    packed = np.empty(shape, np.uint8) if out is None else _checked_out(out, shape)
    if rows.size == 0:
        return packed
    if chosen == "cpu":
        if not cpu.encode(rows, packed, layout):
            raise _first_non_finite(rows)
        return packed
    _encode_by_reference(rows, packed, layout)
    return packed


def decode(data: NDArray[np.uint8], format: str, *, backend: str = "auto") -> NDArray[np.float32]:
    """The values of packed rows: uint8 [rows, row_bytes] -> float32 [rows, columns], those of GGML's dequantize_row_*.

    Only the reference decodes so far. Raises UnsupportedFormat, UnsupportedBackend, or ValueError for a wrong shape.
    """
    layout = _layout(format)
    if not decodable(format):
        raise UnsupportedFormat(f"{format} cannot be decoded yet")
    if backend not in ("auto", "reference"):
        raise UnsupportedBackend(f"no backend {backend!r} decodes {format}; available: reference")
    _check_packed(data, layout)
    blocks = np.ascontiguousarray(data).reshape(-1, layout.block_bytes)
    values = np.empty((len(blocks), layout.block_size), np.float32)
    decode_blocks = reference.DECODERS[format]
    with np.errstate(all="ignore"):
        for part in _chunks(len(blocks), layout):
            values[part] = decode_blocks(blocks[part])
    columns = data.shape[1] // layout.block_bytes * layout.block_size
    return values.reshape(data.shape[0], columns)


def scales_are_finite(data: NDArray[np.uint8], format: str) -> bool:
    """Whether every floating-point field (d, dmin, m; the value itself in F16 and kin) of packed rows is finite.

    The 8-bit scales of MXFP4 and NVFP4 know no infinity, but one byte that is not a number. GGML's CPU code reads it as
    2**128 and as 0, others need not; its encoder writes the former for blocks whose largest weight is just above
    2**-126. IQ1_M spreads its f16 scale over integer fields: that is not looked at.
    """
    layout = _layout(format)
    _check_packed(data, layout)
    records = np.ascontiguousarray(data).reshape(-1, layout.block_bytes).view(layout.dtype)
    if format in _NOT_A_NUMBER:
        name, pattern = _NOT_A_NUMBER[format]
        return not ((records[name] & pattern) == pattern).any()
    for field in layout.fields:
        if field.dtype == "bf16":
            values = bf16_values(np.ascontiguousarray(records[field.name]))
        elif field.dtype in ("f16", "f32"):
            values = records[field.name]
        else:
            continue
        if not np.isfinite(values).all():
            return False
    return True


def encodable(format: str) -> bool:
    """Whether some backend encodes the format."""
    return format in reference.ENCODERS


def decodable(format: str) -> bool:
    """Whether some backend decodes the format."""
    return format in reference.DECODERS


def backends(format: str) -> tuple[str, ...]:
    """The backends that encode the format, fastest first."""
    tables = (("cpu", cpu.KERNELS), ("reference", reference.ENCODERS))
    return tuple(name for name, table in tables if format in table)


def prepare(formats: Iterable[str], dtype: DTypeLike) -> None:
    """Loads the cpu kernels for rows of `dtype`, compiling what this machine has not compiled yet (seconds, once)."""
    for name in formats:
        if name in cpu.KERNELS:
            cpu.prepare(FORMATS[name], np.dtype(dtype))


def is_prepared(formats: Iterable[str], dtype: DTypeLike) -> bool:
    """Whether `prepare` would find everything compiled already. Cheap: looks at files, loads nothing."""
    return all(cpu.is_prepared(name, np.dtype(dtype)) for name in formats if name in cpu.KERNELS)


def _layout(format: str) -> BlockFormat:
    if format not in FORMATS:
        raise UnsupportedFormat(f"unknown format {format!r}")
    return FORMATS[format]


def _choose(format: str, backend: str) -> str:
    available = backends(format)
    if not available:
        raise UnsupportedFormat(f"{format} cannot be encoded yet")
    if backend == "auto":
        return available[0]
    if backend not in available:
        raise UnsupportedBackend(f"no backend {backend!r} encodes {format}; available: {', '.join(available)}")
    return backend


def _check_rows(rows: NDArray[np.generic]) -> None:
    if rows.ndim != 2 or not rows.flags.c_contiguous:
        raise ValueError(f"rows must be a C-contiguous matrix, not {rows.ndim}-dimensional or strided")
    if rows.dtype not in _SOURCE_DTYPES:
        raise ValueError(f"rows must be float32, float16 or uint16 (bf16 bits), not {rows.dtype}")


def _checked_out(out: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"out must be C-contiguous uint8 of shape {shape}, not {out.dtype} of shape {out.shape}")
    return out


def _check_packed(data: NDArray[np.uint8], layout: BlockFormat) -> None:
    if data.ndim != 2 or data.dtype != np.uint8:
        raise ValueError(f"packed rows must be a uint8 matrix, not {data.dtype} with {data.ndim} dimensions")
    if data.shape[1] % layout.block_bytes:
        raise ValueError(
            f"{layout.name} has blocks of {layout.block_bytes} bytes, which do not divide rows of {data.shape[1]}"
        )


def _chunks(blocks: int, layout: BlockFormat) -> Iterator[slice]:
    step = _REFERENCE_CHUNK // layout.block_size
    return (slice(start, start + step) for start in range(0, blocks, step))


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    return bf16_values(values) if values.dtype == np.uint16 else values.astype(np.float32, copy=False)


def _encode_by_reference(rows: NDArray[np.generic], packed: NDArray[np.uint8], layout: BlockFormat) -> None:
    blocks = rows.reshape(-1, layout.block_size)
    target = packed.reshape(-1, layout.block_bytes)
    encode_blocks = reference.ENCODERS[layout.name]
    with np.errstate(all="ignore"):
        for part in _chunks(len(blocks), layout):
            values = _float32(blocks[part])
            if not np.isfinite(values).all():
                raise _first_non_finite(rows)
            target[part] = encode_blocks(values)


def _first_non_finite(rows: NDArray[np.generic]) -> NonFinite:
    for row, values in enumerate(rows):
        bad = np.flatnonzero(~np.isfinite(_float32(values)))
        if bad.size:
            return NonFinite(row, int(bad[0]))
    raise AssertionError("a kernel reported a non-finite weight where there is none")
