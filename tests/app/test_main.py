from __future__ import annotations

import pytest

from app.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "place", "expected"),
    [
        ([], "app.start.run_window", ()),
        (["worker"], "core.jobs.worker.main", ()),
        (["machine", "--json"], "app.cli.main", (["machine", "--json"],)),
    ],
)
def test_the_first_argument_decides_what_starts(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], place: str, expected: tuple[object, ...]
) -> None:
    seen: list[tuple[object, ...]] = []

    def started(*given: object) -> int:
        seen.append(given)
        return 7

    monkeypatch.setattr("sys.argv", ["snug", *arguments])
    monkeypatch.setattr(place, started)
    assert main() == 7
    assert seen == [expected]
