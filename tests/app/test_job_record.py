from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.job_record import LOST, NEVER_BEGAN, JobRecord, after, read_record, read_records
from core import Done, Failed, JobState, Note, Progress, QuantizeJob, create

JobFor = Callable[[str], QuantizeJob]
HALF = Progress("encode", "blk.0.ffn_up.weight", 1, 2, 50, 100, 10.0, 5.0, 4.0)


def record(tmp_path: Path, job_for: JobFor) -> JobRecord:
    job = job_for("x")
    return JobRecord(create(tmp_path / "jobs", job), job)


def test_a_job_runs_from_its_first_progress_and_ends_with_done(tmp_path: Path, job_for: JobFor) -> None:
    running = after(after(record(tmp_path, job_for), Note("New kernels."), 9.0), HALF, 10.0)
    assert (running.state, running.started, running.notes, running.seconds) == (
        JobState.RUNNING, 10.0, ("New kernels.",), 4.0,
    )  # fmt: skip
    done = after(running, Done({"file_bytes": 7}), 15.0)
    assert (done.state, done.result, done.seconds) == (JobState.DONE, {"file_bytes": 7}, 5.0)


def test_a_failed_job_is_never_shown_as_done(tmp_path: Path, job_for: JobFor) -> None:
    failed = after(record(tmp_path, job_for), Failed("The disk is full."), 10.0)
    assert after(failed, Done(), 11.0).state == JobState.FAILED


def test_a_wish_of_the_user_is_told_from_a_failure(tmp_path: Path, job_for: JobFor) -> None:
    assert after(record(tmp_path, job_for), Failed("Cancelled.", cancelled=True), 1.0).state == JobState.CANCELLED


def test_a_job_that_was_cut_off_counts_as_failed_when_it_is_read_again(tmp_path: Path, job_for: JobFor) -> None:
    before = record(tmp_path, job_for)
    before.folder.append(HALF)
    again = read_record(before.folder)
    assert (again.state, again.failure) == (JobState.FAILED, LOST)


def test_a_job_that_never_began_counts_as_cancelled(tmp_path: Path, job_for: JobFor) -> None:
    again = read_record(record(tmp_path, job_for).folder)
    assert (again.state, again.failure) == (JobState.CANCELLED, NEVER_BEGAN)


def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path, job_for: JobFor) -> None:
    good = record(tmp_path, job_for)
    bad = tmp_path / "jobs" / "00000000-000000-bad"
    bad.mkdir()
    (bad / "job.json").write_text("{")
    assert [found.id for found in read_records(tmp_path / "jobs")] == [good.id]
