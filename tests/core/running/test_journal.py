"""The journal: what is trusted in it, whatever became of its bytes."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

import core
from core.running.checksum import checksum
from core.running.journal import Found, Head, Journal, Written, journal_path, leftovers, peek, read_journal, throw_away
from core.running.output import part_path

HEAD = Head("job", [{"name": "model"}], ["out.gguf"], 3, 5000)


def rows(number: int) -> Written:
    return Written(f"tensor {number % 3}", number, 1, 50, 100 * number, 100, number)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.gguf"


def filled(out: Path, count: int, *, marked: int = 0) -> Journal:
    journal = Journal(out)
    journal.open()
    journal.begin(HEAD)
    for number in range(count):
        journal.add(rows(number))
    if marked:
        journal.mark(marked)
    return journal


def test_what_is_written_is_read_and_only_what_was_marked_is_sure(out: Path) -> None:
    filled(out, 10, marked=7).close()
    found = peek(out)
    assert found.head is not None
    assert found.head.job == "job"
    assert found.synced == [rows(number) for number in range(7)]
    assert found.unsynced == [rows(number) for number in range(7, 10)]


def test_a_journal_goes_on_behind_a_torn_line(out: Path) -> None:
    filled(out, 5).close()
    with journal_path(out).open("ab") as file:
        file.write(b'12345678 ["rows",5,"ten')
    journal = Journal(out)
    journal.open()
    journal.go_on([rows(2)])
    journal.add(rows(7))
    journal.close()
    assert sorted(peek(out).written.values(), key=lambda w: w.first) == [rows(n) for n in (0, 1, 3, 4, 7)]


def test_of_any_spoiled_journal_only_whole_lines_are_trusted(out: Path) -> None:
    filled(out, 20, marked=10).close()
    whole, rng = journal_path(out).read_bytes(), random.Random(1)
    good = [rows(number) for number in range(20)]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at, kind = rng.randrange(len(data)), rng.random()
            if kind < 0.4:
                data[at] ^= 1 << rng.randrange(8)
            elif kind < 0.7:
                data[at : at + rng.randrange(200)] = rng.randbytes(rng.randrange(200))
            else:
                del data[at:]
            data = data or bytearray(b"x")
        found = read_journal(bytes(data))
        assert all(written in good for written in found.written.values())
        assert found.synced_before in (0, 10)


@pytest.mark.parametrize("data", [b"", b"\n", b"\x00" * 5000, b"00000000 {}\n", b"garbage\n" * 100])
def test_garbage_is_no_journal(data: bytes, out: Path) -> None:
    assert read_journal(data) == Found()
    journal_path(out).write_bytes(data)
    assert leftovers(out) is None


def test_lines_of_an_older_journal_count_for_nothing_in_a_new_one(out: Path) -> None:
    filled(out, 5).close()
    old = journal_path(out).read_bytes().split(b"\n", 1)[1]
    filled(out, 2).close()
    with journal_path(out).open("ab") as file:
        file.write(old)
    assert list(peek(out).written.values()) == [rows(0), rows(1)]


def test_after_a_sync_that_failed_nothing_since_the_last_mark_counts(out: Path) -> None:
    journal = filled(out, 4, marked=4)
    journal.add(rows(4))
    journal.forget_unsynced()
    journal.close()
    assert list(peek(out).written.values()) == [rows(number) for number in range(4)]


def test_leftovers_count_tensors_and_bytes(out: Path) -> None:
    filled(out, 9).close()
    left = leftovers(out)
    assert left is not None
    assert (left.bytes_done, left.bytes_total, left.tensors_done, left.tensors_total) == (900, 5000, 0, 3)
    assert leftovers(out.with_name("other")) is None


def test_what_is_left_is_thrown_away_and_nothing_else(out: Path) -> None:
    filled(out, 3).close()
    part_path(out).write_bytes(b"half")
    out.write_bytes(b"whole")
    throw_away(out)
    assert [path.name for path in out.parent.iterdir()] == ["out.gguf"]
    throw_away(out)


def test_nothing_of_a_job_that_runs_is_thrown_away(out: Path) -> None:
    journal = filled(out, 3)
    with pytest.raises(core.SnugError, match="right now"):
        throw_away(out)
    journal.close()
    assert journal_path(out).exists()


def test_a_head_with_names_elsewhere_removes_nothing_there(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.snug-part").write_bytes(b"mine")
    journal = Journal(out)
    journal.open()
    journal.begin(Head("job", [], ["other/x", "../x"], 1, 1))
    journal.close()
    throw_away(out)
    assert (other / "x.snug-part").exists()


@pytest.mark.parametrize("length", [0, 1, 8, 32767, 32768, 32769, 100_000])
def test_a_checksum_tells_any_changed_byte_and_any_missing_one(length: int) -> None:
    rng = random.Random(length)
    data = bytearray(rng.randbytes(length))
    sum_ = checksum(bytes(data))
    assert checksum(memoryview(data)) == sum_
    assert checksum(bytes(data) + b"\0") != sum_
    for _ in range(50 if length else 0):
        at = rng.randrange(length)
        data[at] ^= 1 << rng.randrange(8)
        assert checksum(bytes(data)) != sum_
        data[:] = rng.randbytes(0) or data
        sum_ = checksum(bytes(data))


def test_blocks_in_another_order_have_another_checksum() -> None:
    data = random.Random(1).randbytes(1 << 16)
    assert checksum(data[1 << 15 :] + data[: 1 << 15]) != checksum(data)
    assert checksum(bytes(1 << 16)) != checksum(bytes(1 << 15))


class Msvcrt(ModuleType):
    """Windows' locks as they are documented: bytes from where the file stands, each locked by one opened file."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.held: dict[tuple[int, int], int] = {}

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert mode == self.LK_NBLCK
        assert count == 1
        key = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if self.held.setdefault(key, descriptor) != descriptor:
            raise PermissionError(13, "Permission denied")


def test_on_windows_the_journal_is_locked_far_from_its_content(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Msvcrt()
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    journal = filled(out, 3)
    other = Journal(out)
    with pytest.raises(core.SnugError, match="right now"):
        other.open()
    assert {place > 1 << 29 for _, place in windows.held} == {True}
    assert len(peek(out).written) == 3, "others may read it"
    windows.held.clear()
    journal.close()
    other.open()
    other.close()
