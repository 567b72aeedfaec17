from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app import theme
from app.job_record import JobRecord
from app.theme import LIGHT
from app.widgets.banner import Banner
from app.widgets.download_panel import DownloadPanel
from app.widgets.drop_area import dropped_model
from app.widgets.facts import Facts
from app.widgets.memory_bar import MemoryBar, Need
from app.widgets.parts import Elided
from app.widgets.progress_panel import ProgressPanel
from app.widgets.question import ask
from app.widgets.target_row import TargetRow, default_name
from app.widgets.verdict_chip import CHIPS, VerdictChip
from app.window import make_app
from app.words import Problem
from core import JobFolder, JobState, Progress, PullJob, QuantizeJob

GB = 10**9
W = TypeVar("W", bound=QWidget)


@pytest.fixture(autouse=True)
def light(qtbot: QtBot) -> None:
    theme.apply(make_app([]), "light")


def shown(qtbot: QtBot, widget: W, width: int = 600) -> W:
    qtbot.addWidget(widget)
    widget.resize(width, widget.sizeHint().height())
    widget.show()
    return widget


def color_at(widget: QWidget, x: float, y: float) -> str:
    pixmap = QPixmap(widget.size())
    widget.render(pixmap)
    return pixmap.toImage().pixelColor(int(x), int(y)).name()


def middle_of_bar(bar: MemoryBar) -> float:
    return bar.fontMetrics().height() + theme.SIZES.xs + theme.SIZES.bar / 2


def test_memory_is_stacked_in_one_order_up_to_the_limit(qtbot: QtBot) -> None:
    bar = shown(qtbot, MemoryBar())
    bar.show_need(Need(weights=4 * GB, kv=2 * GB, compute=1 * GB, overhead=1 * GB, budget=10 * GB), place="usable RAM")
    seen = [color_at(bar, bar.width() * part, middle_of_bar(bar)) for part in (0.2, 0.5, 0.65, 0.75, 0.9)]
    assert seen == [LIGHT.weights, LIGHT.kv, LIGHT.compute, LIGHT.overhead, LIGHT.free]


def test_a_model_that_is_too_large_goes_past_the_limit_line(qtbot: QtBot) -> None:
    bar = shown(qtbot, MemoryBar())
    bar.show_need(Need(weights=20 * GB, budget=10 * GB), place="usable RAM")
    assert color_at(bar, bar.width() / 2, middle_of_bar(bar)) == LIGHT.no
    assert color_at(bar, bar.width() * 0.75, middle_of_bar(bar)) == LIGHT.weights


def test_the_memory_bar_can_be_read_aloud(qtbot: QtBot) -> None:
    bar = shown(qtbot, MemoryBar())
    bar.show_need(Need(weights=4 * GB, kv=2 * GB, budget=10 * GB), place="usable RAM")
    assert bar.accessibleName() == (
        "Memory: 6.0 GB of 10.0 GB; Weights 4.0 GB, KV cache 2.0 GB, Compute 0 B, Overhead 0 B, Free 4.0 GB"
    )
    assert "Weights: 4,000,000,000 bytes" in bar.toolTip()


def test_every_verdict_has_a_word_a_shape_and_a_colour_of_its_own() -> None:
    verdicts = [CHIPS[name] for name in ("fits", "tight", "splits", "no")]
    for part in ("word", "shape", "color"):
        assert len({getattr(chip, part) for chip in verdicts}) == 4


def test_a_chip_is_named_by_its_word(qtbot: QtBot) -> None:
    chip = shown(qtbot, VerdictChip("tight"))
    assert chip.accessibleName() == "Tight"
    chip.show_chip("no")
    assert chip.accessibleName() == "No"


def test_a_banner_shows_message_and_hint_until_it_is_closed(qtbot: QtBot) -> None:
    banner = shown(qtbot, Banner())
    banner.show_problem(Problem("No config.json.", "Choose another folder."))
    assert (banner.message, banner.hint) == ("No config.json.", "Choose another folder.")
    assert banner.accessibleName() == "No config.json. Choose another folder."
    qtbot.mouseClick(banner._close, Qt.MouseButton.LeftButton)
    assert banner.message == ""


def test_a_question_does_only_what_was_agreed_to(qtbot: QtBot) -> None:
    banner, done = shown(qtbot, Banner()), []
    for button, expected in ((0, []), (1, ["yes"])):
        ask(banner, "Replace it?", "", yes="Replace", no="Keep", then=lambda: done.append("yes"))
        banner._buttons[button].click()
        assert (done, banner.message) == (expected, "")


def test_facts_change_in_place_and_old_ones_leave_at_once(qtbot: QtBot) -> None:
    facts = shown(qtbot, Facts())
    facts.show_facts([("Layers", "3"), ("Size", "1 GB")])
    facts.show_facts([("Layers", "4"), ("Size", "1 GB")])
    assert facts.as_text() == "Layers: 4\nSize: 1 GB"
    facts.show_facts([("Other", "x")])
    qtbot.wait(10)
    visible = [child for child in facts.findChildren(QWidget) if child.isVisible()]
    assert (facts.as_text(), len(visible)) == ("Other: x", 2)


def test_a_long_name_is_shortened_but_kept_whole_for_tooltip_and_reader(qtbot: QtBot) -> None:
    name = "blk.0." * 40
    elided = shown(qtbot, Elided(name), width=120)
    assert len(elided.text()) < len(name)
    assert elided.toolTip() == elided.accessibleName() == name


def test_a_download_on_a_dead_line_says_when_it_tries_again(qtbot: QtBot, tmp_path: Path) -> None:
    panel, note = shown(qtbot, DownloadPanel()), "Trying again in 16 s (try 7 of 8): nothing came. " * 5
    progress = Progress("waiting", "a.safetensors", 1, 4, 3 * GB, 12 * GB, 150e6, 60.0, 20.0)
    record = JobRecord(JobFolder(tmp_path), PullJob("org/m"), JobState.RUNNING, progress=progress, notes=(note,))
    panel.show_record(record)
    assert (panel.amount.text(), panel.pace.text()) == (note, "")
    assert panel.minimumSizeHint().width() < 500
    panel.show_record(replace(record, progress=replace(progress, stage="download")))
    assert panel.amount.text() == "3.0 GB of 12.0 GB, file 2 of 4"


def test_progress_says_what_of_what_how_fast_and_how_long(qtbot: QtBot, tmp_path: Path) -> None:
    panel = shown(qtbot, ProgressPanel())
    progress = Progress("encode", "blk.3.attn_q.weight", 12, 40, 3 * GB, 12 * GB, 150e6, 60.0, 20.0)
    record = JobRecord(
        JobFolder(tmp_path), QuantizeJob("/m", "Q4_K_M", "/t/x.gguf"), JobState.RUNNING, progress=progress
    )
    panel.show_record(record)
    assert panel.heading.whole == "Quantizing: x.gguf"
    assert panel.amount.text() == "3.0 GB of 12.0 GB read, tensor 12 of 40"
    assert panel.pace.text() == "150.0 MB/s · about 60 s left · 20 s so far"
    assert (panel.tensor.whole, panel.bar.value()) == ("blk.3.attn_q.weight", 250)
    panel.show_record(replace(record, state=JobState.PENDING, progress=None), before=2)
    assert panel.heading.whole == "x.gguf waits for 2 other jobs"
    panel.show_record(replace(record, state=JobState.PAUSED))
    assert (panel.heading.whole, panel.pace.text()) == ("x.gguf is paused", "")
    panel.show_record(record, foreign=True)
    assert panel.heading.whole == "Quantizing in another window: x.gguf"
    panel.show_record(replace(record, progress=replace(progress, share=0.9, stage="verify")))
    assert (panel.heading.whole, panel.bar.value()) == ("Checking the new file: x.gguf", 900)


def test_only_local_files_can_be_dropped(tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl("https://example.com/model"), QUrl.fromLocalFile(str(tmp_path))])
    assert dropped_model(data) == tmp_path
    assert dropped_model(QMimeData()) is None


def test_a_file_name_is_one_that_every_system_takes() -> None:
    assert default_name("Llama 3: 8B / Instruct", "Q4_K_M") == "Llama-3-8B-Instruct-Q4_K_M.gguf"
    assert default_name("...", "F16") == "model-F16.gguf"


def test_the_name_follows_the_recipe_until_the_user_types_one(qtbot: QtBot, tmp_path: Path) -> None:
    row = shown(qtbot, TargetRow())
    row.show_folder(tmp_path)
    row.suggest("a-Q8_0.gguf")
    row.suggest("a-Q4_K_M.gguf")
    assert row.path == tmp_path / "a-Q4_K_M.gguf"
    row.name.setText("mine")
    row.suggest("a-Q6_K.gguf")
    assert row.path == tmp_path / "mine.gguf"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ["a-Q8_0.gguf", "a-F16.gguf"]),
        ("mine", ["mine-Q8_0.gguf", "mine-F16.gguf"]),
        ("{type}-of-mine.gguf", ["Q8_0-of-mine.gguf", "F16-of-mine.gguf"]),
    ],
)
def test_several_files_have_the_level_in_their_names(
    qtbot: QtBot, tmp_path: Path, name: str, expected: list[str]
) -> None:
    row = shown(qtbot, TargetRow())
    row.show_folder(tmp_path)
    row.suggest("a-{type}.gguf")
    row.name.setText(name)
    paths = row.paths(["Q8_0", "F16"])
    assert [path.name for path in paths] == expected
    row.name.setText("another")
    row.show_files([("Q8_0", paths[0]), ("F16", paths[1])])
    assert row.paths(["Q8_0", "F16"]) == paths
