"""What may be a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import SnugError
from core.hub.names import HubSource, as_hub_source, as_seen_here, hub_source, shown, unsafe


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hub:org/model", HubSource("org/model")),
        ("org/model", HubSource("org/model")),
        ("hub:gpt2", HubSource("gpt2")),
        ("org/model@refs/pr/1", HubSource("org/model", "refs/pr/1")),
        ("hub:org/Model-1.5_b@v1:Q4_K_M", HubSource("org/Model-1.5_b", "v1", "Q4_K_M")),
        ("org/model:dir/a b.gguf", HubSource("org/model", "main", "dir/a b.gguf")),
    ],
)
def test_a_source_is_read_and_written(text: str, source: HubSource) -> None:
    assert hub_source(text) == source
    assert hub_source(str(source)) == source


@pytest.mark.parametrize(
    "text",
    ["", "hub:", "a/b/c", "../b", "a/..", "a b/c", "a/b@", "a/b@../x", "a/b@x/../y", "a--b/c", "-a/b", "a/b.", "a\n/b"],
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(SnugError):
        hub_source(text)


def test_a_path_that_is_there_is_no_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org").mkdir()
    monkeypatch.chdir(tmp_path)
    assert as_hub_source("other/model") == HubSource("other/model")
    assert as_hub_source("org/model") is None
    assert as_hub_source("hub:org/model") == HubSource("org/model")
    assert as_hub_source(Path("hub:org/model@v1")) == HubSource("org/model", "v1")
    assert as_hub_source("hub:org\\model") == HubSource("org/model")
    assert as_hub_source("model") is None
    assert as_hub_source("/org/model") is None
    assert as_hub_source("other/model.gguf") is None


@pytest.mark.parametrize("name", ["con", "a/NUL.txt", "x:y", "end.", "space ", "a?b"])
def test_what_windows_cannot_name_is_refused_there(name: str) -> None:
    assert unsafe(name, windows=True)
    assert not unsafe(name, windows=False)


def test_a_strangers_text_is_one_short_line() -> None:
    assert shown("a\x1b[31mb\nc\u202e") == "a\ufffd[31mb\ufffdc\ufffd"
    assert len(shown("x" * 1000)) == 200


def test_names_that_some_systems_take_for_one_are_known() -> None:
    pairs = [("Config.json", "config.json"), ("e\u0301", "\u00e9")]
    assert all(as_seen_here(one, folded=True) == as_seen_here(other, folded=True) for one, other in pairs)
    assert all(as_seen_here(one, folded=False) != as_seen_here(other, folded=False) for one, other in pairs)
