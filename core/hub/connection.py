"""Which Hub, as whom, and into which cache: as Hugging Face's own tools decide it.

HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN count as huggingface_hub reads them; proxies by
HTTPS_PROXY, HTTP_PROXY and NO_PROXY; own certificates by SSL_CERT_FILE, SSL_CERT_DIR or REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from core.errors import SnugError
from core.hub.names import shown
from core.hub.retries import Retry, unheard

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_CACHES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Hub:
    """A Hub to talk to. The token is never shown, and sent to `endpoint` alone. `retrying` hears, from any thread, of
    each try that is made again.
    """

    endpoint: str
    cache: Path
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    retrying: Callable[[Retry], None] = field(default=unheard, repr=False, compare=False)


def hugging_face() -> Any:
    """huggingface_hub.constants, with telemetry off."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants

    return constants


def connect() -> Hub:
    """The Hub of the environment, with the token of Hugging Face's own store. SnugError if that is unreadable."""
    constants = hugging_face()
    return Hub(
        endpoint=checked_endpoint(constants.ENDPOINT),
        cache=Path(constants.HF_HUB_CACHE),
        token=stored_token(),
        offline=bool(constants.is_offline_mode()),
    )


def checked_endpoint(url: str) -> str:
    """`url` without a slash at its end. Raises SnugError unless it is an address on the web."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SnugError(f"HF_ENDPOINT is {shown(url)}, which is no web address.", "Set it to https://huggingface.co.")
    return url.rstrip("/")


def stored_token() -> str | None:
    """The token that Hugging Face's tools would use: HF_TOKEN, or what a login stored."""
    hugging_face()
    from huggingface_hub import get_token

    try:
        return get_token()
    except (OSError, ValueError) as error:
        raise SnugError(
            f"The stored token of the Hub cannot be read ({type(error).__name__}).",
            "Log in again: snug login. Or set HF_TOKEN.",
        ) from None


@dataclass(frozen=True, slots=True)
class HubSetting:
    """One thing that decides how the Hub is reached; `variable` is what sets it, "" for what is so by itself."""

    name: str
    value: str
    variable: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.variable})" if self.variable else self.value


def hub_settings(hub: Hub) -> list[HubSetting]:
    """All that decides how the Hub is reached; no token and no password in it."""
    constants = hugging_face()
    token = _first_set(_TOKENS)
    where = "given" if token else f"stored in {constants.HF_TOKEN_PATH}"
    proxy, none, trusted = _first_set(_PROXIES), _first_set(("NO_PROXY", "no_proxy")), _first_set(_CERTIFICATES)
    offline = next((name for name in _OFFLINE if os.environ.get(name)), "")
    return [
        HubSetting("Hub", hub.endpoint, _first_set(("HF_ENDPOINT",))),
        HubSetting("Cache", str(hub.cache), _first_set(_CACHES)),
        HubSetting("Offline", "yes" if hub.offline else "no", offline if hub.offline else ""),
        HubSetting("Token", where if hub.token else "none", token if hub.token else ""),
        HubSetting("Proxy", without_password(os.environ[proxy]) if proxy else "none", proxy),
        *([HubSetting("No proxy for", os.environ[none], none)] if none else []),
        HubSetting("Certificates", os.environ[trusted] if trusted else "those that are usual", trusted),
        HubSetting("Telemetry", "off"),
    ]


def hub_facts(hub: Hub) -> list[tuple[str, str]]:
    """(name, value) of the same."""
    return [(setting.name, str(setting)) for setting in hub_settings(hub)]


def _first_set(names: tuple[str, ...]) -> str:
    """The first of these variables that is set."""
    return next((name for name in names if os.environ.get(name)), "")


def without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) if parts.netloc else url.rpartition("@")[2]


class _Shared:
    """The one client of this process; made on first use."""

    lock = threading.Lock()
    client: httpx2.Client | None = None


def client() -> httpx2.Client:
    """The process's client: keeps connections open, follows no redirect, keeps no cookie."""
    with _Shared.lock:
        if _Shared.client is None:
            _Shared.client = _make_client()
        return _Shared.client


def _make_client() -> httpx2.Client:
    return httpx2.Client(
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=64, max_keepalive_connections=16),
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": f"snug/{_version()}", "Accept-Encoding": "identity"},
        verify=_certificates(),
    )


def _version() -> str:
    try:
        return metadata.version("snug")
    except metadata.PackageNotFoundError:
        return "0"


def _certificates() -> ssl.SSLContext | bool:
    """Those of REQUESTS_CA_BUNDLE where only that is set, which the HTTP library does not read by itself."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return True
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not bundle:
        return True
    try:
        folder = os.path.isdir(bundle)
        return ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
    except OSError as error:
        raise SnugError(
            f"The certificates in {bundle} cannot be read.", "Correct REQUESTS_CA_BUNDLE, or unset it."
        ) from error


def close_connections() -> None:
    """Closes what is kept open; the next request opens anew."""
    with _Shared.lock:
        if _Shared.client is not None:
            _Shared.client.close()
        _Shared.client = None
