"""Where the new file goes: a folder and a name. The name follows the recipe until the user types one."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QWidget

from app import words
from app.theme import SIZES
from app.widgets.parts import button, label


def default_name(model: str, recipe: str) -> str:
    """The file name for this model in this quantization; found when it is needed: the window opens without it."""
    import core

    return core.default_name(model, recipe)


class TargetRow(QWidget):
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder, self._suggested = Path.home(), ""
        title = label("Save as", role="muted")
        self.name = QLineEdit()
        self.name.setAccessibleName("Name of the new file")
        self.name.textEdited.connect(lambda _: self.changed.emit())
        title.setBuddy(self.name)
        self.browse = button("", self._ask, role="field", glyph="folder", tip="Choose another folder")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(title)
        layout.addWidget(self.name, 3)
        layout.addWidget(label("in", role="muted"))
        layout.addWidget(self.browse, 2)
        self.show_folder(self._folder)

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def path(self) -> Path:
        name = self.name.text().strip() or self._suggested
        return self._folder / (name if name.endswith(".gguf") else f"{name}.gguf")

    def show_folder(self, folder: Path) -> None:
        self._folder = folder
        text = "Home folder" if folder == Path.home() else words.path(folder)
        self.browse.setText(text if len(text) < 34 else f"…{text[-32:]}")
        self.browse.setToolTip(f"{folder}\nChoose another folder")
        self.browse.setAccessibleName(f"Folder of the new file: {folder}")

    def suggest(self, name: str) -> None:
        """Takes `name` unless the user has typed another."""
        if self.name.text() in ("", self._suggested):
            self.name.setText(name)
        self._suggested = name

    def start_over(self) -> None:
        """Forgets what was typed: for another model."""
        self.name.clear()

    def _ask(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Folder for the new file", str(self._folder)):
            self.show_folder(Path(folder))
            self.changed.emit()
