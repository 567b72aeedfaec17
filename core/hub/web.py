"""One GET at a time: redirects followed by hand, the token for the Hub alone, every answer held to a limit."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx2

from core.errors import Cancelled, JobFailed
from core.hub.connection import CONNECT_SECONDS, READ_SECONDS, Hub, client
from core.hub.names import shown
from core.hub.problems import TRANSIENT, Interrupted, given_up, host_of, offline_error, refusal, retry_after, untrusted
from core.hub.retries import Retry

MAX_REDIRECTS = 6
MAX_JSON = 48 << 20
TRIES = 4
FIRST_WAIT = 0.3
_PIECE = 1 << 20

T = TypeVar("T")
_PORTS = {"http": 80, "https": 443}


class Opened(NamedTuple):
    """An answer whose body has not been read, and the address that gave it."""

    response: httpx2.Response
    url: str


def origin(url: str) -> tuple[str, str, int]:
    """(scheme, host, port): a token for one origin is for no other."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)


@contextmanager
def opened(
    hub: Hub, url: str, headers: Mapping[str, str] | None = None, *, read_seconds: float = READ_SECONDS
) -> Iterator[Opened]:
    """The answer to a GET, after redirects. Raises Interrupted when the line fails, also while the body is read."""
    if hub.offline:
        raise offline_error()
    timeout = httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS)
    try:
        for _ in range(MAX_REDIRECTS):
            request = client().build_request("GET", url, headers=_headers(hub, url, headers), timeout=timeout)
            response = client().send(request, stream=True)
            try:
                if not response.has_redirect_location:
                    yield Opened(response, url)
                    return
                url = _target(url, response.headers["location"])
            finally:
                response.close()
    except httpx2.TimeoutException as error:
        raise Interrupted(f"{host_of(url)} sent nothing for {read_seconds:.0f} seconds") from error
    except (httpx2.TransportError, httpx2.StreamError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise untrusted(url) from error
        raise Interrupted(f"the connection to {host_of(url)} broke ({type(error).__name__})") from error
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise JobFailed("The Hub names an address that is none.", "Try again later.") from error
    raise JobFailed(f"{host_of(url)} sends Snug from one address to the next without end.", "Try again later.")


def _headers(hub: Hub, url: str, more: Mapping[str, str] | None) -> dict[str, str]:
    headers = dict(more or {})
    if hub.token and origin(url) == origin(hub.endpoint):
        headers["Authorization"] = f"Bearer {hub.token}"
    return headers


def _target(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError as error:
        raise httpx2.InvalidURL(str(error)) from error
    if scheme not in ("http", "https"):
        raise JobFailed(f"{host_of(url)} points to {shown(target, 60)}, which is not on the web.", "Try again later.")
    return target


def get_bytes(hub: Hub, url: str, *, what: str, repo: str = "", most: int = MAX_JSON) -> tuple[bytes, httpx2.Headers]:
    """The whole body of `url`, unpacked, and its headers. Raises SnugError, also when it is larger than `most`."""

    def get() -> tuple[bytes, httpx2.Headers]:
        with opened(hub, url, {"Accept-Encoding": "gzip"}) as (response, _):
            check_status(hub, response, what=what, repo=repo)
            return _body(response, most=most, what=what), response.headers

    return with_retries(hub, get)


def get_json(hub: Hub, url: str, *, what: str, repo: str = "") -> tuple[Any, httpx2.Headers]:
    """The JSON at `url`, and the headers that came with it."""
    data, headers = get_bytes(hub, url, what=what, repo=repo)
    try:
        return json.loads(data), headers
    except (ValueError, RecursionError) as error:
        raise JobFailed(
            f"What {host_of(url)} sent for {what} is no JSON.", "Try again later; check HF_ENDPOINT if you have set it."
        ) from error


def check_status(hub: Hub, response: httpx2.Response, *, what: str, repo: str = "") -> None:
    """Raises Interrupted or SnugError unless the status is one of success."""
    status = response.status_code
    if 200 <= status < 300:
        return
    if status in TRANSIENT:
        reason = "too many requests" if status == 429 else f"status {status}"
        raise Interrupted(reason, retry_after(response.headers))
    raise refusal(hub, status, response.headers, what=what, repo=repo)


def _body(response: httpx2.Response, *, most: int, what: str) -> bytes:
    """The body, never more than `most` bytes of it in memory however well it is packed."""
    kind = response.headers.get("content-encoding", "identity").strip().lower()
    if kind not in ("identity", "gzip", ""):
        raise JobFailed(f"{what} came packed as {shown(kind, 20)}, which was not asked for.", "Try again later.")
    unpack = zlib.decompressobj(31) if kind == "gzip" else None
    data = bytearray()
    try:
        for piece in response.iter_raw(_PIECE):
            while piece:
                data += unpack.decompress(piece, most + 1 - len(data)) if unpack else piece
                piece = unpack.unconsumed_tail if unpack and len(data) <= most else b""
            if len(data) > most:
                raise JobFailed(
                    f"{what} is larger than the {most >> 20} MiB that Snug reads of such a thing.",
                    "It is no ordinary model; open its page in a browser.",
                )
    except zlib.error as error:
        raise Interrupted("the answer was damaged") from error
    if unpack and not unpack.eof:
        raise Interrupted("the answer was cut short")
    return bytes(data)


def with_retries(hub: Hub, get: Callable[[], T], *, cancelled: Callable[[], bool] = lambda: False) -> T:
    """What `get` gives, tried again while it is Interrupted. Raises JobFailed after the last try."""
    for left in reversed(range(TRIES)):
        try:
            return get()
        except Interrupted as error:
            wait = FIRST_WAIT * 2 ** (TRIES - left - 1) if error.wait is None else error.wait
            if not left or wait > READ_SECONDS:
                raise busy(error) if error.reason == "too many requests" else given_up(hub, error.reason) from error
            hub.retrying(Retry(error.reason, wait, TRIES - left + 1, TRIES))
            pause(wait, cancelled)
    raise AssertionError


def busy(error: Interrupted) -> JobFailed:
    when = f"in {error.wait:.0f} seconds" if error.wait else "in a few minutes"
    return JobFailed(
        "The Hub has had too many requests from here and asks for a pause.",
        f"Try again {when}. Those who are logged in may ask more often.",
    )


def pause(seconds: float, cancelled: Callable[[], bool]) -> None:
    """Waits; raises Cancelled as soon as that is wished."""
    until = time.monotonic() + seconds
    while True:
        if cancelled():
            raise Cancelled
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.1))
