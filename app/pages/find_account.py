"""Who is logged in to the Hub: the button that says so, and the box that asks for a token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from app.hub_tasks import HubTasks
from app.widgets.banner import Banner
from app.widgets.login_box import LoginBox
from app.widgets.parts import button
from app.words import Problem

_HUB = "https://huggingface.co"


class HubAccount(QObject):
    """`changed` when somebody logged in, `left` when out; `known` once it is clear how the Hub is reached, `refused`
    with why not."""

    changed = Signal()
    left = Signal()
    known = Signal()
    refused = Signal(object)

    def __init__(self, hub: HubTasks, banner: Banner, parent: QWidget) -> None:
        super().__init__(parent)
        self._hub, self._banner, self._parent = hub, banner, parent
        self._asked = False
        self.name, self.role, self.endpoint, self.is_offline = "", "", _HUB, False
        self.settings: list[dict[str, str]] = []
        self.box: LoginBox | None = None
        self.button = button("Log in…", self._clicked, tip="Log in to Hugging Face, or out")

    def look(self) -> None:
        """Asks who is logged in, the first time."""
        if not self._asked:
            self.look_again()

    def look_again(self) -> None:
        """Asks again: it may have changed elsewhere."""
        self._asked = True
        self._hub.ask("account", done=self._found, failed=self.refused.emit)

    def _found(self, found: dict[str, Any]) -> None:
        self.endpoint, self.is_offline = str(found["endpoint"]), bool(found["offline"])
        self.role, self.settings = str(found["role"]), list(found["settings"])
        self._show(found["name"])
        self.known.emit()

    def _show(self, name: str) -> None:
        self.name = name
        self.button.setText(f"Log out {name}" if name else "Log in…")

    def _clicked(self) -> None:
        if self.name:
            self._hub.ask("logout", done=lambda _: self._logged_out(), failed=self._banner.show_problem)
        else:
            self.ask_token()

    def ask_token(self) -> None:
        """Opens the box to log in."""
        box = self.box = LoginBox(self._parent, endpoint=self.endpoint)
        box.token_given.connect(self._try)
        box.open()

    def _try(self, token: str) -> None:
        self._hub.ask("login", {"token": token}, done=self._logged_in, failed=self._refused)

    def _refused(self, problem: Problem) -> None:
        if self.box is not None:
            self.box.show_problem(replace(problem, hint=for_window(problem.hint)))

    def _logged_in(self, found: dict[str, Any]) -> None:
        if self.box is not None:
            self.box.accept()
        self._show(found["name"])
        self.changed.emit()
        self._banner.show_message("good", f"Logged in as {found['name']}.", f"The token is in {found['stored']}.")

    def _logged_out(self) -> None:
        self._show("")
        self.left.emit()
        self._banner.show_message("good", "Logged out.", "The stored tokens are gone.")


def for_window(hint: str) -> str:
    """A hint of the command line, for who has buttons."""
    return hint.replace(", then: snug login", ", then log in here").replace(": snug login", " here")
