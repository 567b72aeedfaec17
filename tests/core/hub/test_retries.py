"""A line that is dead is told of: each longer wait once, and never while something comes."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from core.events import Done, Note, Progress
from core.hub import download, ranges, retries, web
from core.hub.retries import Retries, Retry
from core.jobs.job import PullJob
from tests.core.hub.conftest import Start, noise
from tests.fake_hub import FakeRepo, Fault


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(retries, "time", clock)
    return clock


def fail(what: Retries, number: int, wait: float) -> list[str]:
    what.heard(Retry("nothing came", wait, number, 8))
    return what.words()


def test_the_words_say_when_and_which_try() -> None:
    assert Retry("nothing came", 3.9, 3, 8).words == "Trying again in 4 s (try 3 of 8): nothing came."
    assert Retry("nothing came", 0.2, 2, 8).words == "Trying again now (try 2 of 8): nothing came."


def test_a_try_that_nobody_notices_is_not_told_of(clock: SimpleNamespace) -> None:
    line = Retries()
    assert (fail(line, 2, 0.25), line.is_silent) == ([], False)
    clock.now += 2
    assert (len(fail(line, 3, 0.5)), line.is_silent) == (1, True)
    line.came()
    assert (line.is_silent, fail(line, 4, 2.0)) == (False, []), "others bring something"
    assert len(fail(line, 5, 60.0)) == 1, "the server wants to be left alone for long"


def test_connections_that_fail_together_are_told_of_once(clock: SimpleNamespace) -> None:
    line = Retries()
    clock.now += 20
    told = [fail(line, number, 0.25 * 2**number) for number in (2, 2, 2, 3, 3, 3, 4, 3, 4)]
    assert [len(words) for words in told] == [1, 0, 0, 1, 0, 0, 1, 0, 0]
    clock.now += 11
    assert len(fail(line, 3, 1.0)) == 1, "it lasts"


@pytest.mark.parametrize("fault", [Fault("/storage/*", times=3, status=503), Fault("/api/*", times=3, status=503)])
def test_a_download_tells_of_them_before_it_goes_on(
    fault: Fault, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, hub = start(FakeRepo("org/model", {"model.safetensors": noise(300_000)}))
    for module in (ranges, web):
        monkeypatch.setattr(module, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(retries, "_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(retries, "_NOTICED_SECONDS", 0.0)
    fake.faults.append(fault)
    events = list(download.pull(PullJob("org/model"), hub=hub))
    assert isinstance(events[-1], Done)
    told = [event.text for event in events if isinstance(event, Note)]
    assert [re.findall(r"try (\d) of|status (\d+)", text) for text in told] == [
        [(str(number), ""), ("", "503")] for number in (2, 3, 4)
    ]
    stages = {event.stage for event in events if isinstance(event, Progress)}
    assert ("waiting" in stages) == fault.path.startswith("/storage")
