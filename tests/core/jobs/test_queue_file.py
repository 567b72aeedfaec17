"""The order of the jobs comes back; what makes no sense is an empty queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import KeptQueue, read_queue, write_queue


def test_a_queue_comes_back(tmp_path: Path) -> None:
    kept = KeptQueue(("b", "a"), ("a",), held=True)
    write_queue(tmp_path, kept)
    assert read_queue(tmp_path) == kept
    assert [path.name for path in tmp_path.iterdir()] == ["queue.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "[" * 100_000, '{"order": 5, "waiting": {"a": 1}, "held": "yes"}', "\xff"]
)
def test_garbage_is_an_empty_queue(text: str, tmp_path: Path) -> None:
    (tmp_path / "queue.json").write_text(text, encoding="latin-1")
    assert read_queue(tmp_path) == KeptQueue()


def test_names_that_are_none_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "queue.json").write_text('{"order": ["a", 5, null, "b", "a"]}')
    assert read_queue(tmp_path) == KeptQueue(("a", "b"))
