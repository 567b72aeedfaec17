"""The recipe card in a GGUF: what it says, that it is always the same, and that it stands in nobody's way."""

from __future__ import annotations

import getpass
import hashlib
import shutil
import socket
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import core
from core.cards.card_source import UNKNOWN, hash_whole, source_of
from core.cards.recipe_card import card_hash, source_in
from core.gguf import read_header
from core.model import Metadata
from tests.imatrix import write_imatrix
from tests.llama_cpp import generate
from tests.models import SAMPLE, make_llama

MEANS = {"blk.0.ffn_up.weight": np.ones((1, 256), np.float32)}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def made(source: Path | str, out: Path, recipe: str = "Q8_0", **options: Any) -> core.Done:
    last = list(core.run(core.QuantizeJob(str(source), recipe, str(out), **options)))[-1]
    assert isinstance(last, core.Done), last
    return last


def keys(file: Path) -> dict[str, Any]:
    return {item.key: item.value for item in read_header(file).metadata}


def in_cache(folder: Path, root: Path, *, blobs: bool = True) -> Path:
    """The same model as Hugging Face's tools keep it: content by its SHA-256, names as links."""
    repo = root / "models--org--model"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for file in folder.iterdir():
        data = file.read_bytes()
        if not blobs:
            (snapshot / file.name).write_bytes(data)
            continue
        blob = repo / "blobs" / hashlib.sha256(data).hexdigest()
        blob.write_bytes(data)
        (snapshot / file.name).symlink_to(blob)
    return snapshot


def test_a_card_says_what_the_file_was_made_of_and_how(tmp_path: Path) -> None:
    done = made(SAMPLE, tmp_path / "o.gguf", "Q4_K_M")
    found = keys(tmp_path / "o.gguf")
    weights = SAMPLE / "model.safetensors"
    header = weights.read_bytes()[: 8 + int.from_bytes(weights.read_bytes()[:8], "little")]
    assert found["general.quantized_by"] == "Snug"
    assert found["snug.recipe.name"] == "Q4_K_M"
    assert (found["snug.recipe.pure"], found["snug.recipe.best_effort"]) == (False, False)
    assert found["snug.source.files"] == ["model.safetensors"]
    assert found["snug.source.bytes"] == [weights.stat().st_size]
    assert found["snug.source.sha256"] == [hashlib.sha256(header).hexdigest()]
    assert found["snug.source.hashed_whole"] is False
    errors = {error["name"]: error["rmse"] for error in done.result["errors"]}
    names = [tensor.name for tensor in read_header(tmp_path / "o.gguf").tensors]
    assert found["snug.error.rmse"] == pytest.approx([errors[name] for name in names], rel=1e-6)
    assert max(found["snug.error.rmse"]) > 0.01


def test_the_same_job_gives_the_same_bytes_wherever_and_by_whomever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there" / SAMPLE.name
    shutil.copytree(SAMPLE, there)
    made(SAMPLE, tmp_path / "a.gguf", threads=1)
    monkeypatch.setattr("time.time", lambda: 2e9)
    made(there, tmp_path / "there" / "b.gguf", threads=2)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "there" / "b.gguf").read_bytes()
    said = str({key: value for key, value in keys(tmp_path / "a.gguf").items() if not key.startswith("tokenizer.")})
    for private in (str(tmp_path), str(SAMPLE), getpass.getuser(), socket.gethostname()):
        assert private not in said


def test_without_a_card_the_file_is_what_llama_quantize_writes_and_the_tensors_are_the_same_with_one(
    tmp_path: Path,
) -> None:
    made(SAMPLE, tmp_path / "with.gguf")
    made(SAMPLE, tmp_path / "without.gguf", card=False)
    assert not core.card_path(tmp_path / "without.gguf").exists()
    assert not [key for key in keys(tmp_path / "without.gguf") if key.startswith(("snug.", "general.quantized_by"))]
    data = []
    for file in (tmp_path / "with.gguf", tmp_path / "without.gguf"):
        data.append(file.read_bytes()[read_header(file).data_offset :])
    assert data[0] == data[1]


def test_the_size_is_known_to_the_byte_before_the_start(tmp_path: Path) -> None:
    matrix = write_imatrix(tmp_path / "m.gguf", MEANS)
    importance = core.read_importance(matrix)
    for options in ({}, {"imatrix": str(matrix)}, {"effort": "best"}, {"hash_source": True}, {"pure": True}):
        done = made(SAMPLE, tmp_path / "o.gguf", "F16", overwrite=True, **options)
        plan = core.make_plan(
            core.open_model(SAMPLE),
            core.find_recipe("F16"),
            pure="pure" in options,
            importance=importance if "imatrix" in options else None,
        )
        assert done.result["file_bytes"] == plan.file_bytes == (tmp_path / "o.gguf").stat().st_size


def test_llama_cpp_and_pypi_gguf_read_a_file_with_a_card(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "o.gguf")
    assert generate(tmp_path / "o.gguf", tokens=4).strip()
    field = gguf.GGUFReader(tmp_path / "o.gguf").fields["snug.source.files"]
    assert field.contents() == ["model.safetensors"]


def test_of_a_model_in_the_hub_s_cache_the_card_names_repository_commit_and_hashes_of_whole_files(
    tmp_path: Path,
) -> None:
    folder = make_llama(tmp_path / "m", shards=2)
    made(in_cache(folder, tmp_path / "hub"), tmp_path / "o.gguf")
    found = keys(tmp_path / "o.gguf")
    assert (found["snug.source.repo"], found["snug.source.commit"]) == ("org/model", COMMIT)
    assert found["general.source.repo_url"] == "https://huggingface.co/org/model"
    assert found["snug.source.hashed_whole"] is True
    expected = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in found["snug.source.files"]]
    assert found["snug.source.sha256"] == expected
    assert len(expected) == 2


def test_hashes_of_whole_files_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    events = list(core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf"), hash_source=True)))
    assert isinstance(events[-1], core.Done)
    found = keys(tmp_path / "o.gguf")
    assert found["snug.source.hashed_whole"] is True
    assert found["snug.source.sha256"] == [hashlib.sha256((SAMPLE / "model.safetensors").read_bytes()).hexdigest()]


def test_what_the_hub_s_cache_knows_is_not_read_again(tmp_path: Path) -> None:
    model = core.open_model(in_cache(make_llama(tmp_path / "m"), tmp_path / "hub"))
    for file in model.files:
        file.resolve().write_bytes(b"")
    with pytest.raises(StopIteration) as ended:
        next(hash_whole(model, lambda: False))
    assert ended.value.value.is_whole


def test_hashing_a_source_is_cancelled_at_once(tmp_path: Path) -> None:
    job = core.QuantizeJob(str(SAMPLE), "Q8_0", str(tmp_path / "o.gguf"), hash_source=True)
    *_, last = core.run(job, cancelled=lambda: True)
    assert isinstance(last, core.Failed)
    assert last.cancelled
    assert not list(tmp_path.iterdir())


def test_a_cache_without_links_is_hashed_by_headers(tmp_path: Path) -> None:
    snapshot = in_cache(make_llama(tmp_path / "m"), tmp_path / "hub", blobs=False)
    source = source_of(core.open_model(snapshot))
    assert (source.repo, source.is_whole) == ("org/model", False)
    assert {file.sha256 for file in source.files} == {UNKNOWN}


def test_an_importance_matrix_is_named_by_its_hash_and_without_its_folder(tmp_path: Path) -> None:
    matrix = write_imatrix(tmp_path / "m.gguf", MEANS)
    made(SAMPLE, tmp_path / "o.gguf", imatrix=str(matrix))
    found = keys(tmp_path / "o.gguf")
    assert found["snug.imatrix.sha256"] == hashlib.sha256(matrix.read_bytes()).hexdigest()
    assert found["quantize.imatrix.file"] == "m.gguf"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("/home/ada/wiki.txt", "wiki.txt"),
        ("C:\\Users\\ada\\wiki.txt", "wiki.txt"),
        ("~/wiki.txt", "wiki.txt"),
        ("wikitext/test.raw", "wikitext/test.raw"),
    ],
)
def test_the_text_that_a_matrix_was_measured_on_is_named_without_a_folder_of_somebody_s(
    told: str, expected: str
) -> None:
    matrix = core.ImportanceMatrix("/home/ada/m.gguf", (told,), 3, MEANS)
    plan = core.make_plan(core.open_model(SAMPLE), core.find_recipe("Q8_0"), importance=matrix)
    found = {item.key: item.value for item in plan.metadata}
    assert (found["quantize.imatrix.dataset"], found["quantize.imatrix.file"]) == (expected, "m.gguf")


def test_a_file_made_of_one_with_a_card_keeps_the_chain_and_no_second_card(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "a.gguf", "BF16")
    made(tmp_path / "a.gguf", tmp_path / "b.gguf")
    before, after = read_header(tmp_path / "a.gguf").metadata, keys(tmp_path / "b.gguf")
    assert after["snug.parent.card"] == card_hash(before)
    assert (after["snug.recipe.name"], after["snug.source.files"]) == ("Q8_0", ["a.gguf"])
    made(tmp_path / "b.gguf", tmp_path / "c.gguf")
    assert keys(tmp_path / "c.gguf")["snug.parent.card"] == card_hash(read_header(tmp_path / "b.gguf").metadata)
    made(tmp_path / "b.gguf", tmp_path / "d.gguf", card=False)
    assert not [key for key in keys(tmp_path / "d.gguf") if key.startswith("snug.")], "of another file: not true here"


def test_what_the_source_says_of_itself_is_not_written_over(tmp_path: Path) -> None:
    folder = in_cache(make_llama(tmp_path / "m"), tmp_path / "hub")
    model = core.open_model(folder)
    own = (
        Metadata("general.quantized_by", "str", "Somebody"),
        Metadata("general.source.repo_url", "str", "https://example.org"),
    )
    plan = core.make_plan(
        core.ModelInfo(**{**vars_of(model), "metadata": (*model.metadata, *own)}), core.find_recipe("Q8_0")
    )
    said = [item for item in plan.metadata if item.key.startswith(("general.quantized_by", "general.source"))]
    assert said == list(own)


def vars_of(model: core.ModelInfo) -> dict[str, Any]:
    return {name: getattr(model, name) for name in core.ModelInfo.__dataclass_fields__}


def test_verify_check_merge_and_split_take_a_file_with_a_card(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "m.gguf", split_max_size="1M")
    parts = sorted(tmp_path.glob("m-*.gguf"))
    assert len(parts) == 3
    assert "snug.recipe.name" in keys(parts[0])
    assert "snug.recipe.name" not in keys(parts[1])
    assert isinstance(list(core.merge_gguf(parts[1], tmp_path / "merged.gguf"))[-1], core.Done)
    made(SAMPLE, tmp_path / "whole.gguf")
    assert (tmp_path / "merged.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    assert core.verify_file(tmp_path / "merged.gguf", source=core.open_model(SAMPLE)).ok
    assert core.check_model(str(tmp_path / "merged.gguf"))


def test_a_source_is_read_back_from_a_card_as_it_was_written(tmp_path: Path) -> None:
    made(SAMPLE, tmp_path / "o.gguf")
    source = source_in(read_header(tmp_path / "o.gguf").metadata)
    assert [file.name for file in source.files] == ["model.safetensors"]
    with pytest.raises(KeyError):
        source_in(())
