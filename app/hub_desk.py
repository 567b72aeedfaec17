"""The process that asks the Hub for the window: requests come in as JSON lines, answers go out as JSON lines.

In: {"id": 1, "ask": "search", "with": {...}}, or {"id": 1, "say": "cancel"} about an earlier one.
Out: {"id": 1, "event": {...}} any number of times, for pictures, then {"id": 1, "answer": ...} or
{"id": 1, "problem": {"message", "hint"}}. When stdin closes, nobody asks any more, and the process ends.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TextIO

import core
from app import words
from app.model_card import read_model_card

PAGE_ROWS = 20
GLANCES = 6
MOST_FILES = 500
_MACHINE_SECONDS = 15.0


@dataclass
class Request:
    """One thing asked; `stop`: nobody wants to know any more."""

    id: int
    values: dict[str, Any]
    stop: threading.Event = field(default_factory=threading.Event)


class Desk:
    def __init__(self, out: TextIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._open: dict[int, Request] = {}
        self._pool = ThreadPoolExecutor(GLANCES, thread_name_prefix="glance")
        self._found: tuple[int, Iterator[core.Repo]] = (0, iter(()))
        self._machine: tuple[float, core.Hardware | None] = (0.0, None)
        self._machine_lock = threading.Lock()

    def take(self, line: str) -> None:
        """One line of stdin."""
        said = json.loads(line)
        if "say" in said:
            self._cancel(said["id"])
            return
        request = Request(said["id"], said.get("with") or {})
        self._open[request.id] = request
        work = partial(self._answer, request, ACTIONS[said["ask"]])
        if said["ask"] == "glance":
            self._pool.submit(work)
        else:
            threading.Thread(target=work, daemon=True).start()

    def _cancel(self, id: int) -> None:
        if (request := self._open.get(id)) is not None:
            request.stop.set()

    def _answer(self, request: Request, action: Callable[[Desk, Request], Any]) -> None:
        try:
            if not request.stop.is_set():
                self.send(request.id, answer=action(self, request))
        except Exception as error:
            problem = words.problem(error)
            print(problem.details, file=sys.stderr, end="")
            self.send(request.id, problem={"message": problem.message, "hint": problem.hint})
        finally:
            self._open.pop(request.id, None)

    def send(self, id: int, **said: Any) -> None:
        with self._lock:
            self._out.write(json.dumps({"id": id, **said}) + "\n")
            self._out.flush()

    # What can be asked

    def search(self, request: Request) -> dict[str, Any]:
        filters = core.Filters(**request.values["filters"])
        self._found = (request.id, core.search_models(filters, sort=request.values["sort"]))
        return self._page(request.id)

    def more(self, request: Request) -> dict[str, Any]:
        return self._page(request.values["of"])

    def _page(self, of: int) -> dict[str, Any]:
        id, rows = self._found
        page = [asdict(row) for row in islice(rows, PAGE_ROWS)] if id == of else []
        return {"of": of, "rows": page, "more": len(page) == PAGE_ROWS}

    def glance(self, request: Request) -> dict[str, Any]:
        source = core.hub_source(request.values["source"])
        return asdict(core.glance_at(source, self.machine(request), wish=wish_of(request.values)))

    def model(self, request: Request) -> dict[str, Any]:
        """Files, GGUF files, and what a download of Snug's choice would take."""
        info = core.repo_info(request.values["source"])
        try:
            wanted, refusal = core.wanted_files(info), ""
        except core.SnugError as error:
            wanted, refusal = [], error.message
        names = {file.name for file in wanted}
        return {
            "row": asdict(info.row),
            "commit": info.commit,
            "files": [{"name": f.name, "size": f.size, "wanted": f.name in names} for f in info.files[:MOST_FILES]],
            "file_count": len(info.files),
            "wanted_bytes": sum(file.size for file in wanted),
            "refusal": refusal,
            "choices": [choice_values(info.id, choice) for choice in core.gguf_choices(info)],
        }

    def card(self, request: Request) -> dict[str, Any]:
        """The card in words, and which of its pictures are files of the model."""
        info, hub = core.repo_info(request.values["source"]), core.connect()
        own = partial(core.picture_of, info, endpoint=hub.endpoint)
        return asdict(read_model_card(core.card_text(info), own))

    def pictures(self, request: Request) -> dict[str, Any]:
        """The pictures of a card, an event each; how many could not be had."""
        info, missing = core.repo_info(request.values["source"]), 0
        for number, name in enumerate(request.values["names"]):
            if request.stop.is_set():
                break
            try:
                data = core.picture_bytes(info, name)
            except core.SnugError:
                missing += 1
                continue
            self.send(request.id, event={"number": number, "data": base64.b64encode(data).decode()})
        return {"missing": missing}

    def check(self, request: Request) -> dict[str, Any]:
        """What `snug check` says, and every level with its verdict; no more than that of a known one out of reach."""
        source, wish = request.values["source"], wish_of(request.values)
        check = None
        try:
            model = core.open_to_check(f"hub:{source}")
            check = asdict(core.check_of(model))
        except core.SnugError as error:
            known = core.known_model(source)
            is_away = isinstance(error, core.JobFailed) or "HF_HUB_OFFLINE" in error.message
            if known is None or not is_away:  # whoever may not see it must be told
                raise
            model = known
        options = core.options_for(
            model, self.machine(request), context=wish.context, kv_type=wish.kv_type, want=wish.want
        )
        return {"check": check, "options": [option_values(option) for option in options]}

    def line(self, request: Request) -> float:
        """How fast the line to the Hub is, by this model's weights."""
        return core.line_speed(core.repo_info(request.values["source"]), cancelled=request.stop.is_set)

    def ggufs(self, request: Request) -> list[dict[str, Any]]:
        """GGUF files of others made of this model, of the most downloaded repositories."""
        found: list[dict[str, Any]] = []
        for repo in core.gguf_repos_of(request.values["source"], limit=6):
            if request.stop.is_set():
                break
            choices = core.gguf_choices(core.repo_info(repo.id))
            found += [choice_values(repo.id, choice) | {"downloads": repo.downloads} for choice in choices]
        return found

    def account(self, _request: Request) -> dict[str, Any]:
        hub = core.connect()
        found = core.whoami(hub) if not hub.offline else None
        return {
            "name": found.name if found else "",
            "role": found.role if found else "",
            "offline": hub.offline,
            "endpoint": hub.endpoint,
            "settings": [asdict(setting) for setting in core.hub_settings(hub)],
        }

    def login(self, request: Request) -> dict[str, Any]:
        account = core.login(request.values["token"])
        return {"name": account.name, "stored": account.stored}

    def logout(self, _request: Request) -> bool:
        return core.logout()

    def machine(self, request: Request) -> core.Hardware:
        """This machine as it was seconds ago, or the one that is asked about."""
        with self._machine_lock:
            when, found = self._machine
            if found is None or time.monotonic() - when > _MACHINE_SECONDS:
                found = core.detect()
                self._machine = (time.monotonic(), found)
        given = request.values.get("machine")
        return core.override(found, given_machine(given)) if given else found


ACTIONS: dict[str, Callable[[Desk, Request], Any]] = {
    "search": Desk.search,
    "more": Desk.more,
    "glance": Desk.glance,
    "model": Desk.model,
    "card": Desk.card,
    "pictures": Desk.pictures,
    "check": Desk.check,
    "ggufs": Desk.ggufs,
    "line": Desk.line,
    "account": Desk.account,
    "login": Desk.login,
    "logout": Desk.logout,
}


def wish_of(values: dict[str, Any]) -> core.Wish:
    """What a verdict is to be about, of a request that may not say."""
    found = values.get("wish") or {}
    return core.Wish(**{**found, "want": core.Want(found["want"])}) if found else core.Wish()


def given_machine(values: dict[str, Any]) -> core.Override:
    """The figures of another machine, as `asdict` gave them."""
    gpus = values["gpus"]
    return core.Override(**{**values, "gpus": None if gpus is None else tuple(core.GivenGpu(**gpu) for gpu in gpus)})


def choice_values(repo: str, choice: core.GgufChoice) -> dict[str, Any]:
    return {"repo": repo, "label": choice.label, "name": choice.name, "size": choice.size}


def option_values(option: core.Option) -> dict[str, Any]:
    return {
        "level": option.recipe.name,
        "size": option.plan.file_bytes,
        "memory": option.fit.total,
        "verdict": str(option.fit.verdict),
        "reason": option.reason,
        "recommended": option.recommended,
    }


def main() -> int:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    desk = Desk(out)
    for line in sys.stdin:
        desk.take(line)
    os._exit(0)  # at once, whatever is still being asked
