"""encode and decode: checks, blocks, backend and bytes, written once for all formats."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernels import best, cpu, gpu, numbers, reference
from kernels.errors import NonFinite, UnsupportedBackend, UnsupportedFormat
from kernels.formats import FORMATS, BlockFormat
from kernels.reference.float import bf16_values

if TYPE_CHECKING:
    from torch import Tensor

_EncodePart = Callable[[NDArray[np.float32], slice], NDArray[np.uint8]]  # blocks, and which of all they are

_SOURCE_DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.uint16))
_NOT_A_NUMBER = {"MXFP4": ("e", 0xFF), "NVFP4": ("d", 0x7F)}  # an 8-bit scale with all these bits set is none
_REFERENCE_CHUNK = 1 << 17  # weights at a time: keeps the reference's temporaries small


EFFORTS = ("exact", "best")


def encode(
    rows: "NDArray[np.generic] | Tensor",
    format: str,
    *,
    importance: NDArray[np.float32] | None = None,
    backend: str = "auto",
    effort: str = "exact",
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Packed rows: [rows, columns] -> uint8 [rows, row_bytes], the bytes of ggml_quantize_chunk.

    `rows` is C-contiguous float32, float16, or uint16 holding bf16 bit patterns; or such a torch tensor, in bfloat16.
    `importance` is one float32 a column, finite and not negative, which all rows share; formats without a weighted
    search ignore it. `backend` is "auto" (gpu if a tensor is there, else cpu, else reference), "cpu", "reference", or
    "gpu" where there is one, to which the rows are copied. `out` takes the result if given. Raises NonFinite,
    UnsupportedFormat, UnsupportedBackend, or ValueError for a wrong shape, dtype or importance. Safe in threads; the
    cpu backend releases the GIL.

    With the effort "best" the bytes are not GGML's: blocks for which a wider search finds less error get its codes.
    """
    if effort not in EFFORTS:
        raise ValueError(f"no effort {effort!r}; there are {' and '.join(EFFORTS)}")
    if not isinstance(rows, np.ndarray):
        return _encode_tensor(rows, format, importance=importance, backend=backend, effort=effort, out=out)
    if effort == "best":
        packed = encode(rows, format, importance=importance, backend=backend, out=out)
        lanes = "reference" if backend == "reference" else "cpu"
        best.improve(rows, packed, FORMATS[format], importance=importance, backend=lanes)
        return packed
    layout = _layout(format)
    chosen = _choose(format, backend, importance=importance is not None)
    _check_rows(rows)
    shape = (rows.shape[0], layout.row_bytes(rows.shape[1]))
    packed = np.empty(shape, np.uint8) if out is None else _checked_out(out, shape)
    if importance is not None:
        _check_importance(importance, rows.shape[1])
    if rows.size == 0:
        return packed
    weights = importance if _weighted(format, importance is not None) else None
    if chosen == "cpu":
        if not cpu.encode(rows, packed, layout, weights):
            raise _first_non_finite(rows)
        return packed
    if chosen == "gpu":
        if not gpu.encode_rows(rows, packed, layout):
            raise _first_non_finite(rows)
        return packed
    _encode_by_reference(rows, packed, layout, weights)
    return packed


def _encode_tensor(
    rows: "Tensor",
    format: str,
    *,
    importance: NDArray[np.float32] | None,
    backend: str,
    effort: str,
    out: NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    """Where the tensor is, if that is a GPU with a kernel for the work; else in main memory."""
    stays = rows.is_cuda and effort == "exact" and backend in ("auto", "gpu")
    if not stays or not _on_gpu(format, importance=importance is not None):
        return encode(_in_main_memory(rows), format, importance=importance, backend=backend, effort=effort, out=out)
    packed: NDArray[np.uint8] = gpu.encode(rows, format).cpu().numpy()
    if importance is not None:
        _check_importance(importance, rows.shape[1])
    if out is None:
        return packed
    _checked_out(out, packed.shape)[:] = packed
    return out


def _in_main_memory(rows: "Tensor") -> NDArray[np.generic]:
    """The tensor's weights as numpy has them: bfloat16 as bits."""
    here = rows.detach().cpu()
    if str(here.dtype) != "torch.bfloat16":
        return here.numpy()
    import torch

    return here.view(torch.uint16).numpy()


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


def encodable(format: str, *, importance: bool = False) -> bool:
    """Whether some backend encodes the format: without importance, or with it. Some formats can only be with it."""
    return format in reference.ENCODERS or (importance and format in reference.WEIGHTED_ENCODERS)


def decodable(format: str) -> bool:
    """Whether some backend decodes the format."""
    return format in reference.DECODERS


def backends(format: str, *, importance: bool = False) -> tuple[str, ...]:
    """The backends that encode the format, without importance or with it, fastest first."""
    weighted = _weighted(format, importance)
    tables: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("cpu", cpu.WEIGHTED_KERNELS if weighted else cpu.KERNELS),
        ("reference", reference.WEIGHTED_ENCODERS if weighted else reference.ENCODERS),
    )
    return tuple(name for name, table in tables if format in table)


def prepare(formats: Iterable[str], dtype: DTypeLike, *, importance: bool = False, effort: str = "exact") -> None:
    """Loads the cpu kernels for rows of `dtype`, compiling what this machine has not compiled yet (seconds, once).

    Names are keys of FORMATS or of numbers.KERNELS, which take rows of any type.
    """
    for name in formats:
        if name in numbers.KERNELS:
            numbers.prepare(name)
        elif "cpu" in backends(name, importance=importance):
            cpu.prepare(FORMATS[name], np.dtype(dtype), weighted=_weighted(name, importance))
            if effort == "best" and best.improvable(name):
                best.cpu.prepare(FORMATS[name])


def is_prepared(formats: Iterable[str], dtype: DTypeLike, *, importance: bool = False, effort: str = "exact") -> bool:
    """Whether `prepare` would find everything compiled already. Cheap: looks at files, loads nothing."""
    return all(_is_prepared(name, np.dtype(dtype), importance, effort) for name in formats)


def _is_prepared(name: str, dtype: np.dtype, importance: bool, effort: str) -> bool:
    if name in numbers.KERNELS:
        return numbers.is_prepared(name)
    if "cpu" not in backends(name, importance=importance):
        return True
    searched = effort == "best" and best.improvable(name)
    weighted = _weighted(name, importance)
    return cpu.is_prepared(name, dtype, weighted=weighted) and (not searched or best.cpu.is_prepared(name))


def _weighted(format: str, importance: bool) -> bool:
    """Whether the format makes use of an importance that is there."""
    return importance and format in reference.WEIGHTED_ENCODERS


def _layout(format: str) -> BlockFormat:
    if format not in FORMATS:
        raise UnsupportedFormat(f"unknown format {format!r}")
    return FORMATS[format]


def _choose(format: str, backend: str, *, importance: bool) -> str:
    available = backends(format, importance=importance)
    if not available and encodable(format, importance=True):
        raise UnsupportedFormat(f"{format} cannot be encoded without an importance matrix")
    if not available:
        raise UnsupportedFormat(f"{format} cannot be encoded yet")
    if backend == "auto":
        return available[0]
    if backend == "gpu" and _on_gpu(format, importance=importance):
        return backend
    if backend not in available:
        raise UnsupportedBackend(f"no backend {backend!r} encodes {format}; available: {', '.join(available)}")
    return backend


def _on_gpu(format: str, *, importance: bool) -> bool:
    """Whether there is a GPU, and a kernel for the work."""
    return format in gpu.KERNELS and not _weighted(format, importance) and gpu.available()


def _check_rows(rows: NDArray[np.generic]) -> None:
    if rows.ndim != 2 or not rows.flags.c_contiguous:
        raise ValueError(f"rows must be a C-contiguous matrix, not {rows.ndim}-dimensional or strided")
    if rows.dtype not in _SOURCE_DTYPES:
        raise ValueError(f"rows must be float32, float16 or uint16 (bf16 bits), not {rows.dtype}")


def _check_importance(importance: NDArray[np.float32], columns: int) -> None:
    if importance.shape != (columns,) or importance.dtype != np.float32 or not importance.flags.c_contiguous:
        raise ValueError(
            f"importance must be C-contiguous float32 of shape {(columns,)}, "
            f"not {importance.dtype} of shape {importance.shape}"
        )
    good = np.isfinite(importance) & (importance >= 0)
    if not good.all():
        column = int(np.argmin(good))
        raise ValueError(f"the importance of column {column} is {importance[column]}, not a number from 0 up")


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


def _encode_by_reference(
    rows: NDArray[np.generic],
    packed: NDArray[np.uint8],
    layout: BlockFormat,
    importance: NDArray[np.float32] | None,
) -> None:
    blocks = rows.reshape(-1, layout.block_size)
    target = packed.reshape(-1, layout.block_bytes)
    with np.errstate(all="ignore"):
        encode_blocks = _plain(layout) if importance is None else _with_importance(rows, layout, importance)
        for part in _chunks(len(blocks), layout):
            values = _float32(blocks[part])
            if not np.isfinite(values).all():
                raise _first_non_finite(rows)
            target[part] = encode_blocks(values, part)


def _plain(layout: BlockFormat) -> _EncodePart:
    encode_blocks = reference.ENCODERS[layout.name]
    return lambda values, _part: encode_blocks(values)


def _with_importance(rows: NDArray[np.generic], layout: BlockFormat, importance: NDArray[np.float32]) -> _EncodePart:
    encode_blocks = reference.WEIGHTED_ENCODERS[layout.name]
    in_row = importance.reshape(-1, layout.block_size)
    sigma2 = _mean_squares(rows)

    def encode_part(values: NDArray[np.float32], part: slice) -> NDArray[np.uint8]:
        block = np.arange(part.start, part.start + len(values))
        return encode_blocks(values, in_row[block % len(in_row)], sigma2[block // len(in_row)])

    return encode_part


def _mean_squares(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """The mean square of each row, summed left to right."""
    columns = rows.shape[1]
    step = max(1, _REFERENCE_CHUNK // columns)
    sums = [np.cumsum(_float32(part) ** 2, axis=1)[:, -1] for part in _cut(rows, step)]
    return np.concatenate(sums) / np.float32(columns)


def _cut(rows: NDArray[np.generic], step: int) -> Iterator[NDArray[np.generic]]:
    return (rows[start : start + step] for start in range(0, len(rows), step))


def _first_non_finite(rows: NDArray[np.generic]) -> NonFinite:
    for row, values in enumerate(rows):
        bad = np.flatnonzero(~np.isfinite(_float32(values)))
        if bad.size:
            return NonFinite(row, int(bad[0]))
    raise AssertionError("a kernel reported a non-finite weight where there is none")
