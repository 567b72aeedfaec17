"""Find: search the Hub, see what fits here before a byte of weights moves, download."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSettings, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QShowEvent
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from app import words
from app.hub_tasks import HubTasks
from app.job_queue import JobQueue
from app.job_record import JobRecord
from app.pages.find_account import HubAccount, for_window
from app.pages.find_downloads import HubDownloads
from app.pages.find_lists import HubLists
from app.store import stored_number
from app.tables.hub_columns import HubRow
from app.widgets.download_panel import DownloadPanel
from app.widgets.model_panel import ModelPanel
from app.widgets.page import Page
from app.widgets.parts import button
from app.widgets.question import ask
from app.wishes import about_verdicts, wished
from app.words import Problem
from core import SnugError

if TYPE_CHECKING:
    from core import Override

RATE = "find/rate"
_OFFLINE = "Well-known models are listed; nothing is asked or downloaded. Unset it and start Snug anew to search."
_STREAMS = "Choose how; the weights are read from the Hub while they are encoded, and only the result is stored"
_KEEPS = "Keeps the original, in the cache of all Hugging Face tools"
_NO_ACCESS = ("terms", "access", "request", "private")


class FindPage(Page):
    """`make_wanted` carries what to make a file of: hub:ORG/NAME, or the folder or file of a download."""

    make_wanted = Signal(object)

    def __init__(self, hub: HubTasks, queue: JobQueue, store: QSettings, *, context: int = 4096) -> None:
        super().__init__("Find", "Search Hugging Face and see what fits this machine before anything is downloaded.")
        self._hub, self._store = hub, store
        self._context = context
        self._machine: Override | None = None
        self._asks: list[int] = []
        self.account = HubAccount(hub, self.banner, self)
        self.add_action(self.account.button)
        self.download = self.add_action(button("Download", self._download, tip=_KEEPS))
        self.look = self.add_action(button("Look at it", self._act, role="primary"))
        self.lists, self.panel, self.progress = HubLists(hub, store), ModelPanel(store), DownloadPanel()
        self.downloads = HubDownloads(queue, self.progress, self)
        self.panel.rate = float(stored_number(store, RATE, 0))
        self.add_state("content", self.lists)
        self.add_state("model", self.panel)
        self.show_state("content")
        outer = self.layout()
        assert isinstance(outer, QVBoxLayout)
        outer.addWidget(self.progress)
        self._connect()
        self._show_actions()

    def _connect(self) -> None:
        self.account.known.connect(self._account_known)
        self.account.refused.connect(self._show_access)
        self.account.changed.connect(self._look_again)
        self.lists.chosen.connect(self._show_actions)
        self.lists.opened.connect(self.open_model)
        self.lists.glanced.connect(self._show_glance)
        self.lists.failed.connect(self._search_failed)
        self.lists.began.connect(self.banner.hide)
        self.panel.back_wanted.connect(self._back)
        self.panel.page_wanted.connect(self._open_page)
        self.panel.download_wanted.connect(self._begin)
        self.panel.ways.measure_wanted.connect(self._measure_line)
        self.panel.pictures_wanted.connect(self._fetch_pictures)
        self.panel.card.link_wanted.connect(self._ask_link)
        self.downloads.done.connect(self._download_done)
        self.downloads.failed.connect(self._download_failed)
        self.downloads.measured.connect(self._rate_seen)

    def first_focus(self) -> QWidget | None:
        return self.lists.filters.text if self.state == "content" else self.panel.back

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.account.look()
        self._judge()

    def take_machine(self, given: Override | None) -> None:
        """Verdicts are for the machine with these figures from now on."""
        self._machine = given
        self._judge()

    def _asked(self) -> dict[str, Any]:
        """What verdicts are about: the wishes of the page Fit, and the machine."""
        wish = wished(self._store, self._context)
        return {"wish": wish, "machine": asdict(self._machine) if self._machine else None}

    def _judge(self) -> None:
        self.lists.judge_for(self._asked())
        self.lists.show_wish(about_verdicts(self._asked()))
        self.panel.machine = "the machine that you asked about" if self._machine else "this machine"

    def _account_known(self) -> None:
        if self.account.is_offline:
            self.banner.show_message("info", "Offline: HF_HUB_OFFLINE is set.", _OFFLINE)

    def _search_failed(self, problem: Problem) -> None:
        again = button("Try again", self.lists.search)
        self.banner.show_message("error", problem.message, problem.hint, again)

    def _look_again(self) -> None:
        """What could not be seen may be open now."""
        self.lists.look_again()
        if self.state == "model" and self.panel.row is not None:
            self.open_model(self.panel.row)

    # One model

    def open_model(self, row: HubRow | None) -> None:
        """Shows all there is to know of one model."""
        if row is None:
            return
        self._close_model()
        self.banner.hide()
        self.panel.start(self.lists.row(row))
        self.show_state("model")
        self._show_actions()
        panel = self.panel
        for what, done, failed in (
            ("model", self._show_details, self._model_failed),
            ("check", self._show_check, self._check_failed),
            ("card", panel.show_card, self._card_failed),
            ("ggufs", panel.show_others, panel.show_no_others),
        ):
            self._asks.append(self._hub.ask(what, {"source": row.id, **self._asked()}, done=done, failed=failed))
        panel.tabs.setFocus()

    def _show_glance(self, row: HubRow) -> None:
        if self.state == "model" and self.panel.row is not None and self.panel.row.id == row.id:
            self.panel.show_row(row)

    def _show_details(self, details: dict[str, Any]) -> None:
        self.panel.show_details(details)
        self._show_actions()

    def _show_check(self, found: dict[str, Any]) -> None:
        self.panel.show_check(found)
        self._show_actions()

    def _check_failed(self, problem: Problem) -> None:
        self.panel.show_trouble(f"{problem.message} {problem.hint}")
        self._show_actions()
        if self._ways_in(problem):
            self._show_access(problem)
        self._say_once()

    def _model_failed(self, problem: Problem) -> None:
        self.panel.file_state.setText(problem.message)
        self._show_access(problem)
        self._say_once()

    def _say_once(self) -> None:
        """What the banner says, the overview need not say again."""
        if self.banner.message and self.panel.state.text().startswith(self.banner.message):
            self.panel.state.setText("Its headers could not be looked at.")

    def _card_failed(self, problem: Problem) -> None:
        self.panel.show_card({"text": problem.message, "pictures": [], "elsewhere": 0})

    def _measure_line(self) -> None:
        ways, source = self.panel.ways, self.panel.row
        if source is not None:
            number = self._hub.ask(
                "line",
                {"source": source.id},
                done=self._line_measured,
                failed=lambda problem: ways.show_trouble(problem.message),
            )
            self._asks.append(number)

    def _rate_seen(self, rate: float) -> None:
        self.panel.rate = rate

    def _line_measured(self, rate: float) -> None:
        self.panel.show_rate(rate)
        self._store.setValue(RATE, round(rate))

    def _fetch_pictures(self, names: list[str]) -> None:
        panel, source = self.panel, self.panel.row
        if source is not None:
            number = self._hub.ask(
                "pictures",
                {"source": source.id, "names": names},
                done=lambda found: panel.pictures_came(found["missing"]),
                failed=lambda _: panel.pictures_came(len(names)),
                heard=panel.take_picture,
            )
            self._asks.append(number)

    def _show_access(self, problem: Problem) -> None:
        """What cannot be seen, why, and the button that mends it."""
        buttons = self._ways_in(problem)
        kind = "warning" if buttons else "error"
        self.banner.show_message(kind, problem.message, for_window(problem.hint), *buttons)

    def _ways_in(self, problem: Problem) -> list[QPushButton]:
        buttons = [button("Log in…", self.account.ask_token)] if "snug login" in problem.hint else []
        if any(word in problem.message for word in _NO_ACCESS) and self.state == "model":
            buttons.append(button("Its page", self._open_page))
        return buttons

    def _close_model(self) -> None:
        for number in self._asks:
            self._hub.drop(number)
        self._asks.clear()

    def _back(self) -> None:
        self._close_model()
        self.banner.hide()
        self.show_state("content")
        self._show_actions()
        self.lists.table.setFocus()

    def _open_page(self) -> None:
        if self.panel.row is not None:
            QDesktopServices.openUrl(QUrl(f"{self.account.endpoint}/{self.panel.row.id}"))

    def _ask_link(self, address: str) -> None:
        ask(
            self.banner,
            "Open this address in your browser?",
            address,
            yes="Open",
            no="Stay here",
            then=lambda: QDesktopServices.openUrl(QUrl(address)),
        )

    # Actions

    def _show_actions(self) -> None:
        is_model = self.state == "model"
        self.download.setVisible(is_model)
        self.look.setText("Make a GGUF" if is_model else "Look at it")
        self.look.setToolTip(_STREAMS if is_model else "")
        self.look.setEnabled(self.panel.can_be_made if is_model else self.lists.current() is not None)

    def _act(self) -> None:
        if self.state == "model":
            self._make()
        elif not self.lists.enter():
            self.open_model(self.lists.current())

    def cancel(self) -> None:
        """A message first, then the model, then the words of the search."""
        if not self.banner.isHidden():
            super().cancel()
        elif self.state == "model":
            self._back()
        else:
            self.lists.filters.text.clear()
            self.lists.filters.text.setFocus()

    def _make(self) -> None:
        if self.panel.row is not None and self.look.isEnabled():
            self.make_wanted.emit(Path(f"hub:{self.panel.row.id}"))

    def _download(self) -> None:
        if self.panel.row is not None:
            self._begin(self.panel.row.id, "")

    def _begin(self, repo: str, choice: str) -> None:
        self.banner.hide()
        try:
            self.downloads.begin(repo, choice)
        except (SnugError, OSError) as error:
            self.banner.show_problem(words.problem(error))

    def _download_done(self, record: JobRecord) -> None:
        result = record.result
        self._store.setValue(RATE, round(self.panel.rate))
        path = place_of(result)
        fetched = f"{words.size(result['fetched'])} fetched, {words.size(result['bytes'])} in all; every hash is right."
        go_on = button("Open it", lambda: self.make_wanted.emit(path), role="primary")
        self.banner.show_message("good", f"{record.model} is downloaded.", fetched, go_on)

    def _download_failed(self, record: JobRecord) -> None:
        failure = record.failure
        if failure is None or failure.cancelled:
            self.banner.show_message("info", failure.message if failure else "Cancelled.")
        else:
            self._show_access(Problem(failure.message, failure.hint))

    @property
    def is_downloading(self) -> bool:
        return self.downloads.shown is not None


def place_of(result: dict[str, Any]) -> Path:
    """What to open of a download: its GGUF file, else its folder."""
    folder = Path(result["folder"])
    ggufs = sorted(name for name in result["files"] if name.endswith(".gguf"))
    return folder / ggufs[0] if ggufs else folder
