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
# One cache for the whole run: kernels are compiled once, also for the worker processes that tests start.
_CACHE = Path(tempfile.mkdtemp(prefix="snug-tests-"))
os.environ["XDG_CACHE_HOME"] = str(_CACHE)
os.environ["XDG_DATA_HOME"] = str(_CACHE / "data")


def pytest_unconfigure() -> None:
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of its own for each test: no jobs and no settings of another one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
