"""`snug jobs` and `snug report`: the history of the window on the command line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import core
from tests.app.commands import answered, spoken

JOB = core.QuantizeJob("/models/Tiny Model", "Q4_K_M", "/out/tiny.gguf", pure=True)


def put(*events: core.Event, job: core.Job = JOB) -> core.JobFolder:
    folder = core.create(core.jobs_folder(), job)
    for event in events:
        folder.append(event)
    return folder


def test_without_jobs_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no jobs yet" in spoken(capsys, "jobs")[0]
    assert answered(capsys, "jobs") == {"jobs": []}


def test_jobs_are_listed_newest_first_with_their_state(capsys: pytest.CaptureFixture[str]) -> None:
    old = put(core.Done({"file_bytes": 5_000_000, "seconds": 3.0}))
    new = put(core.Failed("The disk filled up.", "Free some room."), job=core.PullJob("hub:org/model"))
    found = answered(capsys, "jobs")["jobs"]
    assert [(job["id"], job["state"], job["bytes"]) for job in found] == [
        (new.id, "failed", 0),
        (old.id, "done", 5_000_000),
    ]
    assert [job["model"] for job in found] == ["org/model", "Tiny Model"]
    out, _ = spoken(capsys, "jobs")
    assert "5.0 MB" in out
    assert out.index(new.id) < out.index(old.id)
    assert len(answered(capsys, "jobs", "--limit", "1")["jobs"]) == 1


def test_one_job_is_shown_with_the_line_that_does_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    put(core.Note("Preparing."), core.Failed("The disk filled up.", "Free some room."))
    out, _ = spoken(capsys, "jobs", "show", "last")
    for words in ("failed", "Preparing.", "The disk filled up. Free some room.", core.command_line(JOB)):
        assert words in out
    found = answered(capsys, "jobs", "show", "last")
    assert (found["command"], found["notes"]) == (core.command_line(JOB), ["Preparing."])


def test_a_job_that_is_over_is_removed_and_what_it_made_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "o.gguf"
    target.write_text("made")
    folder = put(core.Done({}), job=core.QuantizeJob("/m", "Q8_0", str(target)))
    spoken(capsys, "jobs", "rm", folder.id)
    assert not folder.path.exists()
    assert target.exists()
    waiting = put()
    assert "in the window" in answered(capsys, "jobs", "rm", waiting.id, code=2)["hint"]
    assert waiting.path.exists()


def test_a_name_that_fits_none_or_several_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    put(), put()
    assert "2 jobs begin with 2" in answered(capsys, "jobs", "show", "2", code=2)["error"]
    assert "no job x" in answered(capsys, "jobs", "show", "x", code=2)["error"]
    assert "Which job" in answered(capsys, "jobs", "rm", code=2)["error"]
    assert "no 'sell'" in answered(capsys, "jobs", "sell", code=2)["error"]


def test_a_report_is_a_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put(core.Done({}))
    found = answered(capsys, "report", folder.id[:-2], "-o", str(tmp_path / "r.zip"))
    assert found["report"] == str((tmp_path / "r.zip").resolve())
    assert "machine.json" in zipfile.ZipFile(tmp_path / "r.zip").namelist()


def test_all_files_of_a_job_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    job = core.QuantizeJob("/m", "Q8_0", "/out/a.gguf", also=(("F16", "/out/b.gguf"), ("Q4_0", "/out/c.gguf")))
    folder = put(core.Done({"file_bytes": 5, "also": [{"file_bytes": 7}, {"file_bytes": 9}]}), job=job)
    assert "a.gguf and 2 more" in spoken(capsys, "jobs")[0]
    found = answered(capsys, "jobs", "show", folder.id)
    assert (found["targets"], found["bytes"]) == (["/out/a.gguf", "/out/b.gguf", "/out/c.gguf"], 21)
    assert "/out/c.gguf" in spoken(capsys, "jobs", "show", folder.id)[0]
