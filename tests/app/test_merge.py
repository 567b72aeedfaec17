"""`snug merge` and `snug quantize --split-max-size`, as people and programs use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from tests.core.running.test_split import split, whole
from tests.models import SAMPLE


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    return split(tmp_path / "model.gguf", 500_000)


def test_merge_makes_one_file_and_says_so(
    parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(parts[1]), "-o", str(tmp_path / "one.gguf")]) == 0
    out = capsys.readouterr().out
    assert "one.gguf" in out
    assert f"{len(parts)} parts" in out
    assert (tmp_path / "one.gguf").read_bytes() == whole()


def test_merge_speaks_json(parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(parts[0]), "-o", str(tmp_path / "one.gguf"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"] == [part.name for part in parts]


def test_quantize_says_how_many_parts_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "m.gguf")
    arguments = ["quantize", str(SAMPLE), "-t", "Q8_0", "-o", target, "--split-max-size", "1M", "--no-card"]
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "m-00001-of-00003.gguf" in out
    assert "first of 3 parts" in out
    assert main(["merge", str(tmp_path / "m-00003-of-00003.gguf"), "-o", str(tmp_path / "one.gguf")]) == 0
    assert (tmp_path / "one.gguf").read_bytes() == whole()


def test_merge_refuses_bad_input_with_exit_code_2(
    parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts[2].unlink()
    assert main(["merge", str(parts[0]), "-o", str(tmp_path / "one.gguf")]) == 2
    assert parts[2].name in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "one.gguf").exists()
