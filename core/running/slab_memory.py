"""What slabs of rows take in memory while they are read, reshaped, encoded and checked."""

from __future__ import annotations

from itertools import accumulate
from math import ceil, prod

from core.cards.recipe_card import SAMPLE_ROWS
from core.model import FLOATS as SOURCE_FLOATS
from core.model import OutputTensor, Part, TensorInfo
from core.plan import Plan, PlannedTensor
from core.rows import can_copy, encode_type, step_of
from core.tensor_ops import chunks, flat_rows
from kernels import FORMATS

_MIB = 1 << 20
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# Measured: what Python and the C library keep of a thread beside the rows of a slab, and what a checkpoint that is
# quantized already needs for a weight while it is unpacked.
_BESIDE = 5 * _MIB
_UNPACKING = 12
_CHECKED_WEIGHTS = 1 << 20  # at a time and thread, when the finished file is checked
_CHECKERS, _CHECKED_COPIES = 2, 4


def slab_rows(tensor: OutputTensor, weights: int) -> int:
    """Rows of a slab of about that many weights: more where the ops need more at once, at least one however long."""
    step = step_of(tensor)
    return min(tensor.rows, max(1, weights // max(1, tensor.columns) // step) * step)


def slabs_memory(plan: Plan, weights: int, *, count: int) -> int:
    """Bytes that `count` slabs take at once, each with what its thread has beside it: they come in the plan's order, so
    those are counted that follow each other.
    """
    each = [_of_slab(planned, weights) for planned in plan.tensors for _ in range(min(count, _slabs(planned, weights)))]
    sums = [0, *accumulate(each)]
    return count * _BESIDE + max(sums[min(i + count, len(each))] - sums[i] for i in range(len(each) + 1))


def _slabs(planned: PlannedTensor, weights: int) -> int:
    return ceil(planned.tensor.rows / slab_rows(planned.tensor, weights))


def _of_slab(planned: PlannedTensor, weights: int) -> int:
    """What is read, what the ops and the putting together of parts make of it, and what is written."""
    tensor = planned.tensor
    rows = slab_rows(tensor, weights)
    packed = rows * FORMATS[planned.format].row_bytes(tensor.columns)
    copied = can_copy(tensor, planned.format)
    made = packed if copied else rows * tensor.columns * _width(tensor)
    # As it was stored; the parts of a slab are read one after the other.
    read = max((_read(part, rows) for part in tensor.parts), default=0)
    has_ops = any(part.window[2] for part in tensor.parts)
    is_made_anew = has_ops or _is_packed(tensor) or tensor.dtype == "F64" or not tensor.parts
    several = len(tensor.parts) > 1 and rows > min(_rows(part) for part in tensor.parts)
    return read + made * (is_made_anew + several) + (0 if copied else packed)


def _width(tensor: OutputTensor) -> int:
    """Bytes of a weight as it goes into its encoder; while a checkpoint is unpacked, more than one copy of it."""
    return _UNPACKING if any(source.packed for source in tensor.sources) else encode_type(tensor).itemsize


def _is_packed(tensor: OutputTensor) -> bool:
    return any(source.packed or source.dtype not in SOURCE_FLOATS for source in tensor.sources)


def _rows(part: Part) -> int:
    return prod(part.shape[:-1])


def _read(part: Part, rows: int) -> int:
    """Stored bytes that are read at once for so many rows of a part: whole chunks of what its ops need together."""
    _, shape, ops = part.window
    wanted = min(rows, _rows(part))
    if not ops or len(shape) == 1:
        return _stored(part.source, wanted)
    count, _ = chunks(shape, ops)
    return _stored(part.source, ceil(wanted * count / _rows(part)) * (flat_rows(shape) // count))


def _stored(source: TensorInfo, rows: int) -> int:
    """Bytes of so many rows as they lie in the file."""
    every = prod(source.shape[:-1])
    if source.packed:
        return source.nbytes * min(rows, every) // every
    width = _WIDTHS.get(source.dtype)
    return rows * (width * source.shape[-1] if width else FORMATS[source.dtype].row_bytes(source.shape[-1]))


def check_memory(plan: Plan) -> int:
    """Bytes that checking the finished file takes: a few rows of each tensor against the source, in float32."""
    return _CHECKERS * (_BESIDE + max((_of_check(planned.tensor) for planned in plan.tensors), default=0))


def _of_check(tensor: OutputTensor) -> int:
    compared = min(tensor.rows, max(SAMPLE_ROWS, step_of(tensor))) * tensor.columns
    return max(4 * _CHECKED_COPIES * compared, 2 * min(tensor.weights, _CHECKED_WEIGHTS))
