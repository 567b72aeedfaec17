"""verify_file finds what is wrong with a GGUF, and measures how far it is from its source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import core
from core.gguf import encode_header
from core.model import Metadata
from core.verify import verify_model
from tests.models import SAMPLE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verify") / "q8.gguf"
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(out)))
    assert isinstance(last, core.Done)
    return out


def changed(made: Path, to: Path, name: str, position: int, data: bytes) -> Path:
    content = bytearray(made.read_bytes())
    tensor = next(t for t in core.open_model(made).tensors if t.name == name).sources[0]
    content[tensor.offset + position : tensor.offset + position + len(data)] = data
    to.write_bytes(content)
    return to


def test_a_good_file_has_no_problems(made: Path) -> None:
    report = core.verify_file(made)
    assert report.ok
    assert report.formats == {"Q8_0": 22, "F32": 7}
    assert report.file_bytes == made.stat().st_size
    assert report.errors == ()


def test_the_error_of_each_tensor_is_the_one_numpy_measures(made: Path) -> None:
    import kernels

    source = core.open_model(SAMPLE)
    report = core.verify_file(made, source=source)
    error = next(e for e in report.errors if e.name == "token_embd.weight")
    tensor = next(t for t in core.open_model(made).tensors if t.name == error.name).sources[0]
    data = np.fromfile(made, np.uint8, tensor.nbytes, offset=tensor.offset).reshape(tensor.shape[0], -1)
    before = next(t for t in source.tensors if t.name == error.name).sources[0]
    bits = np.fromfile(before.file, np.uint16, before.nbytes // 2, offset=before.offset).astype(np.uint32) << 16
    original = bits.view(np.float32).reshape(before.shape).astype(np.float64)
    difference = kernels.decode(data, "Q8_0").astype(np.float64) - original
    assert error.rmse == pytest.approx(np.sqrt((difference**2).sum() / (original**2).sum()), rel=1e-6)
    assert error.max_error == pytest.approx(np.abs(difference).max(), rel=1e-6)


def test_errors_are_sorted_worst_first_and_norms_are_exact(made: Path) -> None:
    errors = core.verify_file(made, source=core.open_model(SAMPLE)).errors
    assert [e.rmse for e in errors] == sorted((e.rmse for e in errors), reverse=True)
    assert next(e for e in errors if e.name == "output_norm.weight").rmse == 0


def test_a_sample_of_rows_comes_close_to_the_whole(made: Path) -> None:
    source = core.open_model(SAMPLE)
    whole = {e.name: e.rmse for e in core.verify_file(made, source=source).errors}
    sampled = {e.name: e.rmse for e in core.verify_file(made, source=source, sample_rows=64).errors}
    assert sampled.keys() == whole.keys()
    for name, rmse in whole.items():
        assert sampled[name] == pytest.approx(rmse, rel=0.2)


@pytest.mark.parametrize("scale", [b"\x00\x7c", b"\x01\x7e", b"\x00\xfc"])
def test_a_scale_that_is_not_finite_is_named(made: Path, tmp_path: Path, scale: bytes) -> None:
    file = changed(made, tmp_path / "bad.gguf", "blk.0.ffn_up.weight", 34 * 100, scale)
    report = core.verify_file(file)
    assert not report.ok
    assert "blk.0.ffn_up.weight" in report.problems[0]


def test_a_nan_in_a_norm_is_named(made: Path, tmp_path: Path) -> None:
    file = changed(made, tmp_path / "bad.gguf", "output_norm.weight", 8, np.float32(np.nan).tobytes())
    assert "output_norm.weight" in core.verify_file(file).problems[0]


def test_a_changed_weight_shows_in_the_errors(made: Path, tmp_path: Path) -> None:
    source = core.open_model(SAMPLE)
    file = changed(made, tmp_path / "bad.gguf", "blk.0.attn_k.weight", 0, bytes(34 * 400))
    worst = core.verify_file(file, source=source).errors[0]
    assert worst.name == "blk.0.attn_k.weight"
    assert worst.rmse > 0.1


def test_a_file_without_vocabulary_or_layers_is_not_called_good(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    metadata = [Metadata("general.architecture", "str", "llama")]
    file.write_bytes(encode_header(metadata, [("a.weight", (8,), "F32", 0)]) + bytes(32))
    problems = core.verify_file(file).problems
    assert any("block_count" in text for text in problems)
    assert any("vocabulary" in text for text in problems)


def test_a_file_of_another_model_is_told_from_its_source(made: Path, tmp_path: Path) -> None:
    from tests.models import make_llama

    report = core.verify_file(made, source=core.open_model(make_llama(tmp_path / "other")))
    assert any("is not in the source" in text for text in report.problems)
    assert any("output.weight of the source is missing" in text for text in report.problems)


def test_whoever_wants_to_know_hears_how_many_bytes_were_looked_at(made: Path) -> None:
    counts: list[int] = []
    model = core.open_model(made)
    assert verify_model(model, looked=counts.append).ok
    assert sum(counts) == sum(source.nbytes for tensor in model.tensors for source in tensor.sources)
