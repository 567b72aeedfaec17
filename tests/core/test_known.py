from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import detect
from core.glance import glance_at
from core.hub.connection import Hub
from core.hub.names import HubSource
from core.known import known_model

ROWS = json.loads((Path(__file__).resolve().parents[2] / "resources" / "data" / "curated.json").read_text())
SHAPED = [row for row in ROWS if row.get("config")]


@pytest.mark.parametrize(
    "row", [row for row in SHAPED if "experts" not in str(row["config"])], ids=lambda row: row["id"]
)
def test_a_published_shape_has_as_many_weights_as_its_publisher_says(row: dict[str, object]) -> None:
    model = known_model(str(row["id"]))
    assert model is not None
    assert row["parameters"] == pytest.approx(model.parameters, abs=51e6)  # it says tenths of billions


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in SHAPED if "experts" in str(row["config"])], ids=lambda row: row["id"])
def test_a_mixture_has_the_weights_and_the_active_ones_that_its_publisher_says(row: dict[str, object]) -> None:
    model = known_model(str(row["id"]))
    assert model is not None
    assert row["parameters"] == pytest.approx(model.parameters, rel=0.01)
    assert row["active_parameters"] == pytest.approx(model.active_parameters, rel=0.05)


def test_a_known_model_is_judged_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    nowhere = Hub("http://127.0.0.1:9", tmp_path, offline=True)
    first = glance_at(HubSource("meta-llama/Llama-3.2-1B-Instruct"), detect(), hub=nowhere)
    assert first.supported
    assert first.verdict in ("fits", "tight", "splits", "no")
    assert first.parameters == 1_235_814_400
    assert first == glance_at(HubSource("meta-llama/Llama-3.2-1B-Instruct"), detect(), hub=nowhere)


def test_what_is_not_known_is_not_guessed() -> None:
    assert known_model("org/some-model") is None
    assert known_model("microsoft/phi-4") is None
