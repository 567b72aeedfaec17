"""kill -9 of the worker, the window, or both: at whatever stage of whatever job, the next start ends in its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.job_record import read_records
from core import Job, JobState, PullJob, QuantizeJob
from core.jobs.job import job_values
from tests.app.hub_models import hub_environment
from tests.app.test_survival import PATIENCE, ROOT, begun, is_over, kill, wait_for
from tests.fake_hub import FakeHub, FakeRepo
from tests.models import make_llama

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="kills processes with a POSIX signal"),
]

MOMENTS = {
    "file": ("start", "encode", "encode", "encode", "encode", "write", "verify", "name"),
    "stream": ("encode", "verify"),
    "download": ("start", "download", "download", "download"),
}
# The worker alone is killed in other tests too.
CASES = [(target, kind, stage, number) for target in ("worker", "window", "both")
         for kind, stages in MOMENTS.items() for number, stage in enumerate(stages)
         if target != "worker" or number == len(stages) - 1]  # fmt: skip
RATE = 4_000_000  # bytes a second of each connection


class Scenes:
    """A model on this disk and on a Hub; windows with a job on it; and what each kind of job makes when undisturbed."""

    def __init__(self, place: Path, fake: FakeHub) -> None:
        self.place, self.fake = place, fake
        self.model = make_llama(place / "model", shards=2, num_hidden_layers=8)
        fake.repos["org/model"] = FakeRepo("org/model", {p.name: p.read_bytes() for p in self.model.iterdir()})
        self.windows: list[subprocess.Popen[bytes]] = []
        self._whole: dict[str, dict[str, str]] = {}

    def job(self, kind: str, folder: Path) -> Job:
        if kind == "download":
            return PullJob("org/model")
        source = str(self.model) if kind == "file" else "hub:org/model"
        return QuantizeJob(source, "Q4_K_M", str(folder / "out.gguf"), hash_source=kind == "file")

    def window(self, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """One whose jobs and downloads are in `folder`."""
        environment = hub_environment(self.fake, folder) | {"XDG_CACHE_HOME": str(self.place / "own")}
        command = [sys.executable, "-m", "tests.app.lone_window", str(folder / "jobs"), *arguments]
        self.windows.append(
            subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL)
        )
        return self.windows[-1]

    def whole(self, kind: str) -> dict[str, str]:
        if kind not in self._whole:
            folder = self.place / kind
            folder.mkdir()
            assert self.window(folder, json.dumps(job_values(self.job(kind, folder)))).wait(PATIENCE) == 0
            self._whole[kind] = made(folder)
        return self._whole[kind]


def made(folder: Path) -> dict[str, str]:
    """The hash of each file that a job has made there; what is unfinished is among them."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    mine = [path for path in found if path.parent == folder or "blobs" in path.parts]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(mine) if path.suffix != ".json"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    with FakeHub([], rate=RATE) as fake:
        scenes = Scenes(tmp_path_factory.mktemp("scenes"), fake)
        yield scenes
        for window in scenes.windows:
            window.kill()
            window.wait()


@pytest.mark.parametrize(("target", "kind", "stage", "number"), CASES)
def test_whoever_is_killed_at_whatever_stage_the_next_start_ends_the_job(
    target: str, kind: str, stage: str, number: int, scenes: Scenes, tmp_path: Path
) -> None:
    whole, chance = scenes.whole(kind), random.Random(f"{target} {kind} {stage} {number}")
    job, jobs, there = scenes.job(kind, tmp_path), tmp_path / "jobs", tmp_path / "there.json"
    moment = ("at", stage, str(chance.uniform(0, 0.9)), str(there))
    window = scenes.window(tmp_path, json.dumps(job_values(job)), *moment)
    wait_for(lambda: there.exists() or window.poll() is not None)
    assert there.exists()
    time.sleep(chance.uniform(0, 0.1))
    record = begun(jobs)
    assert record is not None
    assert record.owner is not None
    if target != "worker":
        window.kill()
        window.wait()
    if target != "window":
        kill(record.owner.pid)
    if target != "worker":
        wait_for(lambda: begun(jobs) is None)
        window = scenes.window(tmp_path)
    assert window.wait(PATIENCE) == 0
    (record,) = read_records(jobs)
    assert (record.state, record.failure) == (JobState.DONE, None)
    assert is_over(jobs)
    assert made(tmp_path) == whole
