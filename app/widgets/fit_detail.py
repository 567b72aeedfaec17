"""The answer for one model: what to take and why, the memory it needs, what would change it, and how to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from app import words
from app.pages.fit_answers import band_line, pace, sum_lines
from app.theme import SIZES
from app.widgets.facts import Facts
from app.widgets.fit_grid import FitGrid
from app.widgets.memory_bar import MemoryBar
from app.widgets.option_detail import PLACES, need_of
from app.widgets.parts import Elided, button, column, label, row, scrolled
from app.widgets.run_lines import RunLines
from app.widgets.verdict_chip import VerdictChip

if TYPE_CHECKING:
    from app.pages.fit_answers import Full

ANSWER, RUN, GRID = range(3)


class FitDetail(QWidget):
    """`measure_wanted`: to try what this machine really does."""

    measure_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.full: Full | None = None
        self.name, self.chip = Elided(role="section"), VerdictChip("fits")
        self.advice, self.changes = label(wrap=True), label(wrap=True)
        self.memory, self.band, self.sum = MemoryBar(), label(role="muted", wrap=True), label(role="muted", wrap=True)
        self.facts = Facts()
        tip = "How the memory is worked out, part by part (Alt+S)"
        self.show_sum = button("Show the &sum", self._toggle_sum, tip=tip)
        self.show_sum.setCheckable(True)
        self.measure = button("Measure", self.measure_wanted.emit, tip="Try this machine for a second: a closer range")
        self.measure.setAccessibleName("Measure this machine's speed")
        self.lines, self.grid = RunLines(), FitGrid()
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("About this model")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.tabBar().setAccessibleName(self.tabs.accessibleName())
        self._make_answer()
        head = row(self.chip)
        head.addWidget(self.name, 1)
        head.addWidget(self.grid.bar)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addLayout(head)
        layout.addWidget(self.tabs, 1)

    def _make_answer(self) -> None:
        for text in (self.advice, self.changes, self.sum):
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.sum.hide()
        self._changes_title = label("What would change it", role="strong")
        below = row(self.band, self.show_sum, spacing=SIZES.m)
        below.setStretch(0, 1)
        speed = row(self.facts, self.measure, spacing=SIZES.m)
        speed.setStretch(0, 1)
        speed.setAlignment(self.measure, Qt.AlignmentFlag.AlignTop)
        layout = column(self.advice, self.memory, spacing=SIZES.s)
        layout.addLayout(below)
        layout.addWidget(self.sum)
        layout.addLayout(speed)
        layout.addWidget(self._changes_title)
        layout.addWidget(self.changes)
        layout.addStretch()
        answer = scrolled(layout, name="The answer")
        layout.setContentsMargins(0, SIZES.s, SIZES.s, 0)
        run = scrolled(column(self.lines, 1, spacing=0), name="How to run it")
        for widget, title in ((answer, "Answer"), (run, "Run it"), (self.grid, "Every level")):
            self.tabs.addTab(widget, title)
        self.tabs.currentChanged.connect(self._show_bar)
        # The tabs stay where they are when the bar comes and goes.
        self.name.setMinimumHeight(self.grid.bar.sizeHint().height())
        self.grid.bar.hide()

    def show_full(self, full: Full, *, measurable: bool) -> None:
        """`measurable`: whether the machine that was asked about is this one."""
        self.full = full
        fit = full.fit
        self._show_title()
        self.chip.show_chip(str(fit.verdict))
        self.advice.setText(full.advice.words)
        self.memory.show_need(need_of(fit), place=PLACES.get(fit.place, ""))
        self.memory.setToolTip("\n".join([*sum_lines(full), "", self.memory.toolTip()]))
        self.band.setText(band_line(full))
        self.sum.setText("\n".join(sum_lines(full)))
        self.facts.show_facts(_facts_of(full), _tips_of(full))
        self.measure.setVisible(measurable and full.speed is not None)
        self._show_changes(full)
        self.lines.show_lines([(line.program, line.text, line.note) for line in full.run_lines])
        self.grid.show_grids(full.grids, level=full.level, context=fit.context)

    def _show_bar(self, tab: int) -> None:
        self.grid.bar.setVisible(tab == GRID)
        self._show_title()

    def _show_title(self) -> None:
        """Above the grid, which has levels and contexts of its own, the name alone."""
        if (full := self.full) is None:
            return
        fit, name = full.fit, full.wanted.name
        about = f"{full.level}, {words.short_tokens(fit.context)} context, cache {fit.kv_type}"
        self.name.show_text(name if self.tabs.currentIndex() == GRID else f"{name}: {about}")

    def _show_changes(self, full: Full) -> None:
        sentences = [change.words for change in full.counterfactuals]
        self.changes.setText("\n".join(f"•  {sentence}" for sentence in sentences))
        for widget in (self._changes_title, self.changes):
            widget.setVisible(bool(sentences))

    def _toggle_sum(self) -> None:
        self.sum.setVisible(self.show_sum.isChecked())
        self.show_sum.setText("Hide the &sum" if self.show_sum.isChecked() else "Show the &sum")


def _facts_of(full: Full) -> list[tuple[str, str]]:
    most = full.largest
    facts = [("Context up to", words.tokens(most) if most else "none at this level without splitting")]
    if (speed := full.speed) is None:
        return facts
    return [
        ("Answers", pace(speed.generation)),
        ("With full context", pace(speed.full)),
        ("Reading", pace(speed.prompt)),
        *_split(full),
        *facts,
    ]


def _split(full: Full) -> list[tuple[str, str]]:
    """Where the layers are when not all are on the GPU, and what that costs."""
    if full.fit.place != "GPU + CPU":
        return []
    where = full.placement.words
    return [("Split", f"{where[0].upper()}{where[1:]}; about {full.slowdown:.1f} times slower than whole on it")]


def _tips_of(full: Full) -> dict[str, str]:
    if (speed := full.speed) is None:
        return {}
    read = f"{words.size(speed.read_bytes)} are read for each token."
    return {
        "Answers": f"From {speed.generation.source}. {read}",
        "With full context": f"From {speed.full.source}.",
        "Reading": f"Of what you give it. From {speed.prompt.source}.",
    }
