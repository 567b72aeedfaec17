"""Where a model can be dropped, with the buttons for those who would rather click."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.icons import icon
from app.theme import SIZES
from app.widgets.parts import Glyph, label


def dropped_model(data: QMimeData) -> Path | None:
    """The first local folder or file among what is being dragged."""
    paths = (Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile())
    return next(paths, None)


class DropArea(QFrame):
    dropped = Signal(Path)

    def __init__(self, *buttons: QPushButton, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "drop")
        self.setAcceptDrops(True)
        self.setAccessibleName("Drop a model folder or a GGUF file here")
        heading = label("Drop a model here", role="section")
        sentence = label(
            "A folder with config.json and .safetensors files, or one .gguf file.", role="muted", wrap=True
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.xl, SIZES.xl, SIZES.xl, SIZES.xl)
        layout.setSpacing(SIZES.s)
        layout.addWidget(Glyph(icon("drop", "muted"), SIZES.logo), alignment=Qt.AlignmentFlag.AlignHCenter)
        for words in (heading, sentence):
            words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            layout.addWidget(words)
        actions = QHBoxLayout()
        actions.setSpacing(SIZES.s)
        actions.addStretch()
        for button in buttons:
            actions.addWidget(button)
        actions.addStretch()
        layout.addSpacing(SIZES.s)
        layout.addLayout(actions)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_model(event.mimeData()) is not None:
            event.acceptProposedAction()
            self._mark(True)

    def dragLeaveEvent(self, _event: QDragLeaveEvent) -> None:
        self._mark(False)

    def dropEvent(self, event: QDropEvent) -> None:
        self._mark(False)
        if (path := dropped_model(event.mimeData())) is not None:
            event.acceptProposedAction()
            self.dropped.emit(path)

    def _mark(self, active: bool) -> None:
        self.setProperty("active", active)
        self.style().unpolish(self)
        self.style().polish(self)
