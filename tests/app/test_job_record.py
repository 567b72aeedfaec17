from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.job_record import INTERRUPTED, JobRecord, after, read_record, read_records
from core import Begun, Done, Failed, JobState, Note, Owner, Paused, Progress, PullJob, QuantizeJob, create

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


def test_a_failed_job_may_have_made_some_of_its_files(tmp_path: Path, job_for: JobFor) -> None:
    failed = after(record(tmp_path, job_for), Failed("One is bad.", result={"target": "/a.gguf"}), 10.0)
    assert (failed.state, failed.result) == (JobState.FAILED, {"target": "/a.gguf"})
    assert after(failed, Begun(resume=True), 11.0).result == {}


def test_what_is_no_result_of_a_further_file_is_passed_over(tmp_path: Path, job_for: JobFor) -> None:
    before = record(tmp_path, job_for)
    first, other = {"target": "/a"}, {"target": "/b"}
    assert replace(before, result=first | {"also": [other, 7, "x"]}).made[1:] == [other]
    assert replace(before, result=first | {"also": 7}).made == [first | {"also": 7}]
    assert before.made == []


def test_a_failed_job_that_is_begun_again_runs_again(tmp_path: Path, job_for: JobFor) -> None:
    failed = after(record(tmp_path, job_for), Failed("The disk is full.", resumable=True), 10.0)
    assert failed.can_resume
    again = after(failed, Begun(resume=True), 20.0)
    assert (again.state, again.failure, again.started, again.ended) == (JobState.RUNNING, None, 20.0, None)
    assert after(again, Done(), 30.0).state == JobState.DONE


def test_a_wish_of_the_user_is_told_from_a_failure(tmp_path: Path, job_for: JobFor) -> None:
    assert after(record(tmp_path, job_for), Failed("Cancelled.", cancelled=True), 1.0).state == JobState.CANCELLED


def test_a_clock_that_was_set_back_makes_no_negative_time(tmp_path: Path, job_for: JobFor) -> None:
    running = after(record(tmp_path, job_for), HALF, 1000.0)
    assert after(running, Failed("No."), 10.0).seconds == 0.0
    assert after(running, Done({"seconds": 7.0}), 10.0).seconds == 7.0


def test_a_job_that_was_cut_off_can_go_on(tmp_path: Path, job_for: JobFor) -> None:
    before = record(tmp_path, job_for)
    before.folder.append(Begun())
    before.folder.append(HALF)
    again = read_record(before.folder)
    assert (again.state, again.interrupted, again.can_resume, again.notes) == (
        JobState.PAUSED, True, True, (INTERRUPTED,),
    )  # fmt: skip
    assert again.tries == 1


def test_a_job_that_somebody_works_on_runs(tmp_path: Path, job_for: JobFor) -> None:
    folder = record(tmp_path, job_for).folder
    lock = folder.claim(Owner(123, 456))
    assert lock is not None
    folder.append(Begun())
    folder.show_progress(HALF)
    found = read_record(folder)
    assert (found.state, found.owner, found.progress) == (JobState.RUNNING, Owner(123, 456), HALF)
    lock.release()
    assert read_record(folder).interrupted


def test_a_paused_job_stays_paused(tmp_path: Path, job_for: JobFor) -> None:
    before = record(tmp_path, job_for)
    for event in (Begun(), HALF, Paused("Paused.")):
        before.folder.append(event)
    again = read_record(before.folder)
    assert (again.state, again.interrupted, again.can_resume, again.tries) == (JobState.PAUSED, False, True, 0)


def test_a_job_that_never_began_waits(tmp_path: Path, job_for: JobFor) -> None:
    assert read_record(record(tmp_path, job_for).folder).state == JobState.PENDING


def test_a_download_is_called_by_its_model(tmp_path: Path) -> None:
    job = PullJob("hub:org/name@main:Q4_K_M")
    found = JobRecord(create(tmp_path, job), job)
    assert (found.model, found.name, read_record(found.folder)) == ("org/name", "Download of org/name", found)


def test_a_model_in_the_cache_has_the_name_of_its_repository(tmp_path: Path, job_for: JobFor) -> None:
    before = record(tmp_path, job_for)
    cached = "/c/hub/models--org--name/snapshots/0123456789abcdef0123456789abcdef01234567"
    assert replace(before, job=QuantizeJob(cached, "Q8_0", "/o.gguf")).model == "org/name"


def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path, job_for: JobFor) -> None:
    good = record(tmp_path, job_for)
    bad = tmp_path / "jobs" / "00000000-000000-bad"
    bad.mkdir()
    (bad / "job.json").write_text("{")
    assert [found.id for found in read_records(tmp_path / "jobs")] == [good.id]
