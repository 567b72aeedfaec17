"""Where the new files go: a folder and a name. The name follows the recipe until the user types one.

`{type}` in the name stands for the level, as on the command line; of several files, a name without it ends in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QWidget

from app import words
from app.theme import SIZES
from app.widgets.parts import button, label

TYPE = "{type}"


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
        """The file, of one whose name has no level in it."""
        return self.paths([""])[0]

    def paths(self, levels: Sequence[str]) -> list[Path]:
        """A file for each level."""
        stem = (self.name.text().strip() or self._suggested).removesuffix(".gguf")
        if len(levels) > 1 and TYPE not in stem:
            stem = f"{stem}-{TYPE}"
        return [self._folder / f"{stem.replace(TYPE, level)}.gguf" for level in levels]

    def show_files(self, files: Sequence[tuple[str, Path]]) -> None:
        """Takes the folder and the name over from the (level, file) of a job; several follow the name of the first."""
        level, first = files[0]
        self.show_folder(first.parent)
        self.name.setText(first.name.replace(level, TYPE) if len(files) > 1 else first.name)

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
        self.name.setToolTip(f"{TYPE} stands for the level of each file" if TYPE in name else "")
        self._suggested = name

    def start_over(self) -> None:
        """Forgets what was typed: for another model."""
        self.name.clear()

    def _ask(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Folder for the new file", str(self._folder)):
            self.show_folder(Path(folder))
            self.changed.emit()
