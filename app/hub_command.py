"""`snug find`, `pull`, `login`, `logout` and `whoami`: the Hub on the command line."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import core
from app import report, words
from app.find_fits import Judged, look_at, that_run
from app.machine_options import Gpus, Ram, machine_asked

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_GATES = {"": "", "auto": "terms", "manual": "on request"}


def find(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words of the name.")] = "",
    author: Annotated[str, typer.Option(metavar="NAME", help="Only of this person or organization.")] = "",
    task: Annotated[str, typer.Option(metavar="TASK", help="Such as text-generation.")] = "",
    library: Annotated[str, typer.Option(metavar="NAME", help="Such as transformers, safetensors, gguf.")] = "",
    licence: Annotated[str, typer.Option("--licence", "--license", metavar="ID", help="Such as apache-2.0.")] = "",
    gguf: Annotated[bool, typer.Option("--gguf", help="Only with GGUF files.")] = False,
    gated: Annotated[bool | None, typer.Option("--gated/--open", help="Only with terms to accept, or without.")] = None,
    smallest: Annotated[str, typer.Option("--min", metavar="SIZE", help="Parameters at least, such as 1B.")] = "",
    largest: Annotated[str, typer.Option("--max", metavar="SIZE", help="Parameters at most, such as 8B.")] = "",
    fits: Annotated[bool, typer.Option("--fits", help="Only what runs on this machine, with its best level.")] = False,
    context: Annotated[int, typer.Option("--ctx", min=1, metavar="N", help="Tokens that --fits must hold.")] = 4096,
    ram: Ram = "",
    gpu: Gpus = None,
    sort: Annotated[str, typer.Option(metavar="ORDER", help="trending, downloads, likes or recent.")] = "trending",
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Rows at most.")] = 20,
    as_json: Json = False,
) -> None:
    """Search the Hub for models."""
    filters = core.Filters(
        text=query,
        author=author,
        task=task,
        library=library,
        licence=licence,
        gated=gated,
        has_gguf=gguf,
        smallest=_count(smallest),
        largest=_count(largest),
    )
    if 0 < filters.largest < filters.smallest:
        raise core.SnugError(f"No model has at least {smallest} and at most {largest} parameters.", "Swap the two.")
    if fits or ram or gpu:
        _find_fits(filters, machine_asked(ram, gpu), context=context, sort=sort, limit=limit, as_json=as_json)
        return
    rows = list(core.search_models(filters, sort=sort, limit=limit))
    _print_json({"models": [asdict(row) for row in rows]}) if as_json else _show_rows(rows)


def _find_fits(
    filters: core.Filters, machine: core.Hardware, *, context: int, sort: str, limit: int, as_json: bool
) -> None:
    look = partial(look_at, hardware=machine, wish=core.Wish(context=context))
    run, unknown = that_run(core.search_models(filters, sort=sort), look, limit=limit)
    if as_json:
        models = [asdict(one.row) | {"best": asdict(one.glance) if one.glance else None} for one in run]
        lost = [{"model": one.row.id, "problem": one.trouble} for one in unknown]
        _print_json({"models": models, "not_judged": lost})
        return
    if run or not unknown:
        _show_judged(run)
    else:
        report.out().print("Of what could be looked at, nothing runs on this machine.")
    if unknown:
        first = f"{words.count(len(unknown), 'model')} could not be looked at, the first for this reason"
        report.note(f"{first}: {unknown[0].trouble}")


def _show_judged(run: list[Judged]) -> None:
    table = _table(
        ("Model", "left"), ("Parameters", "right"), ("Best here", "left"), ("Size", "right"), ("Verdict", "left"),
        ("Downloads", "right"), ("Licence", "left"), ("Access", "left"),
    )  # fmt: skip
    for judged in run:
        row, found = judged.row, judged.glance
        assert found is not None
        access = "private" if row.private else _GATES.get(row.gated, row.gated)
        table.add_row(
            row.id, _parameters(found), found.level, words.size(found.file_bytes), found.verdict, f"{row.downloads:,}",
            row.licence, access,
        )  # fmt: skip
    report.out().print(table if table.row_count else "Nothing that was found runs on this machine.")


def _parameters(found: core.Glance) -> str:
    active = found.active_parameters
    few = f", {words.parameters(active)} active" if 0 < active < 0.9 * found.parameters else ""
    return f"{words.parameters(found.parameters)}{few}"


def login(as_json: Json = False) -> None:
    """Log in to the Hub: asks for a token, or reads it from stdin, and keeps it where Hugging Face's tools do."""
    address = f"{core.connect().endpoint}/settings/tokens"
    prompt = f"Token, from {address} (it is not shown): "
    token = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    account = core.login(token)
    _print_json(asdict(account)) if as_json else _show_account(account)


def logout(as_json: Json = False) -> None:
    """Forget the stored tokens of the Hub."""
    had_one = core.logout()
    words_ = "Logged out: the stored tokens are gone." if had_one else "Nobody was logged in."
    _print_json({"logged_out": had_one}) if as_json else report.out().print(words_)


def whoami(as_json: Json = False) -> int:
    """Show who is logged in to the Hub, and how it is reached. Exit code 1 when nobody is."""
    hub = core.connect()
    account = core.whoami(hub) if not hub.offline else None
    values = {"account": asdict(account) if account else None, "hub": dict(core.hub_facts(hub))}
    if as_json:
        _print_json(values)
        return 0 if account else 1
    table = report.facts()
    for name, value in _account_rows(account) + core.hub_facts(hub):
        table.add_row(name, value)
    report.out().print(table)
    return 0 if account else 1


COMMANDS: tuple[Callable[..., int | None], ...] = (find, login, logout, whoami)


def files_of(model: str, *, as_json: bool) -> None:
    """The files of a model, and its GGUFs by quantization."""
    info = core.repo_info(core.hub_source(model))
    if as_json:
        choices = [{"label": item.label, "size": item.size} for item in core.gguf_choices(info)]
        files = [asdict(file) for file in info.files]
        _print_json({"id": info.id, "commit": info.commit, "files": files, "gguf": choices})
        return
    table = _table(("File", "left"), ("Size", "right"))
    for file in info.files:
        table.add_row(Text(file.name), words.size(file.size))
    for name, reason in info.refused:
        table.add_row(Text(repr(name)), f"refused: {reason}")
    report.out().print(table)
    for item in core.gguf_choices(info):
        report.out().print(f"{info.id}:{item.label}  {words.size(item.size)}")


def show_pulled(values: dict[str, Any]) -> None:
    table = report.facts()
    table.add_row("Folder", Text(values["folder"]))
    table.add_row("Files", f"{len(values['files'])}, {words.size(values['bytes'])}")
    table.add_row("Fetched", f"{words.size(values['fetched'])} in {words.span(values['seconds'])}")
    table.add_row("Checked", "the hash of every file fetched")
    report.out().print(table)


def _show_rows(rows: Iterable[core.Repo]) -> None:
    table = _table(
        ("Model", "left"), ("Parameters", "right"), ("Downloads", "right"), ("Likes", "right"), ("Updated", "left"),
        ("Licence", "left"), ("Access", "left"), ("GGUF", "left"),
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.id,
            words.parameters(row.parameters) if row.parameters else "",
            f"{row.downloads:,}",
            f"{row.likes:,}",
            row.updated[:10],
            row.licence,
            "private" if row.private else _GATES.get(row.gated, row.gated),
            "yes" if row.has_gguf else "",
        )
    report.out().print(table if table.row_count else "Nothing was found.")


def _show_account(account: core.Account) -> None:
    table = report.facts()
    for name, value in _account_rows(account):
        table.add_row(name, value)
    report.out().print(table)


def _account_rows(account: core.Account | None) -> list[tuple[str, str]]:
    if account is None:
        return [("Logged in", "no")]
    rows = [("Logged in as", account.name), ("Token may", account.role), ("Token is in", account.stored)]
    return rows + ([("Organizations", ", ".join(account.organizations))] if account.organizations else [])


def _table(*columns: tuple[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _count(text: str) -> int:
    """1.5B as a number; "" as 0."""
    number, unit = text.strip().upper(), ""
    if number and number[-1] in _UNITS:
        number, unit = number[:-1], number[-1]
    try:
        return round(float(number) * _UNITS[unit]) if text else 0
    except (ValueError, OverflowError) as error:
        raise core.SnugError(f"{text} is no number of parameters.", "Give one such as 500M or 8B.") from error


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))
