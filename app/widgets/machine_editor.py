"""Figures of another machine, to be typed: memory, cores, disk and GPUs. What is left empty stays as it is here."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCheckBox, QCompleter, QFrame, QGridLayout, QLineEdit, QVBoxLayout, QWidget

from app import words
from app.machine_figures import FIELDS, GpuText, read_figures
from app.theme import SIZES
from app.widgets.parts import button, icon_button, label, row

if TYPE_CHECKING:
    from core import Hardware

_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class GpuLine(QWidget):
    """One GPU: a name, completed from those that Snug knows, and the figures that differ from the usual ones."""

    removed = Signal()

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.name = _field("GPU: name", "RTX 4070")
        self.total = _field("GPU: memory", "its own")
        self.free = _field("GPU: memory free", "usual")
        self.bandwidth = _field("GPU: bandwidth in GB/s", "its own")
        completer = QCompleter(names, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.name.setCompleter(completer)
        remove = icon_button("Remove this GPU", "close", self.removed.emit)
        parts = (
            ("GPU", self.name),
            ("Memory", self.total),
            ("Free", self.free),
            ("GB/s", self.bandwidth),
        )
        layout = row(spacing=SIZES.s)
        for title, field in parts:
            text = label(title, role="muted")
            text.setBuddy(field)
            layout.addWidget(text)
            layout.addWidget(field, 3 if field is self.name else 1)
        layout.addWidget(remove)
        self.setLayout(layout)

    def text(self) -> GpuText:
        return GpuText(self.name.text(), self.total.text(), self.free.text(), self.bandwidth.text())


class MachineEditor(QFrame):
    """`asked` carries an Override, `refused` a Problem; Enter asks, Escape closes."""

    asked = Signal(object)
    refused = Signal(object)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.setAccessibleName("Figures of another machine")
        self.fields = {name: _field(title, example) for name, title, example in FIELDS}
        self.none = QCheckBox("No GPU")
        self.none.toggled.connect(self._show_lines)
        self.add = button("Add a GPU", self._add, tip="The machine has these GPUs instead of this one's")
        self.ask = button("Ask about it", self._ask, role="primary", tip="Verdicts are for that machine (Enter)")
        self.lines: list[GpuLine] = []
        self._lines = QVBoxLayout()
        self._lines.setSpacing(SIZES.s)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.l, SIZES.m, SIZES.l, SIZES.l)
        layout.setSpacing(SIZES.m)
        layout.addWidget(label("Another machine", role="section"))
        hint = "What is left empty stays as it is here. Sizes count as memory is sold: 16G is 16 GiB, or 17.2 GB."
        layout.addWidget(label(hint, role="muted", wrap=True))
        layout.addLayout(self._make_fields())
        layout.addLayout(self._lines)
        close = button("Close", self.closed.emit, tip="Close without asking (Escape)")
        layout.addLayout(row(self.add, self.none, 1, close, self.ask))

    def _make_fields(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.m)
        grid.setVerticalSpacing(SIZES.xs)
        for column, (name, title, _) in enumerate(FIELDS):
            text = label(title, role="muted")
            text.setBuddy(self.fields[name])
            grid.addWidget(text, 0, column)
            grid.addWidget(self.fields[name], 1, column)
            grid.setColumnStretch(column, 1)
        return grid

    def show_here(self, here: Hardware) -> None:
        """Says in the empty fields what this machine has."""
        memory = here.memory
        values = {
            "ram": _as_sold(memory.total),
            "ram_free": _as_sold(memory.available),
            "bandwidth": f"{memory.bandwidth / 1e9:.0f}" if memory.bandwidth else "unknown",
            "cores": f"{here.cpu.usable_cores:g}",
            "disk": _as_sold(here.disks[0].free) if here.disks else "unknown",
        }
        for name, value in values.items():
            self.fields[name].setPlaceholderText(value)

    def clear(self) -> None:
        """Empties every field."""
        for field in self.fields.values():
            field.clear()
        for line in list(self.lines):
            self._remove(line)
        self.none.setChecked(False)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        elif event.key() in _ENTER:
            focus = self.focusWidget()
            # A button does what it says; everywhere else Enter asks.
            focus.click() if focus in (self.add, self.none) else self._ask()
        else:
            super().keyPressEvent(event)

    def _ask(self) -> None:
        from core import SnugError

        texts = {name: field.text() for name, field in self.fields.items()}
        try:
            given = read_figures(texts, [line.text() for line in self.lines], no_gpu=self.none.isChecked())
        except SnugError as error:
            self.refused.emit(words.problem(error))
            return
        self.asked.emit(given)

    def _add(self) -> None:
        from core import known_gpus

        self.none.setChecked(False)
        line = GpuLine([gpu.name for gpu in known_gpus()])
        line.removed.connect(lambda: self._remove(line))
        before = self.lines[-1].bandwidth if self.lines else self.fields[FIELDS[-1][0]]
        self.lines.append(line)
        self._lines.addWidget(line)
        _order([before, line.name, line.total, line.free, line.bandwidth, self.add])
        line.name.setFocus()

    def _remove(self, line: GpuLine) -> None:
        self.lines.remove(line)
        self._lines.removeWidget(line)
        line.hide()
        line.deleteLater()
        self.add.setFocus()

    def _show_lines(self, none: bool) -> None:
        for line in self.lines:
            line.setVisible(not none)


def _as_sold(size: int) -> str:
    """Bytes as the fields take them: 15.5G."""
    return f"{size / 1024**3:.1f}G"


def _field(name: str, example: str) -> QLineEdit:
    field = QLineEdit()
    field.setAccessibleName(name)
    field.setPlaceholderText(example)
    field.setMinimumWidth(SIZES.xl * 2)
    return field


def _order(widgets: list[QWidget]) -> None:
    for first, second in pairwise(widgets):
        QWidget.setTabOrder(first, second)
