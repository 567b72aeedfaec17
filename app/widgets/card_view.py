"""A model's card as a stranger wrote it: words alone. Nothing is fetched, nothing in it runs, links are asked."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QUrl, Signal
from PySide6.QtGui import QTextDocument
from PySide6.QtWidgets import QTextBrowser

_WEB = ("http", "https")


class CardView(QTextBrowser):
    """`link_wanted` carries an address on the web that was clicked; other links do nothing."""

    link_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("The model's card")
        self.setOpenLinks(False)
        self.setTabChangesFocus(True)
        self.anchorClicked.connect(self._clicked)
        self._text = ""

    def show_card(self, markdown: str) -> None:
        self._text = markdown
        features = QTextDocument.MarkdownFeature
        self.document().setMarkdown(markdown, features.MarkdownDialectGitHub | features.MarkdownNoHTML)
        self.verticalScrollBar().setValue(0)

    def changeEvent(self, event: QEvent) -> None:
        """Links have the colour of the theme they were laid out in."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._text:
            self.show_card(self._text)

    def loadResource(self, _kind: int, _name: QUrl | str) -> Any:
        """Nothing: no picture, no style sheet, neither from the web nor from this disk."""
        return None

    def _clicked(self, url: QUrl) -> None:
        if url.scheme() in _WEB:
            self.link_wanted.emit(url.toString())
