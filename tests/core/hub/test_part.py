"""A file under way: what its journal keeps, and what it does not believe."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from core.hub import part
from core.hub.part import Part, bytes_kept, part_files
from tests.core.hub.conftest import noise

DATA = noise(1 << 20)
SIZE = len(DATA)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "SEGMENT", 1 << 18)
    monkeypatch.setattr(part, "NOTE_BYTES", 1 << 14)


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    return tmp_path / hashlib.sha256(DATA).hexdigest()


def fill(made: Part, *, until: int = SIZE, order: int = 1) -> None:
    for segment in made.segments[::order]:
        while segment.at < min(segment.end, until):
            made.write(segment, segment.at, DATA[segment.at : min(segment.at + 5000, segment.end, until)])


def test_bytes_for_another_place_are_refused(blob: Path) -> None:
    made = Part(blob, SIZE)
    made.write(made.segments[0], 0, b"ab")
    with pytest.raises(ValueError, match="where 2 is next"):
        made.write(made.segments[0], 0, b"ab")
    made.close()


@pytest.mark.parametrize("order", [1, -1])
def test_bytes_may_come_in_any_order(blob: Path, order: int) -> None:
    made = Part(blob, SIZE)
    fill(made, order=order)
    made.wait(10)
    assert made.matches
    made.finish()
    assert blob.read_bytes() == DATA
    assert list(blob.parent.iterdir()) == [blob]


def test_what_was_closed_goes_on(blob: Path) -> None:
    made = Part(blob, SIZE)
    fill(made, until=333_333)
    made.close()
    with pytest.raises(ValueError, match="closed file"):
        made.write(made.segments[-1], made.segments[-1].at, b"late")
    assert bytes_kept(blob, SIZE) == 333_333
    again = Part(blob, SIZE)
    assert again.done == 333_333
    fill(again)
    again.wait(10)
    assert again.matches
    again.close()


def test_other_bytes_do_not_match(blob: Path) -> None:
    made = Part(blob, SIZE)
    for segment in made.segments:
        made.write(segment, segment.start, bytes(segment.end - segment.start))
    made.wait(10)
    assert made.matches is False
    made.start_over()
    assert made.done == 0
    fill(made)
    made.wait(10)
    assert made.matches
    made.close()


def test_after_a_crash_of_the_machine_only_what_was_synced_counts(blob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Part(blob, SIZE)
    fill(made, until=200_000)
    made.sync()
    fill(made, until=600_000)
    made.close()
    assert bytes_kept(blob, SIZE) == 600_000
    monkeypatch.setattr(part, "boot", lambda: "another")
    assert 180_000 < bytes_kept(blob, SIZE) <= 200_000


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, journal: journal.unlink(),
        lambda data, journal: data.unlink(),
        lambda data, journal: journal.write_bytes(b""),
        lambda data, journal: journal.write_bytes(b"nonsense\n1 2\n"),
        lambda data, journal: journal.write_bytes(journal.read_bytes().replace(b"\n", b"\nx\n", 2)),
        lambda data, journal: data.write_bytes(b""),
    ],
)
def test_a_journal_that_cannot_be_true_is_not_believed(damage: object, blob: Path) -> None:
    made = Part(blob, SIZE)
    fill(made, until=100_000)
    made.close()
    damage(*part_files(blob))  # type: ignore[operator]
    again = Part(blob, SIZE)
    assert again.done == 0
    fill(again)
    again.wait(10)
    assert again.matches
    again.close()


def test_a_torn_last_line_is_passed_over(blob: Path) -> None:
    made = Part(blob, SIZE)
    fill(made, until=100_000)
    made.close()
    _, journal = part_files(blob)
    with journal.open("ab") as file:
        file.write(b"100000 9999")
    assert bytes_kept(blob, SIZE) == 100_000


def test_a_small_file_is_known_by_gits_hash(tmp_path: Path) -> None:
    made = Part(tmp_path / hashlib.sha1(b"blob 2\0{}").hexdigest(), 2)
    made.write(made.segments[0], 0, b"{}")
    made.wait(10)
    assert made.matches
    made.close()
