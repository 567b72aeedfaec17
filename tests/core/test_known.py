from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import detect
from core.answer.glance import glance_at
from core.hub.connection import Hub
from core.hub.names import HubSource
from core.known import known_model, known_notes
from core.known_shapes import dtype_of, shapes_of
from tests.core.memory.goldens import _expand as expand
from tests.core.memory.goldens import goldens

ROWS = json.loads((Path(__file__).resolve().parents[2] / "resources" / "data" / "curated.json").read_text())
SHAPED = [row for row in ROWS if row.get("config")]


DENSE = [row for row in SHAPED if not row["active_parameters"]]
MIXTURES = [row for row in SHAPED if row["active_parameters"]]
# What their publisher counts and Snug leaves out: the part that sees.
SEEING = 0.42e9
# Of each family, one whose tensors are written down elsewhere.
FAMILIES = (
    "llama-3.1-8b", "llama-3.2-1b", "mistral-7b-v0.3", "mixtral-8x7b", "qwen2.5-7b", "qwen3-4b", "qwen3-30b-a3b",
    "gemma-2-2b", "phi-3.5-mini-128k", "deepseek-v2-lite", "gpt-oss-20b", "smollm3-3b", "olmo-2-7b", "granite-3.3-2b",
)  # fmt: skip


def test_all_well_known_models_have_a_shape() -> None:
    assert [row["id"] for row in ROWS if not row.get("config")] == []
    assert list(known_notes()) == [row["id"] for row in ROWS]


@pytest.mark.parametrize("name", FAMILIES)
def test_names_and_shapes_are_those_of_the_checkpoint(name: str) -> None:
    model = goldens()["models"][name]
    tensors = {tensor: (dtype, list(shape)) for tensor, (dtype, shape) in expand(model["tensors"])}
    known = {tensor: (dtype_of(tensor), shape) for tensor, shape in shapes_of(model["config"]).items()}
    assert known == tensors


@pytest.mark.parametrize("row", DENSE, ids=lambda row: row["id"])
def test_a_published_shape_has_as_many_weights_as_its_publisher_says(row: dict[str, object]) -> None:
    model = known_model(str(row["id"]))
    assert model is not None
    seeing = SEEING if model.architecture == "gemma3" and model.parameters > 3e9 else 0
    assert row["parameters"] == pytest.approx(model.parameters + seeing, abs=51e6)  # it says tenths of billions


@pytest.mark.slow
@pytest.mark.parametrize("row", MIXTURES, ids=lambda row: row["id"])
def test_a_mixture_has_the_weights_and_the_active_ones_that_its_publisher_says(row: dict[str, object]) -> None:
    model = known_model(str(row["id"]))
    assert model is not None
    assert row["parameters"] == pytest.approx(model.parameters, rel=0.01)
    # Some do not count the table of input embeddings, of which a token meets one row.
    table = next(tensor.weights for tensor in model.tensors if tensor.name == "token_embd.weight")
    without = model.active_parameters - table
    assert row["active_parameters"] in (
        pytest.approx(model.active_parameters, rel=0.05),
        pytest.approx(without, rel=0.05),
    )


def test_a_known_model_is_judged_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    nowhere = Hub("http://127.0.0.1:9", tmp_path, offline=True)
    hardware = detect()  # once: free memory changes
    first = glance_at(HubSource("meta-llama/Llama-3.2-1B-Instruct"), hardware, hub=nowhere)
    assert first.supported
    assert first.verdict in ("fits", "tight", "splits", "no")
    assert first.parameters == 1_235_814_400
    assert first == glance_at(HubSource("meta-llama/Llama-3.2-1B-Instruct"), hardware, hub=nowhere)


def test_what_is_not_known_is_not_guessed() -> None:
    assert known_model("org/some-model") is None
