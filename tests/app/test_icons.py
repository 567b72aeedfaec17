from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtGui import QIcon, QPixmap
from pytestqt.qtbot import QtBot

from app import theme
from app.icons import app_icon, icon
from app.window import make_app

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "resources" / "icons").glob("*.svg"))


def colors_in(pixmap: QPixmap) -> set[str]:
    image = pixmap.toImage()
    points = [(x, y) for x in range(image.width()) for y in range(image.height())]
    return {image.pixelColor(x, y).name() for x, y in points if image.pixelColor(x, y).alpha() == 255}


def test_every_icon_is_used_and_every_used_one_is_there() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    code += (ROOT / "resources" / "styles" / "snug.qss").read_text()
    unused = [file.stem for file in FILES if f'"{file.stem}"' not in code and f"{file.name}" not in code]
    glyphs = set(re.findall(r'glyph="(\w+)"', code))
    assert unused == []
    assert glyphs <= {file.stem for file in FILES}


def test_an_icon_takes_the_colour_of_the_theme(qtbot: QtBot) -> None:
    app, glyph = make_app([]), icon("stop")
    for name, colors in (("light", theme.LIGHT), ("dark", theme.DARK)):
        theme.apply(app, name)
        assert colors.text in colors_in(glyph.pixmap(32, 32))
        assert colors.accent in colors_in(glyph.pixmap(32, 32, QIcon.Mode.Normal, QIcon.State.On))


def test_the_icon_of_the_application_keeps_its_own_colours(qtbot: QtBot) -> None:
    make_app([])
    assert "#2459c9" in colors_in(app_icon().pixmap(64, 64))
