"""Names and values in two columns; values can be selected and change in place."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from app.theme import SIZES
from app.widgets.parts import label

Fact = tuple[str, str]


class Facts(QWidget):
    """`pairs` a line: 1 puts each fact on a line of its own, 2 two side by side."""

    def __init__(self, *, pairs: int = 1, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pairs = pairs
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SIZES.l)
        self._grid.setVerticalSpacing(SIZES.s)
        for pair in range(pairs):
            self._grid.setColumnStretch(2 * pair + 1, 1)
        self._values: dict[str, QLabel] = {}
        self._names: list[QLabel] = []

    def show_facts(self, facts: Sequence[Fact], tips: dict[str, str] | None = None) -> None:
        if list(self._values) != [name for name, _ in facts]:
            self._build([name for name, _ in facts])
        for name, value in facts:
            if self._values[name].text() != value:
                self._values[name].setText(value)
            self._values[name].setToolTip((tips or {}).get(name, ""))

    def as_text(self) -> str:
        return "\n".join(f"{name}: {value.text()}" for name, value in self._values.items())

    def _build(self, names: list[str]) -> None:
        for old in (*self._names, *self._values.values()):
            self._grid.removeWidget(old)
            old.hide()
            old.deleteLater()
        self._names, self._values = [], {}
        for position, name in enumerate(names):
            title, value = label(name, role="muted"), label(wrap=True)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            line, side = divmod(position, self._pairs)
            self._grid.addWidget(title, line, 2 * side, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(value, line, 2 * side + 1, Qt.AlignmentFlag.AlignTop)
            self._names.append(title)
            self._values[name] = value
