from __future__ import annotations

from pathlib import Path

from app.job_line import ahead_of, at_level, copy_of, moved, ordered, outputs_of, startable, unmade
from app.job_record import JobRecord
from core import Job, JobFolder, JobState, PullJob, QuantizeJob

LOCAL, STREAM, PULL = QuantizeJob("/m", "Q8_0", "/o"), QuantizeJob("hub:a/b", "Q8_0", "/p"), PullJob("a/b")


def line(*jobs: tuple[Job, JobState]) -> list[JobRecord]:
    return [JobRecord(JobFolder(Path(f"/jobs/{number}")), job, state) for number, (job, state) in enumerate(jobs)]


def ids(records: list[JobRecord]) -> list[str]:
    return [record.id for record in records]


def test_of_each_lane_one_starts() -> None:
    wait, run = JobState.PENDING, JobState.RUNNING
    assert ids(startable(line((LOCAL, wait), (LOCAL, wait), (PULL, wait), (PULL, wait)))) == ["0", "2"]
    assert ids(startable(line((LOCAL, run), (LOCAL, wait), (PULL, wait)))) == ["2"]


def test_nobody_overtakes_who_waits_for_the_same_lane() -> None:
    wait, run = JobState.PENDING, JobState.RUNNING
    assert ids(startable(line((LOCAL, run), (STREAM, wait), (PULL, wait)))) == []
    assert ids(startable(line((LOCAL, run), (PULL, wait), (STREAM, wait)))) == ["1"]


def test_what_is_paused_holds_nobody_up() -> None:
    records = line((STREAM, JobState.PAUSED), (LOCAL, JobState.PENDING))
    assert ids(startable(records)) == ["1"]
    assert ahead_of(records[1], records) == 0


def test_who_is_ahead_uses_the_same_lanes() -> None:
    records = line((LOCAL, JobState.RUNNING), (PULL, JobState.RUNNING), (LOCAL, JobState.PENDING))
    assert ahead_of(records[2], records) == 1


def test_the_line_can_be_changed() -> None:
    assert moved("abcd", "d", "b") == ["a", "d", "b", "c"]
    assert moved("abcd", "a", "") == ["b", "c", "d", "a"]
    assert ordered("abcd", "db") == ["d", "b", "a", "c"]


def test_a_copy_has_the_first_free_name(tmp_path: Path) -> None:
    (tmp_path / "a-2.gguf").touch()
    job = QuantizeJob("/m", "Q8_0", str(tmp_path / "a.gguf"), overwrite=True)
    copy = copy_of(job, {str(tmp_path / "a-3.gguf")})
    assert copy == QuantizeJob("/m", "Q8_0", str(tmp_path / "a-4.gguf"))


def test_another_level_has_its_own_name() -> None:
    job = QuantizeJob("/m", "Q4_K_M", "/t/Qwen-Q4_K_M.gguf", overwrite=True)
    assert at_level(job, "Q8_0") == QuantizeJob("/m", "Q8_0", "/t/Qwen-Q8_0.gguf")
    assert at_level(QuantizeJob("/m", "Q4_K_M", "/t/mine.gguf"), "Q8_0").target == "/t/mine-Q8_0.gguf"


def test_a_copy_of_several_files_has_a_number_that_is_free_for_all(tmp_path: Path) -> None:
    (tmp_path / "b-2.gguf").touch()
    job = QuantizeJob("/m", "Q8_0", str(tmp_path / "a.gguf"), also=(("F16", str(tmp_path / "b.gguf")),))
    copy = copy_of(job, set())
    assert isinstance(copy, QuantizeJob)
    assert (copy.target, copy.also) == (str(tmp_path / "a-3.gguf"), (("F16", str(tmp_path / "b-3.gguf")),))
    assert outputs_of(copy) == {str(tmp_path / "a-3.gguf"), str(tmp_path / "b-3.gguf")}
    assert at_level(job, "Q4_0").also == ()


def test_of_several_files_those_that_are_made_are_not_made_again() -> None:
    job = QuantizeJob("/m", "q8_0", "/a.gguf", also=(("F16", "/b.gguf"), ("Q4_0", "/c.gguf")))
    assert unmade(job, {}) == job
    assert unmade(job, {"recipe": "Q8_0"}) == QuantizeJob("/m", "F16", "/b.gguf", also=(("Q4_0", "/c.gguf"),))
    assert unmade(job, {"recipe": "F16", "also": [{"recipe": "Q4_0"}]}) == QuantizeJob("/m", "q8_0", "/a.gguf")
