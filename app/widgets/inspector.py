"""All that a model file says: its keys, its tensors, and on request how the values of one tensor are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QSplitter, QTabWidget, QVBoxLayout, QWidget

from app import words
from app.tables.library_columns import KEY_COLUMNS, TENSOR_COLUMNS
from app.tables.row_model import RowModel
from app.tables.row_view import RowView
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.inspector_histogram import HistogramView
from app.widgets.parts import Elided, button, column, holder, label, row

if TYPE_CHECKING:
    from core import Histogram, InspectedFile, InspectedKey, TensorInfo


class Inspector(QWidget):
    """`closed` when the user has seen enough; `failed` carries a Problem."""

    closed = Signal()
    failed = Signal(object)

    def __init__(self, tasks: Tasks, store: QSettings) -> None:
        super().__init__()
        self._tasks = tasks
        self.found: InspectedFile | None = None
        self.keys: RowModel[InspectedKey] = RowModel(KEY_COLUMNS, key=lambda key: key.key)
        self.tensors: RowModel[TensorInfo] = RowModel(TENSOR_COLUMNS, key=lambda tensor: tensor.name)
        self.key_table = RowView(self.keys, name="Keys of the file")
        self.key_table.remember_widths(store, "widths/keys")
        self.tensor_table = RowView(self.tensors, name="Tensors of the file")
        self.tensor_table.remember_widths(store, "widths/inspected")
        self.tensor_table.chosen.connect(self._chosen)
        self.tensor_table.opened.connect(lambda _: self.count_values())
        self.back = button("Back", self.closed.emit, glyph="back", tip="Escape")
        self.name, self.about = Elided(role="section"), Elided(role="muted")
        self.filter = QLineEdit(placeholderText="Filter keys and tensors", clearButtonEnabled=True)
        self.filter.setAccessibleName("Filter keys and tensors")
        self.filter.textChanged.connect(self._filter)
        self.histogram = HistogramView()
        self.figures = label(role="muted", wrap=True)
        self.count = button("Show its values", self.count_values, tip="Reads the tensor and counts its values")
        self._make_layout()

    def _make_layout(self) -> None:
        below = QWidget()
        layout = QVBoxLayout(below)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        head = QHBoxLayout()
        head.addWidget(self.figures, 1)
        head.addWidget(self.count, alignment=Qt.AlignmentFlag.AlignTop)
        layout.addLayout(head)
        layout.addWidget(self.histogram, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self.tensor_table)
        split.addWidget(below)
        split.setSizes([SIZES.row * 8, SIZES.row * 5])
        split.handle(1).setAccessibleName("Border between the tensors and the values of one")
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("Parts of the file")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.tabBar().setAccessibleName(self.tabs.accessibleName())
        self.tabs.addTab(holder(column(self.key_table)), "Keys")
        self.tabs.addTab(holder(column(split)), "Tensors")
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(SIZES.s)
        names = column(self.name, self.about, spacing=SIZES.xs)
        top = row(self.back)
        top.addLayout(names, 1)
        outer.addLayout(top)
        outer.addWidget(self.filter)
        outer.addWidget(self.tabs, 1)

    def show_file(self, found: InspectedFile, name: str) -> None:
        self.found = found
        self.name.show_text(name)
        weights = f"{words.parameters(found.weights)} weights, {found.bits_per_weight:.2f} bits each"
        formats = ", ".join(f"{share.tensors} {share.format}" for share in found.formats[:4])
        self.about.show_text(f"{found.kind}, {words.size(found.length)}; {weights}; {formats}")
        self.filter.clear()
        self.keys.set_rows(found.keys)
        self.tensors.set_rows(found.tensors)
        for number, (word, rows) in enumerate((("Keys", found.keys), ("Tensors", found.tensors))):
            self.tabs.setTabText(number, f"{word} ({len(rows):,})")
        self.tabs.setCurrentIndex(0 if found.keys else 1)
        if found.tensors:
            self.tensor_table.choose(found.tensors[0].name)
        self._chosen(self.tensor_table.current())

    def first_focus(self) -> QWidget:
        return self.key_table if self.tabs.currentIndex() == 0 else self.tensor_table

    def _filter(self, text: str) -> None:
        for table in (self.key_table, self.tensor_table):
            table.show_only(text)

    def _chosen(self, tensor: TensorInfo | None) -> None:
        self._tasks.drop("histogram")
        self.histogram.show_histogram(None)
        self.count.setEnabled(tensor is not None)
        self.figures.setText(f"{tensor.name}: values not read yet" if tensor else "No tensor is selected")

    def count_values(self) -> None:
        """Reads the selected tensor off the UI thread."""
        tensor = self.tensor_table.current()
        if tensor is None:
            return
        self.tabs.setCurrentIndex(1)
        self.count.setEnabled(False)
        self.figures.setText(f"{tensor.name}: reading {words.size(tensor.nbytes)}")
        self._tasks.run("histogram", lambda: _count(tensor), done=self._counted, failed=self._not_counted)

    def _counted(self, found: Histogram) -> None:
        self.histogram.show_histogram(found)
        part = f"{found.looked_at:,} of {found.weights:,} values" if found.looked_at < found.weights else ""
        facts = [
            part or words.count(found.weights, "value"),
            f"mean {found.mean:.4g}",
            f"deviation {found.deviation:.4g}",
            words.count(found.zeros, "zero"),
            f"{found.non_finite:,} not finite" if found.non_finite else "",
        ]
        self.figures.setText(f"{found.tensor}: {', '.join(fact for fact in facts if fact)}")
        self.count.setEnabled(True)

    def _not_counted(self, problem: words.Problem) -> None:
        self._chosen(self.tensor_table.current())
        self.failed.emit(problem)


def _count(tensor: TensorInfo) -> Histogram:
    import core

    return core.tensor_histogram(tensor)
