"""A job's folder gives back what was put in, and whatever else is in there is passed over or refused."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from core import Begun, Done, Failed, JobFolder, Note, Owner, Progress, QuantizeJob, all_jobs, create
from core.jobs.job_folder import name_owner
from tests.mounts import disk, mounts, unmount

__all__ = ["mounts"]

JOB = QuantizeJob("/models/模型", "Q4_K_M", "/out/o.gguf", threads=2)
HALF = Progress("encode", "blk.0.ffn_up.weight", 1, 2, 50, 100, 10.0, 5.0, 4.0)
FILES = ("job.json", "events.jsonl", "now.json", "orders.jsonl", "owner", "log.txt")


def test_a_job_and_its_events_come_back(tmp_path: Path) -> None:
    folder = create(tmp_path / "jobs", JOB)
    folder.append(Begun(resume=True))
    folder.append(Note("Nützlich"))
    folder.append(Failed("No.", "Try again."), sync=True)
    assert all_jobs(tmp_path / "jobs") == [folder]
    assert folder.read_job() == JOB
    assert [event for _, event in folder.events()] == [
        Begun(resume=True),
        Note("Nützlich"),
        Failed("No.", "Try again."),
    ]


def test_a_job_that_has_settled_outlasts_a_loss_of_power(mounts: None, tmp_path: Path) -> None:
    with disk(tmp_path / "at", 16) as place:
        folder = create(place.folder / "jobs", JOB)
        folder.settle()
        create(place.folder / "jobs", JOB)
        place.lose_power()
        unmount(place.folder)
        place.plug_in()
        assert folder.read_job() == JOB
        assert folder in all_jobs(place.folder / "jobs")


def test_folders_come_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    made = [create(tmp_path, JOB) for _ in range(20)]
    assert all_jobs(tmp_path) == made


@pytest.mark.parametrize(
    "text",
    ["", "[[[", "null", "5", "{}", '{"source": 5, "recipe": "Q8_0", "target": "o"}',
     '{"source": "s", "recipe": "Q8_0", "target": "o", "threads": "x"}',
     '{"source": "s", "recipe": "Q8_0", "target": "o", "nope": 1}'],
)  # fmt: skip
def test_what_is_no_job_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises((ValueError, TypeError)):
        JobFolder(tmp_path).read_job()


@pytest.mark.parametrize(
    "line",
    [b"\xff\xc3", b"5", b"[" * 200_000, b'{"time": 1, "event": "progress"}', b'{"time": 1, "event": "note", "text": 3}',
     b'{"time": 1, "event": "done", "result": [1]}', b'{"time": 1e300, "event": "note", "text": "a"}',
     b'{"time": NaN, "event": "note", "text": "a"}', b'{"time": 1, "event": "note", "text": "torn \xc3'],
)  # fmt: skip
def test_a_line_that_is_no_event_is_passed_over(line: bytes, tmp_path: Path) -> None:
    folder = create(tmp_path, JOB)
    folder.append(Note("before"))
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(line + b"\n")
    folder.append(Note("after"))
    assert [event for _, event in folder.events()] == [Note("before"), Note("after")]


def test_a_torn_line_does_the_next_one_no_harm(tmp_path: Path) -> None:
    folder = create(tmp_path, JOB)
    (folder.path / "events.jsonl").write_bytes(b'{"time": 1, "event": "no')
    folder.append(Done({"a": 1}))
    assert [event for _, event in folder.events()] == [Done({"a": 1})]


def test_events_can_be_read_on_from_where_one_was(tmp_path: Path) -> None:
    folder = create(tmp_path, JOB)
    folder.append(Note("one"))
    events, offset = folder.events_after(0)
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(b'{"time": 1, "event": "note", "te')
    assert ([event for _, event in events], folder.events_after(offset)) == ([Note("one")], ([], offset))
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(b'xt": "two"}\n')
    assert [event for _, event in folder.events_after(offset)[0]] == [Note("two")]


def test_the_newest_progress_is_shown(tmp_path: Path) -> None:
    folder = create(tmp_path, JOB)
    assert folder.shown_progress() is None
    folder.show_progress(Progress("encode", "a" * 500, 0, 2, 0, 100, 0.0, None, 0.0))
    folder.show_progress(HALF)
    assert folder.shown_progress() == HALF


def test_a_folder_has_one_owner_and_says_who(tmp_path: Path) -> None:
    folder = create(tmp_path, JOB)
    assert folder.owner() is None
    lock = folder.claim(Owner(11, 22))
    assert lock is not None
    assert folder.owner() == Owner(11, 22)
    assert folder.claim(Owner(33, 44)) is None
    name_owner(lock, Owner(11, 0))
    assert folder.owner() == Owner(11, 0)
    lock.release()
    assert folder.owner() is None


def test_orders_are_read_once_and_garbage_is_passed_over(tmp_path: Path) -> None:
    folder = create(tmp_path, JOB)
    assert folder.orders_end() == 0
    folder.order({"stop": "keep"})
    with (folder.path / "orders.jsonl").open("ab") as file:
        file.write(b"[1]\n\xff\n{\n")
    orders, offset = folder.orders_after(0)
    assert orders == [{"stop": "keep"}]
    folder.order({"stop": "pause"})
    assert folder.orders_after(offset)[0] == [{"stop": "pause"}]


@pytest.mark.parametrize("seed", range(20))
def test_garbage_in_every_file_takes_nothing_down(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    folder = create(tmp_path, JOB)
    for name in FILES:
        spoil(folder.path / name, chance)
    folder.events()
    folder.owner()
    folder.shown_progress()
    folder.orders_after(0)
    for reading in (folder.read_job,):
        try:
            reading()
        except (ValueError, TypeError, OSError, RecursionError):
            continue
    assert len(all_jobs(tmp_path)) <= 1


def spoil(path: Path, chance: random.Random) -> None:
    """Something that no program of ours has put there."""
    path.unlink(missing_ok=True)
    kind = chance.randrange(6)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.symlink("/nowhere/at/all", path)
    elif kind == 2:
        path.write_bytes(b"[" * 100_000)
    else:
        path.write_bytes(chance.choice([b"", b"\n\n", b'{"time": 1}\n', chance.randbytes(3000), b"{}\n" * 50, b"null"]))
