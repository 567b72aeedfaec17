"""Speeds of this machine, kept in a file that may hold anything."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
import kernels
from core.running.measured import COPY, Speeds, Trial, kind_of, learned, load_speeds, remember, save_speeds, usual_speed
from tests.imatrix import seeded_means, write_imatrix
from tests.models import SAMPLE

MUCH = 1 << 26


def kinds(recipe: str, source: str = str(SAMPLE), **options: str) -> dict[str, str]:
    """Kind of work by tensor."""
    job = core.QuantizeJob(source, recipe, "out.gguf", **options)
    importance = core.read_importance(job.imatrix) if job.imatrix else None
    plan = core.make_plan(core.open_model(source), core.find_recipe(recipe), importance=importance)
    return {planned.name: kind_of(planned, plan, job) for planned in plan.tensors}


def test_the_kind_of_work_is_the_format_and_what_makes_it_slower(tmp_path: Path) -> None:
    assert kinds("Q4_K_M")["blk.0.attn_q.weight"] == "Q4_K"
    assert kinds("Q4_K_M", effort="best")["blk.0.attn_q.weight"] == "Q4_K best"
    assert kinds("Q4_K_M", backend="reference")["blk.0.attn_q.weight"] == "Q4_K reference"
    imatrix = tmp_path / "m.gguf"
    write_imatrix(imatrix, seeded_means(core.open_model(SAMPLE)))
    assert kinds("Q4_K_M", imatrix=str(imatrix), effort="best")["blk.0.attn_q.weight"] == "Q4_K weighted best"


def test_what_is_only_copied_is_counted_in_bytes() -> None:
    model = core.open_model(SAMPLE)
    assert kinds(model.dtype)["blk.0.attn_q.weight"] == COPY


def test_a_quantized_source_is_decoded_first(tmp_path: Path) -> None:
    file = tmp_path / "q8.gguf"
    assert isinstance(list(core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(file))))[-1], core.Done)
    assert kinds("Q4_K_M", str(file))["blk.0.attn_q.weight"] == "Q4_K decoded"


def test_every_format_has_a_speed_and_slower_work_is_slower() -> None:
    for name in kernels.FORMATS:
        fast = usual_speed(name)
        assert fast > usual_speed(f"{name} decoded") > 0
        assert fast >= usual_speed(f"{name} weighted") >= usual_speed(f"{name} weighted best")
        assert usual_speed(f"{name} reference") < fast
        assert usual_speed(name, ("SSE4.2", "AVX2")) < fast


def test_the_newest_job_counts_half(tmp_path: Path) -> None:
    once = learned(Speeds(), Trial({"Q4_K": (MUCH, 1.0)}, write=1e9))
    assert once == Speeds({"Q4_K": MUCH}, write=1e9)
    twice = learned(once, Trial({"Q4_K": (MUCH, 4.0)}, verify=2e9))
    assert twice == Speeds({"Q4_K": pytest.approx(MUCH / 2)}, write=1e9, verify=2e9)


def test_what_was_too_short_to_tell_is_left_out() -> None:
    assert learned(Speeds(), Trial({"Q4_K": (1000, 1.0), "Q6_K": (MUCH, 1e-4)})) == Speeds()


def test_speeds_come_back_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "speeds.json"
    remember(Trial({"Q4_K": (MUCH, 1.0)}, write=1e9), file)
    assert load_speeds(file) == Speeds({"Q4_K": MUCH}, write=1e9)
    assert [path.name for path in file.parent.iterdir()] == ["speeds.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"speeds": 7}', '{"speeds": {"Q4_K": "fast"}}', '{"speeds": {"Q4_K": NaN}}', "[" * 9999,
     '{"speeds": {"Q4_K": -1, "Q6_K": 1e300, "Q8_0": true}, "write": Infinity, "verify": {}}', "\\x00\\xff"],
)  # fmt: skip
def test_garbage_in_the_file_is_passed_over(text: str, tmp_path: Path) -> None:
    file = tmp_path / "speeds.json"
    file.write_text(text, encoding="utf-8")
    assert load_speeds(file) == Speeds()
    remember(Trial({"Q4_K": (MUCH, 1.0)}), file)
    assert load_speeds(file).speeds == {"Q4_K": MUCH}


def test_the_good_values_beside_garbage_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "speeds.json"
    file.write_text('{"speeds": {"Q4_K": 1e8, "Q6_K": null}, "verify": 2e9, "more": 1}', encoding="utf-8")
    assert load_speeds(file) == Speeds({"Q4_K": 1e8}, verify=2e9)


def test_a_folder_that_may_not_be_written_to_costs_no_job(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    save_speeds(Speeds({"Q4_K": 1e8}), tmp_path / "file" / "speeds.json")
    assert load_speeds(tmp_path / "file" / "speeds.json") == Speeds()
