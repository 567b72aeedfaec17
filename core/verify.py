"""Is this GGUF whole and sane, and how far is it from its source?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path

import numpy as np

import kernels
from core.checkpoint import open_gguf
from core.errors import SnugError
from core.model import ModelInfo, OutputTensor, ReadBytes
from core.paths import expanded
from core.rows import RowReader, step_of
from core.tensor_ops import as_float32

_SLAB_WEIGHTS = 1 << 20
_ASKING = 8  # threads that wait for a server


@dataclass(frozen=True, slots=True)
class TensorError:
    """`rmse` is the root of the mean squared error over that of the mean square of the source: 0.01 is one percent."""

    name: str
    format: str
    rmse: float
    max_error: float


@dataclass(frozen=True)
class VerifyReport:
    """What was found; `problems` is empty for a good file. `errors` compares with the source, worst first.

    `sha256` is that of each tensor's bytes, by its name, where it was asked for.
    """

    path: Path
    file_bytes: int
    tensors: int
    formats: dict[str, int]
    problems: tuple[str, ...]
    errors: tuple[TensorError, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_file(
    path: Path | str,
    *,
    source: ModelInfo | None = None,
    sample_rows: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> VerifyReport:
    """Structure, bounds and finite scales of every block; with `source`, the error of every tensor.

    `sample_rows` compares only about that many rows of each tensor, evenly spread. Raises SnugError when `path` is no
    readable GGUF at all.
    """
    return verify_model(open_gguf(expanded(path)), source=source, sample_rows=sample_rows, cancelled=cancelled)


def verify_model(
    model: ModelInfo,
    *,
    source: ModelInfo | None = None,
    read_source: ReadBytes | None = None,
    sample_rows: int | None = None,
    hashed: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    looked: Callable[[int], None] = lambda count: None,
) -> VerifyReport:
    """The same for a GGUF that is open already, in one file or several; `read_source` where the source is no file.

    `hashed`: with the SHA-256 of every tensor, taken while its bytes are looked at anyway. `looked` hears, from several
    threads, how many more bytes were.
    """
    problems = [*_structure(model)]
    threads = _ASKING if read_source else 2
    with RowReader() as reader, RowReader(read_source) as origin, ThreadPoolExecutor(threads) as pool:
        digests = {tensor.name: hashlib.sha256() for tensor in model.tensors} if hashed else {}

        def look(tensor: OutputTensor) -> str:
            return _is_sane(reader, tensor, cancelled, digests.get(tensor.name), looked)

        problems += [text for text in pool.map(look, model.tensors) if text]
        errors: list[TensorError] = []
        if source is not None:
            problems += _same_tensors(model, source)
            pairs = _pairs(model, source)
            errors = list(pool.map(lambda pair: _error(reader, origin, pair, sample_rows, cancelled), pairs))
    formats: dict[str, int] = {}
    for tensor in model.tensors:
        formats[tensor.dtype] = formats.get(tensor.dtype, 0) + 1
    errors.sort(key=lambda error: -error.rmse)
    file_bytes = sum(file.stat().st_size for file in model.files)
    sha256 = {name: digest.hexdigest() for name, digest in digests.items()}
    return VerifyReport(model.path, file_bytes, len(model.tensors), formats, tuple(problems), tuple(errors), sha256)


def _structure(model: ModelInfo) -> Iterator[str]:
    """What a loader would stumble over. Bounds and overlaps were checked when the header was read."""
    blocks = model.key("block_count")
    if not isinstance(blocks, int):
        yield f"the key {model.architecture}.block_count is missing"
    tokens = model.keys.get("tokenizer.ggml.tokens")
    if tokens is None:
        yield "the file has no vocabulary (tokenizer.ggml.tokens)"
        return
    embedding = next((t for t in model.tensors if t.name == "token_embd.weight"), None)
    if embedding is None:
        yield "the tensor token_embd.weight is missing"
    elif embedding.rows != len(tokens):
        yield f"token_embd.weight has {embedding.rows} rows for {len(tokens)} tokens"


def _is_sane(
    reader: RowReader,
    tensor: OutputTensor,
    cancelled: Callable[[], bool],
    digest: hashlib._Hash | None,
    looked: Callable[[int], None],
) -> str:
    """A problem in words, or "". All bytes go into `digest`."""
    for first, count in _slabs(tensor):
        if cancelled():
            break
        data = reader.raw(tensor, first, count)
        if digest is not None:
            digest.update(data.reshape(-1).data)
        if not kernels.scales_are_finite(data, tensor.dtype):
            rows = f"rows {first} to {first + count - 1}"
            return f"{tensor.name} ({tensor.dtype}) holds a scale that is NaN or infinite in {rows}"
        looked(data.nbytes)
    return ""


def _same_tensors(model: ModelInfo, source: ModelInfo) -> Iterator[str]:
    ours, theirs = ({t.name: t.shape for t in m.tensors} for m in (model, source))
    for name, shape in theirs.items():
        if name not in ours:
            yield f"the tensor {name} of the source is missing"
        elif ours[name] != shape:
            yield f"the tensor {name} has the shape {list(ours[name])}, the source {list(shape)}"
    yield from (f"the tensor {name} is not in the source" for name in ours if name not in theirs)


def _pairs(model: ModelInfo, source: ModelInfo) -> list[tuple[OutputTensor, OutputTensor]]:
    theirs = {tensor.name: tensor for tensor in source.tensors}
    same = [(t, theirs[t.name]) for t in model.tensors if t.name in theirs and theirs[t.name].shape == t.shape]
    unreadable = next((t for pair in same for t in pair if t.dtype != "F64" and not kernels.decodable(t.dtype)), None)
    if unreadable is not None:
        raise SnugError(
            f"{unreadable.name} is stored as {unreadable.dtype}, which Snug cannot decode yet.",
            "Verify without a source, or use a file in another format.",
        )
    return same


def _error(
    reader: RowReader,
    origin: RowReader,
    pair: tuple[OutputTensor, OutputTensor],
    sample_rows: int | None,
    cancelled: Callable[[], bool],
) -> TensorError:
    made, source = pair
    squares = total = worst = 0.0
    for first, count in _slabs(source, sample_rows):
        if cancelled():
            break
        before = as_float32(origin.rows(source, first, count))
        difference = as_float32(reader.rows(made, first, count)) - before
        squares += float(np.einsum("ij,ij->", difference, difference, dtype=np.float64))
        total += float(np.einsum("ij,ij->", before, before, dtype=np.float64))
        worst = max(worst, float(np.abs(difference).max()))
    return TensorError(made.name, made.dtype, sqrt(squares / total) if total else sqrt(squares), worst)


def _slabs(tensor: OutputTensor, sample_rows: int | None = None) -> Iterator[tuple[int, int]]:
    """(first row, number of rows) of slabs that cover a tensor, or a few spread over it."""
    step = step_of(tensor)
    size = max(1, _SLAB_WEIGHTS // tensor.columns // step) * step
    if sample_rows is None or sample_rows >= tensor.rows:
        yield from ((first, min(size, tensor.rows - first)) for first in range(0, tensor.rows, size))
        return
    groups = tensor.rows // step
    wanted = min(groups, max(1, sample_rows // step), 4)
    each = max(1, sample_rows // wanted // step)
    for number in range(wanted):
        start = (groups - each) * number // max(1, wanted - 1)
        yield start * step, each * step
