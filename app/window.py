"""The window: side bar and pages. It owns the settings and the job queue, and passes what one page says to another."""

from __future__ import annotations

import gc
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QSettings, Qt, QTimer
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPaintEvent,
    QShortcut,
)
from PySide6.QtWidgets import QApplication, QHBoxLayout, QMainWindow, QStackedWidget, QWidget

from app import theme, words
from app.desktop import Desktop
from app.fit_tasks import FitTasks
from app.hub_tasks import HubTasks
from app.icons import app_icon
from app.job_facts import headline
from app.job_queue import Closing, JobQueue
from app.job_record import read_records
from app.pages.find import FindPage
from app.pages.fit import FitPage, Making
from app.pages.fit_models import FitModels
from app.pages.jobs import JobsPage
from app.pages.library import LibraryPage
from app.pages.library_again import Reproduction
from app.pages.machine import MachinePage
from app.pages.make import MakePage
from app.pages.models import ModelsPage
from app.pages.settings import SettingsPage
from app.store import stored_number
from app.tasks import Tasks
from app.theme import SIZES
from app.when_done import WhenDone
from app.widgets.closing_box import ask_closing
from app.widgets.drop_area import dropped_model
from app.widgets.job_limits import limits_of
from app.widgets.page import Page
from app.widgets.progress_panel import fraction
from app.widgets.side_bar import SideBar
from core import (
    JobState,
    Settings,
    data_folder,
    jobs_folder,
    load_settings,
    put_to_sleep,
    save_settings,
    settings_file,
)

if TYPE_CHECKING:
    from core import ModelInfo

ENTRIES = (
    ("Machine", "machine"),
    ("Find", "find"),
    ("Models", "models"),
    ("Library", "library"),
    ("Fit", "fit"),
    ("Make", "make"),
    ("Jobs", "jobs"),
    ("Settings", "options"),
)
MACHINE, FIND, MODELS, LIBRARY, FIT, MAKE, JOBS, SETTINGS = range(len(ENTRIES))
_GEOMETRY, _PAGE = "window/geometry", "window/page"


class MainWindow(QMainWindow):
    def __init__(self, app: QApplication, *, worker_command: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._app = app
        self.settings = load_settings(settings_file())
        self.store = QSettings(str(data_folder() / "window.ini"), QSettings.Format.IniFormat)
        self.tasks = Tasks(self)
        self.queue = JobQueue(jobs_folder(), command=worker_command, listing=True, parent=self)
        self._show_limits()
        self.hub = HubTasks(self)
        self.judge = FitTasks(self)
        self._painted = self._goes_on = False
        self._edited, self._session_ends = "", False
        self._making: Making | None = None
        self.setWindowTitle("Snug")
        self.setWindowIcon(app_icon())
        self.setMinimumSize(SIZES.least_width, SIZES.least_height)
        self.setAcceptDrops(True)
        self._show_theme(self.settings)
        self._make_pages()
        self.desktop = Desktop(app_icon(), self)
        self.when_done = WhenDone(self.jobs.notice, {"sleep": self._sleep, "quit": self.close}, parent=self)
        self._connect()
        self._make_shortcuts()
        self._restore()

    def _make_pages(self) -> None:
        self.machine = MachinePage(self.tasks)
        self.finder = FindPage(self.hub, self.queue, self.store, context=self.settings.context)
        self.models = ModelsPage(self.tasks, self.store, last_folder=self.settings.last_folder)
        self.fit = FitPage(self.judge, self.store, context=self.settings.context)
        self.library = LibraryPage(self.tasks, self.store, self.settings)
        self.again = Reproduction(self.tasks, self.queue, self.library.banner, self)
        self.fit_models = FitModels(self.library, self.models, self.finder.lists, self.hub)
        self.make = MakePage(self.tasks, self.queue, self.store, self.settings)
        self.make.take_wish(self.fit.asked)
        self.jobs = JobsPage(self.tasks, self.queue, self.store, self.settings)
        self.options = SettingsPage(self.hub)
        self.side = SideBar(ENTRIES, theme=self.settings.theme)
        self.pages = QStackedWidget()
        self.pages.setObjectName("pages")
        for page in (
            self.machine, self.finder, self.models, self.library, self.fit, self.make, self.jobs, self.options,
        ):  # fmt: skip
            self.pages.addWidget(page)
        content = QWidget()
        layout = QHBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.side)
        layout.addWidget(self.pages, 1)
        self.setCentralWidget(content)

    def _connect(self) -> None:
        self.side.chosen.connect(self.show_page)
        self.side.theme_chosen.connect(lambda name: self._keep(replace(self.settings, theme=name)))
        self.machine.models_wanted.connect(lambda: self.show_page(MODELS))
        self.machine.asked_changed.connect(self.make.take_machine)
        self.machine.asked_changed.connect(self.finder.take_machine)
        self.finder.make_wanted.connect(self._make_of)
        self.options.account_changed.connect(self.finder.account.look_again)
        self.models.opened.connect(self._model_opened)
        self.models.quantize_wanted.connect(lambda: self.show_page(MAKE))
        self.machine.detected.connect(self.fit.take_hardware)
        self.fit.look_wanted.connect(self._look_for_fit)
        self.fit.models_wanted.connect(lambda: self.show_page(MODELS))
        self.fit.shown.connect(self._look_for_models)
        self.fit.hub_wanted.connect(self._find_this)
        self.fit.make_wanted.connect(self._make_this)
        self.fit.asked_changed.connect(self.make.take_asked)
        self.make.context_changed.connect(lambda count: self.fit.context.choose(str(count)))
        self.library.make_wanted.connect(self._make_of)
        self.library.again_wanted.connect(self.again.start)
        self.again.queued.connect(self._show_job)
        self.library.folders_changed.connect(
            lambda folders: self._keep(replace(self.settings, library_folders=folders))
        )
        self.make.models_wanted.connect(lambda: self.show_page(MODELS))
        self.make.jobs_wanted.connect(self._show_job)
        self.make.settings_changed.connect(self._keep)
        self.jobs.make_wanted.connect(lambda: self.show_page(MAKE))
        self.jobs.doings.models = self._models_at_hand
        self.jobs.edit_wanted.connect(self._edit_job)
        self.jobs.settings_changed.connect(lambda values: self._keep(replace(self.settings, **values)))
        self.jobs.limits.when_done_changed.connect(self.when_done.choose)
        self._connect_queue()
        self._app.styleHints().colorSchemeChanged.connect(lambda _: self._show_theme(self.settings))

    def _models_at_hand(self) -> list[str]:
        """What a job can be repeated for: models of the library that are not quantized yet, and those opened before."""
        items = self.library.library.items if self.library.library else ()
        here = [str(item.path) for item in items if item.summary.kind == "safetensors" and not item.problem]
        return list(dict.fromkeys((*here, *self.models.recent())))

    def _connect_queue(self) -> None:
        queue = self.queue
        for change in (queue.added, queue.changed, queue.finished, queue.removed):
            change.connect(lambda _: self._show_work())
        queue.listed.connect(self._show_work)
        queue.progress.connect(lambda _: self._show_work())
        queue.finished.connect(self._tell_end)
        queue.added.connect(lambda _: self.when_done.stop())
        queue.idle.connect(self.when_done.begin)

    def _show_work(self) -> None:
        """How much there is to do: on the side bar, and on the dock."""
        jobs = self.queue.open_jobs()
        running = [fraction(record.progress) for record in jobs if record.state == JobState.RUNNING]
        self.side.show_badge(JOBS, len(jobs))
        self.desktop.show_progress(sum(running) / len(running) if running else None, len(jobs))

    def _tell_end(self, id: str) -> None:
        """To somebody who looks at something else just now."""
        record = self.queue.record(id)
        self._app.alert(self)
        if record is not None and not self.isActiveWindow() and record.state != JobState.CANCELLED:
            self.desktop.notify(f"{record.name}: {record.state}", headline(record))

    def _sleep(self) -> None:
        try:
            put_to_sleep()
        except OSError as error:
            self.jobs.banner.show_message("warning", "This machine could not be put to sleep.", str(error))

    def _make_shortcuts(self) -> None:
        table = {
            **{f"Ctrl+{number + 1}": partial(self.show_page, number) for number in range(len(ENTRIES))},
            "Ctrl+O": self._ask_folder,
            "Ctrl+Shift+O": self._ask_file,
            "F5": self._refresh,
        }
        for keys, action in table.items():
            QShortcut(QKeySequence(keys), self).activated.connect(action)

    # Pages

    @property
    def page(self) -> Page:
        page = self.pages.currentWidget()
        assert isinstance(page, Page)
        return page

    def show_page(self, number: int) -> None:
        self.pages.setCurrentIndex(number)
        self.side.mark(number)
        self.page.take_focus()

    def open_path(self, path: Path) -> None:
        """Opens a model, wherever in the window that was asked for."""
        self._goes_on, self._making, self._edited = False, None, ""
        self.show_page(MODELS)
        self.models.open_path(path)

    def _make_of(self, path: Path) -> None:
        """Opens a model and goes on to the page Make."""
        self.open_path(path)
        self._goes_on = True

    def _ask_folder(self) -> None:
        self.show_page(MODELS)
        self.models.ask_folder()

    def _ask_file(self) -> None:
        self.show_page(MODELS)
        self.models.ask_file()

    def _refresh(self) -> None:
        self.machine.refresh()
        if self.page is self.library:
            self.library.refresh()
        if self.page is self.make:
            self.make.refresh()

    def _model_opened(self, model: ModelInfo) -> None:
        self.make.show_model(model)
        self.fit.choose_model(model.path)
        if self._making is not None:
            self.make.choose(self._making.recipe, context=self._making.context)
            self._making = None
        self._keep(replace(self.settings, last_folder=str(model.path.parent)))
        if self._goes_on:
            self._goes_on = False
            self.show_page(MAKE)
        edited, self._edited = self._edited, ""
        if (record := self.queue.record(edited)) is not None:
            self.make.edit(record)

    def _look_for_fit(self) -> None:
        self.machine.refresh()
        self.fit.take_wanted(self.fit_models.wanted())

    def _look_for_models(self) -> None:
        """What is on this computer may be another since the last look."""
        if not self.tasks.busy("library"):
            self.library.refresh()

    def _find_this(self, key: str) -> None:
        self.show_page(FIND)
        self.finder.open_model(self.fit_models.row(key))

    def _make_this(self, making: Making) -> None:
        if self.make.model is not None and self.make.model.path == making.path:
            self.make.choose(making.recipe, context=making.context)
            self.show_page(MAKE)
            return
        self._make_of(making.path)
        self._making = making

    def _edit_job(self, id: str) -> None:
        """Opens a job that has not begun on the page Make; it waits until it is made anew."""
        record = self.queue.record(id)
        if record is not None:
            self.queue.pause(id)
            self._make_of(Path(record.job.source))
            self._edited = id

    def _show_job(self, id: str) -> None:
        self.show_page(JOBS)
        self.jobs.choose(id)

    # Settings

    def _keep(self, settings: Settings) -> None:
        changed_theme = settings.theme != self.settings.theme
        self.settings = settings
        self._show_limits()
        self.make.take_settings(settings)
        self.library.take_settings(settings)
        try:
            save_settings(settings_file(), settings)
        except OSError as error:
            self.page.banner.show_message("warning", "The settings could not be saved.", str(error))
        if changed_theme:
            self._show_theme(settings)

    def _show_limits(self) -> None:
        limits = limits_of(self.settings)
        self.queue.resumes_by_itself = self.settings.job_goes_on
        if limits != self.queue.limits:
            self.queue.set_limits(limits)

    def _show_theme(self, settings: Settings) -> None:
        theme.apply(self._app, settings.theme)

    def _restore(self) -> None:
        self.resize(SIZES.window_width, SIZES.window_height)
        if isinstance(geometry := self.store.value(_GEOMETRY), QByteArray):
            self.restoreGeometry(geometry)
        number = stored_number(self.store, _PAGE, MACHINE)
        self.show_page(number if 0 <= number < len(ENTRIES) else MACHINE)

    # Events

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            QTimer.singleShot(0, self._begin)

    def _begin(self) -> None:
        """What can wait until there is something to look at."""
        self.machine.refresh()
        root = jobs_folder()
        self.tasks.run(
            "history",
            lambda: read_records(root),
            done=self.queue.add_earlier,
            failed=self.jobs.banner.show_problem,
        )

    def show_bug(self, error: BaseException) -> None:
        """The last stop of an error that nobody expected: the window says so and goes on."""
        problem = words.problem(error)
        print(problem.details, file=sys.stderr)
        self.page.banner.show_problem(problem)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Cancel):
            self.page.cancel()
            return
        super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_model(event.mimeData()) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        if (path := dropped_model(event.mimeData())) is not None:
            event.acceptProposedAction()
            self.open_path(path)

    def closeEvent(self, event: QCloseEvent) -> None:
        closing = self._ask_closing() if self.queue.running() and not self._session_ends else Closing.PAUSE
        if closing is None:
            event.ignore()
            return
        self.store.setValue(_GEOMETRY, self.saveGeometry())
        self.store.setValue(_PAGE, self.pages.currentIndex())
        self.tasks.close()
        self.hub.close()
        self.judge.close()
        self.queue.close(closing)
        self.desktop.close()
        super().closeEvent(event)

    def end_session(self) -> None:
        """The user logs out, or the machine goes down: nothing is asked, and all that runs is paused."""
        self._session_ends = True

    def _ask_closing(self) -> Closing | None:
        """Asked in a box, for once, because the page goes away: what shall become of the work? None: stay."""
        return ask_closing(self, [record.name for record in self.queue.running()])


def make_app(arguments: list[str]) -> QApplication:
    """The application with Snug's style and font, before any window."""
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(arguments)
    QGuiApplication.setDesktopFileName("snug")
    app.setApplicationName("Snug")
    app.setStyle("Fusion")
    app.setFont(theme.load_fonts())
    return app


def show_window() -> int:
    """Shows the window until it is closed; returns the exit code."""
    app = make_app(sys.argv[:1])
    window = MainWindow(app)
    sys.excepthook = lambda _kind, error, _trace: window.show_bug(error)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C in the terminal ends the program at once
    app.commitDataRequest.connect(lambda _: window.end_session(), Qt.ConnectionType.DirectConnection)
    window.show()
    gc.freeze()  # what is loaded stays: looking through it again and again would hold up the window
    return app.exec()
