"""A job's folder gives back what was put in, and whatever else is in there is passed over or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import Failed, JobFolder, Note, QuantizeJob, all_jobs, create

JOB = QuantizeJob("/models/模型", "Q4_K_M", "/out/o.gguf", threads=2)


def test_a_job_and_its_events_come_back(tmp_path: Path) -> None:
    folder = create(tmp_path / "jobs", JOB)
    folder.append(Note("Nützlich"))
    folder.append(Failed("No.", "Try again."))
    assert all_jobs(tmp_path / "jobs") == [folder]
    assert folder.read_job() == JOB
    assert [event for _, event in folder.events()] == [Note("Nützlich"), Failed("No.", "Try again.")]


@pytest.mark.parametrize(
    "text",
    ["", "[[[", "null", "5", "{}", '{"source": 5, "recipe": "Q8_0", "target": "o"}',
     '{"source": "s", "recipe": "Q8_0", "target": "o", "threads": "x"}',
     '{"source": "s", "recipe": "Q8_0", "target": "o", "nope": 1}'],
)  # fmt: skip
def test_what_is_no_job_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises((ValueError, TypeError)):
        JobFolder(tmp_path).read_job()


@pytest.mark.parametrize(
    "line",
    [b"\xff\xc3", b"5", b"[" * 200_000, b'{"time": 1, "event": "progress"}', b'{"time": 1, "event": "note", "text": 3}',
     b'{"time": 1, "event": "done", "result": [1]}', b'{"time": 1e300, "event": "note", "text": "a"}',
     b'{"time": NaN, "event": "note", "text": "a"}', b'{"time": 1, "event": "note", "text": "torn \xc3'],
)  # fmt: skip
def test_a_line_that_is_no_event_is_passed_over(line: bytes, tmp_path: Path) -> None:
    folder = create(tmp_path, JOB)
    folder.append(Note("before"))
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(line + b"\n")
    folder.append(Note("after"))
    assert [event for _, event in folder.events()] == [Note("before"), Note("after")]
