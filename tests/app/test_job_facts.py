from __future__ import annotations

from pathlib import Path
from typing import Any

from app.job_facts import facts_of, headline
from app.job_record import JobRecord
from core import Failed, JobFolder, JobState, PullJob, QuantizeJob, ReproduceJob

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


COMPARED: dict[str, Any] = {
    "tensors": 29, "equal": True, "file_equal": True, "differing": [], "keys": [], "reasons": [], "source": "/m",
    "recipe": "Q8_0",
}  # fmt: skip


def test_a_file_made_again_is_said_to_be_the_same_or_what_differs() -> None:
    job = ReproduceJob("/out/a.gguf", "/m", "/out/.snug-reproduce-1")
    same = record(job, state=JobState.DONE, result=COMPARED)
    assert (same.name, same.recipe) == ("a.gguf once more", "Q8_0")
    assert headline(same) == "The same file, byte for byte: 29 tensors and the header."
    assert dict(facts_of(same))["Result"] == headline(same)
    differing = [{"name": f"blk.{n}", "format_before": "Q8_0", "format": "Q8_0"} for n in range(7)]
    other = record(job, state=JobState.DONE, result=COMPARED | {"equal": False, "differing": differing})
    facts = dict(facts_of(other))
    assert facts["Result"] == "Not the same: 7 of 29 tensors differ."
    assert facts["Differs"].splitlines()[0] == "blk.0 (Q8_0)"
    assert facts["Differs"].endswith("and 2 more")
    assert "gives no reason" in facts["Why"]
    assert facts_of(record(job, state=JobState.DONE, result={"spoiled": True})) == []


def test_a_download_tells_what_it_fetched() -> None:
    made = {"folder": "/cache", "bytes": 2000, "fetched": 1000}
    facts = dict(facts_of(record(PullJob("hub:org/model"), state=JobState.DONE, result=made)))
    assert (facts["Model"], facts["Fetched"]) == ("org/model", "1.0 kB")
    assert facts_of(record(PullJob("hub:org/model"))) == []
