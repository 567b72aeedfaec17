"""Jobs: what is being made, what waits, and what came of everything before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QPoint, QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app import words
from app.icons import icon
from app.job_facts import facts_of
from app.job_line import ahead_of, at_level, with_level
from app.job_queue import JobQueue
from app.job_record import JobRecord
from app.tables.job_columns import LEVEL, TENSOR_COLUMNS, TensorRow, chip_of, tensor_rows
from app.tables.job_view import JobRows, JobView
from app.tables.row_model import Role, RowModel
from app.tables.row_view import RowView
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.banner import Banner
from app.widgets.facts import Facts
from app.widgets.job_actions import ALSO, FOR, WORDS, JobButtons, ask_cancel, is_allowed
from app.widgets.job_limits import JobLimits
from app.widgets.job_panel import open_folder_of
from app.widgets.page import Page, empty_state
from app.widgets.parts import Elided, button, card, column, scrolled
from app.widgets.progress_panel import ProgressPanel
from app.widgets.verdict_chip import VerdictChip
from core import PullJob, QuantizeJob, Settings, SnugError

LOG_BYTES = 64_000
LOG_EVERY_MS = 1000
SILENT_SECONDS = 20.0


class JobsPage(Page):
    """`settings_changed` carries the settings that are other now; `edit_wanted` the id of a job that waits."""

    make_wanted = Signal()
    edit_wanted = Signal(str)
    settings_changed = Signal(dict)

    def __init__(self, tasks: Tasks, queue: JobQueue, store: QSettings, settings: Settings) -> None:
        super().__init__("Jobs", "What is being made, what waits, and what came of everything before.")
        self._tasks, self._queue = tasks, queue
        self.limits = JobLimits(settings)
        self.limits.changed.connect(self.settings_changed)
        self.hold_button = self.add_action(button("Pause all", self._turn, glyph="pause"))
        self.limits_button = self.add_action(button("Limits", self._toggle_limits, glyph="options"))
        self.add_action(button("Make a file", self.make_wanted.emit, role="primary"))
        self.model = JobRows()
        self.table = JobView(self.model)
        self.table.remember_widths(store, "widths/jobs")
        self.table.chosen.connect(self._show)
        self.table.opened.connect(lambda _: self._open_folder())
        self.table.moved.connect(queue.move)
        self.table.menu_wanted.connect(self._pop_up)
        self.table.acted.connect(self._act_by_key)
        self.tensors = RowModel[TensorRow](TENSOR_COLUMNS, key=lambda row: f"{row['level']} {row['name']}")
        self.tensor_table = RowView(self.tensors, name="Tensors of the new file and how far they are from the source")
        self.tensor_table.remember_widths(store, "widths/tensors")
        self._log_timer = QTimer(self, interval=LOG_EVERY_MS)
        self._log_timer.timeout.connect(self._look_again)
        self._make_parts()
        self.add_state(
            "empty",
            empty_state(
                "Nothing has been made yet",
                "Open a model, choose a quantization, and it will be listed here with its log.",
            ),
        )
        self.add_state("content", self._make_content())
        self._put_above()
        self._connect()
        self._list()
        self._show_turn()

    def _make_parts(self) -> None:
        self.notice = Banner()
        self.chip, self.name = VerdictChip("done"), Elided(role="section")
        self.facts, self.progress = Facts(), ProgressPanel()
        self.log = QPlainTextEdit(readOnly=True, tabChangesFocus=True)
        self.log.setAccessibleName("Log of the job")
        self.doings = JobButtons(self.do)

    def _put_above(self) -> None:
        """The notice and the drawer, between the page's own messages and what it shows."""
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(layout.count() - 1, self.notice)
        layout.insertWidget(layout.count() - 1, self.limits)

    def _connect(self) -> None:
        queue = self._queue
        for banner in (self.banner, self.notice):  # the button that was in focus is gone with it
            banner.closed.connect(self.take_focus)
        queue.listed.connect(self._list)
        queue.added.connect(self._added)
        queue.removed.connect(lambda _: self._list())
        for signal in (queue.changed, queue.finished, queue.progress):
            signal.connect(self._changed)
        queue.turned.connect(self._show_turn)
        for signal in (queue.changed, queue.listed):
            signal.connect(self._show_hold)

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
        for action in (*self.doings.buttons.values(), self.doings.more):
            head.addWidget(action)
        parts = column(self.progress, self.facts, 1, spacing=SIZES.m)
        result = scrolled(parts, name="What becomes of the job")
        parts.setContentsMargins(0, SIZES.m, 0, 0)
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("Details of the job")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.tabBar().setAccessibleName(self.tabs.accessibleName())
        for widget, title in ((result, "Overview"), (self.tensor_table, "Tensors"), (self.log, "Log")):
            self.tabs.addTab(widget, title)
        self.tabs.currentChanged.connect(lambda _: self._read_log())
        return card(head, self.tabs, spacing=SIZES.s)

    def first_focus(self) -> QWidget | None:
        return self.table if self.model.rows else self.primary

    def choose(self, id: str) -> None:
        """Selects the job."""
        self.table.choose(id)

    # What can be done

    def do(self, name: str) -> None:
        """One of the actions, with the selected job."""
        record = self.table.current()
        if record is None:
            return
        try:
            if name.startswith(ALSO) and isinstance(record.job, QuantizeJob):
                self._also(record, record.job, name.removeprefix(ALSO))
            elif name.startswith(FOR):
                self._queue.repeat(record.id, name.removeprefix(FOR))
            else:
                self._doings[name](self, record)
        except (SnugError, OSError) as error:
            self.banner.show_problem(words.problem(error))

    def _also(self, record: JobRecord, job: QuantizeJob, level: str) -> None:
        """One more level: in the same reading where that has not begun, else as a job of its own.

        That too where its file is there: to replace the others may have been agreed to, and this one not.
        """
        alone = at_level(job, level)
        can_join = WORDS["edit"].fits(record) and is_allowed("edit", record, foreign=self._is_foreign(record))
        if can_join and not Path(alone.target).exists():
            self._queue.change(record.id, with_level(job, level))
        else:
            self._queue.add(alone)

    def cancel(self) -> None:
        record = self.table.current()
        if not self.banner.isHidden() or record is None or record.is_over:
            super().cancel()
        elif is_allowed("cancel", record, foreign=self._is_foreign(record)):
            ask_cancel(self.banner, self._queue, record)

    def _copy_command(self, record: JobRecord) -> None:
        import core  # only here: the rest of the page needs no more of it than is there

        line = core.command_line(record.job)
        QGuiApplication.clipboard().setText(line)
        self.banner.show_message("good", "Copied: the command that does the same.", line)

    def _save_report(self, record: JobRecord) -> None:
        import core

        name, _ = QFileDialog.getSaveFileName(self, "Save a bug report", f"snug-{record.id}.zip", "Archive (*.zip)")
        if name:
            self._tasks.run(
                "report",
                lambda: core.write_report(record.folder, name),
                done=lambda made: self.banner.show_message("good", "The report is saved.", words.path(made)),
                failed=self.banner.show_problem,
            )

    _doings: dict[str, Callable[[JobsPage, JobRecord], object]] = {
        "pause": lambda self, record: self._queue.pause(record.id),
        "resume": lambda self, record: self._queue.resume(record.id),
        "cancel": lambda self, record: ask_cancel(self.banner, self._queue, record),
        "retry": lambda self, record: self.choose(self._queue.retry(record.id).id),
        "open": lambda self, record: self._open_folder(),
        "remove": lambda self, record: self._queue.remove(record.id),
        "edit": lambda self, record: self.edit_wanted.emit(record.id),
        "duplicate": lambda self, record: self.choose(self._queue.duplicate(record.id).id),
        "up": lambda self, record: self.table.shift(-1),
        "down": lambda self, record: self.table.shift(1),
        "command": lambda self, record: self._copy_command(record),
        "report": lambda self, record: self._save_report(record),
    }

    def _act_by_key(self, wish: str) -> None:
        record = self.table.current()
        if record is None or record.ending:
            return
        name = ("resume" if record.can_resume else "pause") if wish == "turn" else wish
        if WORDS[name].fits(record) and is_allowed(name, record, foreign=self._is_foreign(record)):
            self.do(name)

    def _pop_up(self, place: QPoint) -> None:
        record = self.table.current()
        if record is not None:
            self.doings.pop_up(self, record, place, foreign=self._is_foreign(record))

    def _is_foreign(self, record: JobRecord) -> bool:
        """Whether another window decides about this job."""
        return not record.is_over and (not self._queue.is_first or self._queue.is_foreign(record))

    def _open_folder(self) -> None:
        record = self.table.current()
        if record is None:
            return
        is_download = isinstance(record.job, PullJob)
        open_folder_of(Path(record.result.get("folder", "")) / "_" if is_download else record.target)

    # The queue as a whole

    def _toggle_limits(self) -> None:
        self.limits.setVisible(self.limits.isHidden())
        if self.limits.isVisible():
            self.limits.numbers["job_threads"].setFocus()

    def _turn(self) -> None:
        if self._queue.is_held:
            self._queue.go_on()
        else:
            self._queue.hold()

    def _show_turn(self) -> None:
        """Says when nothing starts by itself, and why."""
        queue = self._queue
        self._show_hold()
        if not queue.is_first:
            number = queue.first_window()
            which = f" (process {number})" if number else ""
            self.notice.show_message(
                "info",
                f"Another window of Snug{which} runs the jobs.",
                "They are shown here as they go. What is added here is done there; running jobs can be paused or "
                "cancelled from here too.",
            )
        elif queue.is_held and queue.open_jobs():
            self.notice.show_message(
                "warning",
                f"All is paused: {words.count(len(queue.open_jobs()), 'job')} to do.",
                "Nothing starts by itself.",
                button("Go on", queue.go_on, role="primary"),
            )
        else:
            self.notice.hide()

    def _show_hold(self) -> None:
        queue = self._queue
        self.hold_button.setVisible(queue.is_first and bool(queue.is_held or queue.open_jobs()))
        self.hold_button.setText("Go on" if queue.is_held else "Pause all")
        self.hold_button.setIcon(icon("play" if queue.is_held else "pause"))

    # What is shown

    def _list(self) -> None:
        current, records = self.table.current(), self._queue.records()
        self.model.replace_rows(records)
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
        position = self.model.position_of(id)
        before = self.model.index(position, 0).data(Role.ROW) if position is not None else None
        self.model.update_row(record)
        if before is not None and before.state != record.state:
            self._list()  # what runs stands first
        current = self.table.current()
        if current is not None and current.id == id:
            self._show(record)

    def _show(self, record: JobRecord | None) -> None:
        if record is None:
            return
        self.chip.show_chip(chip_of(record))
        self.name.show_text(record.name)
        self.progress.setVisible(not record.is_over)
        if not record.is_over:
            foreign = self._queue.is_foreign(record)
            self.progress.show_record(record, before=ahead_of(record, self._queue.open_jobs()), foreign=foreign)
        self.facts.show_facts(facts_of(record))
        focus = QApplication.focusWidget()
        self.doings.show_record(record, foreign=self._is_foreign(record))
        if focus is not None and focus in self.doings.buttons.values() and focus.isHidden():
            self.table.setFocus()  # not wherever Qt would send it
        self._show_tensors(record)
        self._log_timer.stop() if record.is_over else self._log_timer.start()
        if record.progress is None or record.is_over:
            self._read_log()

    def _look_again(self) -> None:
        """What changes while the worker says nothing: its log, and how long it has been silent."""
        self._read_log()
        record = self.table.current()
        silence = self._queue.silent_for(record.id) if record is not None else 0.0
        if silence > SILENT_SECONDS:
            self.progress.tensor.show_text(f"The worker has said nothing for {words.span(silence)}.")

    def _show_tensors(self, record: JobRecord) -> None:
        rows = tensor_rows(record)
        self.tensor_table.setColumnHidden(LEVEL, len(record.made) < 2)
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
