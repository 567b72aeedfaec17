"""kill -9 amid a download: the next one goes on, ends in the same bytes, and fetches next to nothing twice."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import core
from tests.core.hub.conftest import noise
from tests.fake_hub import FakeHub, FakeRepo

ROOT = Path(core.__file__).parent.parent
AGAIN = 8 << 20
RATE = 60_000_000  # of each connection

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


CHILD = """
import os, sys
from pathlib import Path
from core.hub import Hub, PullJob, pull
hub, last = Hub(sys.argv[1], Path(sys.argv[2])), None
for last in pull(PullJob("org/model", "model.safetensors", 4), hub=hub):
    pass
print(type(last).__name__, getattr(last, "message", ""))
"""


def run_child(fake: FakeHub, cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(cache / "own"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CHILD, fake.url, str(cache / "hub")]
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def kill_at(fake: FakeHub, cache: Path, sent: int) -> None:
    """Starts a download and kills it once the server has sent so many bytes more."""
    before, deadline = fake.sent("/storage/*"), time.monotonic() + 60
    with run_child(fake, cache) as child:
        while fake.sent("/storage/*") - before < sent and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        child.communicate()


def settled(fake: FakeHub) -> int:
    """Bytes sent in all, once the server has noticed that nobody listens."""
    count = -1
    while count != (count := fake.sent("/storage/*")):
        time.sleep(0.1)
    return count


def check_killed(data: bytes, moments: list[int], cache: Path) -> None:
    with FakeHub([FakeRepo("org/model", {"model.safetensors": data})], rate=RATE) as fake:
        for moment in moments:
            kill_at(fake, cache, moment)
            settled(fake)
            check_nothing_wrong(data, cache)
        with run_child(fake, cache) as child:
            said, _ = child.communicate(timeout=120)
        sent = settled(fake)
    assert said.split() == ["Done"]
    assert check_nothing_wrong(data, cache) == 1
    assert list(cache.rglob("*incomplete*")) == []
    assert sent - len(data) <= AGAIN * len(moments)


def check_nothing_wrong(data: bytes, cache: Path) -> int:
    """Whatever has its final name is the whole file; how many there are."""
    found = list(cache.glob("hub/**/snapshots/*/model.safetensors"))
    for blob in cache.glob("hub/**/blobs/*"):
        assert (
            blob.suffix
            or hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name == hashlib.sha256(data).hexdigest()
        )
    return len(found)


def test_killed_downloads_go_on_where_they_were(tmp_path: Path) -> None:
    check_killed(noise(48 << 20), [5_000_000, 20_000_000], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_download_killed_at_any_moment_is_the_same_in_the_end(seed: int, tmp_path: Path) -> None:
    rng, data = random.Random(seed), noise(64 << 20, seed)
    moments = [rng.randrange(1, len(data) * 2 // 3) for _ in range(rng.randrange(1, 3))]
    check_killed(data, moments, tmp_path)
