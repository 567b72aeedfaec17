"""What the Hub's refusals mean, in words. No address with a signature and no token ever gets into them."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import urlsplit

from core.errors import JobFailed, SnugError
from core.hub.connection import Hub
from core.hub.names import shown

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_PENDING = ("awaiting", "pending", "review")
_REJECTED = ("rejected", "denied", "blocked")
_TOKEN_LACKS = ("fine-grained", "token settings", "permission")


class Interrupted(Exception):
    """A request that may well succeed if it is made again. `wait`: seconds that the server asks for, if it does."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


def offline_error() -> SnugError:
    return SnugError(
        "The Hub is not asked, for HF_HUB_OFFLINE is set.", "Unset HF_HUB_OFFLINE, or use what is in the cache."
    )


def untrusted(url: str) -> SnugError:
    return SnugError(
        f"The certificate of {host_of(url)} is not one that this computer trusts.",
        "If a proxy of your company stands in between, set SSL_CERT_FILE to its certificates.",
    )


def given_up(hub: Hub, reason: str) -> JobFailed:
    """After the last try."""
    return JobFailed(
        f"{host_of(hub.endpoint)} did not give an answer that can be used: {reason}.",
        "Check the connection and try again; what has been downloaded is kept.",
    )


def host_of(url: str) -> str:
    return urlsplit(url).hostname or shown(url)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server wants to be asked again, from Retry-After in either form or RateLimit's t=."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (TypeError, ValueError, OverflowError):
        pass
    for item in headers.get("ratelimit", "").split(";"):
        name, _, number = item.strip().partition("=")
        if name == "t" and number.isascii() and number.isdigit():
            return float(number[:9])
    return None


def refusal(hub: Hub, status: int, headers: Mapping[str, str], *, what: str, repo: str = "") -> SnugError:
    """The error for a status that trying again does not mend. `what` names the thing asked for, `repo` its model."""
    code, said = headers.get("x-error-code", ""), shown(headers.get("x-error-message", ""))
    if code == "GatedRepo":
        return _gated(hub, repo, said.lower())
    if said.startswith("Invalid credentials") or (status == 401 and not repo):
        return SnugError(
            "The Hub does not accept your token.",
            "Log in again with a token from your settings on the Hub: snug login. A token in HF_TOKEN counts first.",
        )
    if code == "RevisionNotFound":
        return SnugError(f"{what} has no such revision.", "Look at the model's page for its branches and tags.")
    if code == "EntryNotFound":
        return SnugError(f"{what} is not there.", "Look at the list of files at the model's page.")
    if code == "RepoNotFound" or status in (401, 404):
        return _not_found(hub, repo or what)
    if status == 403:
        return _no_access(hub, repo or what, said)
    return JobFailed(f"The Hub refused {what} (status {status}{f': {said}' if said else ''}).", "Try again later.")


def _gated(hub: Hub, repo: str, said: str) -> SnugError:
    page = f"{hub.endpoint}/{repo}"
    if hub.token is None:
        return SnugError(
            f"{repo} is for people who are logged in and have accepted its terms; you are not logged in.",
            f"Accept the terms at {page}, make a token at {hub.endpoint}/settings/tokens, then: snug login.",
        )
    if any(word in said for word in (*_PENDING, *_REJECTED, *_TOKEN_LACKS)):
        return _no_access(hub, repo, said)
    return SnugError(
        f"{repo} has terms that you have not accepted yet.", f"Read and accept them at {page}, then try again."
    )


def _no_access(hub: Hub, repo: str, said: str) -> SnugError:
    if any(word in said.lower() for word in _PENDING):
        return SnugError(f"Your request for {repo} waits for its authors.", f"See {hub.endpoint}/{repo}.")
    if any(word in said.lower() for word in _TOKEN_LACKS):
        return SnugError(
            f"Your token may not read {repo}.",
            f"Allow gated repositories for it at {hub.endpoint}/settings/tokens, or use a token of the type Read.",
        )
    return SnugError(f"You have no access to {repo}.", f"Ask its authors at {hub.endpoint}/{repo}.")


def _not_found(hub: Hub, repo: str) -> SnugError:
    if hub.token is None:
        return SnugError(
            f"There is no {repo} on {host_of(hub.endpoint)}, or it is private and you are not logged in.",
            "Check the name, or log in: snug login.",
        )
    return SnugError(
        f"There is no {repo} on {host_of(hub.endpoint)}, or your account has no access to it.",
        "Check the name, or ask its owner for access.",
    )
