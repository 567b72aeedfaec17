from __future__ import annotations

from dataclasses import asdict

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFontMetrics
from pytestqt.qtbot import QtBot

from app import theme
from app.theme import DARK, LIGHT, Colors
from app.widgets.memory_bar import MemoryBar
from app.widgets.verdict_chip import CHIPS
from app.window import MainWindow, make_app

GROUNDS = (
    "window",
    "surface",
    "raised",
    "side",
    "hover",
    "selected",
    "accent_soft",
    "no_soft",
    "tight_soft",
    "fits_soft",
)
TEXTS = [(text, ground) for text in ("text", "muted") for ground in GROUNDS]
CHIP_TEXTS = [(chip.color, f"{chip.color}_soft" if chip.color != "muted" else "hover") for chip in CHIPS.values()]
OTHERS = [
    ("on_accent", "accent"),
    ("on_accent", "accent_hover"),
    ("accent", "raised"),
    ("accent", "accent_soft"),
    ("no", "raised"),
]
SHAPES = [("edge", "surface"), ("edge", "window"), ("accent", "surface"), ("accent", "side")]
SHAPES += [(part, "surface") for part in ("weights", "kv", "compute", "overhead")]


def luminance(color: str) -> float:
    parts = QColor(color).redF(), QColor(color).greenF(), QColor(color).blueF()
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colors: Colors, first: str, second: str) -> float:
    """WCAG 2 contrast of two colours of a theme."""
    light, dark = sorted((luminance(getattr(colors, name)) for name in (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_a_contrast_of_four_and_a_half(colors: Colors) -> None:
    low = {pair: contrast(colors, *pair) for pair in [*TEXTS, *CHIP_TEXTS, *OTHERS] if contrast(colors, *pair) < 4.5}
    assert low == {}


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_shapes_and_outlines_have_a_contrast_of_three(colors: Colors) -> None:
    assert {pair: contrast(colors, *pair) for pair in SHAPES if contrast(colors, *pair) < 3.0} == {}


def test_a_system_that_does_not_say_counts_as_light() -> None:
    scheme = Qt.ColorScheme
    chosen = [theme.choose("system", s) for s in (scheme.Unknown, scheme.Light, scheme.Dark)]
    assert chosen == [LIGHT, LIGHT, DARK]
    assert theme.choose("dark", scheme.Light) == DARK


def test_names_of_colours_and_sizes_do_not_clash() -> None:
    assert set(asdict(LIGHT)) & set(asdict(theme.SIZES)) == set()


def test_the_style_sheet_has_no_name_left_over() -> None:
    assert "$" not in theme.style_sheet(LIGHT)


def test_figures_all_have_the_same_width(qtbot: QtBot) -> None:
    make_app([])
    metrics = QFontMetrics(theme.load_fonts())
    assert {metrics.horizontalAdvance(figure * 4) for figure in "0123456789"} == {metrics.horizontalAdvance("0000")}


def test_a_change_of_theme_reaches_what_is_painted_by_hand(window: MainWindow) -> None:
    bar = window.findChild(MemoryBar)
    assert bar is not None
    seen = []
    for name in ("light", "dark"):
        window.side.theme_chosen.emit(name)
        seen.append(theme.colors_of(bar.palette()))
    assert seen == [LIGHT, DARK]
    assert window.settings.theme == "dark"
