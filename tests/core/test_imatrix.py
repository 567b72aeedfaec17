"""Importance matrices: both containers are read, nonsense is refused in words, and every byte is ggml's."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

import core
import core.running.encode
from tests.imatrix import seeded_means, write_imatrix, write_legacy
from tests.kernels import oracle
from tests.llama_cpp import generate
from tests.models import SAMPLE, make_llama

MEANS = {"blk.0.attn_q.weight": np.array([[1, 2, 4, 8]], np.float32)}


@pytest.fixture(scope="module")
def model() -> core.ModelInfo:
    return core.open_model(SAMPLE)


@pytest.fixture(scope="module")
def sample_matrix(model: core.ModelInfo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_imatrix(tmp_path_factory.mktemp("imatrix") / "sample.gguf", seeded_means(model))


def refused(file: Path, words: str) -> None:
    with pytest.raises(core.SnugError, match=words) as caught:
        core.read_importance(file)
    assert caught.value.hint


def test_a_gguf_gives_sums_over_counts(tmp_path: Path) -> None:
    read = core.read_importance(write_imatrix(tmp_path / "m.gguf", MEANS))
    assert {name: means.tolist() for name, means in read.means.items()} == {"blk.0.attn_q.weight": [[1, 2, 4, 8]]}
    assert (read.datasets, read.chunks) == (("some text.txt", "more.txt"), 7)
    assert read.file == str(tmp_path / "m.gguf")


def test_an_expert_that_met_no_token_gets_ones(tmp_path: Path) -> None:
    means = {"blk.0.ffn_up_exps.weight": np.array([[3, 5], [0, 0], [7, 9]], np.float32)}
    counts = {"blk.0.ffn_up_exps.weight": np.array([2, 0, 1], np.float32)}
    read = core.read_importance(write_imatrix(tmp_path / "m.gguf", means, counts=counts))
    assert read.means["blk.0.ffn_up_exps.weight"].tolist() == [[3, 5], [1, 1], [7, 9]]


def test_the_older_container_gives_the_same_means(tmp_path: Path) -> None:
    read = core.read_importance(write_legacy(tmp_path / "m.dat", MEANS))
    np.testing.assert_allclose(read.means["blk.0.attn_q.weight"], MEANS["blk.0.attn_q.weight"], rtol=1e-6)
    assert (read.datasets, read.chunks) == (("old text.txt",), 9)
    older = core.read_importance(write_legacy(tmp_path / "older.dat", MEANS, ending=b""))
    assert (older.datasets, older.chunks) == ((), 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("write", [write_imatrix, write_legacy])
def test_what_is_no_importance_is_refused_by_name(write: object, bad: float, tmp_path: Path) -> None:
    assert callable(write)
    refused(write(tmp_path / "m", {"blk.0.attn_q.weight": np.array([[1, bad]], np.float32)}), "blk.0.attn_q.weight")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", b"a text about something else entirely", bytes(64), struct.pack("<ii", 2**31 - 1, 5),
     struct.pack("<iii", 1, 2**31 - 1, 5), struct.pack("<i", -5)],
)  # fmt: skip
def test_any_other_file_is_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "m.dat"
    file.write_bytes(data)
    refused(file, "is no importance matrix, or was cut short")


def test_every_shorter_file_is_refused(tmp_path: Path) -> None:
    whole = write_legacy(tmp_path / "m.dat", MEANS).read_bytes()
    without_ending = len(write_legacy(tmp_path / "n.dat", MEANS, ending=b"").read_bytes())
    for length in set(range(len(whole))) - {without_ending}:
        (tmp_path / "cut.dat").write_bytes(whole[:length])
        refused(tmp_path / "cut.dat", "is no importance matrix, or was cut short")


def test_a_model_is_no_importance_matrix(tmp_path: Path) -> None:
    list(core.run(core.QuantizeJob(str(SAMPLE), "F16", str(tmp_path / "model.gguf"))))
    refused(tmp_path / "model.gguf", "is a GGUF file, but no importance matrix")


def test_sums_without_counts_are_refused(tmp_path: Path) -> None:
    file = write_imatrix(tmp_path / "m.gguf", MEANS)
    file.write_bytes(file.read_bytes().replace(b".counts", b".countz"))
    refused(file, "do not belong together")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    refused(tmp_path / "gone.gguf", "cannot be read")
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize("card", [False, True])
def test_the_new_file_tells_of_the_matrix_as_llama_quantize_does_but_beside_a_card_no_folder(
    model: core.ModelInfo, sample_matrix: Path, card: bool
) -> None:
    matrix = core.read_importance(sample_matrix)
    plan = core.make_plan(model, core.find_recipe("Q4_K_M"), importance=matrix, card=card)
    file = sample_matrix.with_name("header.gguf")
    file.write_bytes(plan.header + bytes(plan.file_bytes - len(plan.header)))
    fields = {
        name: (field.types, field.contents())
        for name, field in gguf.GGUFReader(file).fields.items()
        if name.startswith("quantize.imatrix.")
    }
    text, number = [gguf.GGUFValueType.STRING], [gguf.GGUFValueType.UINT32]
    assert fields == {
        "quantize.imatrix.file": (text, sample_matrix.name if card else str(sample_matrix)[:127]),
        "quantize.imatrix.dataset": (text, "some text.txt"),
        "quantize.imatrix.entries_count": (number, 21),
        "quantize.imatrix.chunks_count": (number, 7),
    }


def made(source: Path, recipe: str, out: Path, **options: object) -> dict[str, gguf.ReaderTensor]:
    last = list(core.run(core.QuantizeJob(str(source), recipe, str(out), **options)))[-1]  # type: ignore[arg-type]
    assert isinstance(last, core.Done), last
    return {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}


def expected(values: np.ndarray, name: str, means: np.ndarray | None) -> np.ndarray:
    """ggml's bytes of [experts, rows, columns]."""
    vectors = [None] * len(values) if means is None else means
    return np.stack([oracle.quantize(x, name, vector) for x, vector in zip(values, vectors, strict=True)])


def assert_ggml_s_bytes(source: Path, out: Path, recipe: str, matrix: Path, **options: object) -> set[str]:
    """Every quantized tensor is what ggml makes of it with its importance; gives the formats that there were."""
    floats = made(source, "F32", out.with_name(f"f32-{out.name}"))
    means = core.read_importance(matrix).means
    formats = set()
    for tensor in made(source, recipe, out, imatrix=str(matrix), **options).values():
        format_name = tensor.tensor_type.name
        if format_name in ("F32", "BF16", "F16"):
            continue
        values = floats[tensor.name].data
        known = means.get(tensor.name)
        stacked = values.reshape(-1, *values.shape[-2:]).astype(np.float32)
        packed = expected(stacked, format_name, known)
        assert np.array_equal(tensor.data.reshape(packed.shape), packed), tensor.name
        formats.add(format_name)
    return formats


@pytest.mark.slow
def test_a_mix_has_the_bytes_of_ggml_with_the_same_importance(sample_matrix: Path, tmp_path: Path) -> None:
    assert assert_ggml_s_bytes(SAMPLE, tmp_path / "o.gguf", "Q4_K_M", sample_matrix) == {"Q4_K", "Q6_K"}


@pytest.mark.slow
def test_each_expert_has_its_own_importance_whatever_the_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_llama(
        tmp_path / "m", architectures=["MixtralForCausalLM"], model_type="mixtral", num_local_experts=4,
        num_experts_per_tok=2, num_hidden_layers=1,
    )  # fmt: skip
    means = seeded_means(core.open_model(folder))
    counts = {"blk.0.ffn_up_exps.weight": np.array([5, 0, 1, 2], np.float32)}
    matrix = write_imatrix(tmp_path / "m.gguf", means, counts=counts)
    assert means["blk.0.ffn_down_exps.weight"].shape == (4, 512)
    assert_ggml_s_bytes(folder, tmp_path / "a.gguf", "Q4_0", matrix)
    monkeypatch.setitem(core.running.encode.SLAB_WEIGHTS, "auto", 256 * 100)
    assert_ggml_s_bytes(folder, tmp_path / "b.gguf", "Q4_0", matrix, threads=3)


@pytest.mark.slow
def test_the_older_container_makes_the_same_file_but_for_its_name(
    model: core.ModelInfo, sample_matrix: Path, tmp_path: Path
) -> None:
    old = write_legacy(tmp_path / "m.dat", seeded_means(model), calls=1)
    one = made(SAMPLE, "Q4_0", tmp_path / "a.gguf", imatrix=str(old))
    two = made(SAMPLE, "Q4_0", tmp_path / "b.gguf", imatrix=str(sample_matrix))
    assert all(np.array_equal(one[name].data, two[name].data) for name in two)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [r.name for r in core.RECIPES if r.needs_importance])
def test_levels_that_need_importance_run_in_llama_cpp(recipe: str, sample_matrix: Path, tmp_path: Path) -> None:
    assert_ggml_s_bytes(SAMPLE, tmp_path / "o.gguf", recipe, sample_matrix)
    assert generate(tmp_path / "o.gguf", tokens=4)


@pytest.mark.slow
def test_the_effort_best_makes_a_file_of_the_same_size_with_other_bytes(sample_matrix: Path, tmp_path: Path) -> None:
    for name, effort in (("a", "exact"), ("b", "best")):
        made(SAMPLE, "Q8_0", tmp_path / f"{name}.gguf", imatrix=str(sample_matrix), effort=effort)
    one, two = ((tmp_path / f"{name}.gguf").read_bytes() for name in "ab")
    assert len(one) == len(two)
    assert one != two


def failed(words: str, tmp_path: Path, recipe: str = "Q4_K_M", **options: object) -> core.Failed:
    job = core.QuantizeJob(str(SAMPLE), recipe, str(tmp_path / "o.gguf"), **options)  # type: ignore[arg-type]
    last = list(core.run(job))[-1]
    assert isinstance(last, core.Failed), last
    assert words in last.message
    assert last.hint
    assert last.exit_code == 2
    assert not (tmp_path / "o.gguf").exists()
    return last


@pytest.mark.parametrize("recipe", [r.name for r in core.RECIPES if r.needs_importance])
def test_levels_with_too_few_bits_are_refused_without_importance(recipe: str, tmp_path: Path) -> None:
    last = failed(f"{recipe} needs an importance matrix", tmp_path, recipe)
    assert "--imatrix" in last.hint


def test_a_tensor_that_cannot_do_without_is_named(model: core.ModelInfo, tmp_path: Path) -> None:
    means = seeded_means(model)
    del means["blk.1.ffn_up.weight"]
    matrix = write_imatrix(tmp_path / "m.gguf", means)
    failed("has no importance for blk.1.ffn_up.weight", tmp_path, "IQ2_XS", imatrix=str(matrix))
    matrix = write_imatrix(tmp_path / "m.gguf", seeded_means(model))
    failed("has no importance for token_embd.weight", tmp_path, "IQ2_XS", imatrix=str(matrix), pure=True)


def test_tensors_without_importance_are_told(model: core.ModelInfo, tmp_path: Path) -> None:
    means = seeded_means(model)
    for name in ("blk.1.ffn_up.weight", "blk.0.attn_q.weight"):
        del means[name]
    matrix = write_imatrix(tmp_path / "m.gguf", means)
    plan = core.check_job(core.QuantizeJob(str(SAMPLE), "Q4_K_M", str(tmp_path / "o.gguf"), imatrix=str(matrix)))
    (note,) = plan.notes
    assert "blk.0.attn_q.weight, blk.1.ffn_up.weight: they are quantized without" in note


def test_a_matrix_of_another_model_is_refused(model: core.ModelInfo, tmp_path: Path) -> None:
    wrong = seeded_means(model) | {"blk.0.attn_q.weight": np.ones((1, 128), np.float32)}
    matrix = write_imatrix(tmp_path / "m.gguf", wrong)
    failed("has 128 values for blk.0.attn_q.weight, which needs 256", tmp_path, imatrix=str(matrix))
    matrix = write_imatrix(tmp_path / "m.gguf", {"blk.77.attn_q.weight": np.ones((1, 128), np.float32)})
    failed("knows none of the tensors", tmp_path, imatrix=str(matrix))


def test_an_embedding_of_another_size_is_passed_over(model: core.ModelInfo, tmp_path: Path) -> None:
    matrix = write_imatrix(
        tmp_path / "m.gguf", seeded_means(model) | {"token_embd.weight": np.ones((1, 7), np.float32)}
    )
    plan = core.make_plan(model, core.find_recipe("Q4_K_M"), importance=core.read_importance(matrix))
    assert core.check_importance(plan) == ()


def test_an_effort_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "exact, best" in failed("no effort 'most'", tmp_path, effort="most").hint


def test_a_matrix_that_is_gone_is_bad_input(tmp_path: Path) -> None:
    failed("cannot be read", tmp_path, imatrix=str(tmp_path / "gone.gguf"))
