"""Compiled kernels are kept per version of the sources, in the user's cache folder, or not at all."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import kernels
from kernels import cpu
from kernels.cpu import aside, cache

ROOT = Path(__file__).parents[2]
ENCODE = """
import json, numpy, kernels
from kernels.cpu import cache
before = kernels.is_prepared(["F16"], numpy.float32)
kernels.prepare(["F16"], numpy.float32)
import numba
from kernels.cpu import float as floats
print(json.dumps({
    "before": before,
    "after": kernels.is_prepared(["F16"], numpy.float32),
    "other": kernels.is_prepared(["F16"], numpy.uint16),
    "folder": str(cache.folder()),
    "hits": sum(floats.f16.stats.cache_hits.values()),
    "numba": numba.config.CACHE_DIR,
}))
"""


def run_in(home: Path, code: str = ENCODE, **more: str) -> dict:
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(home), "LOCALAPPDATA": str(home), "HOME": str(home), **more}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert run.stderr == ""
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", ["cpu/lanes.py", "cpu/k_quants.py", "best/cpu/parts.py", "codebooks.py", "formats.py"])
def test_an_edit_of_what_kernels_are_made_of_changes_the_folder(name: str, tmp_path: Path) -> None:
    sources = shutil.copytree(cache.SOURCES, tmp_path / "kernels")
    assert cache.source_hash(sources) == cache.source_hash()
    edited = sources / name
    edited.write_text(edited.read_text() + "\n# edited\n")
    assert cache.source_hash(sources) != cache.source_hash()


def test_the_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    first, second = run_in(tmp_path), run_in(tmp_path)
    assert (first["before"], first["after"], first["other"], first["hits"]) == (False, True, False, 0)
    assert (second["before"], second["after"], second["hits"]) == (True, True, 1)
    assert Path(first["folder"]).is_relative_to(tmp_path)
    assert Path(first["folder"]).name == cache.source_hash()


@pytest.mark.slow
def test_numba_cache_dir_is_respected_and_left_alone(tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    seen = run_in(tmp_path, NUMBA_CACHE_DIR=str(chosen))
    assert seen["folder"] == str(chosen / cache.source_hash())
    assert seen["numba"] == str(chosen)


@pytest.mark.slow
def test_an_unusable_cache_folder_means_no_cache(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    seen = run_in(blocked)
    assert (seen["before"], seen["after"]) == (False, False)


def test_a_disk_that_fills_up_costs_the_cache_and_not_the_job() -> None:
    class Kernel:
        _cache = "on a full disk"

        def __call__(self, x: object, out: object, first: int, last: int) -> int:
            if self._cache == "on a full disk":
                raise OSError(errno.ENOSPC, "No space left on device")
            return 42

    empty = np.empty(0, np.uint8)
    assert cpu._run(Kernel(), (empty,), empty, 0) == 42


ASIDE = """
import json, numpy, sys, kernels
work = [(name, "float32", False, "exact") for name in ("F16", "BF16")]
with kernels.compiled_aside(work, processes=1) as share:
    pass
ready = [kernels.is_prepared([name], numpy.float32) for name, *_ in work]
print(json.dumps({"share": share, "ready": ready, "numba": "numba" in sys.modules}))
"""


def test_another_process_compiles_its_share(tmp_path: Path) -> None:
    seen = run_in(tmp_path, ASIDE)
    assert seen == {"share": [["F16", "float32", False, "exact"]], "ready": [False, True], "numba": False}


def test_nothing_is_compiled_aside_where_it_would_be_lost(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert len(run_in(blocked, ASIDE)["share"]) == 2


@pytest.mark.parametrize("work", [[], [("F16", "float32", False, "exact")]])
def test_a_single_kernel_is_compiled_here(work: list[aside.Work], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside.subprocess, "Popen", lambda *_, **__: pytest.fail("there is nothing to share"))
    with kernels.compiled_aside(work, processes=3) as share:
        assert share == work


KILLED = """
import os, psutil, signal, kernels
from kernels.cpu import aside
aside._PREPARE = "import time; time.sleep(60)"
with kernels.compiled_aside([(name, "float32", False, "exact") for name in ("F16", "BF16")], processes=1):
    print(psutil.Process().children()[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_compiles_ends_with_one_that_is_killed(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as killed:
        run_in(tmp_path, KILLED)
    with contextlib.suppress(psutil.NoSuchProcess):
        left = psutil.Process(int(killed.value.stdout))
        until = time.monotonic() + 20
        while left.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_an_interrupted_compilation_ends_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(start([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[-1]

    monkeypatch.setattr(aside.subprocess, "Popen", noted)
    work = [(name, "float32", False, "exact") for name in ("F16", "BF16", "F32")]
    with pytest.raises(KeyboardInterrupt), kernels.compiled_aside(work, processes=2):
        raise KeyboardInterrupt
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
