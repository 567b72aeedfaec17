"""Fit: which model runs here, at which level and with how much context, before anything is downloaded or made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import QLineEdit, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from app import words
from app.fit_tasks import FitTasks
from app.pages.fit_answers import Asked, Cell, Full, Judged, Unjudged, Wanted, ranked
from app.store import stored_number
from app.tables.fit_columns import FIT_COLUMNS, SPARE
from app.tables.row_model import RowModel
from app.tables.row_view import RowView
from app.theme import SIZES
from app.widgets.choices import Choice, MenuChoice, Segments
from app.widgets.fit_detail import GRID, RUN, FitDetail
from app.widgets.page import Page, empty_state
from app.widgets.parts import button, card, label, row

if TYPE_CHECKING:
    from core import Hardware

EVERY_MS = 2000
WAIT_MS = 200
# Rows that come one by one are shown together so often.
SHOW_MS = 150
_ROOM_FOR_ALL = 1000
# Memory comes and goes all the time; what moves less than this changes no verdict that would stay.
_WORTH_A_LOOK = 64 * 1024**2
_PURPOSE = "Which model runs on this machine, at which level and with how much context."
_PURPOSE_ELSEWHERE = "Which model runs on the machine that you asked about, and how."
_TROUBLE = "What went wrong is said above. Nothing was changed."
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
    """What is to be made of the model at `path`, and for how much context."""

    path: Path
    recipe: str
    context: int


class FitPage(Page):
    """`make_wanted` carries a Making, `hub_wanted` the key of a model on the Hub, `asked_changed` what is wanted of all
    models; `look_wanted` asks for the machine's figures and the models of now, `shown` for all that takes longer.
    """

    models_wanted = Signal()
    make_wanted = Signal(object)
    hub_wanted = Signal(str)
    asked_changed = Signal(object)
    look_wanted = Signal()
    shown = Signal()

    def __init__(self, tasks: FitTasks, store: QSettings, *, context: int) -> None:
        super().__init__("Fit", _PURPOSE)
        self._tasks, self._store = tasks, store
        self._wanted: list[Wanted] = []
        self._judged: dict[str, Judged] = {}
        self._coming: dict[str, Judged] = {}
        self._lost: list[Unjudged] = []
        self._chosen = ""
        self._is_settled = self._is_stale = False
        self._hardware: Hardware | None = None
        self._judged_for: Hardware | None = None
        self._cache_shown = ""
        self.add_action(button("Open a model", self.models_wanted.emit, tip="Add a model to this list"))
        self.make = self.add_action(button("Make this", self._make_this, role="primary"))
        self.make.setEnabled(False)
        self._make_controls(context)
        self.rows: RowModel[Judged] = RowModel(FIT_COLUMNS, key=lambda judged: judged.key)
        self.table = RowView(self.rows, name="Models, the one that does most for this machine first")
        self.table.remember_widths(store, "widths/fit")
        self.table.chosen.connect(self._choose_row)
        self.table.clicked.connect(lambda _: self._settle())
        self.table.opened.connect(lambda _: self._make_this())
        self.detail = FitDetail()
        self.detail.grid.taken.connect(lambda _: self._make_this())
        self.detail.grid.view.moved.connect(lambda _: self._show_primary())
        self.detail.tabs.currentChanged.connect(lambda _: self._show_primary())
        self.detail.measure_wanted.connect(self._measure)
        self.detail.lines.copied.connect(
            lambda program: self.banner.show_message("good", f"Copied: what {program} needs.")
        )
        self.add_state("loading", empty_state("Working out what fits", "From headers alone; no weights are read."))
        self.add_state("empty", empty_state("No model could be judged", _TROUBLE, "Try again", self.judge))
        self.add_state("content", self._make_content())
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self._look)
        self._wait = QTimer(self, singleShot=True, interval=WAIT_MS)
        self._wait.timeout.connect(self.judge)
        self._soon = QTimer(self, singleShot=True, interval=SHOW_MS)
        self._soon.timeout.connect(self._show_rows)
        self._filled = QTimer(self, singleShot=True, interval=0)
        self._filled.timeout.connect(self._show_content)
        keys = QShortcut(QKeySequence.StandardKey.Find, self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        keys.activated.connect(self.filter.setFocus)
        self.show_state("loading")

    def _make_controls(self, context: int) -> None:
        self.want = Segments("What you want most", WANTS)
        self.context, self.cache = MenuChoice("Context wanted", CONTEXTS), MenuChoice("Cache of the context", CACHES)
        self.want.choose(str(self._store.value(_WANT, "balanced")))
        self.context.choose(str(stored_number(self._store, _CONTEXT, context)))
        self.cache.choose(str(self._store.value(_CACHE, "f16")))
        for choice, key in ((self.want, _WANT), (self.context, _CONTEXT), (self.cache, _CACHE)):
            choice.changed.connect(partial(self._keep_asked, key))
        self.filter = QLineEdit(placeholderText="Filter", clearButtonEnabled=True)
        self.filter.setAccessibleName("Show only models with this in their row")
        self.filter.setToolTip("Show only models with this in their row (Ctrl+F): a name, a place, a level, a verdict")
        self.filter.textChanged.connect(self._filter)

    def _make_content(self) -> QWidget:
        self._problems = label(role="small", wrap=True)
        self._problems.hide()
        controls = row(self.want, self.context, self.cache, self.filter)
        controls.setStretch(3, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        self._none_fits = empty_state("No model matches", "Every column is searched for what you typed.")
        self._list = QStackedWidget()
        for widget in (self.table, self._none_fits):
            self._list.addWidget(widget)
        split.addWidget(self._list)
        split.addWidget(card(self.detail, margin=SIZES.m))
        split.setSizes([SIZES.row * 6, SIZES.row * 12])
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

    def _filter(self, text: str) -> None:
        self.table.show_only(text)
        self._show_list()

    def _show_list(self) -> None:
        """The table, or why it would be empty."""
        self._list.setCurrentWidget(
            self.table if self.table.shown_rows() or not self.filter.text() else self._none_fits
        )

    # What is judged

    @property
    def asked(self) -> Asked:
        return Asked(self.want.key, int(self.context.key), self.cache.key)

    def choose_model(self, path: Path) -> None:
        """Answers about this model, as soon as it is judged."""
        self._chosen, self._is_settled = str(path).removeprefix("hub:"), True
        self.table.choose(self._chosen)
        self._answer()

    def take_wanted(self, wanted: Sequence[Wanted]) -> None:
        """Judges these models from now on; those that are gone leave the list at once."""
        if list(wanted) == self._wanted:
            return
        self._wanted = list(wanted)
        keys = {one.key for one in wanted}
        if gone := self._judged.keys() - keys:
            self._judged = {key: judged for key, judged in self._judged.items() if key not in gone}
            self._show_rows()
        self.judge()

    def take_hardware(self, hardware: Hardware) -> None:
        """Judges by these figures from now on; anew only when they are others, and not while a list is under way."""
        self._hardware = hardware
        before = self._judged_for
        self.purpose.setText(_PURPOSE_ELSEWHERE if hardware.given else _PURPOSE)
        if before is None or before.given != hardware.given:
            self.judge()
        elif _differs(before, hardware):
            if self._tasks.busy("judge"):
                self._is_stale = True
            else:
                self.judge()

    def judge(self) -> None:
        """Works out the rows again, and the answer for the model that is chosen."""
        hardware = self._hardware
        if hardware is None or not self._wanted or not self.isVisible():
            return
        self._judged_for, self._is_stale = hardware, False
        self._coming, self._lost = {}, []
        values = {"wanted": self._wanted, "asked": self.asked, "hardware": hardware}
        self._tasks.ask("judge", values, done=self._all_judged, failed=self._failed, row=self._take_row)
        if self.state == "empty":
            self.show_state("loading")
        self._answer()

    def _take_row(self, judged: Judged | Unjudged) -> None:
        """Those that are there already change all at once, at the end."""
        if isinstance(judged, Unjudged):
            self._lost.append(judged)
            return
        self._coming[judged.key] = judged
        if judged.key not in self._judged:
            self._judged[judged.key] = judged
            if not self._soon.isActive():
                self._soon.start()

    def _all_judged(self, _: None) -> None:
        self._judged, self._coming = self._coming, {}
        self._soon.stop()
        self._show_problems([f"{one.wanted.name}: {one.problem}" for one in self._lost if one.wanted.is_here])
        if not self._judged and self.state == "loading":
            self.show_state("empty")
        self._show_rows()
        self._is_settled = bool(self._judged)
        if self._is_stale:
            self.judge()

    def _show_problems(self, problems: list[str]) -> None:
        more = f", and {words.count(len(problems) - 1, 'other')}" if len(problems) > 1 else ""
        self._problems.setText(f"Not in the list: {problems[0].rstrip('.')}{more}." if problems else "")
        self._problems.setToolTip("\n".join(problems))
        self._problems.setVisible(bool(problems))

    def _failed(self, problem: words.Problem) -> None:
        if self.state == "loading":
            self.show_state("empty")
        self.banner.show_problem(problem)

    # What is shown

    def _show_rows(self) -> None:
        """Answers about the best of them until all are judged for the first time, or somebody chose."""
        rows = ranked(self._judged.values())
        if not rows:
            self.rows.set_rows([])
            return
        self.rows.replace_rows(rows)
        self._show_list()
        is_waited_for = self._is_settled and self._tasks.busy("judge")
        if not self._is_settled or not (is_waited_for or self._chosen in self._judged):
            self._chosen = rows[0].key
        shown = self.table.current()
        if self._chosen in self._judged and (shown is None or shown.key != self._chosen):
            self.table.choose(self._chosen)
        if self.detail.full is None or self.detail.full.key != self._chosen:
            self._answer()

    def _settle(self) -> None:
        """Somebody looks at a model: no better one takes its place by itself."""
        self._is_settled = True

    def _choose_row(self, judged: Judged | None) -> None:
        if judged is None or judged.key == self._chosen:
            return
        self._chosen, self._is_settled = judged.key, True
        self._answer()

    def _answer(self) -> None:
        wanted = next((one for one in self._wanted if one.key == self._chosen), None)
        if wanted is None or self._hardware is None:
            return
        values = {"wanted": wanted, "asked": self.asked, "hardware": self._hardware}
        self._tasks.ask("answer", values, done=self._show_full, failed=self._not_answered)

    def _not_answered(self, problem: words.Problem) -> None:
        """A model that cannot be read is named below the list."""
        if self.state == "content":
            self.banner.show_problem(problem)

    def _show_full(self, full: Full) -> None:
        hardware = self._hardware
        if full.key != self._chosen or hardware is None:
            return
        if full.asked.kv_type != self._cache_shown:
            self._cache_shown = full.asked.kv_type
            self.detail.grid.cache.choose(full.asked.kv_type)
        self.detail.show_full(full, measurable=not hardware.given)
        if self.state != "content":
            self._filled.start()
        self._show_primary()

    def _show_content(self) -> None:
        """In a turn of its own: to lay it out for the first time takes longer than to fill it."""
        self.show_state("content")
        if self.isVisible():
            self.take_focus()

    def _show_primary(self) -> None:
        full = self._shown()
        self.make.setEnabled(full is not None)
        if full is None:
            self.make.setText("Make this")
        elif not full.wanted.is_here:
            self.make.setText("See it in Find")
        else:
            self.make.setText("How to run it" if full.is_made else f"Make {self._cell(full)[0]}")

    def _shown(self) -> Full | None:
        full = self.detail.full
        return full if full is not None and full.key == self._chosen else None

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for position, column in enumerate(FIT_COLUMNS):
            self.table.setColumnHidden(position, self.width() < _ROOM_FOR_ALL and column.title in SPARE)

    def first_focus(self) -> QWidget | None:
        return self.table if self.state == "content" else self.make

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()
        self.shown.emit()
        self.look_wanted.emit()
        self.judge()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def _look(self) -> None:
        if self.window().isActiveWindow():
            self.look_wanted.emit()

    # What the user does

    def _keep_asked(self, store_key: str, value: str) -> None:
        self._store.setValue(store_key, value)
        self._wait.start()
        self.asked_changed.emit(self.asked)

    def _cell(self, full: Full) -> tuple[str, int]:
        """(level, context): those that the grid is on when it is in sight, else what is recommended.

        What is wanted of all models stays where this one was trained for less.
        """
        cell: Cell | None = self.detail.grid.view.current()
        if self.detail.tabs.currentIndex() == GRID and cell is not None:
            return cell.level, cell.context
        return full.level, max(full.asked.context, full.fit.context)

    def _make_this(self) -> None:
        """What can be done with the model: made, run as it is, or looked at on the Hub."""
        full = self._shown()
        if full is None:
            return
        if not full.wanted.is_here:
            self.hub_wanted.emit(full.key)
        elif full.is_made:
            self.detail.tabs.setCurrentIndex(RUN)
            self.detail.tabs.setFocus()
        else:
            self.make_wanted.emit(Making(Path(full.key), *self._cell(full)))

    def _measure(self) -> None:
        hardware = self._hardware
        if hardware is None or hardware.given:
            return
        self.detail.measure.setEnabled(False)
        self._tasks.ask("calibrate", {"hardware": hardware}, done=self._measured, failed=self._not_measured)

    def _measured(self, _: None) -> None:
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
