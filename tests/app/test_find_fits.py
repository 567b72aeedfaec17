"""`snug find --fits`: only what runs, with its level."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import core
from app.find_fits import LOOKED_AT_MOST, Judged, that_run
from core.hub.search import row_of
from tests.app.commands import answered, spoken
from tests.app.hub_models import asking, row, sample_files
from tests.fake_hub import FakeHub, FakeRepo
from tests.models import CONFIG

FITS = core.Glance(supported=True, reason="", level="Q8_0", verdict="fits")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    sample = sample_files()
    other = {**sample, "config.json": json.dumps({**CONFIG, "architectures": ["XForAll"]}).encode()}
    repos = [
        FakeRepo("org/small", sample, row=row(1, 2_200_000), tags=("license:mit",)),
        FakeRepo("org/of-another-kind", other, row=row(2, 2_200_000)),
        FakeRepo("org/gated", sample, gated="manual", row=row(3, 2_200_000)),
    ]
    with FakeHub(repos) as started, asking(started, monkeypatch, tmp_path):
        yield started


def test_only_what_runs_is_listed_with_its_best_level(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = spoken(capsys, "find", "org/", "--fits")
    assert "org/small" in out
    assert "Q8_0" in out
    assert "of-another-kind" not in out
    assert "1 model could not be looked at" in err
    assert "not logged in" in err
    found = answered(capsys, "find", "org/", "--fits")
    assert [row["best"]["verdict"] for row in found["models"]] == ["fits"]
    assert len(found["not_judged"]) == 1
    assert "not logged in" in found["not_judged"][0]["problem"]
    assert "Of what could be looked at, nothing runs" in spoken(capsys, "find", "gated", "--fits")[0]


def test_another_machine_and_another_context_decide(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("find", "small", "--fits", "--ram", "1M:1M", "--gpu", "none", "--ctx", "1024")
    assert "Nothing that was found runs on this machine." in spoken(capsys, *asked)[0]
    (found,) = answered(capsys, "find", "small", "--ram", "64G", "--gpu", "none")["models"]
    assert found["best"]["verdict"] == "fits"


def test_rows_are_taken_until_enough_run_but_not_for_ever() -> None:
    made = row_of({"id": "org/x", "tags": []})
    assert made is not None
    taken: list[str] = []

    def rows() -> Iterator[core.Repo]:
        for number in range(10_000):
            taken.append(str(number))
            yield replace(made, id=str(number))

    def look(one: core.Repo) -> Judged:
        return Judged(one, FITS if int(one.id) % 3 == 0 else None, "" if int(one.id) % 3 == 0 else "no")

    run, unknown = that_run(rows(), look, limit=5)
    assert [one.row.id for one in run] == ["0", "3", "6", "9", "12"]
    assert len(taken) < 30
    assert unknown
    taken.clear()
    assert that_run(rows(), lambda one: Judged(one, None), limit=5) == ([], [])
    assert len(taken) <= 5 * LOOKED_AT_MOST + 1
