"""The folders that the user has added: each can be taken off the list, and another added."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QFrame, QVBoxLayout, QWidget

from app import words
from app.theme import SIZES
from app.widgets.parts import Elided, button, card, holder, icon_button, label, row


class FolderList(QWidget):
    """`changed` carries the folders as they are now."""

    changed = Signal(tuple)

    def __init__(self, folders: Sequence[str]) -> None:
        super().__init__()
        self.folders = tuple(folders)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(SIZES.xs)
        self.add = button("Add a folder…", self._ask, glyph="folder")
        self._frame = self._make_frame()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._frame)
        self._show()

    def _make_frame(self) -> QFrame:
        purpose = label("Folders of yours in which Snug looks for models as well.", role="muted", wrap=True)
        head = row(self.add)
        head.insertWidget(0, purpose, 1)
        frame = card(head, margin=SIZES.m)
        inside = frame.layout()
        assert isinstance(inside, QVBoxLayout)
        inside.addLayout(self._rows)
        return frame

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Look for models in a folder")
        if folder and folder not in self.folders:
            self._set((*self.folders, folder))

    def _set(self, folders: tuple[str, ...]) -> None:
        self.folders = folders
        self._show()
        self.changed.emit(folders)

    def _remove(self, folder: str) -> None:
        self._set(tuple(other for other in self.folders if other != folder))
        self.add.setFocus()

    def _show(self) -> None:
        while (item := self._rows.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        for folder in self.folders:
            off = icon_button(f"Do not look in {folder} any more", "close", partial(self._remove, folder))
            self._rows.addWidget(holder(row(Elided(words.path(folder)), off)))
