"""Make: which quantization fits this machine and why, and the button that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSettings, QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QSpinBox, QVBoxLayout, QWidget

from app import words
from app.job_queue import JobQueue
from app.job_record import JobRecord
from app.pages.fit_answers import Asked
from app.pages.make_job import FollowedJob
from app.pages.make_options import first_folder, judged, plans_of, purpose_of, wanted_row
from app.pages.preflight import Answer, about_matrix, costs_of, look_first, matrix_for, way_in_words
from app.tables.option_view import OptionRows, OptionView
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.job_panel import JobPanel
from app.widgets.option_detail import OptionDetail
from app.widgets.page import Page, empty_state
from app.widgets.parts import Stack, button, card, label, row
from app.widgets.question import ask
from app.widgets.target_row import TYPE, default_name
from core import QuantizeJob, Settings, SnugError

if TYPE_CHECKING:
    from core import Alternative, ImportanceMatrix, ModelInfo, Option, Override, Plan, Preflight

WAIT_MS = 200
_LEAST_CONTEXT, _MOST_CONTEXT, _CONTEXT_STEP = 256, 1 << 20, 1024


class MakePage(Page):
    """`settings_changed` carries the settings with what the user chose here: context, effort, folder for new files.

    `context_changed`: how many tokens must fit from now on.
    """

    models_wanted = Signal()
    jobs_wanted = Signal(str)
    settings_changed = Signal(Settings)
    context_changed = Signal(int)

    def __init__(self, tasks: Tasks, queue: JobQueue, store: QSettings, settings: Settings) -> None:
        super().__init__("Make", purpose_of(Asked(), None))
        self._tasks, self._queue, self._settings = tasks, queue, settings
        self.model: ModelInfo | None = None
        self._importance: ImportanceMatrix | None = None
        self._plans: list[Plan] = []
        self._given: Override | None = None
        self._wish = Asked()
        self._asked = ""
        self._edited: JobRecord | None = None
        self.make = self.add_action(button("Make", self._act, role="primary"))
        self.options = OptionRows()
        self.options.ticks_changed.connect(self._show_levels)
        self.table = OptionView(self.options)
        self.table.remember_widths(store, "widths/options")
        self.table.chosen.connect(self._show_option)
        self.table.opened.connect(lambda _: self.act())
        self.detail, self.panel = OptionDetail(), JobPanel()
        self.detail.target.changed.connect(self._target_changed)
        self.detail.more.show_effort(settings.effort)
        self.detail.more.effort_changed.connect(lambda effort: self._keep(effort=effort))
        self.detail.more.matrix_chosen.connect(self._read_matrix)
        self.detail.more.keep_changed.connect(self._ask_costs)
        self.job = FollowedJob(queue, self.panel, self.banner, self)
        self.job.taken.connect(self._show_job)
        self.job.over.connect(self._job_over)
        self.panel.jobs_wanted.connect(lambda: self.jobs_wanted.emit(self.job.id))
        self._lower = Stack(self.detail, self.panel)
        self.context = self._make_context()
        self._timer = QTimer(self, singleShot=True, interval=WAIT_MS)
        self._timer.timeout.connect(self.refresh)
        self._costs_timer = QTimer(self, singleShot=True, interval=WAIT_MS)
        self._costs_timer.timeout.connect(self._ask_costs)
        self._model_name = label(role="strong")
        self.add_state(
            "empty",
            empty_state(
                "No model is open",
                "Open one, and every quantization of it is listed here with its size and verdict.",
            ),
        )
        self.add_state(
            "loading", empty_state("Working out the sizes", "Every tensor in every quantization, to the byte.")
        )
        self.add_state("content", self._make_content())
        self._show_choice()
        self.show_state("empty")

    def _make_context(self) -> QSpinBox:
        box = QSpinBox(minimum=_LEAST_CONTEXT, maximum=_MOST_CONTEXT, singleStep=_CONTEXT_STEP)
        box.setGroupSeparatorShown(True)
        box.lineEdit().setTextMargins(SIZES.s, 0, 0, 0)
        box.setValue(self._settings.context)
        box.setSuffix(" tokens")
        box.setAccessibleName("Context: how many tokens of conversation must fit")
        box.setToolTip("How much text the model shall hold in mind at once. More context takes more memory.")
        box.setKeyboardTracking(False)
        box.valueChanged.connect(self._context_changed)
        return box

    def _make_content(self) -> QWidget:
        title = label("Memory for a context of", role="muted")
        title.setBuddy(self.context)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.m)
        layout.addLayout(row(self._model_name, 1, title, self.context))
        layout.addWidget(self.table, 1)
        layout.addWidget(card(self._lower))
        return content

    # What is shown

    def first_focus(self) -> QWidget | None:
        return self.table if self.state == "content" else self.make

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def show_model(self, model: ModelInfo) -> None:
        """Starts over with `model`."""
        self.model, self._edited = model, None
        self.options.tick(())
        self._model_name.setText(f"{model.name}, {words.parameters(model.parameters)} weights")
        self.detail.again.setChecked(False)
        self.detail.again.setVisible(bool(model.quantized_formats))
        self.detail.target.start_over()
        self.detail.more.show_source(str(model.path))
        self._importance, self._plans = None, []
        self.detail.more.show_matrix("")
        self.detail.target.show_folder(first_folder(model.path, last=self._settings.last_target_folder))
        self.options.set_rows([])
        self._show_choice()
        self.show_state("loading")
        self.refresh()

    def choose(self, recipe: str, *, context: int) -> None:
        """Selects this quantization alone as soon as the table is there for this context."""
        self._asked = recipe
        self.options.tick(())
        self.context.setValue(context)
        self._show_choice()
        self.refresh()

    def edit(self, record: JobRecord) -> None:
        """Shows the values of a job that has not begun; what is made now takes its place."""
        job = record.job
        assert isinstance(job, QuantizeJob)
        self._edited = record
        self.detail.more.show_effort(job.effort)
        self.detail.again.setChecked(job.allow_requantize)
        self.detail.more.keep.setChecked(job.keep_download)
        if job.imatrix:
            self._read_matrix(job.imatrix)
        self.choose(job.recipe, context=self.context.value())
        self.options.tick(each.recipe for each in job.each if job.also)
        self.detail.target.show_files([(each.recipe, Path(each.target)) for each in job.each])
        self.banner.show_message(
            "info", f"{record.name} waits while you change it.", "Make puts it back into its place."
        )

    def refresh(self) -> None:
        """Works the table out again, for the memory that is free now."""
        if self.model is None:
            return
        plan = partial(plans_of, self.model, self._importance, self._plans)
        work = partial(judged, plan, replace(self._wish, context=self.context.value()), self._given)
        self._tasks.run("options", work, done=self._show_options, failed=self._failed)

    def take_machine(self, given: Override | None) -> None:
        """Judges for the machine asked about from now on; None is this one."""
        self._given = given
        self._show_purpose()
        self.refresh()

    def take_wish(self, asked: Asked) -> None:
        """Recommends what the page Fit would, for the same wish and cache."""
        if asked == self._wish:
            return
        self._wish = asked
        self._show_purpose()
        self.refresh()

    def take_asked(self, asked: Asked) -> None:
        """The same, for the same context."""
        self.context.setValue(asked.context)
        self.take_wish(asked)

    def _show_purpose(self) -> None:
        self.purpose.setText(purpose_of(self._wish, self._given))

    def _failed(self, problem: words.Problem) -> None:
        if self.state == "loading":
            self.show_state("empty")
        self.banner.show_problem(problem)

    def _show_options(self, options: list[Option]) -> None:
        before = self.table.current()
        self._plans = [option.plan for option in options]
        self.options.set_rows(options)
        self.show_state("content")
        self.table.choose(self._asked or wanted_row(options, before))
        self._asked = ""
        if before is None and self.isVisible():
            self.table.setFocus()

    def _show_option(self, option: Option | None) -> None:
        if option is None or self.model is None:
            return
        self.detail.show_option(option)
        self._show_levels()

    def _levels(self) -> list[Option]:
        """What shall be made: the rows with a tick, else the one that is selected."""
        option = self.table.current()
        return self.options.ticked() or ([option] if option is not None else [])

    def _show_levels(self) -> None:
        levels = self._levels()
        if self.model is None or not levels:
            return
        several = len(levels) > 1
        self.detail.target.suggest(default_name(self.model.name, TYPE if several else levels[0].recipe.name))
        self._show_primary()
        self._costs_timer.start()

    def _ask_costs(self) -> None:
        """Works out what making them would take of this machine."""
        levels, model = self._levels(), self.model
        if model is None or not levels or any(option.lacks_importance for option in levels):
            self.detail.costs.show_text("")
            return
        job, plans = self._job_for(model, levels, overwrite=True), [option.plan for option in levels]
        self._tasks.run("costs", partial(costs_of, job, plans), done=self.detail.show_costs, failed=_nothing)

    def _show_primary(self) -> None:
        levels = self._levels()
        choosing = self._lower.currentWidget() is self.detail
        if self.model is None:
            self.make.setText("Choose a model")
            return
        names = [option.recipe.name for option in levels]
        self.make.setText(_make_words(names) if choosing else "Make another")
        self.make.setToolTip("One reading of the model makes " + " and ".join(names) if len(names) > 1 else "")
        self.make.setEnabled(bool(levels) or not choosing)

    def _show_choice(self) -> None:
        self.job.leave()
        self._lower.setCurrentWidget(self.detail)
        self._show_primary()

    # What the user does

    def _act(self) -> None:
        if self.model is None:
            self.models_wanted.emit()
            return
        if self._lower.currentWidget() is self.panel:
            self._show_choice()
            self.table.setFocus()
            return
        self._look_first(overwrite=False)

    def _look_first(self, *, overwrite: bool) -> None:
        """Checks the job off the UI thread; `_checked` goes on."""
        levels, model = self._levels(), self.model
        if model is None or not levels:
            return
        if model.quantized_formats and not self.detail.again.isChecked():
            self.banner.show_message(
                "warning",
                "This model has been quantized before.",
                "Open the original, or tick the box to do it all the same.",
            )
            self.detail.again.setFocus()
            return
        needs = [option.recipe.name for option in levels if option.recipe.needs_importance]
        if needs and not self.detail.more.matrix:
            self._want_matrix(needs[0])
            return
        self._look_at(self._job_for(model, levels, overwrite=overwrite))

    def _job_for(self, model: ModelInfo, levels: Sequence[Option], *, overwrite: bool) -> QuantizeJob:
        """What the form says; of a job that is changed, the rest stays as it was."""
        names = [option.recipe.name for option in levels]
        paths = [str(path) for path in self.detail.target.paths(names)]
        before = self._edited.job if self._edited else None
        if not isinstance(before, QuantizeJob):
            before = QuantizeJob(str(model.path), names[0], paths[0], threads=self._settings.threads)
        return replace(
            before,
            recipe=names[0],
            target=paths[0],
            also=tuple(zip(names[1:], paths[1:], strict=True)),
            overwrite=overwrite,
            allow_requantize=self.detail.again.isChecked(),
            effort=self.detail.more.effort,
            imatrix=self.detail.more.matrix,
            keep_download=self.detail.more.keep.isChecked(),
        )

    def _look_at(self, job: QuantizeJob) -> None:
        self.banner.hide()
        self.make.setEnabled(False)
        self._tasks.run("check", lambda: look_first(job), done=self._checked, failed=self._refused)

    def _offer(self, found: Preflight) -> None:
        """Why a job cannot work, and a button for each way that would."""
        ways = [button(way_in_words(way.kind, way.value), partial(self._take, way)) for way in found.alternatives]
        self.banner.show_message("error", found.problems[0], "", *ways)
        ways[0].setFocus()

    def _take(self, way: Alternative) -> None:
        """Goes the other way, and shows it in the form."""
        self.banner.hide()
        if way.kind == "recipe":
            self.table.choose(way.value)
        if way.kind == "folder":
            self.detail.target.show_folder(Path(way.value))
        self._look_at(way.job)

    def _want_matrix(self, recipe: str) -> None:
        self.banner.show_message(
            "warning",
            f"{recipe} has too few bits to be made without an importance matrix.",
            "Choose one for this model, made with llama-imatrix, or a quantization with more bits.",
        )
        self.detail.more.open()
        self.detail.more.browse.setFocus()

    def _read_matrix(self, file: str) -> None:
        """Takes the importance matrix in `file` into use when it is this model's; "" takes none."""
        self.banner.hide()
        model = self.model
        if not file or model is None:
            self._take_matrix(None)
            return
        work = partial(matrix_for, model, file)
        self._tasks.run("matrix", work, done=self._take_matrix, failed=self.banner.show_problem)

    def _take_matrix(self, matrix: ImportanceMatrix | None) -> None:
        self._importance, self._plans = matrix, []
        self.detail.more.show_matrix(matrix.file if matrix else "", about_matrix(matrix) if matrix else "")
        self.refresh()

    def _checked(self, answer: Answer) -> None:
        self._show_primary()
        if answer.there:
            one = len(answer.there) == 1
            ask(
                self.banner,
                f"{' and '.join(answer.there)} {'exists' if one else 'exist'} already.",
                f"Replace {'it' if one else 'them'}, or keep {'it' if one else 'them'} and choose another name.",
                yes="Replace",
                no="Keep",
                then=lambda: self._look_first(overwrite=True),
            )
            return
        if answer.refused is not None:
            self._offer(answer.refused)
            return
        try:
            record = self._put(answer.job)
        except (SnugError, OSError) as error:
            self._refused(words.problem(error))
            return
        self._keep(last_target_folder=str(record.target.parent))
        self.options.tick(())
        self.job.follow(record)

    def _put(self, job: QuantizeJob) -> JobRecord:
        """Into the queue, or into the place of the job that was to be changed."""
        edited, self._edited = self._edited, None
        before = self._queue.record(edited.id) if edited else None
        if before is None or before.is_over:
            return self._queue.add(job)
        self._queue.change(before.id, job)
        self._queue.resume(before.id)
        return self._queue.record(before.id) or before

    def _refused(self, problem: words.Problem) -> None:
        self._show_primary()
        self.banner.show_problem(problem)

    def cancel(self) -> None:
        if self.banner.isHidden():
            self.job.cancel()
        else:
            super().cancel()

    def _context_changed(self, value: int) -> None:
        self._timer.start()
        self._keep(context=value)
        self.context_changed.emit(value)

    def _keep(self, **chosen: Any) -> None:
        self.settings_changed.emit(replace(self._settings, **chosen))

    def _target_changed(self) -> None:
        self.banner.hide()
        self._costs_timer.start()

    def _show_job(self) -> None:
        self._lower.setCurrentWidget(self.panel)
        self._show_primary()

    def _job_over(self) -> None:
        self.banner.hide()
        if self.isVisible():
            self.panel.first_focus().setFocus()

    def take_settings(self, settings: Settings) -> None:
        self._settings = settings


def _make_words(names: Sequence[str]) -> str:
    """What the button says that makes these."""
    return f"Make {words.count(len(names), 'file')}" if len(names) > 1 else " ".join(("Make", *names))


def _nothing(problem: words.Problem) -> None:
    """What it takes is only said where it is known: pressing Make says what is wrong."""
