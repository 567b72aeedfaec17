"""Fit: which model runs here, at which level and with how much context, before anything is downloaded or made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QLineEdit, QSplitter, QVBoxLayout, QWidget

from app import words
from app.pages.fit_answers import Asked, Full, Judged, Source, answer_in_full, judge, open_sources, source_of_model
from app.store import stored_number
from app.tables.fit_columns import FIT_COLUMNS
from app.tables.fit_grid import Cell
from app.tables.row_model import RowModel
from app.tables.row_view import RowView
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.choices import Choice, MenuChoice, Segments
from app.widgets.fit_detail import GRID, FitDetail
from app.widgets.page import Page, empty_state
from app.widgets.parts import button, card, label, row

if TYPE_CHECKING:
    from core import Calibration, Hardware, ModelInfo

EVERY_MS = 2000
WAIT_MS = 200
# Memory comes and goes all the time; what moves less than this changes no verdict that would stay.
_WORTH_A_LOOK = 64 * 1024**2
_PURPOSE = "Which model runs on this machine, at which level and with how much context."
_PURPOSE_ELSEWHERE = "Which model runs on the machine that you asked about, and how."
_NONE = "Open one; Snug reads its headers, and says at which level it runs here and how fast."
_WANT, _CONTEXT, _CACHE = "fit/want", "fit/context", "fit/cache"

WANTS = (
    Choice("quality", "Best quality", "The best level that runs, also where it has to split"),
    Choice("balanced", "Balanced", "The level that the evidence says suits a model of this size"),
    Choice("context", "Longest context", "A good level, and as much context as there is room for"),
)
CONTEXTS = tuple(
    Choice(str(count), f"{words.short_tokens(count)} tokens", f"{count:,} tokens of conversation must fit")
    for count in (2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
)
CACHES = (
    Choice("f16", "Cache f16", "Full precision for what the model remembers of the conversation"),
    Choice("q8_0", "Cache q8_0", "Half the memory for the conversation; no measurable loss"),
    Choice("q4_0", "Cache q4_0", "A quarter of the memory for the conversation; a loss that can be noticed"),
)


@dataclass(frozen=True)
class Making:
    """What is to be made, and for how much context."""

    model: ModelInfo
    recipe: str
    context: int


class FitPage(Page):
    """`make_wanted` carries a Making; `look_wanted` asks for the machine's figures of now."""

    models_wanted = Signal()
    make_wanted = Signal(object)
    look_wanted = Signal()

    def __init__(self, tasks: Tasks, store: QSettings, *, context: int) -> None:
        super().__init__("Fit", _PURPOSE)
        self._tasks, self._store = tasks, store
        self._sources: dict[Path, Source] = {}
        self._chosen: Path | None = None
        self._hardware: Hardware | None = None
        self._judged_for: Hardware | None = None
        self._calibration: Calibration | None = None
        self._stale = False
        self._cache_shown = ""
        self.add_action(button("Open a model", self.models_wanted.emit, tip="Add a model to this list"))
        self.make = self.add_action(button("Make this", self._make_this, role="primary"))
        self.make.setEnabled(False)
        self._make_controls(context)
        self.rows: RowModel[Judged] = RowModel(FIT_COLUMNS, key=lambda judged: str(judged.path))
        self.table = RowView(self.rows, name="Models, the one that does most for this machine first")
        self.table.remember_widths(store, "widths/fit")
        self.table.chosen.connect(self._choose_row)
        self.table.opened.connect(lambda _: self._make_this())
        self.detail = FitDetail()
        self.detail.grid.taken.connect(lambda _: self._make_this())
        self.detail.grid.view.moved.connect(lambda _: self._show_primary())
        self.detail.tabs.currentChanged.connect(lambda _: self._show_primary())
        self.detail.measure_wanted.connect(self._measure)
        self.detail.lines.copied.connect(
            lambda program: self.banner.show_message("good", f"Copied: what {program} needs.")
        )
        self.add_state("empty", empty_state("No model to judge", _NONE, "Open a model", self.models_wanted.emit))
        self.add_state("loading", empty_state("Working out what fits", "From headers alone; no weights are read."))
        self.add_state("content", self._make_content())
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self._look)
        self._wait = QTimer(self, singleShot=True, interval=WAIT_MS)
        self._wait.timeout.connect(self.judge)
        keys = QShortcut(QKeySequence.StandardKey.Find, self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        keys.activated.connect(self.filter.setFocus)
        self.show_state("empty")

    def _make_controls(self, context: int) -> None:
        self.want = Segments("What you want most", WANTS)
        self.context, self.cache = MenuChoice("Context wanted", CONTEXTS), MenuChoice("Cache of the context", CACHES)
        self.want.choose(str(self._store.value(_WANT, "balanced")))
        self.context.choose(str(stored_number(self._store, _CONTEXT, context)))
        self.cache.choose(str(self._store.value(_CACHE, "f16")))
        for choice, key in ((self.want, _WANT), (self.context, _CONTEXT), (self.cache, _CACHE)):
            choice.changed.connect(partial(self._asked_changed, key))
        self.filter = QLineEdit(placeholderText="Filter", clearButtonEnabled=True)
        self.filter.setAccessibleName("Show only models with this in their row")
        self.filter.setToolTip("Show only models with this in their row (Ctrl+F)")
        self.filter.textChanged.connect(lambda text: self.table.show_only(text))

    def _make_content(self) -> QWidget:
        self._problems = label(role="small", wrap=True)
        self._problems.hide()
        controls = row(self.want, self.context, self.cache, self.filter)
        controls.setStretch(3, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self.table)
        split.addWidget(card(self.detail, margin=SIZES.m))
        split.setSizes([SIZES.row * 5, SIZES.row * 12])
        split.setStretchFactor(1, 1)
        split.handle(1).setAccessibleName("Border between the list and the answer")
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.m)
        layout.addLayout(controls)
        layout.addWidget(split, 1)
        layout.addWidget(self._problems)
        return content

    # What is judged

    @property
    def asked(self) -> Asked:
        return Asked(self.want.key, int(self.context.key), self.cache.key)

    def take_model(self, model: ModelInfo) -> None:
        """Judges `model` too, and answers about it."""
        self._chosen = model.path
        self._tasks.run(
            "fit-model", lambda: [source_of_model(model)], done=self._take_sources, failed=self.banner.show_problem
        )

    def take_paths(self, paths: Sequence[Path]) -> None:
        """Judges the models at `paths` too."""
        new = [path for path in paths if path not in self._sources]
        if new and not self._tasks.busy("fit-open"):
            self._tasks.run("fit-open", partial(open_sources, new), done=self._take_sources, failed=self._failed)

    def _take_sources(self, sources: Sequence[Source]) -> None:
        self._sources.update({source.path: source for source in sources})
        self._show_problems([f"{words.path(path)}: {s.problem}" for path, s in self._sources.items() if s.problem])
        if self.state == "empty" and self._models():
            self.show_state("loading")
        self.judge()

    def _show_problems(self, problems: list[str]) -> None:
        more = f", and {words.count(len(problems) - 1, 'other')}" if len(problems) > 1 else ""
        self._problems.setText(f"Not in the list: {problems[0]}{more}" if problems else "")
        self._problems.setToolTip("\n".join(problems))
        self._problems.setVisible(bool(problems))

    def _models(self) -> list[Source]:
        return [source for source in self._sources.values() if source.model is not None]

    def take_hardware(self, hardware: Hardware) -> None:
        """Judges by these figures from now on; anew only when they are others."""
        self._hardware = hardware
        before = self._judged_for
        self.purpose.setText(_PURPOSE_ELSEWHERE if hardware.given else _PURPOSE)
        if before is None or _differs(before, hardware):
            self.judge()

    def judge(self) -> None:
        """Works out the rows again; while that is under way, once more after it."""
        hardware, models = self._hardware, self._models()
        if hardware is None or not models or not self.isVisible():
            return
        if self._tasks.busy("fit"):
            self._stale = True
            return
        self._judged_for = hardware
        work = partial(judge, models, self.asked, hardware, self._speed_of(hardware))
        self._tasks.run("fit", work, done=self._show_rows, failed=self._failed)

    def _speed_of(self, hardware: Hardware) -> Calibration | None:
        """What was measured counts for the machine it was measured on."""
        return None if hardware.given else self._calibration

    def _failed(self, problem: words.Problem) -> None:
        if self.state == "loading":
            self.show_state("empty")
        self.banner.show_problem(problem)

    # What is shown

    def _show_rows(self, rows: list[Judged]) -> None:
        chosen = self._chosen if self._chosen in [judged.path for judged in rows] else rows[0].path
        self.rows.replace_rows(rows)
        self._chosen = chosen
        shown = self.table.current()
        if shown is None or shown.path != chosen:
            self.table.choose(str(chosen))
        self._answer()
        if self._stale:
            self._stale = False
            self.judge()

    def _choose_row(self, judged: Judged | None) -> None:
        if judged is None or judged.path == self._chosen:
            return
        self._chosen = judged.path
        self._answer()

    def _answer(self) -> None:
        source, hardware = self._source(), self._hardware
        if source is None or hardware is None:
            return
        work = partial(answer_in_full, source, self.asked, hardware, self._speed_of(hardware))
        self._tasks.run("fit-answer", work, done=self._show_full, failed=self._failed)

    def _source(self) -> Source | None:
        source = self._sources.get(self._chosen) if self._chosen else None
        return source if source is not None and source.model is not None else None

    def _show_full(self, full: Full) -> None:
        source, hardware = self._source(), self._hardware
        if source is None or source.model is None or source.path != full.path or hardware is None:
            return
        if full.asked.kv_type != self._cache_shown:
            self._cache_shown = full.asked.kv_type
            self.detail.grid.cache.choose(full.asked.kv_type)
        self.detail.show_full(full, name=source.model.name, measurable=not hardware.given)
        if self.state != "content":
            self.show_state("content")
            if self.isVisible():
                self.take_focus()
        self._show_primary()

    def _show_primary(self) -> None:
        making = self._making()
        self.make.setEnabled(making is not None)
        self.make.setText(f"Make {making.recipe}" if making else "Make this")

    def first_focus(self) -> QWidget | None:
        return self.table if self.state == "content" else self.make

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()
        self.look_wanted.emit()
        self.judge()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def _look(self) -> None:
        if self.window().isActiveWindow():
            self.look_wanted.emit()

    # What the user does

    def _asked_changed(self, store_key: str, value: str) -> None:
        self._store.setValue(store_key, value)
        self._wait.start()

    def _making(self) -> Making | None:
        """The cell that the grid is on when it is in sight, else what is recommended."""
        full, source = self.detail.full, self._source()
        if full is None or source is None or source.model is None or source.path != full.path:
            return None
        cell: Cell | None = self.detail.grid.view.current()
        if self.detail.tabs.currentIndex() == GRID and cell is not None:
            return Making(source.model, cell.level, cell.context)
        return Making(source.model, full.answer.plan.recipe.name, full.answer.fit.context)

    def _make_this(self) -> None:
        making = self._making()
        if making is not None:
            self.make_wanted.emit(making)

    def _measure(self) -> None:
        hardware = self._hardware
        if hardware is None or hardware.given:
            return
        self.detail.measure.setEnabled(False)
        self._tasks.run("calibrate", partial(_calibrate, hardware), done=self._measured, failed=self._not_measured)

    def _measured(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self.detail.measure.setEnabled(True)
        self.judge()

    def _not_measured(self, problem: words.Problem) -> None:
        self.detail.measure.setEnabled(True)
        self.banner.show_problem(problem)

    def cancel(self) -> None:
        if self.banner.isHidden() and self.filter.text():
            self.filter.clear()
            self.table.setFocus()
            return
        super().cancel()


def _differs(one: Hardware, other: Hardware) -> bool:
    """Whether a verdict could be another one: memory freed or taken, or another machine altogether."""
    if one.given != other.given or len(one.gpus) != len(other.gpus) or one.memory.bandwidth != other.memory.bandwidth:
        return True
    pairs = [(one.memory.available, other.memory.available)]
    pairs += [(first.free, second.free) for first, second in zip(one.gpus, other.gpus, strict=True)]
    return any(abs(first - second) > _WORTH_A_LOOK for first, second in pairs)


def _calibrate(hardware: Hardware) -> Calibration:
    import core

    return core.calibrate(hardware)
