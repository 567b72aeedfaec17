"""Nothing breaks a job: whoever is killed at whatever moment, the next start ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

import core
from app.job_queue import JobQueue
from app.job_record import JobRecord, read_records
from core import Begun, JobState, QuantizeJob
from tests.core.jobs.test_job_folder import FILES, spoil
from tests.models import SAMPLE

ROOT = Path(core.__file__).parent.parent
KILLS = 18
PATIENCE = 60.0
TARGETS = ("worker", "window", "both")
JobFor = Callable[[str], QuantizeJob]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes with a POSIX signal")


def lone_window(root: Path, *jobs: QuantizeJob, then: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    lines = [json.dumps(asdict(job)) for job in jobs]
    command = [sys.executable, "-m", "tests.app.lone_window", str(root), *lines, *then]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def wait_for(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def begun(root: Path) -> JobRecord | None:
    """The one job under `root`, once a worker has it."""
    return next((record for record in read_records(root) if record.owner is not None and record.owner.pid), None)


def progress_of(root: Path) -> core.Progress | None:
    """What the worker of the one job under `root` last said."""
    return next((record.folder.shown_progress() for record in read_records(root)), None)


def is_over(root: Path) -> bool:
    return all(record.is_over for record in read_records(root)) and bool(read_records(root))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill(pid: int) -> None:
    assert pid > 1
    with suppress(ProcessLookupError):  # gone already
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """The hash of the file that an undisturbed run makes, and how long that takes from the first progress on."""
    folder = tmp_path_factory.mktemp("whole")
    job = job_to(folder)
    for number in range(2):  # the first one compiles the kernels
        window = lone_window(folder / f"jobs{number}", QuantizeJob(**{**asdict(job), "overwrite": True}))
        wait_for(lambda number=number: progress_of(folder / f"jobs{number}"))  # type: ignore[misc]
        started = time.monotonic()
        assert window.wait(PATIENCE) == 0
    return digest(Path(job.target)), time.monotonic() - started


def job_to(folder: Path) -> QuantizeJob:
    return QuantizeJob(str(SAMPLE), "Q4_K_M", str(folder / "o.gguf"), backend="reference")


@pytest.mark.slow
def test_whoever_is_killed_the_file_is_the_same(whole: tuple[str, float], tmp_path: Path) -> None:
    chance, stages = random.Random(7), set[str]()
    for number in range(KILLS):
        folder, target = tmp_path / str(number), TARGETS[number % len(TARGETS)]
        job, jobs = job_to(folder), folder / "jobs"
        folder.mkdir()
        window = lone_window(jobs, job)
        early = number // len(TARGETS) % 3 == 0  # one third before there is anything, the others at work
        wait_for(lambda jobs=jobs: begun(jobs) or is_over(jobs))  # type: ignore[misc]
        if not early:
            wait_for(lambda jobs=jobs: progress_of(jobs))  # type: ignore[misc]
        time.sleep(chance.uniform(0, whole[1]))
        record, progress = begun(jobs), progress_of(jobs)
        stages.add(progress.stage if progress else "start")
        if target != "worker":
            window.kill()
            window.wait()
        if target != "window" and record is not None and record.owner is not None:
            kill(record.owner.pid)
        if target != "worker":
            wait_for(lambda jobs=jobs: begun(jobs) is None)  # type: ignore[misc]
            window = lone_window(jobs)
        assert window.wait(PATIENCE) == 0
        (record,) = read_records(jobs)
        assert (record.state, digest(Path(job.target))) == (JobState.DONE, whole[0]), (number, target)
        assert sorted(path.name for path in folder.iterdir() if "snug-" in path.name) == []
    assert {"start", "encode"} <= stages


@pytest.mark.slow
def test_paused_again_and_again_while_it_starts_the_file_is_the_same(
    whole: tuple[str, float], qtbot: QtBot, tmp_path: Path
) -> None:
    job, chance, queue = job_to(tmp_path), random.Random(5), JobQueue(tmp_path / "jobs")
    id = queue.add(job).id
    qtbot.waitUntil(lambda: getattr(queue.record(id), "progress", None) is not None, timeout=60_000)
    for _ in range(6):
        queue.pause(id)
        qtbot.waitUntil(lambda: not queue.is_working)
        queue.resume(id)
        qtbot.wait(round(chance.uniform(0, 700)))
    qtbot.waitUntil(lambda: not queue.open_jobs(), timeout=60_000)
    record = queue.record(id)
    assert record is not None
    assert (record.state, digest(Path(job.target))) == (JobState.DONE, whole[0])
    queue.close()


@pytest.mark.slow
def test_a_worker_outlives_its_window(tmp_path: Path) -> None:
    job, jobs = job_to(tmp_path), tmp_path / "jobs"
    window = lone_window(jobs, job, then=("detach",))
    assert window.wait(PATIENCE) == 0
    record = begun(jobs)
    assert record is not None
    assert record.owner is not None
    assert record.owner.window == 0
    wait_for(lambda: begun(jobs) is None)
    (record,) = read_records(jobs)
    assert (record.state, record.tries) == (JobState.DONE, 0)
    assert core.verify_file(job.target).ok


@pytest.mark.slow
def test_many_jobs_in_a_row_leave_nothing_behind(qtbot: QtBot, tmp_path: Path) -> None:
    """With a worker that is quick, so that it is the window's own part that shows."""
    done = json.dumps({"event": "done", "result": {"seconds": 0.0}})
    quick = tmp_path / "quick.sh"
    quick.write_text(f"read line\necho '{done}'\n")
    queue = JobQueue(tmp_path / "jobs", command=("/bin/sh", str(quick)))
    seen = []
    for part in range(4):
        jobs = [QuantizeJob("/m", "Q8_0", str(tmp_path / f"{part}-{number}.gguf")) for number in range(50)]
        with qtbot.waitSignal(queue.idle, timeout=60_000):
            queue.add_all(jobs)
        qtbot.wait(50)
        seen.append(taken(queue))
    assert [record.state for record in queue.records()] == [JobState.DONE] * 200
    (handles, threads, children, objects, memory), last = seen[0], seen[-1]
    assert last[:4] == (handles, threads, children, objects)
    assert last[4] - memory < 4 << 20  # 150 records take about 1 MB
    queue.close()


def taken(queue: JobQueue) -> tuple[int, int, int, int, int]:
    """Handles, threads, child processes, Qt objects and bytes of memory of this process."""
    me = Path("/proc/self")
    children = sum(len((task / "children").read_text().split()) for task in (me / "task").iterdir())
    memory = int((me / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(list((me / "fd").iterdir())), len(list((me / "task").iterdir())), children, len(queue.children()), memory


@pytest.mark.slow
def test_some_real_jobs_in_a_row_leave_nothing_behind(qtbot: QtBot, tmp_path: Path) -> None:
    queue = JobQueue(tmp_path / "jobs")
    seen = []
    for part in range(2):
        jobs = [QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / f"{part}-{number}.gguf")) for number in range(2)]
        with qtbot.waitSignal(queue.idle, timeout=120_000):
            queue.add_all(jobs)
        qtbot.wait(50)
        seen.append(taken(queue))
    assert [record.state for record in queue.records()] == [JobState.DONE] * 4
    assert seen[0][:4] == seen[1][:4]
    queue.close()


def test_a_worker_that_stands_still_for_a_while_goes_on(
    qtbot: QtBot, tmp_path: Path, fake_worker: tuple[str, ...], job_for: JobFor
) -> None:
    queue = JobQueue(tmp_path / "jobs", command=fake_worker)
    record = queue.add(job_for("a-slow"))
    qtbot.waitUntil(lambda: getattr(queue.record(record.id), "progress", None) is not None)
    owner = record.folder.owner()
    assert owner is not None
    assert owner.pid > 1
    os.kill(owner.pid, signal.SIGSTOP)
    qtbot.wait(300)
    assert [found.state for found in queue.open_jobs()] == [JobState.RUNNING]
    os.kill(owner.pid, signal.SIGCONT)
    queue.cancel(record.id, core.Stop.KEEP)
    qtbot.waitUntil(lambda: not queue.is_working)
    found = queue.record(record.id)
    assert found is not None
    assert found.failure is not None
    assert found.failure.message == "Cancelled. What was done is kept."
    queue.close()


def test_a_window_opens_whatever_lies_in_the_folders_of_its_jobs(
    qtbot: QtBot, tmp_path: Path, fake_worker: tuple[str, ...], job_for: JobFor
) -> None:
    chance, root = random.Random(3), tmp_path / "jobs"
    for number in range(40):
        folder = core.create(root, job_for(f"{number}"))
        folder.append(Begun())
        for name in FILES:
            if number % 2 or name != "job.json":
                spoil(folder.path / name, chance)
    for name in ("queue.json", "window"):
        spoil(root / name, random.Random(1))
    queue = JobQueue(root, command=fake_worker)
    queue.add_earlier(read_records(root))
    queue._look()
    qtbot.waitUntil(lambda: not [r for r in queue.open_jobs() if r.state in (JobState.PENDING, JobState.RUNNING)])
    ends = {record.target.name: record.state for record in queue.records()}
    assert len(ends) >= 20
    again = queue.add(job_for("again"))
    qtbot.waitUntil(lambda: not queue.is_working)
    assert [record.state for record in queue.records() if record.id == again.id] == [JobState.DONE]
    queue.close()
