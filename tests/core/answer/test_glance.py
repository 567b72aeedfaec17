"""A verdict at a glance heeds what is wanted and which machine is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import detect, override, read_override
from core.answer.glance import Wish, glance_at
from core.answer.recommend import Want
from core.fit import estimate_fit
from core.hardware import Hardware
from core.hub.connection import Hub
from core.hub.names import HubSource
from core.known import known_model
from core.plan import make_plan
from core.recipes import find_recipe

SOURCE = HubSource("meta-llama/Llama-3.2-3B-Instruct")
VERDICTS = ["fits", "tight", "splits", "no"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Hub("http://127.0.0.1:9", tmp_path, offline=True)


def machine(ram: str) -> Hardware:
    return override(detect(), read_override(ram, ["none"]))


def test_more_context_takes_a_lower_level_or_a_worse_verdict(hub: Hub) -> None:
    short = glance_at(SOURCE, machine("8G:6G"), hub=hub)
    long = glance_at(SOURCE, machine("8G:6G"), hub=hub, wish=Wish(context=65536))
    assert short.verdict == "fits"
    assert long.file_bytes < short.file_bytes or VERDICTS.index(long.verdict) > VERDICTS.index(short.verdict)


def test_the_machine_that_is_asked_about_decides(hub: Hub) -> None:
    assert glance_at(SOURCE, machine("64G"), hub=hub).verdict == "fits"
    assert glance_at(SOURCE, machine("2G:1G"), hub=hub).verdict == "no"


def test_the_verdict_is_that_of_the_level_with_what_was_wished(hub: Hub) -> None:
    wish = Wish(context=16384, kv_type="q8_0", want=Want.BEST_QUALITY)
    found, model = glance_at(SOURCE, machine("16G"), hub=hub, wish=wish), known_model(SOURCE.id)
    assert model is not None
    plan = make_plan(model, find_recipe(found.level))
    assert estimate_fit(plan, machine("16G"), context=16384, kv_type="q8_0").verdict == found.verdict
    assert plan.file_bytes == found.file_bytes
