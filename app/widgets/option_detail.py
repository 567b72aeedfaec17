"""What the selected recipe is and what it would take: its sentence, the memory bar, and where the file goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from app import words
from app.tables.option_columns import sum_of
from app.theme import SIZES
from app.widgets.memory_bar import MemoryBar, Need
from app.widgets.more_options import MoreOptions
from app.widgets.parts import Elided, label, row
from app.widgets.target_row import TargetRow
from app.widgets.verdict_chip import VerdictChip

if TYPE_CHECKING:
    from core import Fit, Option, Preflight

PLACES = {"GPU": "usable on the GPU", "CPU": "usable RAM", "GPU + CPU": "usable on GPU and in RAM"}


class OptionDetail(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name, self.summary, self.reason = label(role="section"), label(wrap=True), Elided(role="muted")
        self.chip = VerdictChip("fits")
        self.memory, self.target, self.more = MemoryBar(), TargetRow(), MoreOptions()
        self.costs = Elided(role="muted")
        self.again = QCheckBox("Quantize it again anyway: this source has been quantized before, and the losses add up")
        head = row(self.name, self.chip)
        head.addWidget(self.reason, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addLayout(head)
        for widget in (self.summary, self.memory, self.again):
            layout.addWidget(widget)
        last = row(self.more.toggle)
        last.insertWidget(0, self.target, 1)
        layout.addLayout(last)
        layout.addWidget(self.costs)
        layout.addWidget(self.more)

    def show_option(self, option: Option) -> None:
        self.name.setText(option.recipe.name)
        self.chip.show_chip(str(option.fit.verdict))
        judged = option.reason.removeprefix(option.fit.reason)  # with another context or cache than those asked for
        self.summary.setText(option.recipe.summary + judged)
        self.reason.show_text(f"{option.fit.reason} {band_of(option.fit)}")
        self.memory.show_need(need_of(option.fit), place=PLACES.get(option.fit.place, ""))
        self.memory.setToolTip(sum_of(option))

    def show_costs(self, found: Preflight) -> None:
        """What making it takes, or why that cannot work; of several files, with each of them on hover."""
        said = " ".join((*found.problems, *found.warnings)) or found.words
        files = [Path(each.target).name for each in found.job.each]
        self.costs.show_text(f"{words.count(len(files), 'file')} in one reading. {said}" if found.job.also else said)
        if found.job.also:
            self.costs.setToolTip("\n".join((said, *files)))


def band_of(fit: Fit) -> str:
    import core

    return f"Tight with less than {words.size(core.band_of(fit))} left."


def need_of(fit: Fit) -> Need:
    return Need(fit.weights, fit.kv, fit.compute, fit.overhead, fit.budget)
