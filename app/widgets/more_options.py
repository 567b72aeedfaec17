"""The drawer of the page Make: what few people need. Its button says how many are set, so that none is forgotten."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QSizePolicy, QWidget

from app import words
from app.theme import SIZES
from app.widgets.parts import button, icon_button, label

_LONGEST_NAME = 20


class MoreOptions(QWidget):
    """`toggle` opens and closes it, wherever it is put. `matrix_chosen` carries the path of a file, or "";
    `keep_changed` when the download is to be kept, or no longer.
    """

    effort_changed = Signal(str)
    keep_changed = Signal()
    matrix_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.toggle = button("", self._toggle, glyph="options", tip="Effort, importance matrix, kept downloads")
        self.toggle.setCheckable(True)
        self.longer = QCheckBox("Search longer for less error")
        self.longer.setToolTip(
            "Less error in the weights at the same size, in several times the time.\n"
            "Measured on a small model, what it says comes closer to the original by up to a tenth; at some levels,\n"
            "such as Q4_K_M, by nothing. Without it, the file has the very bytes of llama-quantize."
        )
        self.longer.toggled.connect(lambda _: self._effort_toggled())
        self.longer.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.keep = QCheckBox("Keep the download")
        self.keep.setToolTip(
            "Downloads the original first, checks every byte, and keeps it in the cache of all Hugging Face tools.\n"
            "Without it, the weights are read from the Hub while they are encoded, and only the result is stored."
        )
        self.keep.toggled.connect(lambda _: self._keep_toggled())
        self.keep.hide()
        self.browse = button("", self._ask, role="field", glyph="file")
        self.browse.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.clear = icon_button("Use no importance matrix", "close", lambda: self.matrix_chosen.emit(""))
        title = label("Importance matrix", role="muted")
        title.setBuddy(self.browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(self.longer)
        layout.addWidget(self.keep)
        layout.addStretch(1)
        for widget, stretch in ((title, 0), (self.browse, 2), (self.clear, 0)):
            layout.addWidget(widget, stretch)
        self.hide()
        self.show_matrix("")

    @property
    def effort(self) -> str:
        return "best" if self.longer.isChecked() else "exact"

    def show_effort(self, effort: str) -> None:
        self.longer.setChecked(effort == "best")

    def show_source(self, source: str) -> None:
        """Of a model that is here there is no download to keep."""
        self.keep.setChecked(False)
        self.keep.setVisible(source.startswith("hub:"))

    def show_matrix(self, file: str, about: str = "") -> None:
        """`file` is the matrix in use, or ""; `about` is what is known of it."""
        self.matrix = file
        name = Path(file).name
        text = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[1 - _LONGEST_NAME // 2 :]}"
        self.browse.setText(text or "None")
        use = "Says what each input of the model counts, so that bits go where they matter; llama-imatrix measures it."
        self.browse.setToolTip("\n".join(filter(None, [words.path(file) if file else "", about, use])))
        self.browse.setAccessibleName(f"Importance matrix: {name or 'none'}. Choose a file")
        self.clear.setVisible(bool(file))
        self._show_count()

    def open(self) -> None:
        """Opens the drawer, as the button would."""
        if self.isHidden():
            self.toggle.click()

    def _toggle(self) -> None:
        self.setVisible(self.isHidden())
        self.toggle.setChecked(not self.isHidden())
        self._show_count()

    def _effort_toggled(self) -> None:
        self._show_count()
        self.effort_changed.emit(self.effort)

    def _keep_toggled(self) -> None:
        self._show_count()
        self.keep_changed.emit()

    def _show_count(self) -> None:
        count = self.longer.isChecked() + self.keep.isChecked() + bool(self.matrix)
        self.toggle.setText(f"Options ({count})" if count else "Options")
        state = "open" if not self.isHidden() else "closed"
        self.toggle.setAccessibleName(f"More options, {words.count(count, 'one', 'of them')} set, {state}")

    def _ask(self) -> None:
        start = str(Path(self.matrix).parent) if self.matrix else ""
        patterns = "Importance matrices (*.gguf *.dat *.imatrix);;All files (*)"
        file, _ = QFileDialog.getOpenFileName(self, "Importance matrix", start, patterns)
        if file:
            self.matrix_chosen.emit(file)
