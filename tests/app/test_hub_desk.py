"""The process that asks the Hub, by its lines."""

from __future__ import annotations

import io
import json
import time

from app.hub_desk import Desk


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
