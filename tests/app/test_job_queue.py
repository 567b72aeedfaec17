from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.job_queue import MOST_TRIES, Closing, JobQueue
from app.job_record import JobRecord, read_records
from app.worker_process import PATIENCE_MS, WorkerProcess
from core import (
    Begun,
    Failed,
    Job,
    JobState,
    Limits,
    Owner,
    Progress,
    PullJob,
    QuantizeJob,
    ReproduceJob,
    SnugError,
    Stop,
    create,
    part_path,
)

JobFor = Callable[[str], QuantizeJob]
HALF = Progress("encode", "", 0, 400, 0, 1, 0.0, None, 0.0)


@pytest.fixture
def queue(qtbot: QtBot, tmp_path: Path, fake_worker: tuple[str, ...]) -> Iterator[JobQueue]:
    queue = JobQueue(tmp_path / "jobs", command=fake_worker)
    yield queue
    queue.close()


def end_of(qtbot: QtBot, queue: JobQueue, id: str) -> JobRecord:
    """The record of a job once it is over and its process is gone."""
    qtbot.waitUntil(lambda: _record(queue, id).is_over and id not in queue._workers, timeout=5000)
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
    assert record.folder.owner() is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x-killed", "The worker crashed (signal 9, SIGKILL): something outside Snug ended it."),
        (
            "x-crash",
            "The worker crashed (signal 11, SIGSEGV): "
            "it touched memory that is not its own, which is a bug or bad RAM.",
        ),
        ("x-exit", "The worker stopped without a result (exit code 3)."),
        ("x-failed", "The disk filled up while writing."),
    ],
)
@pytest.mark.usefixtures("no_memory_kills")
def test_every_bad_ending_is_a_failure_with_its_own_words(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, name: str, message: str
) -> None:
    record = end_of(qtbot, queue, queue.add(job_for(name)).id)
    assert (record.state, message_of(record)) == (JobState.FAILED, message)
    assert not record.target.exists()


def test_a_crash_keeps_what_is_done_to_go_on_with(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = end_of(qtbot, queue, queue.add(job_for("x-killed")).id)
    assert part_path(record.target).exists()
    assert record.can_resume
    queue.resume(record.id)
    assert [again.id for again in queue.records()] == [record.id]
    again = end_of(qtbot, queue, record.id)
    begins = [event for _, event in again.folder.events() if isinstance(event, Begun)]
    assert begins == [Begun(resume=False), Begun(resume=True)]


def test_running_out_of_memory_is_recognised(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr("app.worker_process.memory_kills", lambda: next(counts))
    record = end_of(qtbot, queue, queue.add(job_for("x-killed")).id)
    assert message_of(record) == "The computer ran out of memory, and the system stopped the worker."


@pytest.mark.parametrize("name", ["x-slow", "x-stubborn", "x-deaf"])
def test_cancel_takes_less_than_a_second_and_leaves_nothing(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, name: str
) -> None:
    with qtbot.waitSignal(queue.progress):
        id = queue.add(job_for(name)).id
    qtbot.wait(100)
    start = time.monotonic()
    queue.cancel(id)
    assert time.monotonic() - start < 0.05
    assert _record(queue, id).ending == "throw away"
    record = end_of(qtbot, queue, id)
    assert time.monotonic() - start < 1.0
    assert record.state == JobState.CANCELLED
    qtbot.waitUntil(lambda: not part_path(record.target).exists(), timeout=1000)


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


def test_removing_takes_what_is_kept_of_a_file_that_was_only_to_be_compared(
    qtbot: QtBot, queue: JobQueue, tmp_path: Path
) -> None:
    place = tmp_path / ".snug-reproduce-x"
    place.mkdir()
    folder = create(tmp_path / "jobs", ReproduceJob(str(tmp_path / "a.gguf"), str(tmp_path), str(place)))
    for event in (Begun(), HALF, Failed("Cancelled.", cancelled=True, resumable=True)):
        folder.append(event)
    queue.add_earlier(read_records(tmp_path / "jobs"))
    queue.remove(folder.id)
    qtbot.waitUntil(lambda: not place.exists())


def test_a_job_that_runs_cannot_be_removed(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = queue.add(job_for("a-slow"))
    queue.remove(record.id)
    assert [kept.id for kept in queue.records()] == [record.id]


def test_a_worker_that_cannot_be_started_is_a_failure(qtbot: QtBot, tmp_path: Path, job_for: JobFor) -> None:
    queue = JobQueue(tmp_path / "jobs", command=("/nowhere/python",))
    assert message_of(end_of(qtbot, queue, queue.add(job_for("x")).id)) == "The worker could not be started."


def running(qtbot: QtBot, queue: JobQueue, job: QuantizeJob) -> JobRecord:
    """A job that has come to its first progress."""
    id = queue.add(job).id
    qtbot.waitUntil(lambda: _record(queue, id).progress is not None)
    return _record(queue, id)


def pid_of(queue: JobQueue, id: str) -> int:
    worker = queue._workers.of(id)
    assert isinstance(worker, WorkerProcess)
    return worker.pid


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "(zombie)" not in Path(f"/proc/{pid}/status").read_text()


# Pause, resume, and what becomes of what is done


def test_a_paused_job_lets_the_next_one_run_and_goes_on_later(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first = running(qtbot, queue, job_for("a-slow"))
    second = queue.add(job_for("b"))
    queue.pause(first.id)
    assert _record(queue, first.id).ending == "pause"
    assert end_of(qtbot, queue, second.id).state == JobState.DONE
    assert _record(queue, first.id).state == JobState.PAUSED
    assert part_path(first.target).exists()
    queue.resume(first.id)

    def begins() -> list[Begun]:
        return [event for _, event in first.folder.events() if isinstance(event, Begun)]

    qtbot.waitUntil(lambda: begins() == [Begun(resume=False), Begun(resume=True)])
    queue.cancel(first.id)
    end_of(qtbot, queue, first.id)


def test_a_job_that_waits_can_be_passed_over(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first = running(qtbot, queue, job_for("a-slow"))
    second, third = queue.add(job_for("b")), queue.add(job_for("c"))
    queue.pause(second.id)
    queue.cancel(first.id)
    assert end_of(qtbot, queue, third.id).state == JobState.DONE
    assert _record(queue, second.id).state == JobState.PAUSED
    assert read_records(first.folder.path.parent)[1].state == JobState.PAUSED
    queue.resume(second.id)
    assert end_of(qtbot, queue, second.id).state == JobState.DONE


def test_cancelling_may_keep_what_is_done(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    queue.cancel(record.id, Stop.KEEP)
    record = end_of(qtbot, queue, record.id)
    assert (record.state, record.can_resume, part_path(record.target).exists()) == (JobState.CANCELLED, True, True)


def test_a_paused_job_that_is_thrown_away_leaves_nothing(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    queue.pause(record.id)
    qtbot.waitUntil(lambda: _record(queue, record.id).state == JobState.PAUSED)
    queue.cancel(record.id)
    qtbot.waitUntil(lambda: _record(queue, record.id).state == JobState.CANCELLED)
    qtbot.waitUntil(lambda: not part_path(record.target).exists())


def test_a_worker_that_hears_nothing_is_paused_all_the_same(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PATIENCE_MS, Stop.PAUSE, 200)
    record = running(qtbot, queue, job_for("a-deaf"))
    queue.pause(record.id)
    qtbot.waitUntil(lambda: _record(queue, record.id).state == JobState.PAUSED)
    assert read_records(record.folder.path.parent)[0].state == JobState.PAUSED
    assert part_path(record.target).exists()


@pytest.mark.parametrize(
    ("stop", "state", "message"),
    [
        (Stop.PAUSE, JobState.PAUSED, "Paused before it began."),
        (Stop.KEEP, JobState.CANCELLED, "It had not begun when it was cancelled."),
        (Stop.THROW_AWAY, JobState.CANCELLED, "It had not begun when it was cancelled."),
    ],
)
def test_a_worker_that_still_starts_is_ended_without_being_asked(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, monkeypatch: pytest.MonkeyPatch,
    stop: Stop, state: JobState, message: str,
) -> None:  # fmt: skip
    for each in Stop:
        monkeypatch.setitem(PATIENCE_MS, each, 60_000)
    id = queue.add(job_for("x-starting")).id
    queue.pause(id) if stop == Stop.PAUSE else queue.cancel(id, stop)
    qtbot.waitUntil(lambda: not queue.is_working)
    record = _record(queue, id)
    assert (record.state, record.notes[-1] if stop == Stop.PAUSE else message_of(record)) == (state, message)
    assert read_records(record.folder.path.parent)[0].state == state


@pytest.mark.parametrize("name", ["b", "x-starting"])
def test_what_a_job_before_it_has_left_of_its_file_stays_when_it_is_cancelled_before_it_began(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    swept: list[Job] = []
    monkeypatch.setattr("app.job_queue.sweep", swept.append)
    if name == "b":
        running(qtbot, queue, job_for("a-slow"))
    id = queue.add(job_for(name)).id
    queue.cancel(id)
    end_of(qtbot, queue, id)
    assert swept == []


def test_what_is_left_of_a_file_made_once_more_is_swept_up(qtbot: QtBot, tmp_path: Path) -> None:
    place, file = tmp_path / ".snug-reproduce-1", tmp_path / "a.gguf"
    place.mkdir()
    (place / "a.gguf.snug-part").write_bytes(b"unfinished")
    file.write_bytes(b"the first")
    queue = JobQueue(tmp_path / "jobs", command=("/bin/sleep", "60"))
    id = queue.add(ReproduceJob(str(file), "/m", str(place))).id
    with pytest.raises(SnugError, match=r"already making a\.gguf"):
        queue.add(QuantizeJob("/m", "Q8_0", str(file), overwrite=True))
    queue.cancel(id)
    qtbot.waitUntil(lambda: not queue.is_working and not place.exists())
    assert file.read_bytes() == b"the first"
    queue.close()


def test_what_an_earlier_run_has_done_stays_when_the_next_one_is_paused_before_it_goes_on(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, fake_worker: tuple[str, ...]
) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    queue.pause(record.id)
    qtbot.waitUntil(lambda: not queue.is_working)
    queue._workers.command = ("/bin/sleep", "60")
    queue.resume(record.id)
    queue.pause(record.id)
    qtbot.waitUntil(lambda: not queue.is_working)
    assert _record(queue, record.id).state == JobState.PAUSED
    assert part_path(record.target).read_bytes() == b"unfinished"
    queue._workers.command = fake_worker
    queue.resume(record.id)
    queue.cancel(record.id, Stop.KEEP)
    assert message_of(end_of(qtbot, queue, record.id)) == "Cancelled. What was done is kept."


def test_a_stopped_worker_can_be_cancelled(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    os.kill(pid_of(queue, record.id), signal.SIGSTOP)
    queue.cancel(record.id)
    assert end_of(qtbot, queue, record.id).state == JobState.CANCELLED


# The line


def test_a_download_runs_beside_a_quantization_but_not_beside_another(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, tmp_path: Path
) -> None:
    compute = running(qtbot, queue, job_for("a-slow"))
    first, second = (queue.add(PullJob(str(tmp_path / name))) for name in ("one-slow", "two-slow"))
    states = [_record(queue, record.id).state for record in (compute, first, second)]
    assert states == [JobState.RUNNING, JobState.RUNNING, JobState.PENDING]


def test_the_line_can_be_changed_and_is_remembered(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first = running(qtbot, queue, job_for("a-slow"))
    b, c, d = queue.add_all([job_for("b"), job_for("c"), job_for("d")])
    queue.move(d.id, b.id)
    queue.move(b.id, "")
    expected = [first.id, d.id, c.id, b.id]
    assert [record.id for record in queue.open_jobs()] == expected
    queue.close(Closing.DETACH)
    os.kill(first_pid(first), signal.SIGKILL)
    again = JobQueue(first.folder.path.parent, command=queue._workers.command)
    again.add_earlier(read_records(first.folder.path.parent))
    assert [record.id for record in again.open_jobs()] == expected
    again.close(Closing.CANCEL)


def first_pid(record: JobRecord) -> int:
    owner = record.folder.owner()
    assert owner is not None
    assert owner.pid > 1
    return owner.pid


def test_many_jobs_are_added_whole_or_not_at_all(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    with pytest.raises(SnugError, match="already making b"):
        queue.add_all([job_for("a"), job_for("b"), job_for("b")])
    assert queue.records() == []
    assert read_records(queue._root) == []


def test_a_copy_is_for_a_file_of_its_own(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    assert [queue.duplicate(record.id).target.name for _ in range(2)] == ["a-slow-2.gguf", "a-slow-3.gguf"]


def test_new_limits_reach_a_running_job(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    queue.set_limits(Limits(threads=3))
    qtbot.waitUntil(lambda: _record(queue, record.id).notes == ("threads 3",), timeout=2000)


def test_holding_pauses_everything_until_it_goes_on(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first, second = running(qtbot, queue, job_for("a-slow")), queue.add(job_for("b"))
    queue.hold()
    qtbot.waitUntil(lambda: _record(queue, first.id).state == JobState.PAUSED)
    qtbot.wait(50)
    assert _record(queue, second.id).state == JobState.PENDING
    queue.go_on()
    qtbot.waitUntil(lambda: _record(queue, first.id).state == JobState.RUNNING)


def test_a_job_that_is_about_to_pause_goes_on_when_all_do(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first, states = running(qtbot, queue, job_for("a-slow")), list[JobState]()
    queue.changed.connect(lambda id: states.append(_record(queue, id).state))
    queue.hold()
    queue.go_on()
    qtbot.waitUntil(lambda: JobState.PAUSED in states)
    qtbot.waitUntil(lambda: _record(queue, first.id).state == JobState.RUNNING)


def test_the_last_job_of_the_line_makes_the_queue_idle(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    with qtbot.waitSignal(queue.idle):
        queue.add_all([job_for("a"), job_for("b")])
    assert [record.state for record in queue.records()] == [JobState.DONE, JobState.DONE]


# Closing, and the next start


def next_start(queue: JobQueue) -> JobQueue:
    again = JobQueue(queue._root, command=queue._workers.command)
    again.add_earlier(read_records(queue._root))
    return again


def test_closing_pauses_and_the_next_start_waits_for_a_word(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first, second = running(qtbot, queue, job_for("a-slow")), queue.add(job_for("b"))
    pid = pid_of(queue, first.id)
    queue.close()
    assert not is_alive(pid)
    again = next_start(queue)
    qtbot.wait(50)
    assert [record.state for record in again.open_jobs()] == [JobState.PAUSED, JobState.PENDING]
    assert again.is_held
    again.go_on()
    qtbot.waitUntil(lambda: _record(again, first.id).state == JobState.RUNNING)
    again.cancel(first.id)
    assert end_of(qtbot, again, second.id).state == JobState.DONE
    again.close()


def test_all_that_is_paused_before_the_history_is_read_stays_so(
    qtbot: QtBot, tmp_path: Path, fake_worker: tuple[str, ...], job_for: JobFor
) -> None:
    queue = JobQueue(tmp_path / "jobs", command=fake_worker, listing=True)
    queue.hold()
    queue.add(job_for("plain"))
    queue.add_earlier([])
    assert queue.is_held
    assert not queue.is_working
    queue.close()


def test_closing_may_cancel_everything(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    first, second = running(qtbot, queue, job_for("a-slow")), queue.add(job_for("b"))
    queue.close(Closing.CANCEL)
    states = {record.id: record.state for record in read_records(queue._root)}
    assert states == {first.id: JobState.CANCELLED, second.id: JobState.CANCELLED}
    assert not part_path(first.target).exists()


def test_a_worker_works_on_without_a_window_and_is_picked_up(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    pid = pid_of(queue, record.id)
    queue.close(Closing.DETACH)
    qtbot.waitUntil(lambda: record.folder.owner() == Owner(pid, 0))
    again = next_start(queue)
    found = _record(again, record.id)
    assert (found.state, found.owner) == (JobState.RUNNING, Owner(pid, 0))
    step = found.progress.tensors_done if found.progress else 0
    qtbot.waitUntil(lambda: (_record(again, record.id).progress or HALF).tensors_done > step + 2)
    again.pause(record.id)
    qtbot.waitUntil(lambda: _record(again, record.id).state == JobState.PAUSED)
    assert not is_alive(pid)
    qtbot.waitUntil(lambda: not again.is_working)
    again.hold()
    again.resume(record.id)
    again._look()
    assert _record(again, record.id).state == JobState.PENDING
    again.go_on()
    qtbot.waitUntil(lambda: isinstance(again._workers.of(record.id), WorkerProcess))
    again.close(Closing.CANCEL)


def test_what_ended_without_a_window_is_history(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    queue.close(Closing.DETACH)
    record.folder.order({"stop": "throw away"})
    qtbot.waitUntil(lambda: record.folder.owner() is None)
    assert _record(next_start(queue), record.id).state == JobState.CANCELLED


@pytest.mark.parametrize("by_itself", [True, False])
def test_what_was_cut_off_goes_on_by_itself_if_that_is_wished(
    qtbot: QtBot, queue: JobQueue, job_for: JobFor, *, by_itself: bool
) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    queue.close(Closing.DETACH)
    os.kill(first_pid(record), signal.SIGKILL)
    qtbot.waitUntil(lambda: record.folder.owner() is None)
    again = JobQueue(queue._root, command=queue._workers.command)
    again.resumes_by_itself = by_itself
    again.add_earlier(read_records(queue._root))
    assert _record(again, record.id).state == (JobState.RUNNING if by_itself else JobState.PAUSED)
    assert _record(again, record.id).resume
    again.close(Closing.CANCEL)


def test_what_is_cut_off_again_and_again_waits_for_a_word(tmp_path: Path, queue: JobQueue, job_for: JobFor) -> None:
    folder = create(queue._root, job_for("a-slow"))
    for _ in range(MOST_TRIES):
        folder.append(Begun())
    queue.add_earlier(read_records(queue._root))
    assert _record(queue, folder.id).state == JobState.PAUSED


# Another window


@pytest.fixture
def second(queue: JobQueue) -> Iterator[JobQueue]:
    second = JobQueue(queue._root, command=queue._workers.command)
    yield second
    second.close()


def test_a_second_window_starts_nothing_and_fails_nothing(
    qtbot: QtBot, queue: JobQueue, second: JobQueue, job_for: JobFor
) -> None:
    first = running(qtbot, queue, job_for("a-slow"))
    waiting = queue.add(job_for("b"))
    second.add_earlier(read_records(queue._root))
    assert not second.is_first
    assert second.first_window() == os.getpid()
    assert [record.state for record in second.open_jobs()] == [JobState.RUNNING, JobState.PENDING]
    second.cancel(waiting.id)
    second.pause(waiting.id)
    second._look()
    assert _record(second, waiting.id).state == JobState.PENDING
    queue.cancel(first.id)
    qtbot.waitUntil(lambda: _record(second, first.id).state == JobState.CANCELLED)
    end_of(qtbot, queue, waiting.id)
    second._look()
    assert _record(second, waiting.id).state == JobState.DONE


def test_a_second_window_sees_that_the_first_lets_a_failed_job_go_on(
    qtbot: QtBot, queue: JobQueue, second: JobQueue, job_for: JobFor
) -> None:
    record = running(qtbot, queue, job_for("a-slow"))
    queue.cancel(record.id, Stop.KEEP)
    end_of(qtbot, queue, record.id)
    second.add_earlier(read_records(queue._root))
    second._look()
    assert _record(second, record.id).state == JobState.CANCELLED
    with pytest.raises(SnugError, match="Another window"):
        second.resume(record.id)
    queue.resume(record.id)
    qtbot.waitUntil(lambda: record.folder.owner() is not None)
    second._look()
    assert [again.state for again in second.open_jobs()] == [JobState.RUNNING]
    queue.cancel(record.id)
    qtbot.waitUntil(lambda: second.open_jobs() == [])
    assert [again.state for again in second.records()] == [JobState.CANCELLED]


def test_what_a_second_window_adds_is_done_by_the_first(
    qtbot: QtBot, queue: JobQueue, second: JobQueue, job_for: JobFor
) -> None:
    added = second.add(job_for("a"))
    assert _record(second, added.id).state == JobState.PENDING
    queue._look()
    assert end_of(qtbot, queue, added.id).state == JobState.DONE


def test_the_second_window_becomes_the_first(qtbot: QtBot, queue: JobQueue, second: JobQueue, job_for: JobFor) -> None:
    first, waiting = running(qtbot, queue, job_for("a-slow")), queue.add(job_for("b"))
    second.add_earlier(read_records(queue._root))
    queue.close(Closing.CANCEL)
    second._look()
    assert second.is_first
    qtbot.waitUntil(lambda: first.id not in second._workers)
    assert [_record(second, record.id).state for record in (first, waiting)] == [JobState.CANCELLED] * 2
    assert end_of(qtbot, second, second.add(job_for("c")).id).state == JobState.DONE


# What may lie in a folder


def test_an_ending_that_a_worker_could_not_write_is_made_up_for(qtbot: QtBot, queue: JobQueue, job_for: JobFor) -> None:
    record = end_of(qtbot, queue, queue.add(job_for("a-mute")).id)
    assert record.state == JobState.DONE
