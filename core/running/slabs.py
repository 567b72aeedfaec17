"""Cutting a plan into slabs of rows when their turn comes, and letting so many through at a time as are allowed now."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from core.errors import Cancelled
from core.model import OutputTensor
from core.plan import Plan, PlannedTensor
from core.recipes import FLOATS
from core.rows import can_copy, step_of

SLAB_SECONDS = 0.25  # about the longest that a slab takes: what has begun is waited for when a job ends
FIRST_WEIGHTS = 1 << 16
LEAST_WEIGHTS = 1 << 15
WEIGHT_BYTES = 8  # of a slab in flight: what is read, what becomes of it, and what comes out
BASE_BYTES = 160 << 20  # of a process that encodes, without its slabs
_TICK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Slab:
    """Rows of one tensor, all with the same importance: float32 [columns], or None. `target`: number of their file."""

    planned: PlannedTensor
    first: int
    count: int
    importance: NDArray[np.float32] | None = None
    target: int = 0

    @property
    def weights(self) -> int:
        return self.count * self.planned.tensor.columns


def importance_of(plan: Plan, planned: PlannedTensor) -> NDArray[np.float32] | None:
    """float32 [experts, columns], or None where nothing is known."""
    return plan.importance.of(planned.tensor) if plan.importance and planned.format not in FLOATS else None


class Cutter:
    """The slabs of plans of one model, one after the other, without the rows that are `done` of each.

    The slabs of the same rows, one for each plan that still lacks them, come together. Each has at most `most` weights,
    and fewer where encoding has shown to be slow: no byte depends on that.
    """

    def __init__(self, plans: Sequence[Plan], most: int, done: Sequence[Mapping[str, Sequence[range]]]) -> None:
        self.most = most
        self._pace: dict[str, float] = {}  # seconds a weight takes, by format
        self._next: deque[tuple[Slab, ...]] = deque(maxlen=1)
        self._slabs = self._cut(plans, done)

    def saw(self, slab: Slab, seconds: float) -> None:
        """Learns from what a slab took to encode."""
        self._pace[slab.planned.format] = seconds / slab.weights

    def __bool__(self) -> bool:
        """Whether there is another one."""
        if not self._next:
            self._next.extend([slab for slab in [next(self._slabs, None)] if slab])
        return bool(self._next)

    def pop(self) -> tuple[Slab, ...]:
        """The next rows, for each plan that lacks them; there must be some."""
        assert self
        return self._next.pop()

    def _weights(self, formats: Iterable[str]) -> int:
        """Of rows that are encoded in all of these, one after the other."""
        paces = [self._pace.get(name) for name in formats]
        known = [pace for pace in paces if pace is not None]
        wanted = FIRST_WEIGHTS if len(known) < len(paces) else int(SLAB_SECONDS / max(sum(known), 1e-12))
        return min(self.most, max(LEAST_WEIGHTS, wanted))

    def _cut(self, plans: Sequence[Plan], done: Sequence[Mapping[str, Sequence[range]]]) -> Iterator[tuple[Slab, ...]]:
        for same in zip(*(plan.tensors for plan in plans), strict=True):
            tensor = same[0].tensor
            step = step_of(tensor)
            lacking = [
                Slab(planned, gap.start, len(gap), vector, number)
                for number, (plan, planned) in enumerate(zip(plans, same, strict=True))
                for rows, vector in _experts(tensor, importance_of(plan, planned))
                for gap in gaps(rows, done[number].get(planned.name, ()))
            ]
            for rows, slabs in together(lacking):
                slow = [slab for slab in slabs if not can_copy(tensor, slab.planned.format)] or slabs
                first = rows.start
                while first < rows.stop:
                    weights = self._weights(slab.planned.format for slab in slow)
                    size = max(1, weights // tensor.columns // step) * step
                    count = min(size, rows.stop - first)
                    yield tuple(replace(slab, first=first, count=count) for slab in slabs)
                    first += size


def together(slabs: Sequence[Slab]) -> Iterator[tuple[range, tuple[Slab, ...]]]:
    """Runs of rows of one tensor that are in the very same ones of `slabs`, and those."""
    edges: dict[int, list[Slab]] = {}
    for slab in slabs:
        edges.setdefault(slab.first, []).append(slab)
        edges.setdefault(slab.first + slab.count, [])
    inside: list[Slab] = []
    for start, stop in pairwise(sorted(edges)):
        inside = [*(slab for slab in inside if slab.first + slab.count > start), *edges[start]]
        if inside:
            yield range(start, stop), tuple(sorted(inside, key=lambda slab: slab.target))


def gaps(rows: range, done: Iterable[range]) -> Iterator[range]:
    """What of `rows` is not in any of `done`."""
    at = rows.start
    for part in sorted(done, key=lambda part: part.start):
        if part.start > at and at < rows.stop:
            yield range(at, min(part.start, rows.stop))
        at = max(at, part.stop)
    if at < rows.stop:
        yield range(at, rows.stop)


def _experts(
    tensor: OutputTensor, importance: NDArray[np.float32] | None
) -> Iterator[tuple[range, NDArray[np.float32] | None]]:
    """The rows that share an importance, and that importance: all of a matrix, each expert of a stack."""
    if importance is None:
        yield range(tensor.rows), None
        return
    each = tensor.rows // len(importance)
    yield from ((range(each * e, each * (e + 1)), vector) for e, vector in enumerate(importance))


def room_for(memory: int, *, flights: int, weights: int) -> tuple[int, int]:
    """How many slabs may be in flight, and of how many weights, in so many bytes of memory; 0 is no limit."""
    if not memory:
        return flights, weights
    room = max(0, memory - BASE_BYTES)
    while weights > LEAST_WEIGHTS and room < 2 * WEIGHT_BYTES * weights:
        weights //= 2
    return max(1, min(flights, room // (WEIGHT_BYTES * weights))), weights


class Gate:
    """Lets `limit` threads in at a time, which may change meanwhile; once closed, raises Cancelled."""

    def __init__(self, limit: int) -> None:
        self._limit, self._inside, self._is_closed = limit, 0, False
        self._changed = threading.Condition()

    def set(self, limit: int) -> None:
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __enter__(self) -> None:
        with self._changed:
            while self._inside >= self._limit and not self._is_closed:
                self._changed.wait(_TICK_SECONDS)
            if self._is_closed:
                raise Cancelled
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()
