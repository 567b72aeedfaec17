"""A download under way: how far, how fast, how long still; pause and cancel."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QProgressBar, QVBoxLayout

from app import words
from app.theme import SIZES
from app.widgets.parts import Elided, button, label, row

_STEPS = 1000
_STAGES = {"download": "Downloading", "check": "Checking", "paused": "Paused"}


class DownloadPanel(QFrame):
    """Hidden while nothing is downloaded."""

    pause_wanted = Signal(bool)
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.heading = Elided(role="section")
        self.bar = QProgressBar(textVisible=False, maximum=_STEPS)
        self.bar.setAccessibleName("Progress of the download")
        self.amount, self.pace = label(role="muted"), label(role="muted")
        self.pause = button("Pause", self._pause)
        self.cancel = button("Cancel", self.cancel_wanted.emit, glyph="stop")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        layout.setSpacing(SIZES.xs)
        head = row(self.pause, self.cancel)
        head.insertWidget(0, self.heading, 1)
        layout.addLayout(head)
        layout.addWidget(self.bar)
        layout.addLayout(row(self.amount, 1, self.pace))
        self.hide()

    def start(self, name: str) -> None:
        self._name, self._is_paused = name, False
        self.pause.setText("Pause")
        self.pause.setEnabled(True)
        self.cancel.setEnabled(True)
        self.bar.setMaximum(0)
        self.heading.show_text(f"Downloading {name}")
        self.amount.setText("Looking at what is there already")
        self.pace.setText("")
        self.show()

    def show_event(self, event: dict[str, Any]) -> None:
        """A progress or a note, as core.to_json makes it."""
        if event["event"] == "note":
            self.amount.setText(event["text"])
            return
        if event["event"] != "progress" or not self.cancel.isEnabled():
            return
        done, total = event["bytes_done"], event["bytes_total"]
        self.heading.show_text(f"{_STAGES.get(event['stage'], 'Downloading')} {self._name}")
        self.bar.setMaximum(_STEPS)
        self.bar.setValue(round(_STEPS * done / total) if total else 0)
        files = f"file {min(event['tensors_done'] + 1, event['tensors_total'])} of {event['tensors_total']}"
        self.amount.setText(f"{words.size(done)} of {words.size(total)}, {files}")
        left = words.about(event["eta"])
        moving = event["stage"] == "download"
        self.pace.setText(
            " · ".join(filter(None, [words.rate(event["rate"]), left and f"{left} left"])) if moving else ""
        )
        self.bar.setAccessibleDescription(f"{self.amount.text()}, {self.pace.text()}")

    def show_stopping(self) -> None:
        self.heading.show_text(f"Stopping {self._name}")
        self.pause.setEnabled(False)
        self.cancel.setEnabled(False)

    def _pause(self) -> None:
        self._is_paused = not self._is_paused
        self.pause.setText("Go on" if self._is_paused else "Pause")
        self.pause_wanted.emit(self._is_paused)
