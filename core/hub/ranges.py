"""Bytes of one file of the Hub by range: opened once, or read again and again until they are there."""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import httpx2

from core.errors import Cancelled, JobFailed
from core.hub.connection import READ_SECONDS, Hub
from core.hub.names import shown
from core.hub.problems import Interrupted, given_up, host_of
from core.hub.repo import RepoFile, RepoInfo, file_url
from core.hub.retries import Retry
from core.hub.web import busy, check_status, opened, origin, pause

FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0
LONGEST_ASKED = 300.0
TRIES = 8
_ENOUGH = 1 << 16
_SKIPPED_MOST = 64 << 20
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Place:
    """Where a file is: the Hub's own address, and the signed one that it led to, for as long as that holds."""

    def __init__(self, hub: Hub, info: RepoInfo, file: RepoFile) -> None:
        self.hub = hub
        self.repo = info.id
        self.file = file
        self.url = file_url(hub, info, file)
        self.signed = ""

    @property
    def what(self) -> str:
        return f"{shown(self.file.name)} of {self.repo}"


class Stretch(NamedTuple):
    """Bytes on their way: the offset of the first, and whether the server sends the whole file, deaf to ranges."""

    start: int
    is_whole: bool
    pieces: Iterator[bytes]


class Line:
    """A connection that another thread may cut, even while nothing comes over it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._response: httpx2.Response | None = None
        self.is_cut = False

    def hold(self, response: httpx2.Response | None) -> None:
        with self._lock:
            self._response = response
            if self.is_cut:
                raise Cancelled

    def bound(self, ahead: int) -> None:
        """Lets the system take in no more than `ahead` bytes that nobody has read, where it can be told so."""
        option = getattr(socket, "TCP_WINDOW_CLAMP", None)
        with self._lock, suppress(OSError):
            if option is not None and (found := self._socket()) is not None:
                found.setsockopt(socket.IPPROTO_TCP, option, ahead)

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            if (found := self._socket()) is not None:
                with suppress(OSError):
                    socket.socket.shutdown(found, socket.SHUT_RDWR)  # not TLS's own, which would wait for the peer

    def _socket(self) -> socket.socket | None:
        stream = self._response.extensions.get("network_stream") if self._response else None
        found = stream.get_extra_info("socket") if stream else None
        return found if isinstance(found, socket.socket) else None


class Patience:
    """How often a line may fail before that is an error; counted anew whenever it has brought something."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.failures = 0
        self.brought = 0

    def add(self, count: int) -> None:
        self.brought += count
        if self.brought >= _ENOUGH:
            self.failures = self.brought = 0

    def failed(self, error: Interrupted) -> float:
        """Seconds to wait before the next try. Raises JobFailed after the last one."""
        self.failures += 1
        is_busy = error.reason == "too many requests"
        if self.failures >= TRIES or (error.wait or 0) > LONGEST_ASKED:
            raise busy(error) if is_busy else given_up(self.hub, error.reason)
        longest: float = FIRST_WAIT * 2 ** (self.failures - 1)
        wait = min(LONGEST_WAIT, longest) * random.uniform(0.8, 1.2) if error.wait is None else error.wait
        self.hub.retrying(Retry(error.reason, wait, self.failures + 1, TRIES))
        return wait


@contextmanager
def open_range(
    place: Place, start: int, end: int, *, line: Line | None = None, read_seconds: float = READ_SECONDS
) -> Iterator[Stretch]:
    """Bytes `start` to `end` (excluded) as they come. Raises Interrupted, also when fewer come than were announced."""
    line = line or Line()
    asked, used = {"Range": f"bytes={start}-{end - 1}"}, place.signed
    try:
        with opened(place.hub, used or place.url, asked, read_seconds=read_seconds) as (response, url):
            line.hold(response)
            _check_answer(place, response, url, used=used)
            at = _first_byte(place, response, start)
            pieces = _counted(response, end - at)
            yield Stretch(at, response.status_code == 200, pieces)
    except Interrupted as error:
        if line.is_cut:
            raise Cancelled from error
        raise
    finally:
        with suppress(Cancelled):
            line.hold(None)


def _check_answer(place: Place, response: httpx2.Response, url: str, *, used: str) -> None:
    """Remembers a signed address that works, and forgets one that no longer does."""
    is_elsewhere = origin(url) != origin(place.hub.endpoint)
    if is_elsewhere and 400 <= response.status_code < 500 and response.status_code not in (408, 416, 429):
        place.signed = ""
        raise Interrupted(
            f"{host_of(url)} refuses its own signed address (status {response.status_code})", 0.0 if used else None
        )
    if response.status_code == 416:
        raise _wrong_size(place, "less")
    check_status(place.hub, response, what=place.what, repo=place.repo)
    place.signed = url if is_elsewhere else ""


def _first_byte(place: Place, response: httpx2.Response, start: int) -> int:
    """Where the body begins; raises when it is of another file or packed."""
    kind = response.headers.get("content-encoding", "identity").strip().lower()
    if kind not in ("", "identity"):
        raise JobFailed(f"{place.what} came packed as {shown(kind, 20)}, which was not asked for.", "Try again later.")
    size = place.file.size
    if response.status_code == 206:
        match = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if not match or int(match[1]) != start:
            raise Interrupted("the server sent another range than it was asked for")
        if match[3] not in ("*", str(size)):
            raise _wrong_size(place, f"{int(match[3]):,}")
        return start
    length = response.headers.get("content-length", str(size))
    if response.status_code != 200 or length != str(size):
        raise _wrong_size(place, f"{int(length):,}" if length.isdecimal() else shown(length, 20))
    return 0


def _wrong_size(place: Place, found: str) -> JobFailed:
    return JobFailed(
        f"{place.what} should have {place.file.size:,} bytes, but the server has {found}.",
        "The file has been changed or damaged there: look at the model's page, and try again later.",
    )


def _counted(response: httpx2.Response, count: int) -> Iterator[bytes]:
    """Exactly `count` bytes in the pieces that come; raises Interrupted when the body ends before."""
    for piece in response.iter_raw():
        piece = piece[:count]
        count -= len(piece)
        yield piece
        if not count:
            return
    raise Interrupted(f"the connection ended {count:,} bytes early")


class RangeReader:
    """Reads any bytes of one file at its commit; safe for several threads, each read over a connection of its own.

    The bytes are what the server sends over TLS, of the right file by size and commit; nothing but the whole file can
    be held against the SHA-256. `unread`: bytes of each read that the system may take in while nobody wants them; 0 is
    as many as it likes.
    """

    def __init__(
        self,
        hub: Hub,
        info: RepoInfo,
        file: RepoFile,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        unread: Callable[[], int] = lambda: 0,
    ) -> None:
        self.file = file
        self._place = Place(hub, info, file)
        self._cancelled, self._unread = cancelled, unread

    def read(self, start: int, count: int) -> bytes:
        """Bytes `start` on, fewer at the file's end. Raises SnugError when they cannot be had, and Cancelled."""
        return b"".join(self.stream(start, min(start + count, self.file.size)))

    def stream(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes `start` to `end` (excluded) in order, each once, in pieces as they come; goes on after failures.

        Raises SnugError when they cannot be had, and Cancelled, which is heeded whenever something comes.
        """
        patience = Patience(self._place.hub)
        while start < end:
            try:
                for piece in self._pieces(start, end):
                    start += len(piece)
                    patience.add(len(piece))
                    yield piece
            except Interrupted as error:
                pause(patience.failed(error), self._cancelled)

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        """What comes of these bytes; what a server without ranges sends before them is thrown away."""
        line = Line()
        with open_range(self._place, start, end, line=line) as stretch:
            if unread := self._unread():
                line.bound(unread)
            skip = start - stretch.start
            if skip > _SKIPPED_MOST:
                raise JobFailed(f"{self._place.what} can only be had whole: its server knows no ranges.")
            for piece in stretch.pieces:
                if self._cancelled():
                    raise Cancelled
                yield piece[skip:]
                skip = max(0, skip - len(piece))
