"""A download as a job of a worker process: it stops as it is told to, goes on where it was, and keeps to its limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import core
from core import Limits, PullJob, Stop
from tests.core.hub.conftest import noise
from tests.fake_hub import FakeHub, FakeRepo

pytestmark = pytest.mark.slow

ROOT = Path(core.__file__).parent.parent
FILES = {"config.json": b'{"a": 1}', "model.safetensors": noise(12 << 20)}


class Pulling:
    """A worker that downloads from a Hub of the test's own."""

    def __init__(self, hub: FakeHub, cache: Path, folder: core.JobFolder, limits: Limits) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "worker"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.say(core.assignment_line(core.Assignment(PullJob("org/model"), folder, False, limits)))

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.decode())
        self.process.stdin.flush()

    def until(self, ready: Callable[[core.Event], bool]) -> core.Event:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = core.from_json(json.loads(line))
            if ready(event):
                return event
        raise AssertionError("it ended")

    def end(self) -> core.Event:
        assert self.process.stdout is not None
        *_, last = [core.from_json(json.loads(line)) for line in self.process.stdout]
        return last


Start = Callable[..., Pulling]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub([FakeRepo("org/model", FILES)]) as hub:
        yield hub


@pytest.fixture
def start(hub: FakeHub, tmp_path: Path) -> Iterator[Start]:
    begun: list[Pulling] = []

    def start(limits: Limits = Limits()) -> Pulling:  # noqa: B008 - it never changes
        folder = core.create(tmp_path / "jobs", PullJob("org/model"))
        begun.append(Pulling(hub, tmp_path / "cache", folder, limits))
        return begun[-1]

    yield start
    for pulling in begun:
        pulling.process.kill()
        pulling.process.communicate()


def has_some(event: core.Event) -> bool:
    return isinstance(event, core.Progress) and event.bytes_done > 3 << 20


def unfinished(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.snug.incomplete"))


def test_a_paused_download_goes_on_where_it_was(hub: FakeHub, start: Start, tmp_path: Path) -> None:
    hub.rate = 4 << 20
    first = start()
    first.until(has_some)
    first.say(core.order_line(core.stop_order(Stop.PAUSE)))
    assert first.end() == core.Paused("Paused. What has been downloaded is kept.")
    assert len(unfinished(tmp_path)) == 1
    hub.rate = 0
    done = start().end()
    assert isinstance(done, core.Done)
    assert done.result["fetched"] < len(FILES["model.safetensors"]) - (2 << 20)
    assert Path(done.result["folder"], "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_download_that_is_thrown_away_leaves_nothing(hub: FakeHub, start: Start, tmp_path: Path) -> None:
    hub.rate = 4 << 20
    pulling = start()
    pulling.until(has_some)
    pulling.say(core.order_line(core.stop_order(Stop.THROW_AWAY)))
    last = pulling.end()
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert list((tmp_path / "cache").rglob("*.incomplete")) == []


def test_a_new_limit_holds_within_two_seconds(start: Start) -> None:
    pulling = start(Limits(bandwidth=1 << 20))
    first = pulling.until(lambda event: isinstance(event, core.Progress) and event.bytes_done > 0)
    began = time.monotonic()
    second = pulling.until(lambda event: isinstance(event, core.Progress) and event.elapsed > first.elapsed + 2)  # type: ignore[union-attr]
    assert isinstance(first, core.Progress)
    assert isinstance(second, core.Progress)
    assert second.bytes_done - first.bytes_done < 2 * (time.monotonic() - began) * (1 << 20)
    pulling.say(core.order_line(core.limits_order(Limits())))
    began = time.monotonic()
    assert isinstance(pulling.end(), core.Done)
    assert time.monotonic() - began < 6  # 10 s at the old one
