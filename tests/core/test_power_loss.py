"""Power lost at any moment: what was synced is there, what was torn is not trusted, and the job ends in its bytes."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import core
import core.running.meter
import core.running.saver
import core.running.slabs
from core.running.checksum import checksum
from core.running.journal import journal_path, peek
from core.running.output import part_path
from tests.core.power import Disk, PowerLoss
from tests.models import make_llama
from tests.mounts import disk, mounts, unmount

__all__ = ["mounts"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="watches the system's calls of POSIX")


@dataclass(frozen=True)
class Whole:
    """A model, what its file holds, and how many calls its job makes."""

    model: Path
    data: bytes
    calls: int


@pytest.fixture(autouse=True, scope="module")
def many_moments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.running.saver, "SYNC_SECONDS", 0.002)
        patch.setattr(core.running.slabs, "FIRST_WEIGHTS", 1 << 15)
        patch.setattr(core.running.slabs, "LEAST_WEIGHTS", 1 << 15)
        patch.setattr(core.running.slabs, "SLAB_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def whole(many_moments: None, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    model, place = make_llama(tmp_path_factory.mktemp("model")), tmp_path_factory.mktemp("whole")
    disk = Disk(place)
    with disk.watched():
        *_, last = core.run(job(model, place))
    assert isinstance(last, core.Done), last
    return Whole(model, (place / "out.gguf").read_bytes(), disk.calls)


def job(model: Path, folder: Path) -> core.QuantizeJob:
    return core.QuantizeJob(str(model), "Q4_K_M", str(folder / "out.gguf"), threads=2, card=False)


def lose_power(whole: Whole, folder: Path, rng: random.Random) -> None:
    """Runs the job until the power goes at a random call, and leaves in the folder what the disk could hold then."""
    disk = Disk(folder, rng.randrange(whole.calls))
    with disk.watched(), suppress(PowerLoss):
        list(core.run(job(whole.model, folder)))
    disk.restore(rng)


def check_left(whole: Whole, folder: Path) -> None:
    """What is marked as synced is in the part; what has the final name is the whole file."""
    out = folder / "out.gguf"
    if out.exists():
        assert out.read_bytes() == whole.data
        return
    found = peek(out)
    if found.synced:
        data = part_path(out).read_bytes()
        for written in found.synced:
            piece = data[written.offset : written.offset + written.length]
            assert checksum(piece) == written.checksum, written
            assert piece == whole.data[written.offset : written.offset + written.length]


def check_power_loss(whole: Whole, folder: Path, rng: random.Random) -> None:
    lose_power(whole, folder, rng)
    check_goes_on(whole, folder)


def check_goes_on(whole: Whole, folder: Path) -> None:
    check_left(whole, folder)
    out = folder / "out.gguf"
    if not out.exists() or journal_path(out).exists():
        *_, last = core.run(job(whole.model, folder), resume=True)
        assert isinstance(last, core.Done), last
    assert out.read_bytes() == whole.data
    assert {path.name for path in folder.iterdir()} - {part_path(out).name} == {"out.gguf"}


@pytest.mark.parametrize("seed", range(3))
def test_after_a_loss_of_power_a_job_goes_on(seed: int, whole: Whole, tmp_path: Path) -> None:
    check_power_loss(whole, tmp_path, random.Random(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 63))
def test_after_a_loss_of_power_at_any_moment_a_job_goes_on(seed: int, whole: Whole, tmp_path: Path) -> None:
    check_power_loss(whole, tmp_path, random.Random(seed))


def is_at(event: core.Event, stage: str, share: float) -> bool:
    """Whether a job has come to that stage; of encoding, to that share of it."""
    if isinstance(event, core.Progress) and event.stage == stage:
        return stage != "encode" or event.bytes_done >= share * event.bytes_total
    return isinstance(event, core.Done)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 24))])
def test_after_ext4_has_lost_power_a_job_goes_on(
    seed: int, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: None
) -> None:
    """A real disk, whose own journal says what it holds afterwards; the power goes amid whatever is done then."""
    monkeypatch.setattr(core.running.meter, "PROGRESS_SECONDS", 1e-6)
    rng = random.Random(seed)
    stage, share = rng.choice(("encode", "encode", "encode", "write", "verify", "done")), rng.random()
    with disk(tmp_path / "at", 32) as place:
        folder = place.folder / "models"
        folder.mkdir()
        place.settle()
        cable: threading.Timer | None = None
        for event in core.run(job(whole.model, folder)):
            if cable is None and is_at(event, stage, share):
                cable = threading.Timer(rng.uniform(0, 0.01), place.lose_power)
                cable.start()
        assert isinstance(event, core.Done) or (isinstance(event, core.Failed) and event.resumable), event
        assert cable is not None
        cable.join()
        unmount(place.folder)
        place.plug_in()
        check_goes_on(whole, folder)
