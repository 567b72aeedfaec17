"""Compiling kernels in processes of their own: numba compiles one function at a time in each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kernels.cpu import cache

Work = tuple[str, str, bool, str]
"""What kernels.prepare takes: the format, the dtype's name, whether with importance, the effort."""

_ROOT = Path(__file__).parents[2]
# Whoever started it may be killed while it compiles.
_END_WITH_PARENT = """
import os, threading
threading.Thread(target=lambda: os._exit(len(os.read(0, 1))), daemon=True).start()
"""
_PREPARE = """
import json, sys, kernels
for name, dtype, importance, effort in json.loads(sys.argv[1]):
    kernels.prepare([name], dtype, importance=importance, effort=effort)
"""


@contextmanager
def compiled_aside(work: Iterable[Work], *, processes: int) -> Iterator[list[Work]]:
    """While it lasts, `processes` others compile their share of `work`, which is then on disk; gives what is left.

    All is left where nothing would come of it: without a cache, and in a frozen application, which is no Python.
    """
    left = list(work)
    count = min(processes, len(left) - 1)
    if count < 1 or not cache.is_usable() or getattr(sys, "frozen", False):
        yield left
        return
    shares = [left[number :: count + 1] for number in range(count + 1)]
    with ExitStack() as stack:
        for share in shares[1:]:
            stack.enter_context(_process(share))
        yield shares[0]


@contextmanager
def _process(share: list[Work]) -> Iterator[None]:
    """Its failure does not matter: what it did not compile is compiled here."""
    nothing = subprocess.DEVNULL
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-c", _END_WITH_PARENT + _PREPARE, json.dumps(share)],
        stdin=subprocess.PIPE,
        stdout=nothing,
        stderr=nothing,
        env=environment,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    ) as process:
        try:
            yield
            process.wait()
        finally:
            process.kill()
            process.wait()
