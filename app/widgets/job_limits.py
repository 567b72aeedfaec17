"""The drawer of the page Jobs: what the work may take of this machine, and what happens when it is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QFrame, QGridLayout, QSpinBox, QVBoxLayout

from app.theme import SIZES
from app.widgets.parts import label, row
from core import Limits, Settings, can_sleep

WHEN_DONE = (("nothing", "Nothing"), ("sleep", "Put this machine to sleep"), ("quit", "Close Snug"))
PAIRS = 2  # a line
_PRIORITIES = ((0, "Like any program"), (10, "Other programs first"), (19, "Only what nobody else needs"))


@dataclass(frozen=True, slots=True)
class Field:
    """One number of the settings; 0 is no limit, and shown as `none`."""

    name: str
    title: str
    none: str
    unit: str
    most: int
    step: int
    tip: str


FIELDS = (
    Field("job_threads", "Threads", "All cores", "", 1024, 1, "How many encode at once"),
    Field("job_memory", "Memory", "No limit", " MB", 1 << 20, 128, "How much the work holds in memory at once"),
    Field("job_bandwidth", "Network", "No limit", " kB/s", 10_000_000, 500, "How fast downloads may be"),
)


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings ask for."""
    return Limits(
        threads=settings.job_threads,
        memory=settings.job_memory * 10**6,
        bandwidth=settings.job_bandwidth * 1000,
        niceness=settings.job_niceness,
        only_on_mains=settings.job_only_on_mains,
    )


class JobLimits(QFrame):
    """`changed` carries the settings that are other now; `when_done_changed` a name of WHEN_DONE."""

    changed = Signal(dict)
    when_done_changed = Signal(str)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self._settings = settings
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.m)
        grid.setVerticalSpacing(SIZES.s)
        self.numbers = {field.name: self._number(field) for field in FIELDS}
        self.priority = self._choice("Priority of the work", [word for _, word in _PRIORITIES])
        self._ends = [end for end in WHEN_DONE if end[0] != "sleep" or can_sleep()]
        self.when_done = self._choice("When all is done", [word for _, word in self._ends])
        for place, (title, widget) in enumerate([
            *((field.title, self.numbers[field.name]) for field in FIELDS),
            ("Priority", self.priority), ("When done", self.when_done),
        ]):  # fmt: skip
            word = label(title, role="muted")
            word.setBuddy(widget)
            line, side = divmod(place, PAIRS)
            grid.addWidget(word, line, 2 * side)
            grid.addWidget(widget, line, 2 * side + 1)
        for side in range(PAIRS):
            grid.setColumnStretch(2 * side + 1, 1)
        self.mains = QCheckBox("Only on mains power")
        self.itself = QCheckBox("Go on by itself after a crash")
        self.itself.setToolTip("What was cut off goes on at the next start of Snug")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.l, SIZES.m, SIZES.l, SIZES.m)
        layout.setSpacing(SIZES.s)
        layout.addLayout(grid)
        layout.addLayout(row(self.mains, self.itself, 1, spacing=SIZES.xl))
        self._show(settings)
        self._connect()
        self.hide()

    def _number(self, field: Field) -> QSpinBox:
        box = QSpinBox(minimum=0, maximum=field.most, singleStep=field.step)
        box.setSpecialValueText(field.none)
        box.setSuffix(field.unit)
        box.setGroupSeparatorShown(True)
        box.setKeyboardTracking(False)
        box.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)
        box.setAccessibleName(f"{field.title}: {field.tip}")
        box.setToolTip(field.tip)
        return box

    def _choice(self, name: str, texts: list[str]) -> QComboBox:
        box = QComboBox()
        box.addItems(texts)
        box.setAccessibleName(name)
        return box

    def _show(self, settings: Settings) -> None:
        for name, box in self.numbers.items():
            box.setValue(getattr(settings, name))
        nearest = min(range(len(_PRIORITIES)), key=lambda i: abs(_PRIORITIES[i][0] - settings.job_niceness))
        self.priority.setCurrentIndex(nearest)
        self.mains.setChecked(settings.job_only_on_mains)
        self.itself.setChecked(settings.job_goes_on)

    def _connect(self) -> None:
        for name, box in self.numbers.items():
            box.valueChanged.connect(lambda value, name=name: self._keep(**{name: value}))
        self.priority.currentIndexChanged.connect(lambda at: self._keep(job_niceness=_PRIORITIES[at][0]))
        self.mains.toggled.connect(lambda on: self._keep(job_only_on_mains=on))
        self.itself.toggled.connect(lambda on: self._keep(job_goes_on=on))
        self.when_done.currentIndexChanged.connect(lambda at: self.when_done_changed.emit(self._ends[at][0]))

    def _keep(self, **values: Any) -> None:
        self._settings = replace(self._settings, **values)
        self.changed.emit(values)
