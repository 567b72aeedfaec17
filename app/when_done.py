"""What happens when the last job is over: nothing, sleep, or the end of the program, each after a time to say no."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from app.widgets.banner import Banner
from app.widgets.parts import button

WAIT_SECONDS = 30
_WORDS = {"sleep": "This machine goes to sleep", "quit": "Snug closes"}


class WhenDone(QObject):
    """`choice` is nothing, sleep or quit; it holds once."""

    def __init__(
        self, banner: Banner, actions: dict[str, Callable[[], object]], *, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._banner, self._actions = banner, actions
        self.choice = "nothing"
        self._left = 0
        self._timer = QTimer(self, interval=1000)
        self._timer.timeout.connect(self._tick)

    @property
    def is_counting(self) -> bool:
        return self._timer.isActive()

    def choose(self, choice: str) -> None:
        self.choice = choice
        self.stop()

    def begin(self) -> None:
        """All is done: counts down, if anything is to happen."""
        if self.choice in self._actions and not self.is_counting:
            self._left = WAIT_SECONDS
            self._timer.start()
            self._show()

    def stop(self) -> None:
        """Not now: there is more to do, or the user says so."""
        if self.is_counting:
            self._timer.stop()
            self._banner.hide()

    def _show(self) -> None:
        self._banner.show_message(
            "info",
            f"All is done. {_WORDS[self.choice]} in {self._left} s.",
            "",
            button("Not now", self.stop, role="primary"),
        )

    def _tick(self) -> None:
        self._left -= 1
        if self._left > 0:
            self._show()
            return
        self.stop()
        self._actions[self.choice]()
