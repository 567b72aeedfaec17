"""Logging in and out, in Hugging Face's own store: what `hf auth login` writes, Snug reads, and the other way round."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace

from core.errors import SnugError
from core.hub.connection import Hub, checked_endpoint, connect, hugging_face, stored_token
from core.hub.names import shown
from core.hub.web import get_json

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True, slots=True)
class Account:
    """Who the Hub takes us for. `stored` says where the token is kept; `role` is what it may do, such as read."""

    name: str
    role: str
    organizations: tuple[str, ...]
    stored: str


def whoami(hub: Hub | None = None) -> Account | None:
    """The account that the token belongs to, None without a token. Raises SnugError when the Hub refuses it."""
    hub = hub or connect()
    if hub.token is None:
        return None
    found, _ = get_json(hub, f"{hub.endpoint}/api/whoami-v2", what="your account")
    return _account(found)


def login(token: str) -> Account:
    """Checks `token` with the Hub, then stores it. Raises SnugError when it is not accepted; then nothing is stored."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SnugError("That is no token.", "Copy it whole from your settings on the Hub; it begins with hf_.")
    constants = hugging_face()
    hub = replace(connect(), endpoint=checked_endpoint(constants.ENDPOINT), token=token)
    account = whoami(hub)
    _store(token)
    assert account is not None
    return account


def _store(token: str) -> None:
    from huggingface_hub import login as store

    try:
        store(token=token, add_to_git_credential=False)
    except (OSError, ValueError) as error:
        raise SnugError(
            f"The token cannot be stored in {hugging_face().HF_TOKEN_PATH} ({type(error).__name__}).",
            "Check the folder's permissions, or set HF_TOKEN.",
        ) from None


def logout() -> bool:
    """Removes the stored tokens; False when there were none. Raises SnugError while HF_TOKEN still logs one in."""
    hugging_face()
    from huggingface_hub import get_token
    from huggingface_hub import logout as forget

    had_one = stored_token() is not None
    if had_one:
        # Without git it cannot ask git to forget the token, and with HF_TOKEN set it says so: the files are gone.
        with contextlib.suppress(OSError):
            forget()
    if any(os.environ.get(name) for name in _VARIABLES):
        raise SnugError(
            "The stored tokens are gone, but HF_TOKEN is set and still logs you in.", "Unset HF_TOKEN in your shell."
        )
    if get_token() is not None:
        raise SnugError("The stored token could not be removed.", f"Delete {hugging_face().HF_TOKEN_PATH}.")
    return had_one


def _account(found: object) -> Account:
    values = found if isinstance(found, dict) else {}
    auth = values.get("auth")
    token = auth.get("accessToken") if isinstance(auth, dict) else None
    role = token.get("role") if isinstance(token, dict) else None
    orgs = values.get("orgs")
    names = [org.get("name") for org in orgs if isinstance(org, dict)] if isinstance(orgs, list) else []
    in_environment = any(os.environ.get(name) for name in _VARIABLES)
    return Account(
        name=shown(values.get("name") or "unknown"),
        role=shown(role or "unknown"),
        organizations=tuple(shown(name) for name in names),
        stored="HF_TOKEN" if in_environment else str(hugging_face().HF_TOKEN_PATH),
    )
