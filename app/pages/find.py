"""Find: search the Hub, see what fits here before a byte of weights moves, download."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from app import words
from app.hub_tasks import HubTasks
from app.tables.hub_columns import FOUND_COLUMNS, KNOWN_COLUMNS, SPARE, HubRow, row_from
from app.tables.row_model import Role, RowModel
from app.tables.row_view import RowView
from app.theme import RESOURCES, SIZES
from app.widgets.download_panel import DownloadPanel
from app.widgets.hub_filters import KNOWN, HubFilters
from app.widgets.login_box import LoginBox
from app.widgets.model_panel import ModelPanel
from app.widgets.page import Page, empty_state
from app.widgets.parts import button, label
from app.widgets.question import ask
from app.words import Problem

TYPING_MS = 300
NEAR_END = 6
MOST_HIDDEN_PAGES = 5
_ROOM_FOR_ALL = 1000
_HUB = "https://huggingface.co"


def known_models() -> list[HubRow]:
    """The well-known models that come with Snug."""
    file = RESOURCES / "data" / "curated.json"
    return [HubRow(**values) for values in json.loads(file.read_text(encoding="utf-8"))]


class FindPage(Page):
    """`downloaded` carries the folder or file of a download that the user wants to go on with."""

    downloaded = Signal(object)

    def __init__(self, hub: HubTasks, store: QSettings) -> None:
        super().__init__("Find", "Search Hugging Face and see what fits this machine before anything is downloaded.")
        self._hub, self._store = hub, store
        self._search = self._more = 0
        self._has_more = False
        self._empty_pages = 0
        self._rows: dict[str, HubRow] = {}
        self._glances: dict[str, int] = {}
        self._model_asks: list[int] = []
        self._pull, self._pulled, self._then_make = 0, "", False
        self._account: dict[str, Any] | None = None
        self._login: LoginBox | None = None
        self.account = self.add_action(button("Log in…", self._account_clicked, tip="Log in to Hugging Face"))
        self.download = self.add_action(button("Download only", lambda: self._download(then_make=False)))
        self.look = self.add_action(button("Look at it", self._act, role="primary"))
        self.filters = HubFilters()
        self.found = RowModel[HubRow](FOUND_COLUMNS, key=lambda row: row.id)
        self.known = RowModel[HubRow](KNOWN_COLUMNS, key=lambda row: row.id)
        self.found_table = RowView(self.found, name="Models found")
        self.known_table = RowView(self.known, name="Well-known models")
        self.count = label("", role="muted")
        self.panel = ModelPanel(store)
        self.progress = DownloadPanel()
        self._typing = QTimer(self, singleShot=True, interval=TYPING_MS)
        self._looking = QTimer(self, singleShot=True, interval=TYPING_MS)
        self._make_states()
        self._connect()
        self.known.set_rows(known_models())
        self._show_known()

    def _make_states(self) -> None:
        self._shown, self._tables = QStackedWidget(), QStackedWidget()
        self._waiting = empty_state("Asking the Hub", "The first models come in a moment.")
        self._nothing = empty_state("Nothing was found", "Use fewer words, or clear filters.", "Clear", self._clear)
        for table in (self.known_table, self.found_table):
            self._tables.addWidget(table)
        lists = QWidget()
        layout = QVBoxLayout(lists)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(self.filters)
        layout.addWidget(self.count)
        for widget in (self._tables, self._waiting, self._nothing):
            self._shown.addWidget(widget)
        layout.addWidget(self._shown, 1)
        self.add_state("content", lists)
        self.add_state("model", self.panel)
        self.show_state("content")
        outer = self.layout()
        assert isinstance(outer, QVBoxLayout)
        outer.addWidget(self.progress)

    def _connect(self) -> None:
        self._typing.timeout.connect(self.search)
        self._looking.timeout.connect(self._look_at_sight)
        self.filters.typed.connect(self._typing.start)
        self.filters.changed.connect(self._filters_changed)
        for table, key in ((self.found_table, "found"), (self.known_table, "known")):
            table.remember_widths(self._store, f"widths/find-{key}")
            table.chosen.connect(lambda _: self._show_actions())
            table.opened.connect(self.open_model)
            table.verticalScrollBar().valueChanged.connect(lambda _: self._scrolled())
        self.panel.back_wanted.connect(self._back)
        self.panel.page_wanted.connect(self._open_page)
        self.panel.download_wanted.connect(lambda repo, choice: self._begin(repo, choice, then_make=False))
        self.panel.card.link_wanted.connect(self._ask_link)
        self.progress.pause_wanted.connect(lambda on: self._hub.say(self._pull, "pause" if on else "go on"))
        self.progress.cancel_wanted.connect(self._stop_download)

    # The lists

    @property
    def table(self) -> RowView[HubRow]:
        return self.known_table if self._tables.currentWidget() is self.known_table else self.found_table

    def first_focus(self) -> QWidget | None:
        return self.filters.text if self.state == "content" else self.panel.back

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._account is None:
            self._account = {}
            self._hub.ask("account", done=self._show_account, failed=self._account_failed)
        self._looking.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for position, one in enumerate(FOUND_COLUMNS):
            self.found_table.setColumnHidden(position, one.title in SPARE and self.width() < _ROOM_FOR_ALL)

    def search(self) -> None:
        """Asks for what the filters say; well-known models where they say nothing."""
        self._typing.stop()
        self._forget_search()
        self.filters.show_count()
        if self.filters.is_empty and self.filters.sort == KNOWN:
            self._show_known()
            return
        if self.filters.sort == KNOWN:
            self.filters.show_sort("trending")
        self._tables.setCurrentWidget(self.found_table)
        self._shown.setCurrentWidget(self._waiting)
        self._empty_pages = 0
        self.count.setText("")
        values = {"filters": self.filters.values(), "sort": self.filters.sort}
        self._search = self._hub.ask("search", values, done=self._show_found, failed=self._search_failed)
        self._show_actions()

    def _filters_changed(self) -> None:
        self.banner.hide()
        self.search()

    def _clear(self) -> None:
        self.filters.text.clear()
        self.filters.start_over()

    def _show_known(self) -> None:
        self._tables.setCurrentWidget(self.known_table)
        self._shown.setCurrentWidget(self._tables)
        rows = [self._rows.get(row.id, row) for row in known_models()]
        self._rows.update({row.id: row for row in rows})
        self._set(self.known, rows)
        self.count.setText("Well-known open models, and what each is good at. Type to search all of the Hub.")
        if self.table.current() is None and rows:
            self.table.choose(self.known.rows[0].id if self.known.rows else "")
        self._looking.start()
        self._show_actions()

    def _set(self, model: RowModel[HubRow], rows: list[HubRow]) -> None:
        model.set_rows([row for row in rows if self._may_show(row)])

    def _may_show(self, row: HubRow) -> bool:
        """With "fits this machine", those that may still fit: a verdict that is not known hides nothing."""
        return not self.filters.fits.isChecked() or row.verdict not in ("no", "unsupported")

    def _show_found(self, page: dict[str, Any]) -> None:
        rows = self._taken(page)
        self._set(self.found, rows)
        self._shown.setCurrentWidget(self._tables if rows else self._nothing)
        self.found_table.scrollToTop()
        if self.found.rows:
            self.found_table.choose(self.found.rows[0].id)
        self._counted()

    def _show_more(self, page: dict[str, Any]) -> None:
        self._more = 0
        known = {row.id for row in self.found.rows}
        rows = [row for row in self._taken(page) if row.id not in known and self._may_show(row)]
        self.found.add_rows(rows)
        self._empty_pages = 0 if rows else self._empty_pages + 1
        self._counted()

    def _taken(self, page: dict[str, Any]) -> list[HubRow]:
        self._has_more = page["more"]
        rows = [row_from(values) for values in page["rows"]]
        for row in rows:
            before = self._rows.get(row.id)
            same = before is not None and before.commit in ("", row.commit)
            self._rows[row.id] = replace(row, glance=before.glance) if before and same else row
        return [self._rows[row.id] for row in rows]

    def _counted(self) -> None:
        more = ", more as you scroll" if self._has_more else ""
        self.count.setText(f"{words.count(len(self.found.rows), 'model')}{more}")
        self._looking.start()
        self._show_actions()
        QTimer.singleShot(0, self._scrolled)

    def _search_failed(self, problem: Problem) -> None:
        self._shown.setCurrentWidget(self._tables)
        self.found.set_rows([])
        self._has_more = False
        again = button("Try again", self._search_again)
        self.banner.show_message("error", problem.message, problem.hint, again)
        self.count.setText("The Hub could not be asked. Well-known models are listed without it: clear the search.")
        self._show_actions()

    def _search_again(self) -> None:
        self.banner.dismiss()
        self.search()

    def _scrolled(self) -> None:
        """More rows when the end comes into sight; verdicts for what is in sight."""
        self._looking.start()
        bar = self.found_table.verticalScrollBar()
        near = bar.value() >= bar.maximum() - NEAR_END
        wanted = self._has_more and not self._more and self._empty_pages < MOST_HIDDEN_PAGES
        if near and wanted and self.table is self.found_table and self.isVisible():
            self._more = self._hub.ask("more", {"of": self._search}, done=self._show_more, failed=self._more_failed)

    def _more_failed(self, problem: Problem) -> None:
        self._more, self._has_more = 0, False
        self.banner.show_problem(problem)

    def _forget_search(self) -> None:
        for number in (self._search, self._more, *self._glances.values()):
            self._hub.drop(number)
        self._search = self._more = 0
        self._glances.clear()

    # Verdicts

    def _look_at_sight(self) -> None:
        """Asks for the verdicts of the rows in sight that have none."""
        if not self.isVisible() or (self._account or {}).get("offline"):
            return
        for row in self._in_sight():
            if row.glance is None and not row.trouble and row.id not in self._glances:
                done, failed = partial(self._show_glance, row.id), partial(self._no_glance, row.id)
                asked = {"source": row.source}
                self._glances[row.id] = self._hub.ask("glance", asked, done=done, failed=failed)

    def _in_sight(self) -> list[HubRow]:
        table = self.table
        if not table.isVisible():
            return []
        height = table.viewport().height()
        first = max(0, table.indexAt(table.viewport().rect().topLeft()).row())
        model = table.model()
        positions = range(first, min(first + height // SIZES.row + 2, model.rowCount()))
        return [model.index(position, 0).data(Role.ROW) for position in positions]

    def _no_glance(self, id: str, problem: Problem) -> None:
        self._show_glance(id, None, problem.message)

    def _show_glance(self, id: str, found: dict[str, Any] | None, trouble: str = "") -> None:
        self._glances.pop(id, None)
        row = self._rows.get(id)
        if row is None:
            return
        row = self._rows[id] = replace(row, glance=found, trouble=trouble)
        for model in (self.known, self.found):
            model.update_row(row)
        if self.panel.row is not None and self.panel.row.id == id and self.state == "model":
            self.panel.show_row(row)
        if not self._may_show(row):
            self._hide(id)

    def _hide(self, id: str) -> None:
        model = self.table.rows_model
        current = self.table.current()
        model.set_rows([row for row in model.rows if row.id != id])
        if current is not None:
            self.table.choose(current.id)
        self._scrolled()

    # One model

    def open_model(self, row: HubRow | None) -> None:
        """Shows all there is to know of one model."""
        if row is None:
            return
        self._close_model()
        self.banner.hide()
        self.panel.start(self._rows.get(row.id, row))
        self.show_state("model")
        self._show_actions()
        asked = {"source": row.id}
        panel = self.panel
        for what, done, failed in (
            ("model", panel.show_details, self._model_failed),
            ("check", panel.show_check, self._check_failed),
            ("card", panel.card.show_card, lambda problem: panel.card.show_card(problem.message)),
            ("ggufs", panel.show_others, lambda _: panel.show_others([])),
        ):
            self._model_asks.append(self._hub.ask(what, asked, done=done, failed=failed))
        panel.tabs.setFocus()

    def _check_failed(self, problem: Problem) -> None:
        self.panel.show_trouble(problem.message)
        self._show_access(problem)

    def _model_failed(self, problem: Problem) -> None:
        self.panel.file_state.setText(problem.message)
        self._show_access(problem)

    def _show_access(self, problem: Problem) -> None:
        """What cannot be seen, why, and the button that mends it."""
        hint = for_window(problem.hint)
        buttons = [button("Log in…", self.ask_token)] if "snug login" in problem.hint else []
        if "terms" in problem.message or "access" in problem.message or "request" in problem.message:
            buttons.append(button("Its page", self._open_page))
        self.banner.show_message("warning" if buttons else "error", problem.message, hint, *buttons)

    def _close_model(self) -> None:
        for number in self._model_asks:
            self._hub.drop(number)
        self._model_asks.clear()

    def _back(self) -> None:
        self._close_model()
        self.banner.hide()
        self.show_state("content")
        self._show_actions()
        self.table.setFocus()

    def _open_page(self) -> None:
        if self.panel.row is not None:
            QDesktopServices.openUrl(QUrl(f"{self._endpoint()}/{self.panel.row.id}"))

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
        self.look.setText("Download and make" if is_model else "Look at it")
        free = not self._pull
        self.look.setEnabled(free if is_model else self.table.current() is not None)
        self.download.setEnabled(free)

    def _act(self) -> None:
        if self.state == "model":
            self._download(then_make=True)
        elif self._typing.isActive() or self.filters.text.hasFocus():
            self.search()
            self.table.setFocus()
        else:
            self.open_model(self.table.current())

    def cancel(self) -> None:
        """A message first, then the model, then the words of the search."""
        if not self.banner.isHidden():
            super().cancel()
        elif self.state == "model":
            self._back()
        else:
            self.filters.text.clear()
            self.filters.text.setFocus()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Down and self.filters.text.hasFocus():
            self.table.setFocus()
            return
        super().keyPressEvent(event)

    def _download(self, *, then_make: bool) -> None:
        if self.panel.row is not None:
            self._begin(self.panel.row.id, "", then_make=then_make)

    def _begin(self, repo: str, choice: str, *, then_make: bool) -> None:
        if self._pull:
            self.banner.show_message("info", "One download at a time.", "Wait for it, or cancel it below.")
            return
        self.banner.hide()
        self._pulled, self._then_make = repo, then_make
        self.progress.start(repo)
        self._pull = self._hub.ask(
            "pull",
            {"source": repo, "choice": choice},
            done=self._download_done,
            failed=self._download_failed,
            heard=self.progress.show_event,
        )
        self._show_actions()

    def _stop_download(self) -> None:
        self.progress.show_stopping()
        self._hub.say(self._pull, "cancel")

    def _download_done(self, result: dict[str, Any]) -> None:
        self._download_ended()
        path = place_of(result)
        if self._then_make:
            self.downloaded.emit(path)
            return
        fetched = f"{words.size(result['fetched'])} fetched, {words.size(result['bytes'])} in all; every hash is right."
        go_on = button("Open it", lambda: self.downloaded.emit(path), role="primary")
        self.banner.show_message("good", f"{self._pulled} is downloaded.", fetched, go_on)

    def _download_failed(self, problem: Problem) -> None:
        self._download_ended()
        if problem.message.startswith("Cancelled"):
            self.banner.show_message("info", problem.message)
        else:
            self._show_access(problem)

    def _download_ended(self) -> None:
        self._pull = 0
        self.progress.hide()
        self._show_actions()

    @property
    def is_downloading(self) -> bool:
        return bool(self._pull)

    # The account

    def _endpoint(self) -> str:
        return str(dict((self._account or {}).get("facts", [])).get("Hub", _HUB))

    def _show_account(self, found: dict[str, Any]) -> None:
        self._account = found
        self.account.setText(f"Log out {found['name']}" if found["name"] else "Log in…")
        if found["offline"]:
            self.banner.show_message(
                "info",
                "Offline: HF_HUB_OFFLINE is set.",
                "Well-known models are listed; nothing is asked or downloaded.",
            )
        self._looking.start()

    def _account_failed(self, problem: Problem) -> None:
        if "token" in problem.message:
            self._show_access(problem)

    def _account_clicked(self) -> None:
        if (self._account or {}).get("name"):
            self._hub.ask("logout", done=lambda _: self._logged_out(), failed=self.banner.show_problem)
        else:
            self.ask_token()

    def ask_token(self) -> None:
        """Opens the box to log in."""
        self._login = LoginBox(self, endpoint=self._endpoint())
        self._login.token_given.connect(
            lambda token: self._hub.ask("login", {"token": token}, done=self._logged_in, failed=self._refused)
        )
        self._login.open()

    def _refused(self, problem: Problem) -> None:
        if self._login is not None:
            self._login.show_problem(replace(problem, hint=for_window(problem.hint)))

    def _logged_in(self, found: dict[str, Any]) -> None:
        if self._login is not None:
            self._login.accept()
        self._account = {**(self._account or {}), "name": found["name"]}
        self.account.setText(f"Log out {found['name']}")
        self.banner.show_message("good", f"Logged in as {found['name']}.", f"The token is in {found['stored']}.")
        self._look_again()

    def _logged_out(self) -> None:
        self._account = {**(self._account or {}), "name": ""}
        self.account.setText("Log in…")
        self.banner.show_message("good", "Logged out.", "The stored tokens are gone.")

    def _look_again(self) -> None:
        """What could not be seen may be open now."""
        self._rows = {id: replace(row, trouble="") for id, row in self._rows.items()}
        for model in (self.known, self.found):
            for row in model.rows:
                model.update_row(self._rows[row.id])
        if self.state == "model" and self.panel.row is not None:
            message = self.banner.message, self.banner.hint
            self.open_model(self._rows.get(self.panel.row.id, self.panel.row))
            self.banner.show_message("good", *message)
        self._looking.start()


def for_window(hint: str) -> str:
    """A hint of the command line, for who has buttons."""
    return hint.replace(", then: snug login", ", then log in here").replace(": snug login", " here")


def place_of(result: dict[str, Any]) -> Path:
    """What to open of a download: its GGUF file, else its folder."""
    folder = Path(result["folder"])
    ggufs = sorted(name for name in result["files"] if name.endswith(".gguf"))
    return folder / ggufs[0] if ggufs else folder
