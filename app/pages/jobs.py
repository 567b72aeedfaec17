"""Jobs: what is being made, what waits, and what came of everything before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QSplitter, QTabWidget, QVBoxLayout, QWidget

from app import words
from app.job_queue import JobQueue
from app.job_record import JobRecord
from app.tables.job_columns import JOB_COLUMNS, TENSOR_COLUMNS, TensorRow, chip_of
from app.tables.row_model import RowModel
from app.tables.row_view import RowView
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.facts import Facts
from app.widgets.job_panel import open_folder_of, result_facts
from app.widgets.page import Page, empty_state
from app.widgets.parts import Elided, button, card
from app.widgets.progress_panel import ProgressPanel
from app.widgets.question import ask
from app.widgets.verdict_chip import VerdictChip
from core import JobState, SnugError

LOG_BYTES = 64_000
LOG_EVERY_MS = 1000


class JobsPage(Page):
    make_wanted = Signal()

    def __init__(self, tasks: Tasks, queue: JobQueue, store: QSettings) -> None:
        super().__init__("Jobs", "What is being made, what waits, and what came of everything before.")
        self._tasks, self._queue = tasks, queue
        self.add_action(button("Make a file", self.make_wanted.emit, role="primary"))
        self.model = RowModel[JobRecord](JOB_COLUMNS, key=lambda record: record.id)
        self.table = RowView(self.model, name="Jobs")
        self.table.remember_widths(store, "widths/jobs")
        self.table.chosen.connect(self._show)
        self.table.opened.connect(lambda _: self._open_folder())
        self.tensors = RowModel[TensorRow](TENSOR_COLUMNS, key=lambda row: str(row["name"]))
        self.tensor_table = RowView(self.tensors, name="Tensors of the new file and how far they are from the source")
        self.tensor_table.remember_widths(store, "widths/tensors")
        self._log_timer = QTimer(self, interval=LOG_EVERY_MS)
        self._log_timer.timeout.connect(self._read_log)
        self._make_parts()
        self.add_state(
            "empty",
            empty_state(
                "Nothing has been made yet",
                "Open a model, choose a quantization, and it will be listed here with its log.",
            ),
        )
        self.add_state("content", self._make_content())
        queue.listed.connect(self._list)
        queue.added.connect(self._added)
        queue.removed.connect(lambda _: self._list())
        queue.changed.connect(self._changed)
        queue.finished.connect(self._changed)
        queue.progress.connect(self._changed)
        self._list()

    def _make_parts(self) -> None:
        self.chip, self.name = VerdictChip("done"), Elided(role="section")
        self.facts, self.progress = Facts(), ProgressPanel()
        self.log = QPlainTextEdit(readOnly=True, tabChangesFocus=True)
        self.log.setAccessibleName("Log of the job")
        self.cancel_button = button("Cancel", lambda: self._with(self._queue.cancel), glyph="stop")
        self.retry_button = button("Retry", lambda: self._with(self._retry), glyph="retry")
        self.open_button = button("Open folder", self._open_folder, glyph="folder")
        self.remove_button = button(
            "Remove",
            lambda: self._with(self._queue.remove),
            glyph="trash",
            tip="Take it off this list; the file that it made stays",
        )

    def _make_content(self) -> QWidget:
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self.table)
        split.addWidget(self._make_detail())
        split.setSizes([SIZES.row * 6, SIZES.row * 8])
        split.handle(1).setAccessibleName("Border between the list and the details")
        return split

    def _make_detail(self) -> QWidget:
        head = QHBoxLayout()
        head.setSpacing(SIZES.s)
        head.addWidget(self.chip)
        head.addWidget(self.name, 1)
        for action in (self.cancel_button, self.retry_button, self.open_button, self.remove_button):
            head.addWidget(action)
        result = QWidget()
        layout = QVBoxLayout(result)
        layout.setContentsMargins(0, SIZES.m, 0, 0)
        layout.setSpacing(SIZES.m)
        layout.addWidget(self.progress)
        layout.addWidget(self.facts)
        layout.addStretch()
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("Details of the job")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        for widget, title in ((result, "Overview"), (self.tensor_table, "Tensors"), (self.log, "Log")):
            self.tabs.addTab(widget, title)
        self.tabs.currentChanged.connect(lambda _: self._read_log())
        return card(head, self.tabs, spacing=SIZES.s)

    def first_focus(self) -> QWidget | None:
        return self.table if self.model.rows else self.primary

    def choose(self, id: str) -> None:
        """Selects the job."""
        self.table.choose(id)

    def cancel(self) -> None:
        record = self.table.current()
        if not self.banner.isHidden() or record is None or record.is_over:
            super().cancel()
            return
        ask(
            self.banner,
            f"Stop making {record.target.name}?",
            "What has been written so far will be removed.",
            yes="Stop",
            no="Go on",
            then=lambda: self._queue.cancel(record.id),
        )

    def _list(self) -> None:
        current, records = self.table.current(), self._queue.records()
        self.model.set_rows(records)
        self.show_state("content" if records else "empty")
        if records:
            known = current is not None and self.model.position_of(current.id) is not None
            self.table.choose(current.id if current and known else records[0].id)

    def _added(self, id: str) -> None:
        self._list()
        if id in [record.id for record in self._queue.open_jobs()]:
            self.choose(id)

    def _changed(self, id: str) -> None:
        record = self._queue.record(id)
        if record is None:
            return
        self.model.update_row(record)
        current = self.table.current()
        if current is not None and current.id == id:
            self._show(record)

    def _show(self, record: JobRecord | None) -> None:
        if record is None:
            return
        self.chip.show_chip(chip_of(record))
        self.name.show_text(record.target.name)
        self.progress.setVisible(not record.is_over)
        if not record.is_over:
            ahead = [job.id for job in self._queue.open_jobs()]
            self.progress.show_record(record, before=ahead.index(record.id) if record.id in ahead else 0)
        self.facts.show_facts(result_facts(record))
        self.cancel_button.setVisible(not record.is_over)
        self.cancel_button.setEnabled(not record.cancelling)
        self.retry_button.setVisible(record.is_over and record.state != JobState.DONE)
        self.open_button.setVisible(record.state == JobState.DONE)
        self.remove_button.setVisible(record.is_over)
        self._show_tensors(record)
        self._log_timer.stop() if record.is_over else self._log_timer.start()
        if record.progress is None or record.is_over:
            self._read_log()

    def _show_tensors(self, record: JobRecord) -> None:
        rows = list(record.result.get("errors") or [])
        if rows != self.tensors.rows:
            self.tensors.set_rows(rows)
        self.tabs.setTabVisible(1, bool(rows))

    def _read_log(self) -> None:
        record = self.table.current()
        if record is not None and self.tabs.currentWidget() is self.log:
            self._tasks.run("log", lambda: log_text(record), done=self._show_log, failed=self.banner.show_problem)

    def _show_log(self, text: str) -> None:
        if text != self.log.toPlainText():
            self.log.setPlainText(text)
            self.log.verticalScrollBar().setValue(self.log.verticalScrollBar().maximum())

    def _with(self, action: Callable[[str], object]) -> None:
        record = self.table.current()
        if record is not None:
            action(record.id)

    def _retry(self, id: str) -> None:
        try:
            self.choose(self._queue.retry(id).id)
        except (SnugError, OSError) as error:
            self.banner.show_problem(words.problem(error))

    def _open_folder(self) -> None:
        record = self.table.current()
        if record is not None:
            open_folder_of(record.target)


def log_text(record: JobRecord) -> str:
    """The end of a job's log, after the notes and the details of a failure."""
    parts = [*record.notes]
    if record.failure is not None and record.failure.details:
        parts.append(record.failure.details)
    return "\n".join([*parts, _end_of(record.folder.log)]).strip() or "Nothing was logged."


def _end_of(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        return file.read().decode(errors="replace")
