"""A question on the page instead of a box in the way: a banner with two buttons, the harmless one in focus."""

from __future__ import annotations

from collections.abc import Callable

from app.widgets.banner import Banner
from app.widgets.parts import button


def ask(banner: Banner, message: str, hint: str, *, yes: str, no: str, then: Callable[[], object]) -> None:
    """Does `then` when the user says `yes`; Escape, the cross and `no` all leave things as they are."""

    def agreed() -> None:
        banner.dismiss()
        then()

    keep = button(no, banner.dismiss)
    banner.show_message("warning", message, hint, keep, button(yes, agreed, role="danger"))
    keep.setFocus()
