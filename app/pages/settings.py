"""Settings: how the Hub is reached and what decides that, who is logged in, and where Snug keeps things."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app import words
from app.hub_tasks import HubTasks
from app.pages.find_account import HubAccount, for_window
from app.reveal import reveal
from app.theme import SIZES
from app.widgets.facts import Facts
from app.widgets.page import Page
from app.widgets.parts import Elided, button, card, label, row, scrolled
from app.words import Problem
from core import cache_folder, data_folder, jobs_folder, settings_file

_VARIABLES = "Variables of the environment decide this, as for all Hugging Face tools. Set them before Snug starts."
_TIPS = {
    "Hub": "HF_ENDPOINT names another one",
    "Cache": "HF_HUB_CACHE, or HF_HOME, puts it elsewhere; all Hugging Face tools share it",
    "Offline": "HF_HUB_OFFLINE=1: nothing is asked",
    "Token": "HF_TOKEN comes before a token that a login has stored; it goes to the Hub alone",
    "Proxy": "HTTPS_PROXY or HTTP_PROXY; NO_PROXY says for whom not",
    "Certificates": "SSL_CERT_FILE or REQUESTS_CA_BUNDLE: those of a company's own proxy",
}


@dataclass(frozen=True, slots=True)
class Folder:
    name: str
    path: Path
    what: str


def folders() -> tuple[Folder, ...]:
    """Snug's own, by what they are for."""
    return (
        Folder("Jobs", jobs_folder(), "One folder a job, with its history and its log"),
        Folder("Settings", settings_file(), "What you have chosen"),
        Folder("Data", data_folder(), "Settings, jobs, and how the window was left"),
        Folder("Can be made again", cache_folder(), "Headers and verdicts that were looked at, speeds, kernels"),
    )


class SettingsPage(Page):
    """`account_changed`: somebody logged in or out here."""

    account_changed = Signal()

    def __init__(self, hub: HubTasks) -> None:
        super().__init__("Settings", "How Snug reaches Hugging Face, as whom, and where it keeps things.")
        self.account = HubAccount(hub, self.banner, self)
        self.account.known.connect(self._show)
        self.account.refused.connect(self._refused)
        for change in (self.account.changed, self.account.left):
            change.connect(self._changed)
        self.who, self.hub = label(role="strong", wrap=True), Facts()
        self.who.setText("Asking who is logged in.")
        layout = QVBoxLayout()
        layout.setSpacing(SIZES.m)
        layout.addWidget(self._hub_card())
        layout.addWidget(self._folder_card())
        layout.addWidget(label("How much of this machine the work may take is on the page Jobs.", role="muted"))
        layout.addStretch()
        self.add_state("content", scrolled(layout, name="Settings"))
        self.show_state("content")

    def _hub_card(self) -> QWidget:
        head = row(self.who, self.account.button)
        head.setStretch(0, 1)
        note = label(_VARIABLES, role="small", wrap=True)
        return card(label("Hugging Face", role="section"), head, self.hub, note, spacing=SIZES.m)

    def _folder_card(self) -> QWidget:
        lines = []
        for folder in folders():
            name, path = label(folder.name, role="muted"), Elided()
            name.setMinimumWidth(SIZES.xl * 5)
            path.show_text(words.path(folder.path))
            show = button("Show", partial(show_folder, folder.path), tip=folder.what)
            show.setAccessibleName(f"Show the folder: {folder.name}")
            line = row(name, path, show, spacing=SIZES.m)
            line.setStretch(1, 1)
            lines.append(line)
        return card(label("Folders", role="section"), *lines, spacing=SIZES.s)

    def first_focus(self) -> QWidget | None:
        return self.account.button

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.account.look_again()

    def _show(self) -> None:
        account = self.account
        if account.is_offline:
            self.who.setText("Offline: the Hub is not asked who you are.")
        else:
            self.who.setText(f"Logged in as {account.name}" if account.name else "Nobody is logged in")
        facts = [(one["name"], said(one)) for one in account.settings]
        self.hub.show_facts(facts, {name: _TIPS.get(name, "") for name, _ in facts})

    def _refused(self, problem: Problem) -> None:
        self.who.setText("Who is logged in is not known.")
        self.banner.show_problem(replace(problem, hint=for_window(problem.hint)))

    def _changed(self) -> None:
        self.account.look_again()
        self.account_changed.emit()


def said(setting: dict[str, str]) -> str:
    """A setting in words, with the variable that decides it."""
    return f"{setting['value']}, by {setting['variable']}" if setting["variable"] else setting["value"]


def show_folder(path: Path) -> None:
    """In the file manager; the nearest folder that is there, of one that is not yet."""
    reveal(next(place for place in (path, *path.parents) if place.exists()))
