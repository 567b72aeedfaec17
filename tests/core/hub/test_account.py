"""Logging in and out, as every tool that reads Hugging Face's store sees it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import core
from core.errors import SnugError
from core.hub import login
from tests.core.hub.conftest import Start
from tests.fake_hub import FakeHub

ROOT = Path(core.__file__).parent.parent


RUN = "import json, sys; from app.cli import main; print([main(command) for command in json.loads(sys.argv[1])])"


def snug(fake: FakeHub, home: Path, *commands: list[str], typed: str = "", **environment: str) -> tuple[list[int], str]:
    """Exit codes and all output of commands in an environment of their own."""
    own = {"HF_HOME": str(home), "HF_ENDPOINT": fake.url, "HF_HUB_OFFLINE": "0", "NO_COLOR": "1", **environment}
    kept = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    command = [sys.executable, "-c", RUN, json.dumps(commands)]
    ran = subprocess.run(command, cwd=ROOT, env=kept | own, input=typed, capture_output=True, text=True)
    return json.loads(ran.stdout.splitlines()[-1]), ran.stdout + ran.stderr


def test_a_login_is_stored_where_all_tools_look_and_forgotten_again(start: Start, tmp_path: Path) -> None:
    fake, _ = start()
    home = tmp_path / "home"
    codes, said = snug(fake, home, ["login"], ["whoami", "--json"], typed="hf_full\n")
    assert (codes, "hf_full" in said, said.count("ada")) == ([0, 0], False, 2), said
    assert (home / "token").read_text() == "hf_full"
    assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600
    codes, said = snug(fake, home, ["logout"], ["whoami"])
    assert codes == [0, 1], said
    assert not (home / "token").exists()
    assert {record.path for record in fake.log} == {"/api/whoami-v2"}  # no telemetry


def test_a_token_that_is_not_accepted_is_not_stored(start: Start, tmp_path: Path) -> None:
    fake, _ = start()
    code, said = snug(fake, tmp_path / "home", ["login"], typed="hf_wrong\n")
    assert code == [2]
    assert "does not accept your token" in said
    assert "hf_wrong" not in said
    assert not (tmp_path / "home" / "token").exists()


def test_a_token_in_the_environment_cannot_be_forgotten_here(start: Start, tmp_path: Path) -> None:
    fake, _ = start()
    code, said = snug(fake, tmp_path / "home", ["logout"], HF_TOKEN="hf_full")
    assert code == [2]
    assert "HF_TOKEN is set" in said
    assert "hf_full" not in said


@pytest.mark.parametrize("token", ["", "   ", "hf_a b", "hf_\u00e9", "hf_\nx"])
def test_what_is_no_token_is_refused_without_asking(token: str) -> None:
    with pytest.raises(SnugError, match="no token"):
        login(token)
