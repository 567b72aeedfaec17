"""The recipe card beside the file: all of it, nothing private, and never in the place of another file."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import core
from core.cards.card_file import listing_hash, read_values
from core.gguf import read_header
from tests.models import SAMPLE


def events(out: Path, **options: Any) -> list[core.Event]:
    return list(core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(out), **options)))


def card(out: Path, **options: Any) -> dict[str, Any]:
    last = events(out, **options)[-1]
    assert isinstance(last, core.Done), last
    assert last.result["card"] == str(core.card_path(out).resolve())
    return dict(json.loads(core.card_path(out).read_text()))


def test_the_card_beside_the_file_has_every_tensor_with_its_hash_and_error(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    found, data = card(out), out.read_bytes()
    header = read_header(out)
    for tensor, said in zip(header.tensors, found["tensors"], strict=True):
        sha256 = hashlib.sha256(data[tensor.offset : tensor.offset + tensor.nbytes]).hexdigest()
        assert (said["name"], said["format"], said["bytes"]) == (tensor.name, tensor.dtype, tensor.nbytes)
        assert said["sha256"] == sha256
        assert said["rmse"] >= 0
    (part,) = found["file"]["parts"]
    assert part["header_sha256"] == hashlib.sha256(data[: header.data_offset]).hexdigest()
    assert found["file"]["tensors_sha256"] == listing_hash(found["tensors"])
    assert found["file"]["bytes"] == len(data)
    assert found["recipe"] == {
        "name": "Q8_0",
        "format": "Q8_0",
        "pure": False,
        "effort": "exact",
        "split_max_size": "",
    }
    assert found["source"]["sha256_of"] == "headers"


def test_the_card_of_a_file_in_parts_has_the_header_of_each(tmp_path: Path) -> None:
    found = card(tmp_path / "m.gguf", split_max_size="1M")
    for part in found["file"]["parts"]:
        data = (tmp_path / part["name"]).read_bytes()
        length = read_header(tmp_path / part["name"]).data_offset
        assert (part["bytes"], part["header_sha256"]) == (len(data), hashlib.sha256(data[:length]).hexdigest())
    assert len(found["file"]["parts"]) == 3


def test_no_folder_and_no_user_is_in_the_card(tmp_path: Path) -> None:
    card(tmp_path / "o.gguf")
    text = core.card_path(tmp_path / "o.gguf").read_text()
    assert str(tmp_path) not in text
    assert str(SAMPLE.parent) not in text
    assert getpass.getuser() not in text


def test_another_program_s_file_stays_and_the_job_is_done_all_the_same(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    core.card_path(out).write_text("mine")
    said = events(out)
    assert isinstance(said[-1], core.Done)
    assert any(isinstance(event, core.Note) and "no card of Snug's" in event.text for event in said)
    assert core.card_path(out).read_text() == "mine"
    assert card(out, overwrite=True)["snug_card"] == 1


def test_an_old_card_of_snug_s_makes_way_for_that_of_the_file_that_is_there(tmp_path: Path) -> None:
    out = tmp_path / "o.gguf"
    core.card_path(out).write_text('{"snug_card": 1}')
    assert card(out)["file"]["name"] == "o.gguf"


def test_a_card_that_cannot_be_written_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        if str(target).endswith(".snug.json"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    said = events(tmp_path / "o.gguf")
    assert isinstance(said[-1], core.Done)
    assert any(isinstance(event, core.Note) and "No space left" in event.text for event in said)
    assert [path.name for path in tmp_path.iterdir()] == ["o.gguf"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"snug_card": "x"}', "[" * 100_000, "\x00\xff"])
def test_what_is_no_card_is_said_to_be_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content, encoding="utf-8")
    with pytest.raises(core.SnugError, match="no recipe card"):
        read_values(tmp_path / "c.json")


KILLED = """
import os, sys
import core, core.running.quantize, core.running.unfinished

def die(*_, **__):
    os._exit(9)

setattr(eval(sys.argv[1]), sys.argv[2], die)
list(core.run(core.QuantizeJob(*sys.argv[3:6], split_max_size=sys.argv[6]), control=core.Control()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "what", "split"),
    [
        ("core.running.quantize", "error_bytes", ""),
        ("core.running.unfinished.Unfinished", "finish", "1M"),
        ("core.running.quantize", "write_card", ""),
        ("core.running.unfinished.Unfinished", "forget", "1M"),
    ],
)
def test_killed_anywhere_in_the_end_it_goes_on_to_the_same_file_and_card(
    where: str, what: str, split: str, tmp_path: Path
) -> None:
    out = tmp_path / "b" / "o.gguf"
    for folder in (tmp_path / "a", out.parent):
        folder.mkdir()
    assert isinstance(events(tmp_path / "a" / "o.gguf", split_max_size=split)[-1], core.Done)
    command = [sys.executable, "-c", KILLED, where, what, str(SAMPLE), "Q8_0", str(out), split]
    assert subprocess.run(command, cwd=Path(core.__file__).parent.parent, check=False).returncode == 9
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(out), split_max_size=split), resume=True)
    assert isinstance(last, core.Done), last
    first, second = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path / "a", tmp_path / "b")
    )
    cards = [json.loads(files.pop("o.gguf.snug.json")) for files in (first, second)]
    assert first == second
    assert [card.pop("made") != "" for card in cards] == [True, True]
    assert cards[0] == cards[1]
