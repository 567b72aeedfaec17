"""What to type to run the file, for each program, with a button that copies it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from app.theme import SIZES
from app.widgets.parts import button, label, row


class _Box(QPlainTextEdit):
    """As high as its lines, however they break."""

    def __init__(self) -> None:
        super().__init__(readOnly=True, tabChangesFocus=True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit_lines()

    def fit_lines(self) -> None:
        lines = round(self.document().size().height())
        self.setFixedHeight(self.fontMetrics().lineSpacing() * lines + 2 * SIZES.m)


class RunLines(QWidget):
    """`copied` carries the name of the program whose line is on the clipboard now."""

    copied = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, SIZES.s, 0, 0)
        self._layout.setSpacing(SIZES.s)
        self._boxes: dict[str, _Box] = {}
        self._notes: dict[str, QLabel] = {}
        self._parts: list[QWidget] = []

    def show_lines(self, lines: Sequence[tuple[str, str, str]]) -> None:
        """`lines`: (program, what to type or set, where it goes)."""
        if list(self._boxes) != [program for program, _, _ in lines]:
            self._build([program for program, _, _ in lines])
        for program, text, note in lines:
            self._notes[program].setText(note)
            if self._boxes[program].toPlainText() != text:
                self._show(self._boxes[program], text)

    def text_of(self, program: str) -> str:
        return self._boxes[program].toPlainText()

    def copy(self, program: str) -> None:
        QGuiApplication.clipboard().setText(self.text_of(program))
        self.copied.emit(program)

    def _build(self, programs: Sequence[str]) -> None:
        for part in self._parts:
            self._layout.removeWidget(part)
            part.hide()
            part.deleteLater()
        self._boxes, self._notes, self._parts = {}, {}, []
        for program in programs:
            self._add(program)

    def _add(self, program: str) -> None:
        box = _Box()
        box.setAccessibleName(f"How to run it with {program}")
        copy = button("Copy", lambda: self.copy(program), glyph="copy", tip=f"Copy what {program} needs")
        copy.setAccessibleName(f"Copy for {program}")
        head = QWidget()
        note = label(role="muted", wrap=True)
        layout = row(label(program, role="strong"), note, copy, spacing=SIZES.m)
        layout.setStretch(1, 1)
        head.setLayout(layout)
        for part in (head, box):
            self._layout.addWidget(part)
            self._parts.append(part)
        self._boxes[program], self._notes[program] = box, note

    def _show(self, box: _Box, text: str) -> None:
        box.setPlainText(text)
        box.fit_lines()
