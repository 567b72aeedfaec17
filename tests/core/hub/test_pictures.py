"""Pictures of a card: which file of the model an address means, and that it comes whole."""

from __future__ import annotations

from functools import partial

import pytest

from core.errors import JobFailed, SnugError
from core.hub import picture_bytes, picture_of, repo_info
from core.hub.pictures import MOST_BYTES
from tests.core.hub.conftest import Start
from tests.fake_hub import FakeRepo, Fault

FILES = {"config.json": b"{}", "a.png": b"A" * 99, "images/b c.jpg": b"B", "big.png": bytes(MOST_BYTES + 1),
         "x.svg": b"<svg/>"}  # fmt: skip
HERE = (
    "a.png", "./a.png", "https://huggingface.co/org/model/resolve/main/a.png",
    "https://huggingface.co/org/model/blob/main/a.png?x=1", "https://127.0.0.1/org/model/raw/main/a.png",
)  # fmt: skip
ELSEWHERE = (
    "", "big.png", "x.svg", "none.png", "/etc/passwd", "../a.png", "file:///a.png", "//example.com/a.png", "http://[",
    "https://example.com/a.png", "https://example.com/org/model/resolve/main/a.png", "data:image/png;base64,AAAA",
    "https://huggingface.co/org/other/resolve/main/a.png", "https://huggingface.co/api/whoami-v2",
)  # fmt: skip


def test_only_files_of_the_model_are_pictures_of_its_card(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    found = partial(picture_of, repo_info("org/model", hub=hub), endpoint=fake.url)
    assert [found(address) for address in HERE] == ["a.png"] * len(HERE)
    assert found("images/b%20c.jpg") == "images/b c.jpg"
    assert [found(address) for address in ELSEWHERE] == [""] * len(ELSEWHERE)


def test_a_picture_comes_whole_or_not_at_all(start: Start) -> None:
    fake, hub = start(FakeRepo("org/model", FILES))
    info = repo_info("org/model", hub=hub)
    assert picture_bytes(info, "a.png", hub=hub) == FILES["a.png"]
    fake.faults = [Fault("*a.png*", -1, flip_at=5)]
    with pytest.raises(JobFailed, match="damaged"):
        picture_bytes(info, "a.png", hub=hub)
    for name in ("big.png", "x.svg", "config.json", "../a.png"):
        with pytest.raises(SnugError):
            picture_bytes(info, name, hub=hub)
