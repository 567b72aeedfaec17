"""The slabs of a plan through a pool of threads: read, reshaped, encoded and put into the unfinished file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels
from core.errors import Cancelled
from core.events import Event, Note, Progress
from core.hardware.cpu import usable_cores
from core.jobs.job import QuantizeJob
from core.rows import RowReader, can_copy, refuse_non_finite
from core.running.control import Control
from core.running.failures import is_out_of_vram, vram_note
from core.running.meter import PROGRESS_SECONDS, Meter, Took, timed
from core.running.slabs import Cutter, Gate, Slab, room_for
from core.running.stream import AHEAD, MOST_THREADS, HubStream, slab_weights
from core.running.unfinished import Unfinished, missing_room

SLAB_WEIGHTS = {"auto": 1 << 22, "cpu": 1 << 22, "reference": 1 << 18}


class Encoder:
    """What the threads of one job share."""

    def __init__(
        self,
        job: QuantizeJob,
        works: Sequence[Unfinished],
        meter: Meter,
        control: Control,
        *,
        cancelled: Callable[[], bool],
        stream: HubStream | None = None,
    ) -> None:
        self.job, self.works, self.meter, self.control = job, works, meter, control
        self.cancelled, self.stream = cancelled, stream
        self.threads, self.weights, self.ahead = job.threads or ceil(usable_cores()), SLAB_WEIGHTS[job.backend], 0
        if stream:
            self.threads, self.ahead = min(self.threads, MOST_THREADS), AHEAD
            stream.lines = self.threads + self.ahead
        plans, done = [work.place.plan for work in works], [work.done_rows() for work in works]
        self.slabs = Cutter(plans, self._weights(self.threads), done)
        self.gate = Gate(self.threads)  # the other threads of the pool wait for the network
        self.running: dict[Future[list[Took]], tuple[Slab, ...]] = {}
        self.no_room: dict[str, bool] = {}  # names of tensors for which a GPU has none, and whether that was said
        self._said_full = False

    def run(self) -> Iterator[Event]:
        """Encodes all that is not done yet. Raises Cancelled, and what went wrong."""
        read = self.stream.read if self.stream else None
        pool = ThreadPoolExecutor(self.threads + self.ahead, "encode")
        with RowReader(read) as reader, pool, self._drained():
            while self.slabs or self.running:
                self._submit(pool, reader)
                done = self._wait()
                if self.cancelled():
                    raise Cancelled
                for work in self.works:
                    work.check()
                for future in done:
                    for slab, took in zip(self.running.pop(future), future.result(), strict=True):
                        self.meter.add(slab.planned, slab.count, took)
                yield from self.notes()
                if self.meter.is_due():
                    yield self._progress()

    def _submit(self, pool: ThreadPoolExecutor, reader: RowReader) -> None:
        """Lets as many slabs begin as the limits of this moment allow."""
        limits = self.control.limits
        threads = min(self.threads, limits.threads or self.threads)
        flights, weights = threads + self.ahead + 1, self._weights(threads)
        flights, self.slabs.most = room_for(limits.memory, flights=flights, weights=weights)
        self.gate.set(0 if self.control.hold else threads)
        while not self.control.hold and len(self.running) < flights and self.slabs:
            slabs = self.slabs.pop()
            self.running[pool.submit(self._through, slabs, reader)] = slabs

    def _weights(self, threads: int) -> int:
        """Of a slab, before memory is looked at."""
        if self.stream is None:
            return self.weights
        return min(self.weights, slab_weights(threads + self.ahead + 1, self.stream.rate))

    def _wait(self) -> set[Future[list[Took]]]:
        """The slabs that are through; a moment later even if none is."""
        if not self.running:
            self.control.wait(PROGRESS_SECONDS)
            return set()
        return wait(self.running, timeout=PROGRESS_SECONDS, return_when=FIRST_COMPLETED).done

    def notes(self) -> Iterator[Note]:
        """What there is to say that has not been said: of the GPU's memory, and of room on the disk."""
        for name in [name for name, said in self.no_room.copy().items() if not said]:
            self.no_room[name] = True
            yield Note(vram_note(name))
        yield from (Note(text) for text in (self.stream.retries.words() if self.stream else ()))
        missing = missing_room(self.works)
        if missing and not self._said_full:
            yield Note(f"The disk is full: {missing:,} bytes are missing. The job goes on as soon as there is room.")
        self._said_full = bool(missing)

    def _progress(self) -> Progress:
        name = next(iter(self.running.values()))[0].planned.name if self.running else ""
        waits = self.control.hold or self._said_full or (self.stream and self.stream.retries.is_silent)
        return self.meter.event("waiting" if waits else "encode", name)

    @contextlib.contextmanager
    def _drained(self) -> Iterator[None]:
        """On an error, nothing that has not started will start, or be fetched: the pool then closes at once."""
        try:
            yield
        except BaseException:
            for future in self.running:
                future.cancel()
            self.gate.close()
            if self.stream:
                self.stream.close()
            raise

    def _through(self, slabs: Sequence[Slab], reader: RowReader) -> list[Took]:
        """The same rows for each of their files, read once; how long each took, the first with the reading."""
        with reader.once() if len(slabs) > 1 else contextlib.nullcontext():
            took = [timed(self._encode, slab, reader) for slab in slabs]
        if self.stream:
            self.stream.settle()
        return took

    def _encode(self, slab: Slab, reader: RowReader) -> None:
        planned, tensor = slab.planned, slab.planned.tensor
        if can_copy(tensor, planned.format):
            with self.gate if not self.stream else contextlib.nullcontext():
                data = reader.raw(tensor, slab.first, slab.count)
        else:
            rows = reader.rows(tensor, slab.first, slab.count)
            with self.gate:
                data = self._encoded(slab, rows)
        self.works[slab.target].put(planned, slab.first, slab.count, data.data)

    def _encoded(self, slab: Slab, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """The packed rows. Raises SnugError for a NaN or an infinity in them."""
        before = time.perf_counter()
        try:
            return self._by_best_backend(slab, rows)
        except kernels.NonFinite as error:
            row = slab.first + error.row
            raise refuse_non_finite(slab.planned.tensor, row=row, column=error.column) from error
        finally:
            self.slabs.saw(slab, time.perf_counter() - before)

    def _by_best_backend(self, slab: Slab, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """By the processor where a GPU has no room for them, which then counts for the whole tensor."""
        name, format, weighted = slab.planned.name, slab.planned.format, slab.importance is not None
        effort, here = self.job.effort, kernels.backends(format, importance=weighted)[0]
        backend = here if name in self.no_room else self.job.backend
        try:
            return kernels.encode(rows, format, importance=slab.importance, backend=backend, effort=effort)
        except Exception as error:
            if backend == here or not is_out_of_vram(error):
                raise
            self.no_room.setdefault(name, False)
        return kernels.encode(rows, format, importance=slab.importance, backend=here, effort=effort)
