"""The process that judges: rows one by one, answers in between, and errors that keep nothing else up."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import core
from app.fit_desk import Desk, serve
from app.fit_lines import packed, unpacked
from app.pages.fit_answers import FOUND, KNOWN, Asked, Full, Judged, Unjudged, Wanted, ranked
from core import Hardware, sample_folder
from tests.app.hub_models import asking, sample_files
from tests.fake_hub import FakeHub, FakeRepo

SMALL = "HuggingFaceTB/SmolLM2-1.7B-Instruct"
Said = list[tuple[int, str, Any]]


def machine(**said: Any) -> Hardware:
    return core.override(core.detect(), core.read_override(**{"ram": "16G", "gpus": ["none"], **said}))


def asked(*wanted: Wanted, **said: Any) -> dict[str, Any]:
    return {"wanted": list(wanted), "asked": Asked(context=512), "hardware": machine(**said)}


@pytest.fixture
def said() -> Said:
    return []


@pytest.fixture
def desk(said: Said) -> Desk:
    return Desk(lambda *one: said.append(one))


def judge(desk: Desk, said: Said, *wanted: Wanted, **how: Any) -> list[Judged | Unjudged]:
    said.clear()
    desk.take(1, "judge", asked(*wanted, **how))
    while desk.is_busy:
        desk.step()
    assert said[-1][:2] == (1, "done")
    return [value for _, what, value in said if what == "row"]


HERE = Wanted(str(sample_folder()), "sample")


def test_each_model_gets_a_row_and_one_that_is_gone_its_reason(desk: Desk, said: Said, tmp_path: Path) -> None:
    gone = Wanted(str(tmp_path / "gone"), "gone")
    sample, lost, known = judge(desk, said, HERE, gone, Wanted(SMALL, SMALL, KNOWN))
    assert isinstance(sample, Judged)
    assert (sample.level, str(sample.fit.verdict)) == ("Q8_0", "fits")
    assert isinstance(lost, Unjudged)
    assert lost.problem == "The system refused: No such file or directory."
    assert isinstance(known, Judged)
    assert [row.name for row in ranked([sample, known])] == [SMALL, "sample"]


def test_a_model_of_the_hub_that_was_never_looked_at_is_asked_of_nobody(desk: Desk, said: Said) -> None:
    (row,) = judge(desk, said, Wanted("nobody/never", "nobody/never", KNOWN))
    assert isinstance(row, Unjudged)
    assert row.problem == "The headers of nobody/never have not been read yet."


def test_a_model_of_the_hub_that_was_opened_to_be_made_is_judged(
    desk: Desk, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = FakeRepo("org/small", sample_files(), tags=("safetensors",))
    with FakeHub([repo]) as fake, asking(fake, monkeypatch, tmp_path):
        core.open_model("hub:org/small")
        before = len(fake.log)
        (row,) = judge(desk, said, Wanted("org/small", "org/small", FOUND))
        assert len(fake.log) == before
    assert isinstance(row, Judged)
    assert row.level == "Q8_0"


def test_a_row_says_what_the_answer_says(desk: Desk, said: Said) -> None:
    for ram in ("0.7G", "1G", "16G"):
        (row,) = judge(desk, said, HERE, ram=ram)
        desk.take(2, "answer", {**asked(ram=ram), "wanted": HERE})
        full = said[-1][2]
        assert isinstance(row, Judged)
        assert isinstance(full, Full)
        assert (row.level, row.fit, row.largest) == (full.level, full.fit, full.largest)
        assert row.speed == full.speed


def test_word_lists_are_not_kept_and_change_no_sum(desk: Desk, said: Said) -> None:
    (row,) = judge(desk, said, HERE)
    model = core.open_model(sample_folder())
    assert "tokenizer.ggml.tokens" in model.keys
    assert "tokenizer.ggml.tokens" not in desk._sources[HERE.key].model.keys
    plan = core.make_plan(model, core.find_recipe("Q8_0"))
    assert isinstance(row, Judged)
    assert row.fit == core.estimate_fit(plan, machine(), context=512)


def test_a_changed_model_is_opened_again(desk: Desk, said: Said, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sample_folder(), folder)
    wanted = Wanted(str(folder), "mine")
    judge(desk, said, wanted)
    first = desk._sources[wanted.key].model
    judge(desk, said, wanted)
    assert desk._sources[wanted.key].model is first
    os.utime(folder / "config.json", (1, 1))
    judge(desk, said, wanted)
    assert desk._sources[wanted.key].model is not first


def test_what_is_no_longer_wanted_is_forgotten(desk: Desk, said: Said) -> None:
    judge(desk, said, HERE, Wanted(SMALL, SMALL, KNOWN))
    judge(desk, said, HERE)
    assert list(desk._sources) == [HERE.key]


def test_a_new_list_replaces_the_one_before(desk: Desk, said: Said) -> None:
    desk.take(1, "judge", asked(HERE, Wanted(SMALL, SMALL, KNOWN)))
    desk.step()
    desk.take(2, "judge", asked(HERE))
    while desk.is_busy:
        desk.step()
    assert [(number, what) for number, what, _ in said] == [(1, "row"), (2, "row"), (2, "done")]


def test_a_bug_ends_a_request_and_not_the_process(desk: Desk, said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    desk.take(3, "answer", {**asked(), "wanted": Wanted("", "")})
    assert said[-1][:2] == (3, "problem")
    assert isinstance(judge(desk, said, HERE)[0], Judged)
    capsys.readouterr()


def test_lines_go_in_and_come_out_as_they_are() -> None:
    out: Said = []
    lines = iter([packed(7, "answer", {**asked(), "wanted": HERE})])
    serve(lines, lambda *one: out.append(unpacked(packed(*one))))
    assert out[0][:2] == (7, "done")
    assert out[0][2].wanted == HERE
