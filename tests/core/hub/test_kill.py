"""kill -9 amid a download: the next one goes on, ends in the same bytes, and fetches next to nothing twice."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import core
from tests.core.hub.conftest import noise
from tests.fake_hub import FakeHub, FakeRepo

ROOT = Path(core.__file__).parent.parent
AGAIN = 8 << 20
RATE = 60_000_000  # of each connection
SEND_BUFFER = 1 << 17  # what has not left the server was not fetched

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")

# Imports once, then downloads in a fork for each line of stdin: what is killed is a whole process all the same.
NURSERY = """
import os, sys
from pathlib import Path
from core.hub import Hub, PullJob, part, pull

def download(endpoint, cache, segment):
    part.SEGMENT, last = int(segment), None
    for last in pull(PullJob("org/model", "model.safetensors", 4), hub=Hub(endpoint, Path(cache))):
        pass
    return f"{type(last).__name__} {getattr(last, 'message', '')}"

for line in sys.stdin:
    if child := os.fork():
        print(child, flush=True)
        os.waitpid(child, 0)
        print("over", flush=True)
        continue
    print(download(*line.rstrip("\\n").split("\\t")), flush=True)
    os._exit(0)
"""


class Nursery:
    """Downloads in processes of their own, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, fake: FakeHub, cache: Path, segment: int) -> int:
        """The id of a process that downloads."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{fake.url}\t{cache / 'hub'}\t{segment}\n")
        self._process.stdin.flush()
        return int(self._line())

    def wait(self) -> str:
        """What it said before its end, "" if it was killed."""
        said = ""
        while (line := self._line()) != "over":
            said = line
        return said

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the downloads ended"
        return line.strip()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    own = str(tmp_path_factory.mktemp("own"))
    environment = os.environ | {"XDG_CACHE_HOME": own, "PYTHONPATH": str(ROOT)}
    pipe, command = subprocess.PIPE, [sys.executable, "-c", NURSERY]
    with subprocess.Popen(command, env=environment, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


def killed_at(nursery: Nursery, fake: FakeHub, start: tuple[Path, int], sent: int) -> None:
    """Starts a download and kills it once the server has sent so many bytes more."""
    before, deadline = fake.sent("/storage/*"), time.monotonic() + 60
    child = nursery.start(fake, *start)
    while fake.sent("/storage/*") - before < sent and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    assert nursery.wait() == ""


def settled(fake: FakeHub) -> int:
    """Bytes sent in all, once the server has noticed that nobody listens."""
    count = -1
    while count != (count := fake.sent("/storage/*")):
        time.sleep(0.05)
    return count


def check_killed(nursery: Nursery, data: bytes, moments: list[int], cache: Path, segment: int = 32 << 20) -> None:
    with FakeHub([FakeRepo("org/model", {"model.safetensors": data})], rate=RATE, send_buffer=SEND_BUFFER) as fake:
        for moment in moments:
            killed_at(nursery, fake, (cache, segment), moment)
            settled(fake)
            check_nothing_wrong(data, cache)
        nursery.start(fake, cache, segment)
        said, sent = nursery.wait(), settled(fake)
    assert said == "Done"
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


def test_killed_downloads_go_on_where_they_were(nursery: Nursery, tmp_path: Path) -> None:
    check_killed(nursery, noise(48 << 20), [5_000_000, 20_000_000], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_a_download_killed_at_any_moment_is_the_same_in_the_end(seed: int, nursery: Nursery, tmp_path: Path) -> None:
    """Over one connection or four, killed once or twice, up to its very last bytes."""
    rng, data = random.Random(seed), noise(18 << 20, seed)
    moments = [rng.randrange(1, len(data))]
    if seed % 5 == 0:
        moments = [moment // 3 for moment in (*moments, rng.randrange(1, len(data)))]
    check_killed(nursery, data, moments, tmp_path, segment=rng.choice((32 << 20, 3 << 20)))
