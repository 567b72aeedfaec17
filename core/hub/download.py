"""Downloading a model into the shared cache, as a generator of events: what is there stays, what was begun goes on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from filelock import BaseFileLock, Timeout

from core.errors import Cancelled, JobFailed, SnugError
from core.events import Done, Event, Failed, Note, Progress
from core.hub.cache import RepoCache, check_space, gb
from core.hub.choose import wanted_files
from core.hub.connection import Hub, connect
from core.hub.fetch import Fetch, NoRanges
from core.hub.kept import kept_copy, known_info
from core.hub.names import hub_source, shown
from core.hub.part import Part, part_files
from core.hub.ranges import Place
from core.hub.repo import RepoFile, RepoInfo
from core.hub.retries import Retries
from core.jobs.job import PullJob as PullJob
from core.running.stream import Throttle

TICK_SECONDS = 0.1
_RATE_SECONDS = 5.0
_ATTEMPTS = 2
KEPT = "What has been downloaded is kept: the next try goes on from there."

Wish = Callable[[], bool]


def never() -> bool:
    return False


def pull(
    job: PullJob,
    *,
    hub: Hub | None = None,
    cancelled: Wish = never,
    paused: Wish = never,
    bandwidth: Callable[[], int] = lambda: 0,
) -> Generator[Event, None, None]:
    """Events of the download, the last one Done or Failed. Never raises for what a user can cause or mend.

    Done's result: id, commit, folder, files, bytes (of all), fetched (bytes of this run), seconds. While `paused`
    gives True no connection is open; that and `cancelled` are heeded within a second. `bandwidth`: how many bytes may
    come in a second, at this moment; 0 is no limit.
    """
    try:
        yield from _Pull(job, hub or connect(), cancelled, paused, Throttle(bandwidth)).events()
    except Cancelled:
        yield Failed(f"Cancelled. {KEPT}", cancelled=True)
    except SnugError as error:
        yield Failed(error.message, error.hint, exit_code=error.exit_code)
    except OSError as error:
        yield Failed(f"The cache cannot be written: {error.strerror or error}.", f"Free some room or check it. {KEPT}")


def drop_download(job: PullJob, *, hub: Hub | None = None) -> None:
    """Removes what unfinished downloads of this model have left, but for files that another program fetches now.

    Whole files stay: other tools may have brought them.
    """
    repo = RepoCache((hub or connect()).cache, hub_source(job.source).id, "")
    for path in sorted((repo.folder / "blobs").glob("*.snug.incomplete")):
        blob = path.with_name(path.name.removesuffix(".snug.incomplete"))
        with suppress(OSError, Timeout), repo.lock_of(blob).acquire(timeout=0):
            for left in part_files(blob):
                left.unlink(missing_ok=True)


class _Pull:
    def __init__(self, job: PullJob, hub: Hub, cancelled: Wish, paused: Wish, throttle: Throttle) -> None:
        self.job, self.cancelled, self.paused, self.throttle = job, cancelled, paused, throttle
        self.retries = Retries()
        self.hub = replace(hub, retrying=self.retries.heard)

    def events(self) -> Iterator[Event]:
        started = time.monotonic()
        source = hub_source(self.job.source)
        info = yield from self._awaited(lambda: known_info(source, self.hub))
        files = wanted_files(info, self.job.choice)
        repo = RepoCache(self.hub.cache, info.id, info.commit)
        check_space(repo, info, files)
        repo.make_folders()
        missing = sum(repo.missing(file) for file in files)
        if missing < sum(file.size for file in files):
            yield Note(f"{gb(sum(file.size for file in files) - missing)} of it are in the cache already.")
        meter = _Meter({file.name: file.size - repo.missing(file) for file in files}, files)
        for file in sorted(files, key=lambda file: file.size > 1 << 20):  # small ones first: a refusal comes at once
            yield from self._one(info, file, repo, meter)
        repo.set_ref(info.source.revision)
        yield Done(_result(info, files, repo, meter, time.monotonic() - started))

    def _one(self, info: RepoInfo, file: RepoFile, repo: RepoCache, meter: _Meter) -> Iterator[Event]:
        if not repo.has_content(file):
            lock = repo.lock(file)
            yield from self._locked(lock, file)
            try:
                if not repo.has_content(file):
                    yield from self._fetched(Place(self.hub, info, file), info, repo, meter)
            finally:
                lock.release()
        repo.link(file)
        meter.ended(file)

    def _locked(self, lock: BaseFileLock, file: RepoFile) -> Iterator[Event]:
        """Takes the lock; waits while another program downloads the same content."""
        said = False
        while True:
            self._heed()
            try:
                lock.acquire(timeout=0 if not said else TICK_SECONDS, poll_interval=TICK_SECONDS)
                return
            except Timeout:
                if not said:
                    yield Note(f"Another program downloads {shown(file.name)}; waiting for it.")
                said = True

    def _fetched(self, place: Place, info: RepoInfo, repo: RepoCache, meter: _Meter) -> Iterator[Event]:
        file = place.file
        if kept_copy(info, file, repo.blob(file)):
            return
        with _opened(repo, file) as part:
            for attempt in range(_ATTEMPTS):
                yield from self._filled(part, place, meter)
                while part.matches is None:
                    self._heed()
                    part.wait(TICK_SECONDS)
                    yield meter.event("check", file, part.done)
                if part.matches:
                    part.finish()
                    return
                part.start_over()
                if attempt + 1 < _ATTEMPTS:
                    yield Note(f"{shown(file.name)} arrived damaged: its hash is not the Hub's. Once more.")
        raise JobFailed(
            f"{place.what} arrived damaged twice: its hash is not the Hub's.",
            "The line, the memory or the disk of this computer may be at fault, or the file on the server.",
        )

    def _filled(self, part: Part, place: Place, meter: _Meter) -> Iterator[Event]:
        while not part.is_complete:
            while self.paused():
                self._heed()
                time.sleep(TICK_SECONDS)
                yield meter.event("paused", place.file, part.done)
            fetch = Fetch(part, place, connections=self.job.connections, spend=self._spend)
            try:
                while not fetch.is_done and not self.paused():
                    self._heed()
                    fetch.wait(TICK_SECONDS)
                    yield from self._notes()
                    stage = "waiting" if self.retries.is_silent else "download"
                    yield meter.event(stage, place.file, part.done)
            finally:
                fetch.stop()
            if isinstance(fetch.error, NoRanges):
                part.as_one()
            elif fetch.error:
                raise fetch.error

    def _awaited(self, ask: Callable[[], RepoInfo]) -> Generator[Event, None, RepoInfo]:
        """The answer, in a thread of its own: a server that says nothing must not keep us from stopping."""
        answer: Future[RepoInfo] = Future()

        def run() -> None:
            try:
                answer.set_result(ask())
            except BaseException as error:
                answer.set_exception(error)

        thread = threading.Thread(target=run, name="ask", daemon=True)
        thread.start()
        while not answer.done():
            self._heed()
            thread.join(TICK_SECONDS)
            yield from self._notes()
        return answer.result()

    def _spend(self, count: int, is_over: Wish) -> None:
        self.retries.came()
        self.throttle.spend(count, is_over)

    def _notes(self) -> Iterator[Note]:
        yield from (Note(text) for text in self.retries.words())

    def _heed(self) -> None:
        if self.cancelled():
            raise Cancelled


@contextmanager
def _opened(repo: RepoCache, file: RepoFile) -> Iterator[Part]:
    part = Part(repo.blob(file), file.size)
    try:
        yield part
    finally:
        part.close()


class _Meter:
    """Bytes of all files together, and how fast they come. `here`: bytes by file that were there at the start."""

    def __init__(self, here: dict[str, int], files: list[RepoFile]) -> None:
        self.started = time.monotonic()
        self.total = sum(file.size for file in files)
        self._here, self._before = dict(here), sum(here.values())
        self._ended, self._files = 0, len(files)
        self._seen = deque([(self.started, self._before)])

    def ended(self, file: RepoFile) -> None:
        self._here[file.name] = file.size
        self._ended += 1

    @property
    def fetched(self) -> int:
        """Bytes that this run has brought."""
        return sum(self._here.values()) - self._before

    def event(self, stage: str, file: RepoFile, done: int) -> Progress:
        self._here[file.name] = done
        now, count = time.monotonic(), sum(self._here.values())
        self._seen.append((now, count))
        while self._seen[0][0] < now - _RATE_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        (since, before), left = self._seen[0], self.total - count
        rate = max(0.0, (count - before) / max(now - since, 1e-6))
        return Progress(
            stage=stage,
            tensor=shown(file.name),
            tensors_done=self._ended,
            tensors_total=self._files,
            bytes_done=count,
            bytes_total=self.total,
            rate=rate,
            eta=left / rate if rate > 0 and stage == "download" else None,
            elapsed=now - self.started,
        )


def _result(info: RepoInfo, files: list[RepoFile], repo: RepoCache, meter: _Meter, seconds: float) -> dict[str, Any]:
    return {
        "id": info.id,
        "commit": info.commit,
        "folder": str(repo.snapshot),
        "files": [file.name for file in files],
        "bytes": meter.total,
        "fetched": meter.fetched,
        "seconds": seconds,
    }
