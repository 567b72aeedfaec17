"""Models: open one, see what it is, go on to choose a quantization."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Signal
from PySide6.QtWidgets import QFileDialog, QFrame, QVBoxLayout, QWidget

from app import words
from app.store import stored_list
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.drop_area import DropArea
from app.widgets.facts import Facts
from app.widgets.page import Page, empty_state
from app.widgets.parts import Elided, button, card, column, label, scrolled

if TYPE_CHECKING:
    from core import ModelInfo

RECENT = "models/recent"
MOST_RECENT = 6


class ModelsPage(Page):
    """`opened` carries the ModelInfo; `quantize_wanted` that its owner wants to go on with it."""

    opened = Signal(object)
    quantize_wanted = Signal()

    def __init__(self, tasks: Tasks, store: QSettings, *, last_folder: str = "") -> None:
        super().__init__("Models", "Open a model to see what it is, before anything is read but its headers.")
        self._tasks, self._store, self._last_folder = tasks, store, last_folder
        self.model: ModelInfo | None = None
        self.choose = self.add_action(
            button("Choose a quantization", self.quantize_wanted.emit, role="primary", tip="Go on to the page Make")
        )
        self.choose.setEnabled(False)
        self.sample = button("Try it with the sample model", self.open_sample)
        self.open_folder = button("Open folder…", self.ask_folder, glyph="folder", tip="Ctrl+O")
        self.open_file = button("Open GGUF…", self.ask_file, glyph="file", tip="Ctrl+Shift+O")
        self.drop = DropArea(self.open_folder, self.open_file, self.sample)
        self.drop.dropped.connect(self.open_path)
        self._name, self._path, self._facts = label(role="heading"), Elided(role="small"), Facts(pairs=2)
        self._notes = label(role="muted", wrap=True)
        self._recent_card = self._make_recent_card()
        self.model_card = card(
            column(self._name, self._path, spacing=SIZES.xs), self._facts, self._notes, spacing=SIZES.m
        )
        self.model_card.hide()
        layout = column(self.model_card, self.drop, self._recent_card, 1, spacing=SIZES.m)
        self.add_state("content", scrolled(layout, name="The open model and how to open another"))
        self.add_state("loading", empty_state("Reading the headers", "Names, shapes and keys; no weights are read."))
        self.show_state("content")
        self._show_recent()

    def first_focus(self) -> QWidget | None:
        return self.choose if self.choose.isEnabled() else self.open_folder

    def ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a model folder", self._last_folder)
        if folder:
            self.open_path(Path(folder))

    def ask_file(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Open a GGUF file", self._last_folder, "GGUF (*.gguf)")
        if file:
            self.open_path(Path(file))

    def open_sample(self) -> None:
        from core import sample_folder

        self.open_path(sample_folder())

    def open_path(self, path: Path) -> None:
        """Opens the model at `path`; what was open stays if that fails."""
        self.banner.hide()
        self.show_state("loading")
        self._tasks.run("open", lambda: _open(path), done=self._opened, failed=self._failed)

    def cancel(self) -> None:
        if self.state == "loading":
            self._tasks.drop("open")
            self.show_state("content")
            return
        super().cancel()

    def _failed(self, problem: words.Problem) -> None:
        self.show_state("content")
        self.banner.show_problem(problem)

    def _opened(self, model: ModelInfo) -> None:
        self.model = model
        self._last_folder = str(model.path.parent)
        self._remember(model.path)
        self.show_state("content")
        self._name.setText(model.name)
        self._path.show_text(words.path(model.path))
        self._facts.show_facts(facts_of(model), {"Size": words.exact(model.source_bytes)})
        self._notes.setText("\n".join(model.notes))
        self._notes.setVisible(bool(model.notes))
        self.model_card.show()
        self.choose.setEnabled(True)
        self.choose.setFocus()
        self.opened.emit(model)

    def _make_recent_card(self) -> QFrame:
        self._recent = QVBoxLayout()
        self._recent.setSpacing(0)
        frame = card(label("Recent", role="section"), spacing=SIZES.xs)
        inside = frame.layout()
        assert isinstance(inside, QVBoxLayout)
        inside.addLayout(self._recent)
        return frame

    def recent(self) -> list[str]:
        """Paths of models opened before, the last one first."""
        return stored_list(self._store, RECENT)

    def _remember(self, path: Path) -> None:
        others = [other for other in self.recent() if other != str(path)]
        self._store.setValue(RECENT, [str(path), *others][:MOST_RECENT])
        self._show_recent()

    def _show_recent(self) -> None:
        while (item := self._recent.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        for path in self.recent():
            entry = button(words.path(path), partial(self.open_path, Path(path)), role="row", glyph="models")
            self._recent.addWidget(entry)
        self._recent_card.setVisible(bool(self.recent()))


def facts_of(model: ModelInfo) -> list[tuple[str, str]]:
    """What is worth knowing of a model, in words."""
    context = model.key("context_length")
    return [
        ("Family", model.family),
        ("Architecture", model.architecture),
        ("Parameters", words.parameters(model.parameters)),
        ("Size", words.size(model.source_bytes)),
        ("Weights", f"{model.dtype}, {'one GGUF file' if model.is_gguf else words.count(len(model.files), 'file')}"),
        ("Layers", str(model.key("block_count", "unknown"))),
        ("Context", words.tokens(int(context)) if context else "not stated"),
        ("Tensors", f"{len(model.tensors):,}"),
    ]


def _open(path: Path) -> ModelInfo:
    import core

    return core.open_model(path)
