"""Starts the window, or says in a sentence why there can be none: Qt itself would only abort."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

OTHERWISE = "Without a window, Snug works from the command line: snug --help"
_ALWAYS = "libgl1 libegl1 libglib2.0-0 libdbus-1-3 libfontconfig1 libxkbcommon0"
_X11 = "libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0"
_X11_LIBRARIES = (
    "libxcb-cursor.so.0",
    "libxcb-icccm.so.4",
    "libxcb-keysyms.so.1",
    "libxcb-shape.so.0",
    "libxkbcommon-x11.so.0",
)


def run_window() -> int:
    """Shows the window until it is closed; returns the exit code."""
    if problem := display_problem(os.environ, sys.platform) or x11_problem(os.environ, sys.platform):
        print(f"{problem}\n{OTHERWISE}", file=sys.stderr)
        return 1
    try:
        from app.window import show_window
    except ImportError as error:
        if "PySide6" not in str(error) and ".so" not in str(error):
            raise
        print(f"{library_problem(error)}\n{OTHERWISE}", file=sys.stderr)
        return 1
    return show_window()


def display_problem(environ: Mapping[str, str], platform: str) -> str:
    """Why no window can open on this system, or an empty string."""
    if platform != "linux" or any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")):
        return ""
    return "No display was found: neither DISPLAY nor WAYLAND_DISPLAY is set, so there is nowhere to show a window."


def x11_problem(environ: Mapping[str, str], platform: str) -> str:
    """Why Qt would abort on X11: a library that it needs is missing, or there is no server."""
    if platform != "linux" or environ.get("QT_QPA_PLATFORM", "xcb") != "xcb" or not environ.get("DISPLAY"):
        return ""
    if environ.get("WAYLAND_DISPLAY") and not environ.get("QT_QPA_PLATFORM"):
        return ""
    import ctypes

    for name in _X11_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            return f"A library for windows on X11 is missing ({name}). On Debian and Ubuntu:\n  apt install {_X11}"
    return "" if _x11_answers() else f"The display {environ['DISPLAY']} does not answer."


def _x11_answers() -> bool:
    """Whether an X server takes connections at $DISPLAY."""
    import ctypes

    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    answers = bool(xcb.xcb_connection_has_error(connection) == 0)
    xcb.xcb_disconnect(connection)
    return answers


def library_problem(error: ImportError) -> str:
    """What to install when Qt cannot be loaded."""
    if isinstance(error, ModuleNotFoundError):
        return f"Qt for Python is not installed ({error}). Install it:\n  pip install PySide6-Essentials"
    return (
        f"Qt could not be loaded ({error}). On Debian and Ubuntu:\n"
        f"  apt install {_ALWAYS}\nand for a window on X11 also:\n  apt install {_X11}"
    )
