"""Commands as people and programs use them: what one prints, in words or as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli import main


def spoken(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """What a command says on stdout and stderr, with line breaks taken out."""
    assert main(list(arguments)) == code
    captured = capsys.readouterr()
    return " ".join(captured.out.split()), " ".join(captured.err.split())


def answered(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What it says to a program."""
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)
