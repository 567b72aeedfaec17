"""What shall become of the work when the window closes: asked in a box, for once, because the page goes away."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QPushButton, QWidget

from app.job_queue import Closing

CHOICES = (
    (Closing.PAUSE, "Pause", "Pausing keeps what is done; the next start of Snug goes on from there."),
    (Closing.DETACH, "Go on without the window", "Going on, the work ends by itself, and the next start shows it."),
    (Closing.CANCEL, "Cancel the work", "Cancelling throws away what is done."),
)
MOST_NAMES = 6


class ClosingBox(QMessageBox):
    """`chosen` is what the user wants, or None: to stay."""

    def __init__(self, parent: QWidget, names: Sequence[str]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Snug is still working")
        self.setTextFormat(Qt.TextFormat.PlainText)
        more = f"\nand {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        self.setText("What shall become of this work?\n\n" + "\n".join(names[:MOST_NAMES]) + more)
        self.setInformativeText("\n".join(sentence for _, _, sentence in CHOICES))
        self.choices: dict[Closing, QPushButton] = {}
        for closing, word, sentence in CHOICES:
            role = self.ButtonRole.DestructiveRole if closing == Closing.CANCEL else self.ButtonRole.AcceptRole
            self.choices[closing] = self.addButton(word, role)
            self.choices[closing].setToolTip(sentence)
        self.stay = self.addButton("Stay here", self.ButtonRole.RejectRole)
        self.setDefaultButton(self.choices[Closing.PAUSE])
        self.setEscapeButton(self.stay)

    @property
    def chosen(self) -> Closing | None:
        return next((closing for closing, button in self.choices.items() if button is self.clickedButton()), None)


def ask_closing(parent: QWidget, names: Sequence[str]) -> Closing | None:
    """Asks until it is answered; None: the window stays open."""
    box = ClosingBox(parent, names)
    box.exec()
    chosen = box.chosen
    box.deleteLater()
    return chosen
