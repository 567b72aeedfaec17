"""What has come and is not written yet is kept, and used only if it is what it should be."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.library.outputs import is_being_written
from core.running import ahead
from core.running.ahead import CELL_BYTES, Ahead, Bytes
from core.running.journal import Head, Journal, throw_away
from core.running.output import ahead_path

SOURCE, FILE = "org/model@1111 rows", "model.safetensors"
DATA = np.random.default_rng(1).integers(0, 256, 10 * CELL_BYTES, np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return ahead_path(tmp_path / "out.gguf")


@pytest.fixture
def opened(path: Path) -> Iterator[Ahead]:
    found = Ahead(path, SOURCE, [FILE, "other"])
    yield found
    found.close()


def keep(where: Ahead, start: int, count: int) -> list[ahead.Taken]:
    """As they come: cell by cell, the rest in one that is not full."""
    stop, taken = start + count, list[ahead.Taken]()
    for at in range(start, stop, CELL_BYTES):
        taken += where.keep(FILE, at, DATA[at : min(stop, at + CELL_BYTES)])
    return taken


def missing(path: Path, start: int, count: int, *, source: str = SOURCE, file: str = FILE) -> list[range]:
    """What another run lacks of these bytes; the others are right."""
    again = Ahead(path, source, [FILE, "other"])
    buffer: Bytes = np.zeros(count, np.uint8)
    lacking, _ = again.fill(file, start, buffer)
    again.close()
    for gap in lacking:
        buffer[gap.start - start : gap.stop - start] = DATA[gap.start : gap.stop]
    assert np.array_equal(buffer, DATA[start : start + count])
    return lacking


def test_what_was_kept_is_not_lacking_wherever_the_next_run_cuts(opened: Ahead, path: Path) -> None:
    keep(opened, 1000, 150_000)
    assert missing(path, 1000, 150_000) == []
    assert missing(path, 0, 200_000) == [range(1000), range(151_000, 200_000)]
    assert missing(path, 70_000, 50) == []
    assert missing(path, 160_000, 50) == [range(160_000, 160_050)]
    assert missing(path, 0, 0) == []


def test_what_is_written_and_noted_leaves_its_place_to_others(opened: Ahead, path: Path) -> None:
    for start in range(0, 8 * CELL_BYTES, CELL_BYTES):
        opened.settle(keep(opened, start, CELL_BYTES))
    assert path.stat().st_size < 2 * CELL_BYTES
    assert missing(path, 0, CELL_BYTES) == [range(CELL_BYTES)]


def test_a_cell_is_given_away_once(opened: Ahead, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(opened, 0, CELL_BYTES)
    monkeypatch.setattr(ahead, "MOST_BYTES", CELL_BYTES)
    again, buffer = Ahead(path, SOURCE, [FILE]), np.zeros(CELL_BYTES, np.uint8)
    _, taken = again.fill(FILE, 0, buffer)
    given: list[int | None] = []
    monkeypatch.setattr(again._file, "write", lambda *_: given.append(again._place()))  # another thread's turn
    again.settle(taken)
    given.append(again._place())
    assert given == [None, 0]
    again.close()


def test_a_cell_that_two_slabs_share_stays_until_both_are_noted(opened: Ahead, path: Path) -> None:
    keep(opened, 0, CELL_BYTES)
    again, buffer = Ahead(path, SOURCE, [FILE]), np.zeros(CELL_BYTES // 2, np.uint8)
    _, first = again.fill(FILE, 0, buffer)
    _, second = again.fill(FILE, CELL_BYTES // 2, buffer)
    again.settle(first)
    assert missing(path, 0, CELL_BYTES) == []
    again.settle(second)
    again.settle(second)
    assert missing(path, 0, CELL_BYTES) == [range(CELL_BYTES)]
    assert len({cell.number for _ in range(3) for cell, _ in keep(again, 0, 10)}) == 3, "no place is given twice"
    again.close()


@pytest.mark.parametrize("at", [0, 8, 20, 25, 30, 40, 1000])
def test_a_cell_with_any_other_byte_is_fetched_again(at: int, opened: Ahead, path: Path) -> None:
    keep(opened, 0, 2 * CELL_BYTES)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    assert missing(path, 0, 2 * CELL_BYTES) == [range(CELL_BYTES)]


@pytest.mark.parametrize("length", [0, 10, CELL_BYTES, CELL_BYTES + 100])
def test_a_file_that_ends_anywhere_is_good_up_to_there(length: int, opened: Ahead, path: Path) -> None:
    keep(opened, 0, 2 * CELL_BYTES)
    os.truncate(path, length)
    whole = CELL_BYTES if length > CELL_BYTES + 32 else 0
    assert missing(path, 0, 2 * CELL_BYTES) == [range(whole, 2 * CELL_BYTES)]


def test_bytes_of_another_commit_file_or_purpose_are_not_taken(opened: Ahead, path: Path) -> None:
    keep(opened, 0, 100)
    for source in ("org/model@2222 rows", "org/other@1111 rows", "org/model@1111 check"):
        assert missing(path, 0, 100, source=source) == [range(100)]
    assert missing(path, 0, 100, file="other") == [range(100)]


@pytest.mark.parametrize("seed", range(3))
def test_a_file_of_anything_else_is_nothing(seed: int, path: Path) -> None:
    path.write_bytes(np.random.default_rng(seed).bytes(300_000))
    assert missing(path, 0, 1000) == [range(1000)]
    again = Ahead(path, SOURCE, [FILE])
    keep(again, 0, 5 * CELL_BYTES)
    again.close()
    assert missing(path, 0, 5 * CELL_BYTES) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few people make links")
@pytest.mark.parametrize("kind", ["symlink", "hard link", "to nothing", "pipe"])
def test_what_was_put_in_its_place_is_neither_read_nor_written(kind: str, tmp_path: Path, path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        os.link(mine, path)
    else:
        path.symlink_to(mine if kind == "symlink" else tmp_path / "nothing")
    found = Ahead(path, SOURCE, [FILE])
    keep(found, 0, 100)
    found.close()
    assert missing(path, 0, 100) == []
    assert (mine.read_bytes(), (tmp_path / "nothing").exists(), path.is_symlink()) == (b"mine", False, False)


def test_a_folder_in_its_place_only_switches_it_off(path: Path) -> None:
    path.mkdir()
    found = Ahead(path, SOURCE, [FILE])
    assert keep(found, 0, 100) == []
    assert found.fill(FILE, 0, np.zeros(10, np.uint8)) == ([range(10)], [])
    found.close()


def test_where_the_disk_is_almost_full_nothing_is_kept(
    opened: Ahead, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, ahead.SPARED_BYTES))
    assert keep(opened, 0, 100) == []
    assert path.stat().st_size == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_disk_that_fails_only_switches_it_off(opened: Ahead) -> None:
    taken = keep(opened, 0, 100)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, opened._file.descriptor)
    os.close(full)
    keep(opened, 100, 100)
    assert keep(opened, 200, 100) == []
    opened.settle(taken)


def test_where_there_are_too_many_the_oldest_of_an_earlier_run_goes(
    opened: Ahead, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(opened, 0, 3 * CELL_BYTES)
    monkeypatch.setattr(ahead, "MOST_BYTES", path.stat().st_size)
    again = Ahead(path, SOURCE, [FILE])
    _, taken = again.fill(FILE, 0, np.zeros(CELL_BYTES, np.uint8))
    keep(again, 5 * CELL_BYTES, CELL_BYTES)
    again.settle(taken)
    again.close()
    assert missing(path, 0, 6 * CELL_BYTES) == [range(CELL_BYTES), range(3 * CELL_BYTES, 5 * CELL_BYTES)]


def test_it_goes_with_the_journal(tmp_path: Path, path: Path) -> None:
    target = tmp_path / "out.gguf"
    path.write_bytes(b"x")
    throw_away(target)
    assert not path.exists()
    path.write_bytes(b"x")
    journal = Journal(target)
    journal.open()
    journal.begin(Head("job", [], [target.name], 1, 1))
    assert not path.exists(), "a job that starts afresh begins without it"
    path.write_bytes(b"x")
    assert os.name == "nt" or is_being_written(path), "by whoever has the journal"
    journal.remove()
    journal.close()
    assert list(tmp_path.iterdir()) == []
