"""Connections that fill a part: a few threads, each with a range of its own, until all is there or one thing fails."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.errors import Cancelled
from core.hub.part import Part, Segment
from core.hub.problems import Interrupted
from core.hub.ranges import Line, Patience, Place, open_range

MOST_CONNECTIONS = 16
PARALLEL_FROM = 16 << 20
STALL_SECONDS = 20.0
STALL_BYTES = 4096
JOIN_SECONDS = 0.3
UNREAD_BYTES = 6 << 20  # of all connections of a file: with what is not journaled yet, 8 MiB are lost by a kill at most
WRITE_BYTES = 1 << 18
WRITE_SECONDS = 0.2


Spend = Callable[[int, Callable[[], bool]], None]


def _freely(_count: int, _is_over: Callable[[], bool]) -> None:
    """No limit."""


class Fetch:
    """Fills `part` from `place`. Look at `is_done` and `error`, and `stop` it in any case.

    `spend` is told how many bytes came, and returns when more may come, or when the function it is given says so.
    """

    def __init__(self, part: Part, place: Place, *, connections: int, spend: Spend = _freely) -> None:
        self.error: Exception | None = None
        self._spend = spend
        self._part, self._place = part, place
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._todo = deque(segment for segment in part.segments if segment.at < segment.end)
        most = max(1, min(connections, MOST_CONNECTIONS)) if part.size >= PARALLEL_FROM else 1
        count = min(most, len(self._todo))
        self._unread = UNREAD_BYTES // max(1, count)
        self._lines: list[Line] = []
        self._threads = [threading.Thread(target=self._work, name="fetch", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def is_done(self) -> bool:
        return self.error is not None or not any(thread.is_alive() for thread in self._threads)

    def wait(self, seconds: float) -> None:
        """Until it is done, but no longer than that."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join(seconds)
                return

    def stop(self) -> None:
        """Cuts the connections; returns within a moment, even if one of them does not answer."""
        self._stop.set()
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.cut()
        until = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        patience = Patience(self._place.hub)
        try:
            while (segment := self._next()) is not None:
                self._fill(segment, patience)
        except Cancelled:
            pass
        except Exception as error:
            self.error = self.error or error
            self._stop.set()

    def _next(self) -> Segment | None:
        with self._lock:
            return self._todo.popleft() if self._todo else None

    def _fill(self, segment: Segment, patience: Patience) -> None:
        while segment.at < segment.end:
            try:
                with self._line() as line:
                    self._read(segment, line, patience)
            except Interrupted as error:
                if self._stop.wait(patience.failed(error)):
                    raise Cancelled from error

    @contextmanager
    def _line(self) -> Iterator[Line]:
        """A connection that `stop` cuts."""
        line = Line()
        with self._lock:
            if self._stop.is_set():
                raise Cancelled
            self._lines.append(line)
        try:
            yield line
        finally:
            with self._lock:
                self._lines.remove(line)

    def _read(self, segment: Segment, line: Line, patience: Patience) -> None:
        start, end = segment.at, segment.end
        with open_range(self._place, start, end, line=line, read_seconds=STALL_SECONDS) as stretch:
            if stretch.start != start or (stretch.is_whole and end < self._part.size):
                raise NoRanges
            line.bound(self._unread)
            watch = _Watch()
            for piece in _gathered(stretch.pieces):
                if self._stop.is_set():
                    raise Cancelled
                self._part.write(segment, start, piece)
                start += len(piece)
                patience.add(len(piece))
                watch.saw(len(piece))
                self._spend(len(piece), self._stop.is_set)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces, none held back for long; what came before a failure comes before it too."""
    held: list[bytes] = []
    count, since = 0, time.monotonic()
    try:
        for piece in pieces:
            held.append(piece)
            count += len(piece)
            if count >= WRITE_BYTES or time.monotonic() - since > WRITE_SECONDS:
                yield b"".join(held)
                held, count, since = [], 0, time.monotonic()
    except Exception:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


class NoRanges(Exception):
    """The server sends files only whole."""


class _Watch:
    """Takes a line that only trickles for one that stands still."""

    def __init__(self) -> None:
        self._since, self._count = time.monotonic(), 0

    def saw(self, count: int) -> None:
        self._count += count
        now = time.monotonic()
        if now - self._since < STALL_SECONDS:
            return
        if self._count < STALL_BYTES:
            raise Interrupted(f"only {self._count} bytes came in {now - self._since:.0f} seconds")
        self._since, self._count = now, 0
