"""A model's card as a stranger wrote it: words, and the pictures asked for. Nothing in it runs, links are asked."""

from __future__ import annotations

import base64
from typing import Any

from PySide6.QtCore import QBuffer, QByteArray, QEvent, QIODevice, QSize, QUrl, Signal
from PySide6.QtGui import QImage, QImageReader, QTextDocument
from PySide6.QtWidgets import QTextBrowser

from app.model_card import without_pictures

_WEB = ("http", "https")
_FORMATS = (b"png", b"jpeg", b"gif", b"webp", b"bmp")
MOST_PIXELS = 8_000_000
_IMAGE = QTextDocument.ResourceType.ImageResource


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
        self._pictures: dict[int, QImage] = {}

    def show_card(self, markdown: str) -> None:
        """Words with marks for pictures, as app.model_card makes them; the pictures only come with `add_picture`."""
        self._text = markdown
        self._pictures.clear()
        self._lay_out()
        self.verticalScrollBar().setValue(0)

    def add_picture(self, number: int, data: str) -> bool:
        """Shows a picture, in base64, where the card has its mark; False when it is none that can be shown."""
        edges = 2 * round(self.document().documentMargin()) + self.verticalScrollBar().sizeHint().width()
        image = picture_from(base64.b64decode(data), most_width=self.viewport().width() - edges)
        if image.isNull():
            return False
        self._pictures[number] = image
        self._lay_out()
        return True

    def _lay_out(self) -> None:
        features, bar = QTextDocument.MarkdownFeature, self.verticalScrollBar()
        at, text = bar.value(), without_pictures(self._text, frozenset(self._pictures))
        self.document().setMarkdown(text, features.MarkdownDialectGitHub | features.MarkdownNoHTML)
        bar.setValue(at)

    def changeEvent(self, event: QEvent) -> None:
        """Links have the colour of the theme they were laid out in."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._text:
            self._lay_out()

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        """A picture that has been asked for, and nothing else, neither from the web nor from this disk."""
        scheme, _, number = (name.toString() if isinstance(name, QUrl) else name).partition(":")
        is_picture = kind == _IMAGE.value and scheme == "picture" and number.isascii() and number.isdigit()
        return self._pictures.get(int(number)) if is_picture else None

    def _clicked(self, url: QUrl) -> None:
        if url.scheme() in _WEB:
            self.link_wanted.emit(url.toString())


def picture_from(data: bytes, *, most_width: int) -> QImage:
    """The picture, no wider than that; a null one for what is none, or has too many pixels to be decoded at once."""
    buffer = QBuffer()
    buffer.setData(QByteArray(data))
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    reader = QImageReader(buffer)
    size = reader.size()
    if reader.format().data() not in _FORMATS or not 0 < size.width() * size.height() <= MOST_PIXELS:
        return QImage()
    if size.width() > most_width > 0:
        reader.setScaledSize(QSize(most_width, max(1, size.height() * most_width // size.width())))
    return reader.read()
