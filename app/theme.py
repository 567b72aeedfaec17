"""Colours and sizes, once: two tables of colours, one of sizes, and the palette, style sheet and font made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from string import Template

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication

RESOURCES = Path(__file__).resolve().parent.parent / "resources"


@dataclass(frozen=True, slots=True)
class Colors:
    """One look. A name says what a colour is for; `x_soft` is the ground that text of colour x stands on."""

    window: str
    surface: str
    raised: str
    side: str
    line: str
    edge: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    accent_soft: str
    on_accent: str
    hover: str
    selected: str
    fits: str
    fits_soft: str
    tight: str
    tight_soft: str
    splits: str
    splits_soft: str
    no: str
    no_soft: str
    weights: str
    kv: str
    compute: str
    overhead: str
    free: str


LIGHT = Colors(
    window="#f5f6f8",
    surface="#ffffff",
    raised="#ffffff",
    side="#e9ecf1",
    line="#dde1e8",
    edge="#868f9e",
    text="#191c22",
    muted="#545d6b",
    accent="#2459c9",
    accent_hover="#1c4aab",
    accent_soft="#e5edfc",
    on_accent="#ffffff",
    hover="#eef1f5",
    selected="#dfe9fc",
    fits="#14713a",
    fits_soft="#dff3e6",
    tight="#825100",
    tight_soft="#fcefd0",
    splits="#6a3ab2",
    splits_soft="#eee6fb",
    no="#b0241c",
    no_soft="#fde7e5",
    weights="#2f66d6",
    kv="#12837a",
    compute="#b0690a",
    overhead="#8a56c4",
    free="#e4e8ee",
)
DARK = Colors(
    window="#15171c",
    surface="#1d2027",
    raised="#272b34",
    side="#101216",
    line="#30353f",
    edge="#79828f",
    text="#e9ebef",
    muted="#a6aebb",
    accent="#86aefc",
    accent_hover="#a5c3ff",
    accent_soft="#212d47",
    on_accent="#0d1526",
    hover="#252932",
    selected="#26365a",
    fits="#6fd497",
    fits_soft="#173223",
    tight="#efbd59",
    tight_soft="#382b10",
    splits="#c4a3f7",
    splits_soft="#2e2444",
    no="#ff9189",
    no_soft="#421e1c",
    weights="#6b98f5",
    kv="#3fbfae",
    compute="#e0a344",
    overhead="#b892ec",
    free="#333945",
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths in device-independent pixels."""

    xs: int = 4
    s: int = 8
    m: int = 12
    l: int = 16  # noqa: E741
    xl: int = 24
    small: int = 12
    body: int = 13
    large: int = 15
    heading: int = 20
    title: int = 28
    radius: int = 6
    ring: int = 2
    control: int = 32
    row: int = 34
    icon: int = 18
    tick: int = 14
    logo: int = 28
    side_width: int = 168
    bar: int = 18
    thin_bar: int = 8
    window_width: int = 1120
    window_height: int = 720
    least_width: int = 760
    least_height: int = 560


SIZES = Sizes()
FAMILY = "Inter"


def colors_of(palette: QPalette) -> Colors:
    """The table that `palette` was made from. Told by the colour of links, which no style sheet touches."""
    return DARK if palette.color(QPalette.ColorRole.Link).name() == DARK.accent else LIGHT


def choose(setting: str, scheme: Qt.ColorScheme) -> Colors:
    """The look for the setting system, light or dark; a system that does not say counts as light."""
    if setting == "system":
        return DARK if scheme == Qt.ColorScheme.Dark else LIGHT
    return DARK if setting == "dark" else LIGHT


def palette_of(colors: Colors) -> QPalette:
    """The palette that Fusion draws its own controls with."""
    role, group = QPalette.ColorRole, QPalette.ColorGroup
    table = {
        role.Window: colors.window,
        role.WindowText: colors.text,
        role.Base: colors.surface,
        role.AlternateBase: colors.hover,
        role.Text: colors.text,
        role.PlaceholderText: colors.muted,
        role.Button: colors.raised,
        role.ButtonText: colors.text,
        role.BrightText: colors.no,
        role.Highlight: colors.selected,
        role.HighlightedText: colors.text,
        role.ToolTipBase: colors.raised,
        role.ToolTipText: colors.text,
        role.Link: colors.accent,
        role.LinkVisited: colors.accent,
        role.Accent: colors.accent,
        role.Light: colors.raised,
        role.Midlight: colors.line,
        role.Mid: colors.edge,
        role.Dark: colors.edge,
    }
    palette = QPalette()
    for name, value in table.items():
        palette.setColor(name, QColor(value))
    for name in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(group.Disabled, name, QColor(colors.edge))
    return palette


def style_sheet(colors: Colors) -> str:
    """The style sheet with every name replaced by its value."""
    icons = (RESOURCES / "icons").as_posix()
    return _template().substitute({**asdict(colors), **asdict(SIZES), "icons": icons})


@cache
def _template() -> Template:
    return Template((RESOURCES / "styles" / "snug.qss").read_text(encoding="utf-8"))


def load_fonts() -> QFont:
    """Inter with figures of one width at the size of the body; the system's own font where Inter cannot be loaded."""
    loaded = [QFontDatabase.addApplicationFont(str(path)) for path in sorted((RESOURCES / "fonts").glob("*.ttf"))]
    font = QFont(FAMILY) if loaded and min(loaded) >= 0 else QFont()
    font.setPixelSize(SIZES.body)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def apply(app: QApplication, setting: str) -> Colors:
    """Gives the whole application the look that `setting` asks for."""
    colors = choose(setting, app.styleHints().colorScheme())
    style = style_sheet(colors)
    if app.styleSheet() != style:  # to take it anew costs every widget there is its polish
        app.setPalette(palette_of(colors))
        app.setStyleSheet(style)
    return colors
