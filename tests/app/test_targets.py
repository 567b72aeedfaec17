"""`snug quantize` with several types: one job, a file for each."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
from tests.app.commands import answered, spoken
from tests.models import SAMPLE

BOTH = ("quantize", str(SAMPLE), "-t", "q4_k_m", "-t", "Q8_0")


@pytest.mark.parametrize("out", ["{name}-{type}.gguf", ""], ids=["a pattern", "a folder"])
def test_one_name_serves_for_all_types(out: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = answered(capsys, *BOTH, "-o", str(tmp_path / out), "--no-card")
    results = [made, *made["also"]]
    assert [result["recipe"] for result in results] == ["Q4_K_M", "Q8_0"]
    assert {Path(result["target"]) for result in results} == set(tmp_path.iterdir())
    assert all(result["recipe"].lower() in result["target"].lower() for result in results)
    library = (core.data_folder() / "made.jsonl").read_text()
    assert all(result["target"] in library for result in results)


def test_each_type_may_have_its_own_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, _ = spoken(capsys, *BOTH, "-o", str(tmp_path / "a.gguf"), "-o", str(tmp_path / "b.gguf"), "--no-card")
    assert "a.gguf" in out
    assert "b.gguf" in out
    assert {path.name for path in tmp_path.iterdir()} == {"a.gguf", "b.gguf"}


def test_the_library_is_told_of_good_files_when_another_is_bad(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"recipe": "Q8_0", "target": str(tmp_path / "good.gguf"), "file_bytes": 7, "also": []}
    failed = core.Failed("bad.gguf: The new file did not pass its check.", "It was not kept.", result=made)
    monkeypatch.setattr(core, "run", lambda *_, **__: (event for event in [failed]))
    said = answered(capsys, *BOTH, "-o", str(tmp_path), code=1)
    assert said["hint"] == "It was not kept."
    assert str(tmp_path / "good.gguf") in (core.data_folder() / "made.jsonl").read_text()


@pytest.mark.parametrize("outs", [["one.gguf"], ["a.gguf", "b.gguf", "c.gguf"]])
def test_names_that_do_not_go_with_the_types_are_refused(
    outs: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [word for out in outs for word in ("-o", str(tmp_path / out))]
    assert "{name}-{type}.gguf" in answered(capsys, *BOTH, *words, code=2)["hint"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_adds_all_files_up(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answered(capsys, *BOTH, "-o", str(tmp_path), "--dry-run")
    alone = [
        answered(capsys, "quantize", str(SAMPLE), "-t", level, "-o", str(tmp_path / "x.gguf"), "--dry-run")
        for level in ("Q4_K_M", "Q8_0")
    ]
    assert found["file_bytes"] == sum(one["file_bytes"] for one in alone)
    assert found["files"] == 2
    assert list(tmp_path.iterdir()) == []
