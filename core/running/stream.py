"""A model of the Hub that is not on this disk, its tensors read by ranges while they are encoded.

The full model never touches the disk: each range is read once, when its turn in the plan comes, and once more for the
few rows of the check; only the small tables of a checkpoint that is quantized already come with each slab anew. Of what
has come, the disk is given what is not in the journal yet, some tens of MB that are written over again and again, and
the rows of the check (ahead.py): so no more than LOST_BYTES are fetched again after a kill, however fast the line is.
All is of one commit, named in the headers that the plan was made of.

What is verified: size and commit of each file, TLS on the way, every scale of the file made, and the error of each
tensor against sampled rows, which are read anew. What is not: the SHA-256 of a shard, for that is one of all its bytes
in order, which nobody has who reads only what the plan needs, in the plan's order. Who wants it keeps the download.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.errors import Cancelled, Halted, JobFailed
from core.model import ModelInfo, ReadBytes, TensorInfo
from core.running.ahead import CELL_BYTES, Ahead, Taken
from core.running.output import ahead_path

if TYPE_CHECKING:  # at run time only where they are needed: a file on this disk needs no network
    from core.hub.headers import HeaderSource

AHEAD = 8  # slabs on their way from the Hub beside those that are encoded
MOST_THREADS = 16  # that encode: more than any line can feed
SLAB_WEIGHTS = 1 << 21
LOST_BYTES = 8 << 20  # that a kill may cost. So many are on their way or not encoded yet, which a loss of power costs,
LOST_SECONDS = 0.6  # or, where the line is fast, as many as come in this time: each request costs it a moment
KEPT_BYTES = 64 << 20  # of sampled rows
_RATE_SECONDS = 0.3
_WEIGHT_BYTES = 2
_PIECE_BYTES = 1 << 16  # that a connection gives at a time
_BURST_SECONDS = 0.2
TICK_SECONDS = 0.05
UNCHECKED = (
    "Read by ranges, so the SHA-256 of whole files is not checked; sampled rows of every tensor are compared with the "
    "Hub's. To have every byte checked, keep the download (--keep-download)."
)

Bytes = npt.NDArray[np.uint8]


def is_streamed(model: ModelInfo) -> bool:
    """Whether only the headers of the model are on this disk."""
    if not model.path.as_posix().startswith("hub:") or not model.files:
        return False
    from core.hub.kept import kept_folder
    from core.hub.names import hub_source

    kept = kept_folder(hub_source(model.path.as_posix()).id) / "snapshots"
    return kept.absolute() in model.files[0].absolute().parents


def stream_notes(model: ModelInfo) -> tuple[str, ...]:
    """What a person should know before the start: how much is fetched, and what is not checked."""
    if not is_streamed(model):
        return ()
    from core.hub.cache import gb

    fetched = f"About {gb(model.source_bytes)} are read from the Hub as they are needed; only the result is stored."
    return fetched, UNCHECKED


def slab_weights(flights: int, rate: float = 0.0) -> int:
    """Weights of a slab where so many are on their way at once, and `rate` bytes come in a second."""
    return min(SLAB_WEIGHTS, int(max(LOST_BYTES, rate * LOST_SECONDS)) // _WEIGHT_BYTES // flights)


def unread_bytes(lines: int) -> int:
    """How many bytes the system may take in for each of so many connections: what nobody has read, a kill costs too."""
    return LOST_BYTES * 7 // 8 // lines - CELL_BYTES - _PIECE_BYTES


def open_stream(
    model: ModelInfo, cancelled: Callable[[], bool], bandwidth: Callable[[], int] = lambda: 0
) -> HubStream | None:
    """Where the bytes of the model's tensors come from, at the commit of its headers; None: from its files.

    `bandwidth`: how many bytes may come in a second, at this moment; 0 is no limit. Raises SnugError when the Hub may
    not be asked.
    """
    if not is_streamed(model):
        return None
    from core.hub.headers import header_source
    from core.hub.names import hub_source
    from core.hub.problems import offline_error

    named = hub_source(model.path.as_posix())
    source = header_source(replace(named, revision=model.files[0].parent.name))
    if source.hub.offline:
        raise offline_error()
    return HubStream(source, cancelled, Throttle(bandwidth))


class Throttle:
    """Keeps several threads together to so many bytes a second as `limit` says at the moment; 0 is no limit."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._allowed, self._since = 0.0, time.monotonic()

    def spend(self, count: int, is_over: Callable[[], bool]) -> None:
        """Counts bytes that came, and returns when more may come, or when it is over."""
        with self._lock:
            self._allowed -= count
        while (limit := self._limit()) and not is_over():
            with self._lock:
                now = time.monotonic()
                self._allowed = min(limit * _BURST_SECONDS, self._allowed + (now - self._since) * limit)
                self._since = now
                if self._allowed > 0:
                    return
            time.sleep(TICK_SECONDS)
        with self._lock:
            self._allowed = max(0.0, self._allowed)


class HubStream:
    """Reads stored bytes of a model on the Hub, for several threads at once; leaving it ends what is under way."""

    def __init__(self, source: HeaderSource, cancelled: Callable[[], bool], throttle: Throttle | None = None) -> None:
        from core.hub.ranges import RangeReader
        from core.hub.retries import Retries

        self.retries = Retries()
        hub = replace(source.hub, retrying=self.retries.heard)
        self._cancelled = cancelled
        self._throttle = throttle or Throttle(lambda: 0)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._source = f"{source.info.id}@{source.info.commit}"
        self._ahead: Ahead | None = None
        self._own = threading.local()
        self.lines = AHEAD  # that are read from at once
        self.fetched = 0
        self.rate = 0.0  # bytes a second, of late
        self._marked, self._marked_at = 0, time.monotonic()
        self._readers = {
            name: RangeReader(hub, source.info, file, cancelled=self._is_over, unread=lambda: unread_bytes(self.lines))
            for name, file in source.remote.items()
        }

    def __enter__(self) -> HubStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Reads under way, and those to come, raise Cancelled."""
        self._closed.set()
        if self._ahead:
            self._ahead.close()

    def keep_for(self, target: Path, purpose: str) -> None:
        """From here on, what comes is kept beside the unfinished `target` until it is settled, and what was kept there
        for the same purpose, by an earlier run, is not fetched again.
        """
        if self._ahead:
            self._ahead.close()
        self._ahead = Ahead(ahead_path(target), f"{self._source} {purpose}", self._readers)

    def settle(self) -> None:
        """All that this thread has read is in the journal."""
        taken: list[Taken] = self._own.__dict__.pop("taken", [])
        if self._ahead:
            self._ahead.settle(taken)

    def read(self, tensor: TensorInfo, first: int, count: int) -> Bytes:
        """Bytes `first` on of a stored tensor: uint8 [count]. Raises SnugError, and Cancelled within a moment.

        A line that fails for good raises Halted: the job can go on when there is one again.
        """
        if self._is_over():
            raise Cancelled
        future: Future[tuple[Bytes, list[Taken]]] = Future()
        asked = (future, tensor.file.name, tensor.offset + first, count)
        # A thread that nobody has to wait for: the line it listens to may be silent for many seconds.
        threading.Thread(target=self._fill, args=asked, name="stream", daemon=True).start()
        while not wait([future], TICK_SECONDS).done:
            if self._is_over():
                raise Cancelled
        try:
            buffer, taken = future.result()
        except JobFailed as error:
            raise Halted(error.message, error.hint) from error
        self._own.__dict__.setdefault("taken", []).extend(taken)
        return buffer

    def _fill(self, future: Future[tuple[Bytes, list[Taken]]], file: str, start: int, count: int) -> None:
        try:
            buffer, taken, missing = np.empty(count, np.uint8), list[Taken](), [range(start, start + count)]
            if self._ahead:
                missing, taken = self._ahead.fill(file, start, buffer)
            for gap in missing:
                self._fetch(file, gap.start, buffer[gap.start - start : gap.stop - start], taken)
            future.set_result((buffer, taken))
        except BaseException as error:
            future.set_exception(error)

    def _fetch(self, file: str, start: int, buffer: Bytes, taken: list[Taken]) -> None:
        """Fills `buffer` with bytes `start` on; what has come is kept, whatever happens then."""
        at = kept = 0
        try:
            for piece in self._readers[file].stream(start, start + len(buffer)):
                buffer[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
                at += len(piece)
                while at - kept >= CELL_BYTES:
                    taken += self._keep(file, start + kept, buffer[kept : kept + CELL_BYTES])
                    kept += CELL_BYTES
                self._count(len(piece))
                self._throttle.spend(len(piece), self._is_over)
        finally:
            if at > kept:
                taken += self._keep(file, start + kept, buffer[kept:at])

    def _keep(self, file: str, start: int, data: Bytes) -> list[Taken]:
        return self._ahead.keep(file, start, data) if self._ahead else []

    def _count(self, count: int) -> None:
        self.retries.came()
        with self._lock:
            self.fetched += count
            passed = time.monotonic() - self._marked_at
            if passed > _RATE_SECONDS:
                self.rate = (self.fetched - self._marked) / passed
                self._marked, self._marked_at = self.fetched, time.monotonic()

    def _is_over(self) -> bool:
        return self._closed.is_set() or self._cancelled()


def read_once(stream: HubStream) -> ReadBytes:
    """Its `read`, that fetches nothing again of the rows that are sampled for several files, up to KEPT_BYTES."""
    kept: dict[tuple[str, int, int], Bytes] = {}
    lock = threading.Lock()

    def read(tensor: TensorInfo, first: int, count: int) -> Bytes:
        place = tensor.name, first, count
        if place not in kept:
            data = stream.read(tensor, first, count)
            with lock:
                if sum(len(other) for other in kept.values()) + count > KEPT_BYTES:
                    return data
                kept[place] = data
        return kept[place].copy()

    return read
