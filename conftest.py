"""Every test runs offscreen, offline and away from the user's own folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
os.environ["HF_HUB_OFFLINE"] = "1"
# One cache for the whole run, for the processes it is divided among and the workers that tests start:
# kernels are compiled once. The process that divides the run makes the folder and removes it.
_DIVIDED = "PYTEST_XDIST_WORKER" in os.environ
_CACHE = Path(os.environ["XDG_CACHE_HOME"] if _DIVIDED else tempfile.mkdtemp(prefix="snug-tests-"))
os.environ["XDG_CACHE_HOME"] = str(_CACHE)
os.environ["XDG_DATA_HOME"] = str(_CACHE / "data")


def pytest_unconfigure() -> None:
    if not _DIVIDED:
        shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of its own for each test: no jobs and no settings of another one. And no terminal's width."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.delenv("COLUMNS", raising=False)
