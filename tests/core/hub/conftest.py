"""A Hub and a cache of its own for each test; no waiting between tries."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from core.hub import Hub, close_connections, download, fetch, ranges, web
from tests.fake_hub import FakeHub, FakeRepo

Start = Callable[..., tuple[FakeHub, Hub]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ranges, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(web, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(fetch, "PARALLEL_FROM", 1 << 20)
    monkeypatch.setattr(download, "TICK_SECONDS", 0.02)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))


@pytest.fixture(autouse=True, scope="module")
def closed_in_the_end() -> Iterator[None]:
    yield
    close_connections()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """(the server, the connection to it) for these repositories."""
    with ExitStack() as stack:

        def run(*repos: FakeRepo, token: str | None = None, **settings: Any) -> tuple[FakeHub, Hub]:
            fake = stack.enter_context(FakeHub(repos, **settings))
            return fake, Hub(fake.url, tmp_path / "cache", token)

        yield run


def folder_repo(id: str, folder: Path, **more: Any) -> FakeRepo:
    """A repository of the files in a folder."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return FakeRepo(id, files, **more)


def noise(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)
