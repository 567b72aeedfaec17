"""How far a job is, how fast it goes, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.events import Progress
from core.jobs import QuantizeJob
from core.model import OutputTensor
from core.plan import Plan, PlannedTensor

PROGRESS_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Took:
    """What a piece of work took in its thread: seconds by the clock, and seconds of a core."""

    seconds: float
    cpu: float


def timed(work: Callable[..., None], *arguments: Any) -> Took:
    """Does the work, and says how long it took."""
    clock, cpu = time.perf_counter(), time.thread_time()
    work(*arguments)
    return Took(time.perf_counter() - clock, time.thread_time() - cpu)


class Meter:
    """Counts source bytes and says how fast they go: on average since the start, so the time left does not jump."""

    def __init__(self, plan: Plan, started: float, job: QuantizeJob) -> None:
        self.job = job
        self.started = started
        self.total = sum(_source_bytes(p.tensor, p.tensor.rows) for p in plan.tensors)
        self.left_in = {p.name: p.tensor.rows for p in plan.tensors}
        self.tensors = len(plan.tensors)
        self.done = 0
        self.encoding_since = 0.0
        self.last_event = 0.0

    def add(self, planned: PlannedTensor, rows: int, took: Took | None = None) -> None:
        """Counts so many more rows as done; without `took` they were done before."""
        self.done += _source_bytes(planned.tensor, rows)
        self.left_in[planned.name] -= rows

    def remember(self) -> None:
        """Keeps for later jobs how fast this one was."""

    def is_due(self) -> bool:
        return time.monotonic() - self.last_event >= PROGRESS_SECONDS

    def event(self, stage: str, tensor: str) -> Progress:
        now = self.last_event = time.monotonic()
        self.encoding_since = self.encoding_since or now - PROGRESS_SECONDS
        rate = self.done / max(1e-9, now - self.encoding_since)
        eta = (self.total - self.done) / rate if self.done and stage == "encode" else None
        finished = sum(rows == 0 for rows in self.left_in.values())
        return Progress(stage, tensor, finished, self.tensors, self.done, self.total, rate, eta, now - self.started)


def _source_bytes(tensor: OutputTensor, rows: int) -> int:
    """Bytes of the source behind that many rows."""
    return sum(source.nbytes for source in tensor.sources) * rows // tensor.rows
