from __future__ import annotations

import time
from pathlib import Path

import pytest

from app import words
from core import SnugError


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (4_338_000, "4.3 MB"),
        (999_960_000, "1.0 GB"),
        (4_920_734_912, "4.9 GB"),
        (1_500_000_000_000, "1.5 TB"),
    ],
)
def test_a_size_has_one_decimal_and_the_unit_that_fits(count: int, expected: str) -> None:
    assert words.size(count) == expected


def test_exact_bytes_are_counted_in_full() -> None:
    assert (words.exact(4_920_734_912), words.exact(1)) == ("4,920,734,912 bytes", "1 byte")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0.3, "less than a second"),
        (4, "about 4.0 s"),
        (42, "about 42 s"),
        (170, "about 3 min"),
        (3600, "about 1 h"),
        (4800, "about 1 h 20 min"),
    ],
)
def test_a_time_to_come_is_rounded_as_people_do(seconds: float | None, expected: str) -> None:
    assert words.about(seconds) == expected


def test_parameters_are_named_by_the_million_and_the_billion() -> None:
    assert [words.parameters(n) for n in (900, 2_200_000, 8_030_000_000)] == ["900", "2.2 million", "8.0 billion"]


def test_a_moment_of_today_is_only_a_time() -> None:
    assert len(words.moment(time.time())) == 5
    assert words.moment(0).startswith(("1970-01-01", "1969-12-31"))
    assert words.moment(None) == ""


def test_the_home_folder_is_written_short() -> None:
    assert words.path(Path.home() / "models") == "~/models"
    assert words.path("/elsewhere") == "/elsewhere"


def test_an_error_for_the_user_keeps_its_message_and_hint() -> None:
    assert words.problem(SnugError("Wrong.", "Do right.")) == words.Problem("Wrong.", "Do right.")


def test_a_bug_says_that_it_is_one_and_keeps_the_traceback() -> None:
    problem = words.problem(KeyError("x"))
    assert problem.message == "This is a bug in Snug: KeyError: 'x'"
    assert "KeyError" in problem.details


def test_an_error_of_the_system_is_not_called_a_bug() -> None:
    assert words.problem(PermissionError(13, "Permission denied", "/root")).message == (
        "The system refused: Permission denied."
    )
