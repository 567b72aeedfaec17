"""kill -9 at any moment of a job: the next run goes on, and ends in the very bytes of a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import core
from core.running.journal import journal_path
from tests.core.nursery import Nursery, open_nursery
from tests.fake_hub import FakeHub, FakeRepo
from tests.models import make_llama

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork, and no SIGKILL")

AGAIN = 8 << 20
WEIGHTS = "/storage/*"
WAYS = ("file", "parts", "stream")
SHAPES = {  # of models on the Hub; "fast": as much is on its way at once as on the fastest line
    "stream": {"num_hidden_layers": 16},
    "fast": {"num_hidden_layers": 4, "hidden_size": 1024, "intermediate_size": 2816},
}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with open_nursery(tmp_path_factory.mktemp("own")) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class Scene:
    """A job that is run whole once: its order, the bytes of its files, how many steps it takes, and the server."""

    order: dict[str, Any]
    files: dict[str, bytes]
    steps: int
    seconds: float
    fake: FakeHub | None = None
    sent: int = 0

    def at(self, folder: Path) -> dict[str, Any]:
        """The same job with its files in another folder."""
        job = self.order["job"] | {"target": str(folder / "out.gguf")}
        return self.order | {"job": job}


class Scenes:
    """Each made when it is needed."""

    def __init__(self, nursery: Nursery, place: Path, fake: FakeHub) -> None:
        self.nursery, self.place, self.fake = nursery, place, fake
        self.made: dict[str, Scene] = {}

    def __getitem__(self, way: str) -> Scene:
        if way not in self.made:
            self.made[way] = self._make(way)
        return self.made[way]

    def _make(self, way: str) -> Scene:
        is_remote = way in SHAPES
        if is_remote:
            large = make_llama(self.place / f"{way} model", shards=2, **SHAPES[way])
            self.fake.repos[f"org/{way}"] = FakeRepo(f"org/{way}", {p.name: p.read_bytes() for p in large.iterdir()})
        else:
            make_llama(self.place / "small", num_hidden_layers=4)
        source = f"hub:org/{way}" if is_remote else str(self.place / "small")
        job = {"source": source, "recipe": "Q4_K_M", "target": "", "threads": 2}
        job |= {"split_max_size": "1M"} if way == "parts" else {}
        order: dict[str, Any] = {"job": job, "slab": 1 << 15}
        if is_remote:
            order |= {"url": self.fake.url, "cache": str(self.place / "hub"), "slab": 1 << 17}
        if way == "fast":
            order |= {"slab": 1 << 21, "in_flight": 1 << 21, "encoding": 0.05}
        return whole(self.nursery, order, self.place / way, self.fake if is_remote else None)


@pytest.fixture(scope="module")
def scenes(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    with FakeHub([], send_buffer=1 << 16) as fake:
        yield Scenes(nursery, tmp_path_factory.mktemp("models"), fake)


def whole(nursery: Nursery, order: dict[str, Any], folder: Path, fake: FakeHub | None) -> Scene:
    """The scene of a job: run twice, for the first time prepares kernels and fetches headers."""
    scene = Scene(order, {}, 0, 0.0, fake)
    for number in (1, 2):
        at = folder / str(number)
        at.mkdir(parents=True)
        before, began = fake.sent(WEIGHTS) if fake else 0, time.monotonic()
        *_, last, steps = nursery.run(**scene.at(at))
        assert last.startswith("Done"), last
        scene.seconds, scene.steps = time.monotonic() - began, int(steps.split()[1])
        scene.sent = fake.sent(WEIGHTS) - before if fake else 0
        scene.files = files_in(at)
    return scene


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix == ".gguf"}


def settled(fake: FakeHub) -> int:
    count = -1
    while count != (count := fake.sent(WEIGHTS)):
        time.sleep(0.02)
    return count


def check_killed(nursery: Nursery, scene: Scene, folder: Path, rng: random.Random, *, kills: int) -> None:
    """Kills a job so often, each time at another moment, and lets the last run end."""
    order, before = scene.at(folder), settled(scene.fake) if scene.fake else 0
    for number in range(kills):
        if rng.random() < 0.75:
            said = nursery.run(**order, resume=number > 0, kill_at=rng.randrange(scene.steps), after=rng.random() < 0.5)
        else:
            child = nursery.start(**order, resume=number > 0)
            time.sleep(rng.random() * scene.seconds)
            with suppress(ProcessLookupError):  # it may have come to its end before
                os.kill(child, signal.SIGKILL)
            said = nursery.wait()
        check_nothing_wrong(scene, folder)
        if any(line.startswith("Done") for line in said):
            break
    else:
        left = core.leftovers(order["job"]["target"])
        said = nursery.run(**order, resume=True)
        is_going_on = any("Going on" in line for line in said)
        assert is_going_on == bool(left and left.bytes_done), said
        assert any(line.startswith("Done") for line in said), said
    assert files_in(folder) == scene.files
    assert not [path.name for path in folder.iterdir() if ".snug-" in path.name]
    if scene.fake:
        assert settled(scene.fake) - before - scene.sent <= AGAIN * kills


def check_nothing_wrong(scene: Scene, folder: Path) -> None:
    """Whatever has a final name is the whole file."""
    for name, data in files_in(folder).items():
        assert data == scene.files[name], name


def test_a_killed_job_goes_on_where_it_was(nursery: Nursery, scenes: Scenes, tmp_path: Path) -> None:
    check_killed(nursery, scenes["file"], tmp_path, random.Random(1), kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_a_job_killed_at_any_moment_is_the_same_in_the_end(
    seed: int, nursery: Nursery, scenes: Scenes, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    check_killed(nursery, scenes[WAYS[seed % 3]], tmp_path, rng, kills=1 + (seed % 4 == 0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_on_a_line_of_any_speed_a_kill_costs_no_more(
    seed: int, nursery: Nursery, scenes: Scenes, tmp_path: Path
) -> None:
    """40 MB are on their way or not encoded yet at any moment."""
    check_killed(nursery, scenes["fast"], tmp_path, random.Random(seed), kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_job_killed_at_any_of_its_last_steps_ends_well(
    way: str, nursery: Nursery, scenes: Scenes, tmp_path: Path
) -> None:
    """Where the names change: each part's, the first one's last, and then the journal goes."""
    scene = scenes[way]
    for back in range(1, 4 + 3 * len(scene.files)):
        folder = tmp_path / str(back)
        folder.mkdir()
        order = scene.at(folder)
        nursery.run(**order, kill_at=scene.steps - back, after=back % 2 == 0)
        check_nothing_wrong(scene, folder)
        said = nursery.run(**order, resume=True) if journal_path(order["job"]["target"]).exists() else ["Done"]
        assert any(line.startswith("Done") for line in said), said
        assert files_in(folder) == scene.files


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded as Linux counts it")
@pytest.mark.parametrize("kilobytes", [4, 64, 512, 1024])
def test_a_job_that_memory_runs_out_for_goes_on_when_there_is_some(
    kilobytes: int, nursery: Nursery, scenes: Scenes, tmp_path: Path
) -> None:
    """Wherever it fails: in a thread's stack, in a slab, in what it says of that."""
    scene = scenes["file"]
    order = scene.at(tmp_path)
    said = nursery.run(**order, memory=kilobytes << 10)
    check_nothing_wrong(scene, tmp_path)
    if not any(line.startswith("Done") for line in said):
        said = nursery.run(**order, resume=True)
    assert any(line.startswith("Done") for line in said), said
    assert files_in(tmp_path) == scene.files
