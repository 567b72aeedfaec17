"""Every family: transformers and llama.cpp compute the same from the same weights, so the conversion lost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import core.architectures
from core.tensor_ops import RopePermute
from tests.core.families.llama import Llama, LlamaFailed
from tests.core.families.logits import compare, convert, difference, reference, tokens_of
from tests.core.families.tables import FAMILIES, PENDING
from tests.core.families.tiny import TinyModel, make_tiny
from tests.core.families.vocabularies import KINDS

QUICK = ("llama-2", "mixtral")


@pytest.fixture(scope="module")
def llama() -> Iterator[Llama]:
    with Llama() as process:
        yield process


def _parameters() -> list[object]:
    return [
        pytest.param(family, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, family in FAMILIES.items()
        if name not in PENDING
    ]


@pytest.mark.parametrize("family", _parameters())
def test_logits_are_those_of_transformers(family: TinyModel, llama: Llama, tmp_path: Path) -> None:
    found = compare(tmp_path, family, llama)
    if family.reason:
        pytest.skip(f"converted and run, but not compared: {family.reason}")
    assert found < family.tolerance


def test_rows_in_the_wrong_order_are_found(llama: Llama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RopePermute, "apply", lambda self, slab, *args, **options: slab)
    assert compare(tmp_path, FAMILIES["llama-2"], llama) > 1


def test_a_norm_that_is_off_by_a_little_is_found(llama: Llama, tmp_path: Path) -> None:
    family = FAMILIES["llama-2"]
    model = make_tiny(tmp_path / "m", family)
    convert(tmp_path / "m", tmp_path / "m.gguf")
    model.get_submodule("model.norm").weight.data[7] *= 1.1
    ours = llama.run(tmp_path / "m.gguf", tokens_of(family))
    assert difference(ours, reference(model, family)) > family.tolerance


def test_a_file_that_llama_cpp_refuses_is_an_error_and_the_next_one_runs(llama: Llama, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(LlamaFailed, match="does not load the file"):
        llama.run(tmp_path / "bad.gguf", [5])
    convert(core.sample_folder(), tmp_path / "good.gguf")
    assert llama.run(tmp_path / "good.gguf", [5, 6]).shape == (2, 1536)


def test_a_tiny_model_is_the_same_at_every_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_tiny(tmp_path / name, FAMILIES["mixtral"])
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_the_tables_are_sound() -> None:
    assert FAMILIES.keys() >= PENDING
    assert {family.tokenizer for family in FAMILIES.values()} <= KINDS.keys()
    assert all(np.isfinite(family.tolerance) and family.tolerance <= 6e-2 for family in FAMILIES.values())
