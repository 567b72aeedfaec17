from __future__ import annotations

from pathlib import Path
from typing import Any

from app.job_facts import facts_of
from app.job_record import JobRecord
from core import Failed, JobFolder, JobState, PullJob, QuantizeJob

BOTH = QuantizeJob("/m", "Q8_0", "/out/a.gguf", also=(("F16", "/out/b.gguf"),))


def result(level: str, name: str, size: int, **more: Any) -> dict[str, Any]:
    errors = [{"name": "blk.0", "rmse": 0.01}, {"name": "blk.1", "rmse": 0.02}]
    return {
        "recipe": level,
        "target": f"/out/{name}",
        "file_bytes": size,
        "bits_per_weight": 8.5,
        "errors": errors,
    } | more


def record(job: Any, **more: Any) -> JobRecord:
    return JobRecord(JobFolder(Path("/jobs/1")), job, **more)


def test_of_one_file_there_is_a_line_for_each_fact() -> None:
    facts = dict(facts_of(record(BOTH.each[0], state=JobState.DONE, result=result("Q8_0", "a.gguf", 1_500_000))))
    assert facts["File"] == "/out/a.gguf"
    assert facts["Size"] == "1.5 MB, 1,500,000 bytes"
    assert facts["Worst tensor"] == "blk.1, off by 2.00%"


def test_of_several_files_there_is_a_line_for_each_file() -> None:
    made = result("Q8_0", "a.gguf", 1_500_000, also=[result("F16", "b.gguf", 500_000)], seconds=7)
    facts = dict(facts_of(record(BOTH, state=JobState.DONE, result=made, started=1.0)))
    assert facts["Q8_0"] == "a.gguf, 1.5 MB, 8.50 bits a weight, worst tensor blk.1, off by 2.00%"
    assert facts["F16"].startswith("b.gguf, 500.0 kB")
    assert (facts["Together"], facts["Folder"], facts["Took"]) == ("2.0 MB, 2,000,000 bytes", "/out", "7.0 s")


def test_before_the_end_several_files_are_named_and_one_is_not_named_twice() -> None:
    assert facts_of(record(BOTH)) == [("Q8_0", "/out/a.gguf"), ("F16", "/out/b.gguf")]
    assert facts_of(record(BOTH.each[0], state=JobState.RUNNING)) == []


def test_a_job_that_failed_of_one_file_tells_of_the_others() -> None:
    failed = Failed("b.gguf is bad.", "It was not kept.", result=result("Q8_0", "a.gguf", 7, also=[]))
    facts = dict(facts_of(record(BOTH, state=JobState.FAILED, failure=failed, result=failed.result)))
    assert facts["What happened"] == "b.gguf is bad."
    assert facts["Q8_0"].startswith("a.gguf, 7 B")


def test_a_download_tells_what_it_fetched() -> None:
    made = {"folder": "/cache", "bytes": 2000, "fetched": 1000}
    facts = dict(facts_of(record(PullJob("hub:org/model"), state=JobState.DONE, result=made)))
    assert (facts["Model"], facts["Fetched"]) == ("org/model", "1.0 kB")
    assert facts_of(record(PullJob("hub:org/model"))) == []
