from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.job_queue import JobQueue
from app.job_record import JobRecord, read_records
from core import JobState, QuantizeJob, SnugError, part_path

JobFor = Callable[[str], QuantizeJob]


@pytest.fixture
def queue(qtbot: QtBot, tmp_path: Path, fake_worker: tuple[str, ...]) -> Iterator[JobQueue]:
    queue = JobQueue(tmp_path / "jobs", command=fake_worker)
    yield queue
    queue.close()


def end_of(qtbot: QtBot, queue: JobQueue, id: str) -> JobRecord:
    """The record of a job once it is over and its process is gone."""
    qtbot.waitUntil(lambda: _record(queue, id).is_over and queue._current != id, timeout=5000)
    return _record(queue, id)


def _record(queue: JobQueue, id: str) -> JobRecord:
    record = queue.record(id)
    assert record is not None
    return record


def message_of(record: JobRecord) -> str:
    assert record.failure is not None
    return record.failure.message


def test_a_job_runs_to_its_result(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    job = job_for("plain")
    with qtbot.waitSignal(queue.finished):
        id = queue.add(job).id
    record = end_of(qtbot, queue, id)
    assert (record.state, record.result["file_bytes"]) == (JobState.DONE, 10)
    assert Path(job.target).is_file()
    assert "a line for the log" in record.folder.log.read_text()
    assert [again.state for again in read_records(record.folder.path.parent)] == [JobState.DONE]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x-killed", "The worker crashed (signal 9)."),
        ("x-crash", "The worker crashed (signal 11)."),
        ("x-exit", "The worker stopped without a result (exit code 3)."),
        ("x-failed", "The disk filled up while writing."),
    ],
)
def test_every_bad_ending_is_a_failure_with_its_own_words(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, name: str, message: str
) -> None:
    record = end_of(qtbot, queue, queue.add(job_for(name)).id)
    assert (record.state, message_of(record)) == (JobState.FAILED, message)
    assert not record.target.exists()


def test_a_crash_leaves_no_unfinished_file(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = end_of(qtbot, queue, queue.add(job_for("x-killed")).id)
    assert not part_path(record.job.target).exists()


def test_running_out_of_memory_is_recognised(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr("app.worker_process.killed_for_memory", lambda: next(counts))
    record = end_of(qtbot, queue, queue.add(job_for("x-killed")).id)
    assert message_of(record) == "The computer ran out of memory, and the system stopped the worker."


@pytest.mark.parametrize("name", ["x-slow", "x-stubborn"])
def test_cancel_takes_less_than_a_second_and_leaves_nothing(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, name: str
) -> None:
    with qtbot.waitSignal(queue.progress):
        id = queue.add(job_for(name)).id
    qtbot.wait(100)
    start = time.monotonic()
    queue.cancel(id)
    assert time.monotonic() - start < 0.05
    assert _record(queue, id).cancelling
    record = end_of(qtbot, queue, id)
    assert time.monotonic() - start < 1.0
    assert record.state == JobState.CANCELLED
    assert not part_path(record.job.target).exists()


def test_jobs_are_done_one_after_another(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first, second = queue.add(job_for("a-slow")), queue.add(job_for("b"))
    qtbot.wait(200)
    assert (_record(queue, first.id).state, _record(queue, second.id).state) == (JobState.RUNNING, JobState.PENDING)
    queue.cancel(first.id)
    assert end_of(qtbot, queue, second.id).state == JobState.DONE


def test_a_job_that_waits_is_cancelled_at_once(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    queue.add(job_for("a-slow"))
    second = queue.add(job_for("b"))
    queue.cancel(second.id)
    assert _record(queue, second.id).state == JobState.CANCELLED


def test_two_jobs_cannot_write_one_file(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    queue.add(job_for("a-slow"))
    with pytest.raises(SnugError, match="already making a-slow"):
        queue.add(job_for("a-slow"))


def test_a_retry_is_the_same_job_once_more(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first = end_of(qtbot, queue, queue.add(job_for("x-exit")).id)
    again = end_of(qtbot, queue, queue.retry(first.id).id)
    assert again.id != first.id
    assert again.job == first.job


def test_removing_takes_the_folder_and_keeps_the_file(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = end_of(qtbot, queue, queue.add(job_for("plain")).id)
    queue.remove(record.id)
    assert (queue.records(), record.folder.path.exists(), record.target.exists()) == ([], False, True)


def test_a_job_that_runs_cannot_be_removed(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = queue.add(job_for("a-slow"))
    queue.remove(record.id)
    assert [kept.id for kept in queue.records()] == [record.id]


def test_closing_ends_the_worker_and_says_so_in_the_history(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    with qtbot.waitSignal(queue.progress):
        first = queue.add(job_for("a-slow"))
    second = queue.add(job_for("b"))
    assert queue._worker is not None
    pid = queue._worker.pid
    queue.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    states = {record.id: record.state for record in read_records(first.folder.path.parent)}
    assert states == {first.id: JobState.CANCELLED, second.id: JobState.CANCELLED}


def test_a_worker_that_cannot_be_started_is_a_failure(qtbot: QtBot, tmp_path: Path, job_for: JobFor) -> None:
    queue = JobQueue(tmp_path / "jobs", command=("/nowhere/python",))
    assert message_of(end_of(qtbot, queue, queue.add(job_for("x")).id)) == "The worker could not be started."
