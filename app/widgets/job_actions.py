"""What can be done with a job, as one table: its buttons, its menu, and the question before it is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QPoint
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from app import words
from app.icons import icon
from app.job_queue import JobQueue
from app.job_record import JobRecord
from app.widgets.banner import Banner
from app.widgets.parts import button
from core import JobState, PullJob, QuantizeJob, Stop, model_name


@dataclass(frozen=True, slots=True)
class Action:
    """`fits` says for which jobs; `main` that it is a button and not only in the menu."""

    name: str
    word: str
    glyph: str
    fits: Callable[[JobRecord], bool]
    tip: str = ""
    main: bool = False


def _waits(record: JobRecord) -> bool:
    return record.state in (JobState.PENDING, JobState.PAUSED)


def _can_be_edited(record: JobRecord) -> bool:
    return isinstance(record.job, QuantizeJob) and _waits(record) and record.started is None


def _is_made_again(record: JobRecord) -> bool:
    return record.is_over and record.state != JobState.DONE


ACTIONS = (
    Action("pause", "Pause", "pause", lambda r: r.state in (JobState.RUNNING, JobState.PENDING),
           "Stop, and keep what is done (Space)", main=True),
    Action("resume", "Resume", "play", lambda r: r.can_resume, "Go on from what is done (Space)", main=True),
    Action("cancel", "Cancel", "stop", lambda r: not r.is_over, "Asks first what shall become of the work (Escape)",
           main=True),
    Action("retry", "Retry", "retry", _is_made_again, "Once more from the beginning", main=True),
    Action("open", "Open folder", "folder", lambda r: r.state == JobState.DONE, main=True),
    Action("remove", "Remove", "trash", lambda r: r.is_over,
           "Take it off this list; the file that it made stays (Delete)", main=True),
    Action("edit", "Edit…", "make", _can_be_edited, "Open it on the page Make"),
    Action("duplicate", "Duplicate", "copy", lambda r: isinstance(r.job, QuantizeJob), "The same for another file"),
    Action("up", "Move up", "up", _waits, "Alt+Up"),
    Action("down", "Move down", "down", _waits, "Alt+Down"),
    Action("command", "Copy as command", "copy", lambda r: True, "The snug command that does the same"),
    Action("report", "Save a bug report…", "file", lambda r: r.state == JobState.FAILED,
           "Log, versions and machine, without paths and tokens"),
)  # fmt: skip
WORDS = {action.name: action for action in ACTIONS}


class JobButtons:
    """The buttons of the table; `wanted` gets the name of an action. `models`: what else a job could be done for."""

    def __init__(self, wanted: Callable[[str], None]) -> None:
        self._wanted = wanted
        self.models: Callable[[], Sequence[str]] = tuple
        self.buttons: dict[str, QPushButton] = {}
        for action in ACTIONS:
            if action.main:
                self.buttons[action.name] = self._button(action)
                self.buttons[action.name].hide()  # until there is a job
        self.more = QPushButton("More  ")
        self.more.setAccessibleName("More that can be done with this job")
        self._shown: tuple[JobRecord, bool] | None = None
        self._menu = QMenu(self.more)
        self._menu.aboutToShow.connect(self._fill)
        self.more.setMenu(self._menu)

    def _button(self, action: Action) -> QPushButton:
        return button(action.word, lambda: self._wanted(action.name), glyph=action.glyph, tip=action.tip)

    def show_record(self, record: JobRecord, *, foreign: bool) -> None:
        """Only what can be done with this job is there; nothing with one that another window decides about."""
        for name, widget in self.buttons.items():
            widget.setVisible(WORDS[name].fits(record))
            widget.setEnabled(is_allowed(name, record, foreign=foreign))
        self._shown = (record, foreign)

    def _fill(self) -> None:
        """Only when it is opened: a job that runs is shown anew many times a second."""
        self._menu.clear()
        if self._shown is not None:
            record, foreign = self._shown
            fill_menu(self._menu, record, self._wanted, foreign=foreign, main=False, models=self.models())

    def pop_up(self, parent: QWidget, record: JobRecord, place: QPoint, *, foreign: bool) -> None:
        """The menu of a job, with everything in it."""
        menu = QMenu(parent)
        fill_menu(menu, record, self._wanted, foreign=foreign, main=True, models=self.models())
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(place)


_FOREIGN = frozenset({"open", "command", "duplicate", "report"})  # also of another window's jobs
_WHILE_IT_RUNS = frozenset({"pause", "cancel"})  # its worker hears every window; one that waits hears only its own


def is_allowed(name: str, record: JobRecord, *, foreign: bool) -> bool:
    """Whether this window may do so now; `foreign`: another one decides about the job."""
    if record.ending:
        return False
    return not foreign or name in _FOREIGN or (name in _WHILE_IT_RUNS and record.state == JobState.RUNNING)


def fill_menu(
    menu: QMenu,
    record: JobRecord,
    wanted: Callable[[str], None],
    *,
    foreign: bool,
    main: bool,
    models: Sequence[str] = (),
) -> None:
    """The actions that fit; `main`: those too that are buttons."""
    for action in ACTIONS:
        if action.fits(record) and (main or not action.main):
            entry = QAction(icon(action.glyph), action.word, menu)
            entry.triggered.connect(lambda _=False, name=action.name: wanted(name))
            entry.setToolTip(action.tip)
            entry.setEnabled(is_allowed(action.name, record, foreign=foreign))
            menu.addAction(entry)

    if isinstance(record.job, QuantizeJob):
        menu.addMenu(_levels_menu(menu, record.job, wanted))
        others = [source for source in models if source != record.job.source]
        if others and not _needs_importance(record.job):
            menu.addMenu(_models_menu(menu, others, wanted))


ALSO, FOR = "also ", "for "


def _needs_importance(job: QuantizeJob) -> bool:
    import core

    needing = {recipe.name for recipe in core.RECIPES if recipe.needs_importance}
    return any(each.recipe in needing for each in job.each)


def _models_menu(menu: QMenu, sources: Sequence[str], wanted: Callable[[str], None]) -> QMenu:
    """The same levels of other models: each choice is a job more, and the first one is all of them."""
    models = QMenu("The same for", menu)
    models.setIcon(icon("models"))
    models.setToolTipsVisible(True)
    if len(sources) > 1:
        every = models.addAction(f"All {len(sources)} models")
        for source in sources:
            every.triggered.connect(lambda _=False, source=source: wanted(FOR + source))
        models.addSeparator()
    for source in sources:
        entry = models.addAction(model_name(source).replace("&", "&&"))
        entry.setToolTip(source if source.startswith("hub:") else words.path(Path(source)))
        entry.triggered.connect(lambda _=False, source=source: wanted(FOR + source))
    return models


def _levels_menu(menu: QMenu, job: QuantizeJob, wanted: Callable[[str], None]) -> QMenu:
    """The same model at other levels: each choice is one more file."""
    import core  # only here: a window that starts needs none of it

    levels = QMenu("Also as", menu)
    levels.setIcon(icon("make"))
    for recipe in core.RECIPES:
        if recipe.name not in {each.recipe for each in job.each} and (job.imatrix or not recipe.needs_importance):
            levels.addAction(recipe.name).triggered.connect(lambda _=False, name=recipe.name: wanted(ALSO + name))
    return levels


def ask_cancel(banner: Banner, queue: JobQueue, record: JobRecord) -> None:
    """Asks on the page what shall become of the work; a job without any is cancelled at once."""
    if record.started is None and record.state != JobState.RUNNING:
        queue.cancel(record.id)
        return

    def answer(stop: Stop) -> Callable[[], None]:
        def agreed() -> None:
            banner.dismiss()
            queue.cancel(record.id, stop)

        return agreed

    stay = button("Go on", banner.dismiss)
    banner.show_message(
        "warning",
        f"Stop downloading {record.model}?" if isinstance(record.job, PullJob) else f"Stop making {record.name}?",
        "What is done can be kept, to go on with later, or thrown away.",
        stay,
        button("Keep what is done", answer(Stop.KEEP)),
        button("Throw away", answer(Stop.THROW_AWAY), role="danger"),
    )
    stay.setFocus()
