"""What to search for: words, order, and a drawer of filters."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from app.theme import SIZES
from app.widgets.parts import button, label, row

KNOWN = "known"
ORDERS = ((KNOWN, "Well known"), ("trending", "Trending"), ("downloads", "Downloads"), ("likes", "Likes"),
          ("recent", "Recent"))  # fmt: skip
_TASKS = (("", "Any task"), ("text-generation", "Text"), ("image-text-to-text", "Text and pictures"),
          ("feature-extraction", "Embeddings"), ("any-to-any", "Any to any"))  # fmt: skip
_LIBRARIES = (("", "Any library"), ("transformers", "Transformers"), ("safetensors", "Safetensors"), ("mlx", "MLX"),
              ("peft", "PEFT"))  # fmt: skip
_B = 10**9
_PARAMETERS = (((0, 0), "Any size"), ((0, 2 * _B), "Up to 2B"), ((2 * _B, 5 * _B), "2B to 5B"),
               ((5 * _B, 10 * _B), "5B to 10B"), ((10 * _B, 20 * _B), "10B to 20B"), ((20 * _B, 40 * _B), "20B to 40B"),
               ((40 * _B, 0), "40B and more"))  # fmt: skip
_LICENCES = (("", "Any licence"), ("apache-2.0", "Apache 2.0"), ("mit", "MIT"), ("llama3.1", "Llama 3.1"),
             ("llama3.2", "Llama 3.2"), ("gemma", "Gemma"), ("cc-by-4.0", "CC BY 4.0"), ("other", "Other"))  # fmt: skip
_ACCESS = ((None, "Any access"), (False, "Open to all"), (True, "With terms to accept"))


def chooser(name: str, choices: tuple[tuple[Any, str], ...]) -> QComboBox:
    """A box of `choices`: what each means, and its words."""
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(name)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setMinimumContentsLength(8)
    for value, text in choices:
        box.addItem(text, value)
    return box


class HubFilters(QWidget):
    """`typed` with every change of a text, `changed` when something was chosen."""

    typed = Signal()
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.text = QLineEdit(placeholderText="Search the Hub: a name, or ORG/NAME", clearButtonEnabled=True)
        self.text.setAccessibleName("Search the Hub")
        self.order = chooser("Order", ORDERS)
        self.order.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.toggle = button("Filters", self._toggle, glyph="options")
        self.toggle.setCheckable(True)
        self.task, self.library = chooser("Task", _TASKS), chooser("Library", _LIBRARIES)
        self.parameters, self.licence = chooser("Parameters", _PARAMETERS), chooser("Licence", _LICENCES)
        self.access = chooser("Access", _ACCESS)
        self.author = QLineEdit(placeholderText="Author")
        self.author.setAccessibleName("Author: a person or an organization")
        self.gguf = QCheckBox("GGUF files available")
        self.fits = QCheckBox("Fits this machine")
        self.clear = button("Clear filters", self.start_over)
        self.drawer = self._make_drawer()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addLayout(row(self.text, label("Order", role="muted"), self.order, self.toggle))
        layout.addWidget(self.drawer)
        self._connect()

    def _make_drawer(self) -> QWidget:
        drawer = QWidget()
        grid = QGridLayout(drawer)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SIZES.s)
        for position, widget in enumerate(
            (self.task, self.library, self.parameters, self.licence, self.access, self.author, self.gguf, self.fits)
        ):
            grid.addWidget(widget, position // 4, position % 4)
        grid.addWidget(self.clear, 1, 4)
        for place in range(4):
            grid.setColumnStretch(place, 1)
        drawer.hide()
        return drawer

    def _connect(self) -> None:
        for field in (self.text, self.author):
            field.textChanged.connect(lambda _: self.typed.emit())
        for box in (self.order, *self._boxes()):
            box.currentIndexChanged.connect(lambda _: self.changed.emit())
        for tick in (self.gguf, self.fits):
            tick.toggled.connect(lambda _: self.changed.emit())

    def _boxes(self) -> tuple[QComboBox, ...]:
        return self.task, self.library, self.parameters, self.licence, self.access

    def _toggle(self) -> None:
        self.drawer.setVisible(self.toggle.isChecked())

    @property
    def sort(self) -> str:
        return str(self.order.currentData())

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for but an order."""
        return not self.text.text().strip() and not self.filters_in_use()

    def filters_in_use(self) -> int:
        """How many filters narrow the search on the Hub."""
        return sum(box.currentIndex() > 0 for box in self._boxes()) + bool(self.author.text()) + self.gguf.isChecked()

    def values(self) -> dict[str, Any]:
        """The fields of core.Filters."""
        smallest, largest = self.parameters.currentData()
        return {
            "text": self.text.text(),
            "author": self.author.text().strip(),
            "task": self.task.currentData(),
            "library": self.library.currentData(),
            "licence": self.licence.currentData(),
            "gated": self.access.currentData(),
            "has_gguf": self.gguf.isChecked(),
            "smallest": smallest,
            "largest": largest,
        }

    def show_sort(self, sort: str) -> None:
        """Shows the order without saying that it changed."""
        self.order.blockSignals(True)
        self.order.setCurrentIndex(self.order.findData(sort))
        self.order.blockSignals(False)

    def show_count(self) -> None:
        count = self.filters_in_use() + self.fits.isChecked()
        self.toggle.setText(f"Filters: {count}" if count else "Filters")

    def start_over(self) -> None:
        """No filter; the words stay."""
        self.blockSignals(True)
        for box in self._boxes():
            box.setCurrentIndex(0)
        self.author.clear()
        for tick in (self.gguf, self.fits):
            tick.setChecked(False)
        self.blockSignals(False)
        self.changed.emit()
