"""A real disk that is full or loses power amid a download: the next try trusts nothing torn, and ends in its bytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from core import Done, Failed, Progress, PullJob
from core.hub import Hub, cache, part, pull
from tests.core.hub.conftest import Start, noise
from tests.fake_hub import FakeRepo
from tests.mounts import disk, mounts, room, unmount

__all__ = ["mounts"]

DATA = noise(12 << 20)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_after_ext4_has_lost_power_a_download_ends_in_its_bytes(
    seed: int, mounts: None, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "SYNC_BYTES", 1 << 20)
    monkeypatch.setattr(part, "SEGMENT", 1 << 20)
    monkeypatch.setattr(cache, "_SPARE", 0)
    share, boots = random.Random(seed).random(), iter(range(100))
    monkeypatch.setattr(part, "boot", lambda: str(next(boots)))  # as the machine starts anew each time
    fake, _ = start(FakeRepo("org/model", {"model.safetensors": DATA}), rate=30_000_000)
    with disk(tmp_path / "at", 64) as place:
        hub, job = Hub(fake.url, place.folder / "cache"), PullJob("org/model", "model.safetensors", 2)
        is_on = True
        for event in pull(job, hub=hub):
            if is_on and isinstance(event, Progress) and event.bytes_done >= share * event.bytes_total:
                place.lose_power()
                is_on = False
        assert isinstance(event, Failed), event
        assert "is kept" in event.hint
        unmount(place.folder)
        place.plug_in()
        *_, event = pull(job, hub=hub)
        assert isinstance(event, Done), event
        (blob,) = (path for path in place.folder.rglob("blobs/*") if path.is_file())
        assert blob.read_bytes() == DATA


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_download_that_fills_its_disk_says_so_and_goes_on_when_there_is_room(
    seed: int, mounts: None, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = 0.6 * random.Random(seed).random()
    fake, _ = start(FakeRepo("org/model", {"model.safetensors": DATA}), rate=12_000_000)
    with room(tmp_path / "at", 256 << 20) as place:
        hub, job = Hub(fake.url, place.folder / "cache"), PullJob("org/model", "model.safetensors", 2)
        is_full = False
        for event in pull(job, hub=hub):
            if not is_full and isinstance(event, Progress) and event.bytes_done >= share * event.bytes_total:
                place.leave(0)
                is_full = True
        assert isinstance(event, Failed), event
        assert "No space left" in event.message
        assert "is kept" in event.hint
        place.grow(128 << 20)
        before = fake.sent("/storage/*")
        *_, event = pull(job, hub=hub)
        assert isinstance(event, Done), event
        assert fake.sent("/storage/*") - before < len(DATA) * (1.2 - share) + (1 << 20)
        (blob,) = (path for path in place.folder.rglob("blobs/*") if path.is_file())
        assert blob.read_bytes() == DATA
