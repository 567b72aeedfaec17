"""Faults that are real: disks that are full, fail or are pulled out, where the tests may mount some."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import core
import core.running.meter
import core.running.saver
import core.running.slabs
import core.running.unfinished
from core.running.control import Control
from tests.models import make_llama
from tests.mounts import disk, mounts, room, unmount

__all__ = ["mounts"]

pytestmark = pytest.mark.usefixtures("mounts")

WAYS: dict[str, dict[str, Any]] = {
    "file": {},
    "parts": {"split_max_size": "1M"},
    "several": {"also": (("Q8_0", "other.gguf"),)},
}
FULL, FAILING, GONE = 21, 6, 4
Expected = Callable[[str], dict[str, bytes]]


@pytest.fixture(autouse=True, scope="module")
def many_moments() -> Iterator[None]:
    """A small model has many slabs, each is told of, and what is waited for is tried often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.running.slabs, "FIRST_WEIGHTS", 1 << 15)
        patch.setattr(core.running.slabs, "LEAST_WEIGHTS", 1 << 15)
        patch.setattr(core.running.slabs, "SLAB_SECONDS", 0.0)
        patch.setattr(core.running.saver, "SYNC_SECONDS", 0.01)
        patch.setattr(core.running.meter, "PROGRESS_SECONDS", 1e-6)
        patch.setattr(core.running.unfinished, "RETRY_SECONDS", 0.02)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("model"), shards=2, num_hidden_layers=4)


def job(model: Path, folder: Path, way: str = "file") -> core.QuantizeJob:
    more = dict(WAYS[way])
    more["also"] = tuple((level, str(folder / name)) for level, name in more.get("also", ()))
    return core.QuantizeJob(str(model), "Q4_K_M", str(folder / "out.gguf"), threads=2, card=False, **more)


def files_in(folder: Path) -> dict[str, bytes]:
    """What the folder holds, but for what a file system has of its own."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def expected(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    made: dict[str, dict[str, bytes]] = {}

    def of(way: str) -> dict[str, bytes]:
        if way not in made:
            folder = tmp_path_factory.mktemp(way)
            *_, last = core.run(job(model, folder, way))
            assert isinstance(last, core.Done), last
            made[way] = files_in(folder)
        return made[way]

    return of


def run_until(order: core.QuantizeJob, share: float, happens: Callable[[], None], **more: Any) -> Iterator[core.Event]:
    """The events of a job to which something happens when so much of it is done."""
    has_happened = False
    for event in core.run(order, **more):
        if not has_happened and isinstance(event, core.Progress) and event.bytes_done > share * event.bytes_total:
            happens()
            has_happened = True
        yield event
    assert has_happened


def check_failed(event: core.Event, *words: str) -> None:
    assert isinstance(event, core.Failed), event
    assert any(word in event.message for word in words), event.message
    assert event.resumable
    assert event.exit_code == 1
    assert event.hint


def check_goes_on(order: core.QuantizeJob, expected: dict[str, bytes]) -> None:
    left = [core.leftovers(each.target) for each in order.each]
    *events, last = core.run(order, resume=True)
    assert isinstance(last, core.Done), last
    is_going_on = any(isinstance(event, core.Note) and "Going on" in event.text for event in events)
    assert is_going_on == any(found and found.bytes_done for found in left)
    assert files_in(Path(order.target).parent) == expected


def moments(count: int, quick: int) -> pytest.MarkDecorator:
    """So many of them, all but one slow."""
    values = [pytest.param(number, marks=[] if number == quick else [pytest.mark.slow]) for number in range(count)]
    return pytest.mark.parametrize("point", values)


@moments(FULL, quick=7)
def test_a_disk_that_is_really_full_says_what_is_missing_and_goes_on_with_that(
    point: int, model: Path, expected: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system reserves no room, as on a Mac: enlarged by just the bytes that it said were missing."""
    monkeypatch.delattr(os, "posix_fallocate")
    way, left, said = list(WAYS)[point % len(WAYS)], random.Random(point).randrange(4) << 12, list[int]()
    with room(tmp_path / "at", 64 << 20) as place:
        order = job(model, place.folder, way)
        for event in run_until(order, point / FULL, lambda: place.leave(left), control=Control()):
            if isinstance(event, core.Note) and (found := re.search(r"([\d,]+) bytes are missing", event.text)):
                said.append(int(found[1].replace(",", "")))
                place.grow(said[-1])
        assert isinstance(event, core.Done), event
        assert len(said) == 1
        assert files_in(place.folder) == expected(way)


@moments(GONE, quick=1)
def test_a_file_whose_room_is_reserved_is_made_although_another_one_fills_the_disk(
    point: int, model: Path, expected: Expected, tmp_path: Path
) -> None:
    """Only the journal still grows, and waits if it must."""
    with room(tmp_path / "at", 64 << 20) as place:
        order = job(model, place.folder)
        for event in run_until(order, (point + 1) / (GONE + 2), lambda: place.leave(0), control=Control()):
            if isinstance(event, core.Note) and "bytes are missing" in event.text:
                place.grow(1 << 20)
        assert isinstance(event, core.Done), event
        assert files_in(place.folder) == expected("file")


@moments(FAILING, quick=1)
def test_a_disk_that_the_kernel_makes_read_only_keeps_what_can_be_gone_on_with(
    point: int, model: Path, expected: Expected, tmp_path: Path
) -> None:
    way = list(WAYS)[point % len(WAYS)]
    with disk(tmp_path / "at", 32) as place:
        folder = place.folder / "models"
        folder.mkdir()
        *_, event = run_until(job(model, folder, way), (point + 1) / (FAILING + 2), place.fail, control=Control())
        check_failed(event, "became read-only", "input/output error")
        unmount(place.folder)
        place.plug_in()
        check_goes_on(job(model, folder, way), expected(way))


@moments(GONE, quick=2)
def test_a_source_that_is_pulled_out_is_wanted_back_and_then_gone_on_with(
    point: int, model: Path, expected: Expected, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with disk(tmp_path / "stick", 32) as stick:
        source = stick.folder / model.name
        shutil.copytree(model, source)
        stick.settle()
        *_, event = run_until(job(source, out), point / (GONE + 1), stick.pull_out)
        check_failed(event, "cannot be read any more")
        *_, event = core.run(job(source, out), resume=True)
        assert isinstance(event, core.Failed)
        assert event.resumable
        assert str(source) in event.message
        stick.plug_in()
        check_goes_on(job(source, out), expected("file"))


@moments(GONE, quick=2)
def test_a_target_disk_that_is_pulled_out_is_wanted_back_and_then_gone_on_with(
    point: int, model: Path, expected: Expected, tmp_path: Path
) -> None:
    with disk(tmp_path / "stick", 32) as stick:
        folder = stick.folder / "models"
        folder.mkdir()
        *_, event = run_until(job(model, folder), (point + 1) / (GONE + 2), stick.pull_out, control=Control())
        check_failed(event, "input/output error")
        *_, event = core.run(job(model, folder), resume=True)
        assert isinstance(event, core.Failed)
        assert "does not exist" in event.message
        assert event.resumable
        stick.plug_in()
        check_goes_on(job(model, folder), expected("file"))
