"""Logging in to the Hub: a token, and where it is kept."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QLineEdit, QVBoxLayout, QWidget

from app.theme import SIZES
from app.widgets.parts import button, label, row
from app.words import Problem


class LoginBox(QDialog):
    """`token_given` when it is to be checked; `show_problem` says why it was refused, `accept` closes it."""

    token_given = Signal(str)

    def __init__(self, parent: QWidget, *, endpoint: str = "https://huggingface.co") -> None:
        super().__init__(parent)
        self.setWindowTitle("Log in to Hugging Face")
        self.setMinimumWidth(SIZES.least_width // 2)
        self.token = QLineEdit(echoMode=QLineEdit.EchoMode.Password, placeholderText="hf_…")
        self.token.setAccessibleName("Token")
        self.problem = label(role="strong", wrap=True)
        self.problem.hide()
        self.enter = button("Log in", self._give, role="primary")
        self.enter.setDefault(True)
        self.enter.setEnabled(False)
        self.token.textChanged.connect(lambda text: self.enter.setEnabled(bool(text.strip())))
        leave = button("Cancel", self.reject)
        leave.setAutoDefault(False)
        title = label("Token", role="section")
        title.setBuddy(self.token)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIZES.l, SIZES.l, SIZES.l, SIZES.l)
        layout.setSpacing(SIZES.m)
        for words in (
            f"Make a token of the type Read at {endpoint}/settings/tokens and paste it here. Models with terms also "
            "want these accepted once, on the model's own page.",
            "It is kept where all of Hugging Face's tools keep it, readable by you alone, and sent to the Hub only.",
        ):
            layout.addWidget(label(words, role="muted", wrap=True))
        layout.addWidget(title)
        layout.addWidget(self.token)
        layout.addWidget(self.problem)
        layout.addLayout(row(1, leave, self.enter))
        self.token.setFocus()

    def show_problem(self, problem: Problem) -> None:
        self.problem.setText(f"{problem.message} {problem.hint}")
        self.problem.show()
        self.enter.setEnabled(True)
        self.token.setFocus()
        self.token.selectAll()

    def _give(self) -> None:
        self.enter.setEnabled(False)
        self.problem.hide()
        self.token_given.emit(self.token.text())
