"""How fast the line is, by a few seconds of weights."""

from __future__ import annotations

import pytest

from core.errors import JobFailed, SnugError
from core.hub import repo_info
from core.hub.line import line_speed
from tests.core.hub.conftest import Start, noise
from tests.fake_hub import FakeRepo, Fault

FILES = {"config.json": b"{}", "model.safetensors": noise(2 << 20)}


def test_the_speed_is_that_of_several_connections(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.hub.line.SECONDS", 0.4)
    fake, hub = start(FakeRepo("org/model", FILES), rate=500_000)
    found = line_speed(repo_info("org/model", hub=hub), hub=hub)
    assert found == pytest.approx(4 * 500_000, rel=0.4)
    assert 0 < fake.sent("/storage/*") < 2 << 20


def test_without_a_line_or_weights_that_is_said(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES), FakeRepo("org/none", {"config.json": b"{}"}))
    fake.faults = [Fault("/storage/*", -1, status=404)]
    with pytest.raises(JobFailed):
        line_speed(repo_info("org/model", hub=hub), hub=hub)
    with pytest.raises(SnugError, match="no weights"):
        line_speed(repo_info("org/none", hub=hub), hub=hub)
