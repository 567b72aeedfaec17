"""What the window makes of real faults: a worker out of memory, a full disk, a stick pulled out, a clock that jumps."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytestqt.qtbot import QtBot

import app.job_queue
import core
from app.job_queue import JobQueue
from app.job_record import JobRecord, read_records
from app.worker_process import worker_command
from core import JobState, Owner, QuantizeJob
from core.running.journal import peek
from tests.models import make_llama
from tests.mounts import disk, groups, memory_group, mounts, room, unmount

__all__ = ["groups", "mounts"]

LONG = 60_000
WORKER = "from core.jobs.worker import main; main()"
JUMPING = "import time; real = time.time; time.time = lambda: real() + 4e7 * (-1) ** int(20 * time.monotonic()); "

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="makes faults as Linux has them"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("model"), num_hidden_layers=16, shards=2)


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the file that an undisturbed run makes."""
    order = job(model, tmp_path_factory.mktemp("whole"))
    *_, last = core.run(order)
    assert isinstance(last, core.Done), last
    return digest(order)


def job(model: Path, folder: Path) -> QuantizeJob:
    folder.mkdir(parents=True, exist_ok=True)
    return QuantizeJob(str(model), "Q4_K_M", str(folder / "out.gguf"), backend="reference", threads=1)


def digest(job: QuantizeJob) -> str:
    return hashlib.sha256(Path(job.target).read_bytes()).hexdigest()


class Window:
    """A queue with one job, that of an earlier window or a new one, and what becomes of it."""

    def __init__(self, qtbot: QtBot, root: Path, job: QuantizeJob, command: tuple[str, ...]) -> None:
        self.qtbot, self.job = qtbot, job
        self.queue = JobQueue(root, command=command)
        earlier = read_records(root)
        self.queue.add_earlier(earlier)
        self.id = earlier[0].id if earlier else self.queue.add(job).id

    @property
    def record(self) -> JobRecord:
        record = self.queue.record(self.id)
        assert record is not None
        return record

    def wait_for(self, ready: Callable[[JobRecord], object]) -> JobRecord:
        self.qtbot.waitUntil(lambda: bool(ready(self.record)), timeout=LONG)
        return self.record

    def wait_for_share(self, share: float) -> JobRecord:
        return self.wait_for(lambda record: record.progress and record.progress.share > share)

    def wait_for_end(self) -> JobRecord:
        return self.wait_for(lambda record: record.is_over and not self.queue.is_working)

    def check_failed(self, words: str) -> None:
        record = self.wait_for_end()
        assert record.state == JobState.FAILED
        assert record.failure is not None
        assert re.search(words, record.failure.message), record.failure
        assert record.failure.hint
        assert record.can_resume
        assert not Path(self.job.target).exists()

    def check_done(self, whole: str) -> JobRecord:
        record = self.wait_for_end()
        assert (record.state, record.failure) == (JobState.DONE, None)
        assert digest(self.job) == whole
        return record

    def check_goes_on(self, whole: str) -> JobRecord:
        self.queue.resume(self.id)
        record = self.check_done(whole)
        assert any(note.startswith("Going on") for note in record.notes)
        return record


OpenWindow = Callable[..., Window]


@pytest.fixture
def open_window(qtbot: QtBot, tmp_path: Path) -> Iterator[OpenWindow]:
    windows: list[Window] = []

    def open_one(job: QuantizeJob, command: tuple[str, ...] = (), root: Path | None = None) -> Window:
        windows.append(Window(qtbot, root or tmp_path / "jobs", job, command))
        return windows[-1]

    yield open_one
    for window in windows:
        window.queue.close()


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_a_worker_that_the_kernel_ends_for_lack_of_memory_goes_on_when_there_is_some(
    share: float, groups: None, open_window: OpenWindow, model: Path, whole: str, tmp_path: Path
) -> None:
    with memory_group() as group:
        window = open_window(job(model, tmp_path / "out"), group.command(*worker_command()))
        window.wait_for_share(share)
        with group.crowded():
            window.check_failed("^The computer ran out of memory, and the system stopped the worker.$")
        assert group.kills() > 0
        group.limit(-1)
        window.check_goes_on(whole)


def test_a_job_whose_disk_is_full_waits_and_goes_on_by_itself(
    mounts: None, open_window: OpenWindow, model: Path, whole: str, tmp_path: Path
) -> None:
    """Where the system reserves no room for a file beforehand."""
    command = (sys.executable, "-c", f"import os; del os.posix_fallocate; {WORKER}")
    with room(tmp_path / "at", 64 << 20) as place:
        window = open_window(job(model, place.folder / "out"), command)
        window.wait_for_share(0.3)
        place.leave(0)
        record = window.wait_for(lambda record: record.progress and record.progress.stage == "waiting")
        assert record.state == JobState.RUNNING
        (said,) = [note for note in record.notes if "bytes are missing" in note]
        found = re.search(r"([\d,]+) bytes", said)
        assert found is not None
        place.grow(int(found[1].replace(",", "")))
        assert window.check_done(whole).tries == 0


def test_a_disk_that_becomes_read_only_under_job_and_target_is_said_and_loses_neither(
    mounts: None, open_window: OpenWindow, model: Path, whole: str, tmp_path: Path
) -> None:
    with disk(tmp_path / "at", 32) as place:
        first = open_window(job(model, place.folder / "out"), root=place.folder / "jobs")
        first.wait_for(lambda _: peek(first.job.target).synced)
        place.fail()
        first.check_failed("became read-only|input/output error")
        first.queue.close()
        unmount(place.folder)
        place.plug_in()
        second = open_window(first.job, root=place.folder / "jobs")
        assert second.id == first.id
        record = second.check_done(whole)
        assert any(note.startswith("Going on") for note in record.notes)


def test_a_source_that_is_pulled_out_and_put_back_is_gone_on_with(
    mounts: None, open_window: OpenWindow, model: Path, whole: str, tmp_path: Path
) -> None:
    with disk(tmp_path / "stick", 64) as stick:
        source = stick.folder / model.name
        shutil.copytree(model, source)
        stick.settle()
        window = open_window(job(source, tmp_path / "out"))
        window.wait_for_share(0.3)
        stick.pull_out()
        window.check_failed("cannot be read any more")
        window.queue.resume(window.id)
        window.check_failed("does not exist")
        stick.plug_in()
        window.check_goes_on(whole)


def test_a_clock_that_jumps_by_a_year_changes_no_figure(
    open_window: OpenWindow, model: Path, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the worker and in the window, forth and back, twenty times a second."""

    def jumping() -> float:
        return time.time() + 4e7 * (-1) ** int(20 * time.monotonic())

    monkeypatch.setattr(app.job_queue, "time", SimpleNamespace(time=jumping, monotonic=time.monotonic))
    began, seen = time.monotonic(), []
    window = open_window(job(model, tmp_path / "out"), (sys.executable, "-c", JUMPING + WORKER))
    window.queue.progress.connect(lambda _: seen.append((window.record.progress, window.record.seconds)))
    record = window.check_done(whole)
    took = time.monotonic() - began
    figures = [(progress.elapsed, progress.eta or 0.0, seconds) for progress, seconds in seen]
    assert len(figures) > 3
    assert all(0 <= figure <= 10 * took for row in figures for figure in row), figures
    assert [elapsed for elapsed, *_ in figures] == sorted(elapsed for elapsed, *_ in figures)
    assert 0 < (record.seconds or 0) <= took
    (again,) = read_records(tmp_path / "jobs")
    assert (again.state, again.seconds) == (JobState.DONE, record.seconds)


def test_a_worker_that_stands_still_for_a_minute_still_has_its_job_and_goes_on(
    open_window: OpenWindow, tmp_path: Path
) -> None:
    model = make_llama(tmp_path / "long", num_hidden_layers=60)
    *_, last = core.run(replace(job(model, tmp_path / "whole"), backend="auto"))
    assert isinstance(last, core.Done), last
    window = open_window(job(model, tmp_path / "out"))
    before = window.wait_for_share(0.3).progress
    owner = window.record.folder.owner()
    assert owner is not None
    assert owner.pid > 1
    os.kill(owner.pid, signal.SIGSTOP)
    try:
        window.qtbot.wait(60_000)
        assert (window.record.state, window.record.failure) == (JobState.RUNNING, None)
        assert window.queue.silent_for(window.id) > 50
        assert window.record.folder.claim(Owner(1, 1)) is None
        (other,) = read_records(tmp_path / "jobs")
        assert (other.state, other.owner) == (JobState.RUNNING, owner)
    finally:
        os.kill(owner.pid, signal.SIGCONT)
    seen = []
    window.queue.progress.connect(lambda _: seen.append(window.record.progress))
    window.check_done(digest(job(model, tmp_path / "whole")))
    figures = [(progress.eta or 0.0, progress.rate) for progress in seen if progress and progress.stage == "encode"]
    assert len(figures) > 10
    assert before is not None
    assert before.eta is not None
    most = 3 * before.eta + 10
    assert all(eta < most for eta, _ in figures), (before, figures)
    assert all(before.rate / 10 < rate < before.rate * 10 for _, rate in figures), (before, figures)
