"""Make a file here, or download one that somebody has made: the bytes of each way, and how long they take."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app import words
from app.tables.hub_columns import Values
from app.theme import SIZES
from app.widgets.facts import Fact, Facts
from app.widgets.parts import button, label, row

_UNKNOWN = "How long that takes is known once the line has been measured, or after a download."


class MakeOrDownload(QWidget):
    """`measure_wanted`: how fast the line is, is not known and somebody wants to know."""

    measure_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.facts, self.note = Facts(), label(role="muted", wrap=True)
        self.measure = button("Measure the line", self._ask, tip="Reads some of the weights for three seconds")
        said = row(self.note, self.measure)
        said.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addWidget(self.facts)
        layout.addLayout(said)
        self.show_ways([], rate=0.0)

    def show_ways(self, facts: list[Fact], *, rate: float) -> None:
        """`rate`: bytes a second of the line, 0 while that is not known."""
        self.facts.show_facts(facts)
        self.note.setText(f"By a line of {words.rate(rate)}, as last measured." if rate else _UNKNOWN)
        self.note.setVisible(bool(facts))
        self.measure.setVisible(bool(facts))
        self.measure.setText("Measure again" if rate else "Measure the line")
        self.measure.setEnabled(True)

    def show_trouble(self, text: str) -> None:
        self.note.setText(text)
        self.measure.setEnabled(True)

    def _ask(self) -> None:
        self.measure.setEnabled(False)
        self.note.setText("Measuring.")
        self.measure_wanted.emit()


def ways_of(
    details: Values, options: list[Values], ggufs: list[Values] | None, *, rate: float, makeable: bool = True
) -> list[Fact]:
    """Each way in words. `ggufs`: files that are there already, None while that is not known."""
    facts: list[Fact] = []
    best = next((item for item in options if item["recommended"]), None)
    if makeable and details.get("wanted_bytes") and not details["refusal"]:
        made = f", makes a file of {words.size(best['size'])} ({best['level']})" if best else ""
        facts.append(("Make it here", f"fetches {fetching(details['wanted_bytes'], rate)}{made}"))
    if ggufs:
        same = [item for item in ggufs if best and item["label"] == best["level"]]
        item = same[0] if same else ggufs[0]
        facts.append(("Download a GGUF", f"fetches {fetching(item['size'], rate)} ({item['label']}, {item['repo']})"))
    elif ggufs is not None and details:
        facts.append(("Download a GGUF", "nobody has published one that names this model"))
    return facts


def fetching(size: int, rate: float) -> str:
    """Bytes, and how long they take."""
    return f"{words.size(size)} in {words.about(size / rate)}" if rate else words.size(size)
