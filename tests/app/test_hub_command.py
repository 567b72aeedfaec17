"""`snug find` and `snug pull` as people and programs use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import main
from tests.app.commands import answered
from tests.app.hub_models import asking
from tests.fake_hub import FakeHub, FakeRepo, Fault

FILES = {"config.json": b"{}", "model.safetensors": b"x" * 3000, "pytorch_model.bin": b"no", "README.md": b"# M"}
ROW = {"downloads": 1234, "likes": 5, "lastModified": "2026-01-02T00:00:00Z", "safetensors": {"total": 7 * 10**9}}
GGUFS = {"M-Q4_K_M.gguf": b"4" * 100, "M-Q8_0.gguf": b"8" * 200}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    repos = [
        FakeRepo("org/model", FILES, row=ROW, tags=("license:mit",)),
        FakeRepo("org/model-GGUF", GGUFS, tags=("gguf",)),
    ]
    with FakeHub(repos) as started, asking(started, monkeypatch, tmp_path):
        yield started


def test_find_shows_rows(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find", "model", "--sort", "downloads", "--max", "8B"]) == 0
    out = capsys.readouterr().out
    assert "org/model " in out
    assert "1,234" in out
    assert "mit" in out
    assert "max%3A8000000000" in fake.paths()[0]
    found = answered(capsys, "find", "model", "--gguf")
    assert [row["id"] for row in found["models"]] == ["org/model-GGUF"]


def test_find_says_when_there_is_nothing(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find", "nothing-like-it"]) == 0
    assert "Nothing was found" in capsys.readouterr().out
    assert answered(capsys, "find", "x", "--min", "many", code=2)["error"] == "many is no number of parameters."


def test_pull_brings_what_a_gguf_needs(fake: FakeHub, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answered(capsys, "pull", "org/model")
    folder = Path(found["folder"])
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (found["bytes"], found["fetched"]) == (3005, 3005)
    assert main(["pull", "hub:org/model"]) == 0
    assert str(folder) in capsys.readouterr().out.replace("\n", "")


def test_pull_takes_a_quantization_or_a_file(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(capsys, "pull", "org/model-GGUF:Q8_0")["files"] == ["M-Q8_0.gguf"]
    assert answered(capsys, "pull", "org/model-GGUF", "--file", "q4_k_m")["files"] == ["M-Q4_K_M.gguf"]
    asked = answered(capsys, "pull", "org/model-GGUF", code=2)
    assert "2 GGUF files" in asked["error"]
    assert "org/model-GGUF:Q4_K_M" in asked["hint"]


def test_pull_lists_files_without_fetching(fake: FakeHub, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["pull", "org/model-GGUF", "--list"]) == 0
    out = capsys.readouterr().out
    assert "M-Q8_0.gguf" in out
    assert "org/model-GGUF:Q4_K_M" in out
    listed = answered(capsys, "pull", "org/model-GGUF", "--list")
    assert [choice["label"] for choice in listed["gguf"]] == ["Q4_K_M", "Q8_0"]
    assert not (tmp_path / "cache").exists()


def test_pull_refuses_bad_names_and_says_what_failed(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no name of a model" in answered(capsys, "pull", "../etc", code=2)["error"]
    assert "There is no org/none" in answered(capsys, "pull", "org/none", code=2)["error"]
    fake.faults = [Fault("*/resolve/*", -1, status=429, headers={"Retry-After": "999"})]
    assert "too many requests" in answered(capsys, "pull", "org/model", code=1)["error"]


def test_nobody_is_logged_in(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whoami"]) == 1
    assert fake.url in capsys.readouterr().out
    assert fake.log == []
