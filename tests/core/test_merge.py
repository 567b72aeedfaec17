"""Parts become the file they were cut from, or nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
from core.gguf_split import read_split
from core.merge import check_merge, merge_gguf
from core.running.output import part_path
from tests.core.running.test_split import split, whole
from tests.llama_cpp import generate


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    (tmp_path / "parts").mkdir()
    return split(tmp_path / "parts" / "model.gguf", 500_000)


def refused(first: Path, target: Path, words: str, *, exit_code: int = 2, overwrite: bool = False) -> None:
    before = target.read_bytes() if target.is_file() else None
    last = list(merge_gguf(first, target, overwrite=overwrite))[-1]
    assert isinstance(last, core.Failed)
    assert words in last.message
    assert last.hint
    assert last.exit_code == exit_code
    assert (target.read_bytes() if target.is_file() else None) == before
    assert not part_path(target).exists()


@pytest.mark.parametrize("number", [0, -1])
def test_merging_gives_back_the_file_before_the_cut_byte_for_byte(
    parts: list[Path], tmp_path: Path, number: int
) -> None:
    target = tmp_path / "whole.gguf"
    *progress, last = merge_gguf(parts[number], target)
    assert isinstance(last, core.Done)
    assert target.read_bytes() == whole()
    assert last.result["file_bytes"] == len(whole())
    assert last.result["parts"] == [file.name for file in parts]
    assert {event.stage for event in progress if isinstance(event, core.Progress)} == {"merge", "write"}
    assert generate(target, tokens=4) == generate(parts[0], tokens=4)


def test_what_a_merge_will_write_is_known_before(parts: list[Path], tmp_path: Path) -> None:
    made = check_merge(parts[0], tmp_path / "whole.gguf")
    assert made.file_bytes == len(whole())
    assert list(made.files) == parts
    assert not (tmp_path / "whole.gguf").exists()


def test_a_file_that_exists_is_kept_unless_it_may_be_replaced(parts: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "whole.gguf"
    target.write_text("mine")
    refused(parts[0], target, "exists already")
    assert isinstance(list(merge_gguf(parts[0], target, overwrite=True))[-1], core.Done)
    assert len(read_split(target).files) == 1


def test_a_part_is_never_its_own_target(parts: list[Path]) -> None:
    refused(parts[0], parts[1], "is the source itself", overwrite=True)


def test_what_is_whole_or_missing_is_refused(parts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(whole())
    refused(tmp_path / "one.gguf", tmp_path / "out.gguf", "it is whole")
    refused(tmp_path / "none.gguf", tmp_path / "out.gguf", "is no file")
    parts[1].unlink()
    refused(parts[0], tmp_path / "out.gguf", "model-00002")


def test_cancelling_leaves_nothing(parts: list[Path], tmp_path: Path) -> None:
    asked = iter([False, False, True])
    *_, last = merge_gguf(parts[0], tmp_path / "out.gguf", cancelled=lambda: next(asked, True))
    assert last == core.Failed("Cancelled. Nothing was written.", cancelled=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts"]


def test_a_part_that_shrinks_while_it_is_read_fails_the_merge(parts: list[Path], tmp_path: Path) -> None:
    events = merge_gguf(parts[0], tmp_path / "out.gguf")
    next(events)
    parts[-1].write_bytes(parts[-1].read_bytes()[:-4096])
    *_, last = events
    assert isinstance(last, core.Failed)
    assert "became shorter" in last.message
    assert last.exit_code == 1
    assert not part_path(tmp_path / "out.gguf").exists()
