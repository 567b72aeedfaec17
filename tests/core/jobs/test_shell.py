"""A job as a line for a terminal: the same job comes back, whatever the names are."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import fields
from typing import Any

import pytest

import core
from app import cli

ODD = ["/m/a b", "C:\\Models\\x y\\", "it's", "模型", "a&b|c", "-x", "a;b", "50%", "$HOME", "`id`", "(1)", "~/m", "*"]


def heard(line: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The job that `snug` makes of these words."""
    seen: list[Any] = []

    def listen(job: Any, **_: Any) -> Any:
        seen.append(job)
        yield core.Failed("Only listening.")

    monkeypatch.setattr(core, "run", listen, raising=False)
    monkeypatch.setattr(core, "pull", listen, raising=False)
    assert line[0] == "snug"
    assert cli.main(line[1:]) == 1
    return seen[0]


@pytest.mark.parametrize("name", ODD)
def test_a_posix_shell_gives_the_job_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = core.QuantizeJob(name, "Q4_K_M", name + ".gguf", imatrix=name)
    line = core.command_line(job, windows=False)
    words = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True).stdout
    made = heard(words.split("\0")[:-1], monkeypatch)
    assert (made.recipe, made.target, made.imatrix) == (job.recipe, job.target, job.imatrix)
    assert made.source in (name, f"./{name}")


def test_every_field_of_a_job_has_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    job = core.QuantizeJob(
        source="/m", recipe="Q8_0", target="/o.gguf", pure=True, backend="cpu", threads=3, overwrite=True,
        allow_requantize=True, split_max_size="2G", effort="best", imatrix="/i.gguf", keep_download=True, card=False,
        hash_source=True, also=(("Q4_K_M", "/p.gguf"), ("F16", "/q.gguf")),
    )  # fmt: skip
    assert all(getattr(job, field.name) != field.default for field in fields(job))
    assert heard(shlex.split(core.command_line(job, windows=False)), monkeypatch) == job


def test_making_a_file_again_is_a_line_too() -> None:
    job = core.ReproduceJob("/o.gguf", "/m", "/.snug-reproduce-1", imatrix="/i.gguf")
    line = core.command_line(job, windows=False)
    assert line == "snug reproduce /o.gguf --source /m --imatrix /i.gguf"


def test_what_is_as_it_would_be_anyway_is_left_out() -> None:
    job = core.QuantizeJob("/m", "Q4_K_M", "/o.gguf")
    assert core.command_line(job, windows=False) == "snug quantize /m --type Q4_K_M --out /o.gguf"


def test_a_download_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    job = core.PullJob("hub:org/model@main:Q4_K_M", "*.json,*.gguf", 8)
    assert heard(shlex.split(core.command_line(job, windows=False)), monkeypatch) == job


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("C:\\m", "C:\\m"),
        ("C:\\my models\\", '"C:\\my models\\\\"'),
        ("a&b", '"a&b"'),
        ("50%", '"50%"'),
        ("", '""'),
        ("$HOME", "'$HOME'"),
        ("it's $5", "'it''s $5'"),
    ],
)
def test_names_are_quoted_for_the_shells_of_windows(name: str, quoted: str) -> None:
    line = core.command_line(core.QuantizeJob("m", "Q8_0", name), windows=True)
    assert line == f"snug quantize m --type Q8_0 --out {quoted}"
