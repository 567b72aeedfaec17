"""One part of the machine as a card: its name, the figure that matters, how full it is, and the facts."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QProgressBar, QSizePolicy, QVBoxLayout

from app.machine_cards import CardContent
from app.theme import SIZES
from app.widgets.facts import Facts
from app.widgets.parts import Elided, label, row

_STEPS = 1000


class MachineCard(QFrame):
    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._title, self._name = label(role="small"), Elided(role="section")
        self._pill = label(role="pill")
        self._figure, self._caption = label(role="figure"), label(role="muted")
        self._bar = QProgressBar(textVisible=False, maximum=_STEPS)
        self._facts, self._note = Facts(), label(role="muted", wrap=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.l, SIZES.m, SIZES.l, SIZES.l)
        layout.setSpacing(SIZES.s)
        layout.addLayout(row(self._title, 1, self._pill))
        layout.addWidget(self._name)
        self._line = row(self._figure, self._caption, 1)
        self._line.setAlignment(self._caption, Qt.AlignmentFlag.AlignBottom)
        layout.addLayout(self._line)
        layout.addWidget(self._bar)
        layout.addWidget(self._facts)
        layout.addWidget(self._note)
        layout.addStretch()

    def show_content(self, content: CardContent) -> None:
        self._content = content
        self._title.setText(content.title)
        self._name.show_text(content.name)
        if content.name_tip:
            self._name.setToolTip(f"{content.name}\n{content.name_tip}")
        self._pill.setText(content.pill)
        self._pill.setVisible(bool(content.pill))
        self._figure.setText(content.figure)
        self._caption.setText(content.caption)
        for widget in (self._figure, self._caption):
            widget.setVisible(bool(content.figure))
            widget.setToolTip(content.tip)
        self._bar.setVisible(content.total > 0)
        self._bar.setValue(round(_STEPS * content.used / content.total) if content.total else 0)
        self._bar.setAccessibleName(f"{content.title}: {content.figure} {content.caption}")
        self._note.setText(content.note)
        self._note.setVisible(bool(content.note))
        self._facts.setVisible(bool(content.facts))
        self._facts.show_facts(content.facts, dict(content.tips))
        self.setAccessibleName(f"{content.title}: {content.name}, {content.figure} {content.caption}")

    def as_text(self) -> str:
        content = self._content
        given = f" ({content.pill.lower()})" if content.pill else ""
        lines = [f"{content.title}: {content.name}{given}", f"{content.figure} {content.caption}".strip()]
        return "\n".join(filter(None, [*lines, *(f"{name}: {value}" for name, value in content.facts), content.note]))
