"""A bug report: everything about the job, nothing about the person."""

from __future__ import annotations

import getpass
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import core
import core.jobs.bug_report
from core.jobs.bug_report import MOST_BYTES, cleaned, contents, write_report
from core.jobs.job_folder import JobFolder, create

HOME, NAMES = "/home/ada", ("ada", "ada-laptop")
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345"


def clean(text: str) -> str:
    return cleaned(text, home=HOME, names=NAMES)


@pytest.mark.parametrize(
    "text",
    [
        f"token is {TOKEN}",
        f"https://user:{TOKEN}@huggingface.co/org/model",
        "authorization: Bearer abcdef123456",
        "Authorization: Basic YWRhOnNlY3JldA==",
        "{'authorization': 'Bearer hunter2hunter2'}",
        '"Cookie": "session=hunter2hunter2"',
        "HF_TOKEN=hunter2hunter2",
        "password: hunter2hunter2",
        "https://cdn.example.org/x?X-Amz-Signature=hunter2hunter2&Expires=1",
        "https://cdn.example.org/x?Policy=abc~hunter2hunter2__ failed",
        "https://cdn.example.org/x#hunter2hunter2",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2hunter2",
        "ghp_hunter2hunter2hunter2",
    ],
)
def test_what_opens_a_door_is_taken_out(text: str) -> None:
    made = clean(text)
    for private in ("hunter2hunter2", TOKEN, "YWRhOnNlY3JldA", "abcdef123456", "abc~"):
        assert private not in made
    assert "<" in made or "@" not in made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ada/models/m.gguf", "~/models/m.gguf"),
        ("/home/bob/models", "~/models"),
        ("/home/adam/x", "~/x"),
        ("C:\\Users\\Ada\\m", "~\\m"),
        ("C:\\\\Users\\\\Bob\\\\m", "~\\\\m"),
        ("/Users/bob/m", "~/m"),
        ("/Users/Shared/m", "/Users/Shared/m"),
        ("/mnt/ADA/m", "/mnt/<user>/m"),
        ("on ada-laptop now", "on <user> now"),
        ("Canada and adapters", "Canada and adapters"),
        ("https://huggingface.co/org/model/resolve/main/a.safetensors", None),
        ("hub:org/model@main:Q4_K_M", None),
    ],
)
def test_paths_begin_at_home_and_names_of_people_are_gone(text: str, expected: str | None) -> None:
    assert clean(text) == (text if expected is None else expected)


def job(root: Path) -> JobFolder:
    return create(root, core.QuantizeJob(str(Path.home() / "models" / "m"), "Q4_K_M", str(Path.home() / "o.gguf")))


def test_a_report_has_job_events_log_and_machine_and_tells_no_home(tmp_path: Path) -> None:
    folder = job(tmp_path / "jobs")
    folder.append(core.Note(f"read with {TOKEN}"))
    folder.append(core.Failed("The disk filled up.", details=f"{Path.home()}/x.py line 3"))
    folder.log.write_text(f"log of {Path.home()}/x\n")
    made = write_report(folder, tmp_path, examined={"home": str(Path.home() / "x"), "figure": 3})
    assert made == tmp_path / f"snug-report-{folder.id}.zip"
    with zipfile.ZipFile(made) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert sorted(files) == ["events.jsonl", "job.json", "log.txt", "machine.json"]
    assert json.loads(files["job.json"])["source"] == str(Path("~") / "models" / "m")
    assert [json.loads(line)["event"] for line in files["events.jsonl"].splitlines()] == ["note", "failed"]
    assert json.loads(files["machine.json"])["figure"] == 3
    for text in files.values():
        assert TOKEN not in text
        assert str(Path.home()) + "/" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs", made.name]


def test_the_folders_of_a_job_are_not_told_wherever_they_are(tmp_path: Path) -> None:
    place = tmp_path / "of-a-client"
    target = str(place / "m-Q4_K_M.gguf")
    folder = create(tmp_path / "jobs", core.QuantizeJob(str(place / "m"), "Q4_K_M", target))
    folder.log.write_text(f"{target} is being written")
    told = contents(folder, {})
    assert told["log.txt"] == "<folder>/m-Q4_K_M.gguf is being written"
    assert "of-a-client" not in "".join(told.values())


def test_letters_written_as_numbers_hide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.jobs.bug_report.Path, "home", lambda: Path("/home/josé"))
    monkeypatch.setattr(getpass, "getuser", lambda: "josé")
    folder = job(tmp_path)
    (folder.path / "events.jsonl").write_text(json.dumps({"event": "note", "text": "/home/josé/m, by josé"}) + "\n")
    assert json.loads(contents(folder, {})["events.jsonl"])["text"] == "~/m, by <user>"


@pytest.mark.parametrize("garbage", [b"", b"\x00\xff" * 500, b"{" * 5000, b"[" * 100_000, b'{"a": 1}\n{"torn'])
def test_garbage_in_every_file_is_reported_as_text(garbage: bytes, tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    for name in ("job.json", "events.jsonl", "log.txt"):
        (tmp_path / name).write_bytes(garbage)
    made: dict[str, Any] = contents(folder, {})
    assert all(isinstance(text, str) for text in made.values())


def test_a_long_log_is_cut_in_the_middle(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    (tmp_path / "log.txt").write_text("first\n" + "x" * 79 + ("\n" + "x" * 79) * 30_000 + "\nlast\n")
    log = contents(folder, {})["log.txt"]
    assert len(log) < MOST_BYTES + 100
    assert log.startswith("first")
    assert log.endswith("last")
    assert "bytes left out" in log


def test_a_job_that_is_not_there_or_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(core.SnugError, match="no job gone"):
        write_report(JobFolder(tmp_path / "gone"), tmp_path, examined={})
    with pytest.raises(core.SnugError, match="cannot be written"):
        write_report(job(tmp_path), tmp_path / "no" / "r.zip", examined={})
