"""A lock has one holder, and goes with it however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core import take_lock
from core.running import lock as locks
from core.running.lock import is_held


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    held = take_lock(path)
    assert held is not None
    assert is_held(path)
    assert take_lock(path) is None
    held.release()
    held.release()
    assert not is_held(path)


def test_it_can_say_who_holds_it(tmp_path: Path) -> None:
    held = take_lock(tmp_path / "lock")
    assert held is not None
    held.write(b"a long name")
    held.write(b"short")
    assert (tmp_path / "lock").read_bytes() == b"short"
    held.release()


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal to a process")
def test_it_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    path, root = tmp_path / "lock", Path(locks.__file__).parents[2]
    code = f"import pathlib, core; l = core.take_lock(pathlib.Path({str(path)!r})); print(1); input()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_held(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_held(path)
