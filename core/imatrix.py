"""Importance matrices, as llama-imatrix writes them: how much each input column of a weight matters.

Two containers: GGUF of type "imatrix" (sums of squares and counts, per expert) and the older .dat (means times calls).
Source of both: tools/imatrix and tools/quantize of llama.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.errors import SnugError
from core.gguf import MAGIC, read_header
from core.model import Metadata, OutputTensor, TensorInfo
from core.paths import expanded
from core.recipes import FLOATS, needing_importance
from kernels import encodable

if TYPE_CHECKING:
    from core.plan import Plan

F32 = npt.NDArray[np.float32]

_SUMS, _COUNTS = ".in_sum2", ".counts"
_NEEDED_KEYS = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
_SET_APART = ("token_embd.weight", "per_layer_token_embd.weight", "output.weight")  # usually not measured
_TEXT_BYTES = 127  # llama-quantize keeps its texts in 128 bytes with a zero
_NAMES_TOLD = 4
_MAKE_ONE = "Make one of this model with llama-imatrix, and give that file."


@dataclass(frozen=True)
class ImportanceMatrix:
    """`means` gives the mean square of each input of a weight: tensor name -> float32 [experts, columns].

    `file` is the path as it was given, `datasets` and `chunks` say what text the inputs were measured on.
    """

    file: str
    datasets: tuple[str, ...]
    chunks: int
    means: Mapping[str, F32]

    def of(self, tensor: OutputTensor) -> F32 | None:
        """float32 [experts, columns] for the matrices of `tensor`; None where nothing is known.

        Embeddings in another shape count as unknown, as in llama-quantize. Raises SnugError for any other tensor.
        """
        found = self.means.get(tensor.name)
        experts = tensor.shape[-3] if len(tensor.shape) > 2 else 1
        if found is None or found.size == experts * tensor.columns:
            return None if found is None else found.reshape(experts, tensor.columns)
        if tensor.name == _SET_APART[0]:
            return None
        raise SnugError(
            f"{self.file} has {found.size} values for {tensor.name}, which needs {experts * tensor.columns}.",
            f"It was measured on another model. {_MAKE_ONE}",
        )

    @property
    def metadata(self) -> tuple[Metadata, ...]:
        """What the new file says about it, in llama-quantize's keys."""
        items = [Metadata("quantize.imatrix.file", "str", _short(self.file))]
        if self.datasets:
            items.append(Metadata("quantize.imatrix.dataset", "str", _short(self.datasets[0])))
        items.append(Metadata("quantize.imatrix.entries_count", "u32", len(self.means)))
        if self.chunks > 0:
            items.append(Metadata("quantize.imatrix.chunks_count", "u32", self.chunks))
        return tuple(items)


def _short(text: str) -> str:
    return text.encode("utf-8", "surrogateescape")[:_TEXT_BYTES].decode("utf-8", "ignore")


def check_importance(plan: Plan) -> tuple[str, ...]:
    """Notes on what `plan` does with its importance matrix.

    Raises SnugError when the matrix is another model's, or when a tensor has too few bits to do without.
    """
    matrix = plan.importance
    quantized = [planned for planned in plan.tensors if planned.format not in FLOATS]
    known = {p.name for p in quantized if matrix is not None and matrix.of(p.tensor) is not None}
    if matrix is not None and quantized and not known:
        raise SnugError(f"{matrix.file} knows none of the tensors of {plan.model.name}.", _MAKE_ONE)
    needing = needing_importance({p.name: p.format for p in quantized}, plan.recipe)
    needing += [p.name for p in quantized if not encodable(p.format) and p.name not in needing]
    _refuse_lacking(plan, [name for name in needing if name not in known])
    without = [p.name for p in quantized if p.name not in known and p.name not in _SET_APART]
    if matrix is None or not without:
        return ()
    return (f"{matrix.file} has no importance for {_told(without)}: {'it is' if len(without) == 1 else 'they are'} "
            "quantized without.",)  # fmt: skip


def _refuse_lacking(plan: Plan, lacking: list[str]) -> None:
    if not lacking:
        return
    if plan.importance is None:
        raise SnugError(
            f"{plan.recipe.name} needs an importance matrix: {_told(lacking)} would have too few bits to do without.",
            "Give one (--imatrix FILE; llama-imatrix makes it), or choose a level that needs none, such as Q3_K_S.",
        )
    raise SnugError(
        f"{plan.importance.file} has no importance for {_told(lacking)}, which {plan.recipe.name} cannot do without.",
        "Choose a level with more bits, or a matrix that covers the whole model.",
    )


def _told(names: list[str]) -> str:
    more = len(names) - _NAMES_TOLD
    return ", ".join(names[:_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")


def read_importance(file: Path | str) -> ImportanceMatrix:
    """The matrix in `file`. Raises SnugError when it cannot be read, is none, or holds what is no importance."""
    path = expanded(file)
    try:
        with path.open("rb") as opened:
            is_gguf = opened.read(4) == MAGIC
        matrix = _of_gguf(str(file), path) if is_gguf else _Legacy(path.read_bytes(), str(file)).matrix()
    except OSError as error:
        raise SnugError(
            f"The importance matrix {file} cannot be read: {error.strerror or error}.", "Check the path."
        ) from error
    for name, means in matrix.means.items():
        good = np.isfinite(means) & (means >= 0)
        if not good.all():
            raise SnugError(
                f"{file} holds {means[~good][0]} for {name}, which is no importance.",
                f"The measurement went wrong. {_MAKE_ONE}",
            )
    return matrix


def _of_gguf(given: str, path: Path) -> ImportanceMatrix:
    header = read_header(path)
    keys = {item.key: item.value for item in header.metadata}
    if keys.get("general.type", "imatrix") != "imatrix" or any(key not in keys for key in _NEEDED_KEYS):
        raise SnugError(f"{given} is a GGUF file, but no importance matrix.", _MAKE_ONE)
    return ImportanceMatrix(
        given,
        tuple(map(str, keys["imatrix.datasets"])),
        int(keys["imatrix.chunk_count"]),
        dict(_means(given, path, header.tensors)),
    )


def _means(given: str, path: Path, tensors: Iterable[TensorInfo]) -> Iterator[tuple[str, F32]]:
    """Name and means of each weight: sums over counts; an expert that met no token gets ones."""
    stored = {tensor.name: _floats(given, path, tensor) for tensor in tensors}
    names = dict.fromkeys(name.removesuffix(_SUMS).removesuffix(_COUNTS) for name in stored)
    for name in names:
        sums, counts = stored.get(name + _SUMS), stored.get(name + _COUNTS)
        if sums is None or counts is None or not counts.size or sums.size % counts.size:
            raise SnugError(f"{given} is damaged: sums and counts of {name} do not belong together.", _MAKE_ONE)
        per_expert, times = sums.reshape(counts.size, -1), counts.reshape(-1, 1)
        with np.errstate(all="ignore"):  # what is not finite is refused later, by name
            yield name, np.where(times > 0, per_expert / times, np.float32(1))
    if not names:
        raise SnugError(f"{given} is an importance matrix without entries.", _MAKE_ONE)


def _floats(given: str, path: Path, tensor: TensorInfo) -> F32:
    if tensor.dtype != "F32":
        raise SnugError(f"{given}: {tensor.name} is stored as {tensor.dtype}, not as F32.", _MAKE_ONE)
    return np.fromfile(path, "<f4", tensor.nbytes // 4, offset=tensor.offset).astype(np.float32, copy=False)


class _Legacy:
    """Reads forward through a .dat file; every read past the end means that it is none."""

    def __init__(self, data: bytes, given: str) -> None:
        self.data, self.given, self.position = data, given, 0

    def matrix(self) -> ImportanceMatrix:
        count = self.integer(least=1)
        means = dict(self.entry() for _ in range(count))
        if self.position == len(self.data):  # older still: it does not say what was measured
            return ImportanceMatrix(self.given, (), 0, means)
        chunks = self.integer()
        dataset = self.text(self.integer())
        return ImportanceMatrix(self.given, (dataset,), chunks, means)

    def entry(self) -> tuple[str, F32]:
        name = self.text(self.integer(least=1))
        calls = self.integer()
        values = np.frombuffer(self.take(4 * self.integer(least=1)), "<f4").astype(np.float32)
        with np.errstate(all="ignore"):
            return name, (values / np.float32(calls) if calls > 0 else values).reshape(1, -1)

    def integer(self, *, least: int = 0) -> int:
        number: int = struct.unpack("<i", self.take(4))[0]
        if number < least:
            raise self.no_matrix()
        return number

    def text(self, length: int) -> str:
        return self.take(length).decode("utf-8", "surrogateescape")

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.position:
            raise self.no_matrix()
        self.position += length
        return self.data[self.position - length : self.position]

    def no_matrix(self) -> SnugError:
        return SnugError(f"{self.given} is no importance matrix, or was cut short.", _MAKE_ONE)


__all__ = ["ImportanceMatrix", "check_importance", "read_importance"]
