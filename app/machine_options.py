"""`--ram` and `--gpu`: asking about another machine than this one."""

from __future__ import annotations

from typing import Annotated

import typer

import core

Ram = Annotated[
    str, typer.Option("--ram", metavar="SIZE[:FREE]", help="Ask about a machine with this RAM: 16G, or 16G:12G free.")
]
Gpus = Annotated[
    list[str] | None,
    typer.Option(
        "--gpu", metavar="NAME[:SIZE]", help='... with this GPU: "RTX 4070", "RTX 4070:12G" or none; once for each.'
    ),
]


def machine_asked(ram: str, gpus: list[str] | None) -> core.Hardware:
    """This machine with the figures given instead of its own. Raises SnugError for what makes no sense."""
    given = core.read_override(ram, gpus or ())
    return core.override(core.detect(), given)
