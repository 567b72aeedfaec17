from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.job_list import JobList
from app.job_record import JobRecord
from core import JobFolder, JobState, QuantizeJob


def record(id: str, state: JobState = JobState.PENDING) -> JobRecord:
    return JobRecord(JobFolder(Path("/jobs") / id), QuantizeJob("/m", "Q8_0", f"/out/{id}.gguf"), state)


def names(records: list[JobRecord]) -> str:
    return "".join(record.id for record in records)


def filled() -> JobList:
    jobs = JobList()
    for id in "abcd":
        jobs.put(record(id))
    return jobs


def test_what_runs_comes_first_and_what_is_over_last_with_the_newest_first() -> None:
    jobs = filled()
    jobs.put(record("c", JobState.RUNNING))
    for id in "ba":
        jobs.put(record(id, JobState.DONE))
    assert names(jobs.open_jobs()) == "cd"
    assert names(jobs.all()) == "cdab"


def test_a_job_that_goes_on_after_its_end_is_in_the_line_again() -> None:
    jobs = filled()
    jobs.put(record("a", JobState.FAILED))
    jobs.put(record("a"))
    assert names(jobs.open_jobs()) == "bcda"


def test_earlier_jobs_stand_before_the_others_in_the_order_that_was_kept() -> None:
    jobs = JobList()
    jobs.put(record("z"))
    known = replace(record("z"), ending="pause")
    new = jobs.put_earlier([record("a"), record("b"), record("x", JobState.DONE), known], "ba")
    assert names(new) == "abx"
    assert names(jobs.open_jobs()) == "baz"
    assert jobs["z"].ending == ""


def test_a_job_is_moved_only_within_the_line() -> None:
    jobs = filled()
    assert jobs.move("d", "b")
    assert not jobs.move("x", "b")
    assert not jobs.move("a", "a")
    assert names(jobs.open_jobs()) == "adbc"


def test_what_open_jobs_make_is_taken() -> None:
    jobs = filled()
    jobs.put(record("a", JobState.DONE))
    assert jobs.taken(but="b") == {"/out/c.gguf", "/out/d.gguf"}
    jobs.drop("a")
    assert jobs.get("a") is None
