"""The process that asks the Hub, by its lines."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from app.hub_desk import Desk
from tests.app.hub_models import asking, sample_files
from tests.fake_hub import FakeHub, FakeRepo


def lines(out: io.StringIO, count: int) -> list[dict[str, object]]:
    end = time.monotonic() + 10
    while out.getvalue().count("\n") < count and time.monotonic() < end:
        time.sleep(0.01)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_request_that_makes_no_sense_is_a_problem_with_its_number() -> None:
    out = io.StringIO()
    Desk(out).take('{"id": 7, "ask": "model", "with": {"source": "../etc"}}')
    (said,) = lines(out, 1)
    assert said["id"] == 7
    assert "no name of a model" in str(said["problem"])


def test_what_is_said_about_a_request_that_has_ended_does_nothing() -> None:
    out = io.StringIO()
    Desk(out).take('{"id": 9, "say": "cancel"}')
    assert out.getvalue() == ""


def test_a_known_model_whose_terms_are_not_accepted_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, name = io.StringIO(), "meta-llama/Llama-3.2-1B-Instruct"
    repo = FakeRepo(name, sample_files(), gated="manual", tags=("safetensors",))
    with FakeHub([repo]) as fake, asking(fake, monkeypatch, tmp_path):
        Desk(out).take(json.dumps({"id": 1, "ask": "check", "with": {"source": name}}))
        (said,) = lines(out, 1)
    assert "you are not logged in" in str(said.get("problem")), said
