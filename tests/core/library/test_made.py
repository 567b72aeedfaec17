"""What Snug made is known as Snug's own by its card, though no job and no note tells of it any more."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

import core
from core import Origin, PullJob, QuantizeJob, create, sample_folder
from core.events import Done, Failed, Paused
from core.library import LibraryItem, Places, apply_removal, plan_cleanup, plan_removal, scan_library
from tests.core.library.stores import gguf_bytes, places_in, put

CARD = "m.gguf.snug.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with m.gguf and its card."""
    folder = tmp_path_factory.mktemp("made")
    *_, last = core.run(QuantizeJob(str(sample_folder()), "Q4_0", str(folder / "m.gguf"), backend="reference"))
    assert isinstance(last, Done), last
    assert (folder / CARD).is_file()
    return folder


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


def the_one(places: Places) -> LibraryItem:
    (item,) = scan_library(places, remember=places.made.with_name("memory.json")).items
    return item


@pytest.mark.parametrize("names", [("m.gguf",), ("m.gguf", CARD)])
def test_a_file_with_snugs_keys_is_snugs_own(names: tuple[str, ...], made: Path, places: Places) -> None:
    folder = places.outputs[0]
    for name in names:
        shutil.copy(made / name, folder / name)
    for item in (the_one(places), the_one(places)):  # read, then remembered
        assert (item.origin, item.is_ours, item.removal) == (Origin.SNUG, True, "")
        assert sorted(file.path.name for file in item.files) == sorted(names)
    removal = plan_removal(scan_library(places), [item])
    size = sum((folder / name).stat().st_size for name in names)
    assert removal.freed == size
    assert apply_removal(removal).freed == size
    assert list(folder.iterdir()) == []


def test_a_card_beside_tells_as_well_but_only_of_its_own_file(made: Path, places: Places) -> None:
    folder = places.added[0]
    shutil.copy(made / CARD, folder / CARD)
    put(folder / "m.gguf", gguf_bytes())
    assert the_one(places).origin is Origin.FOLDER
    (folder / "m.gguf").write_bytes((made / "m.gguf").read_bytes().replace(b"snug.card.version", b"xnug.card.version"))
    assert the_one(places).origin is Origin.SNUG


def test_in_another_tools_store_it_is_that_tools(made: Path, places: Places) -> None:
    folder = places.lm_studio[0] / "org" / "model"
    folder.mkdir(parents=True)
    shutil.copy(made / "m.gguf", folder / "m.gguf")
    assert (the_one(places).origin, the_one(places).is_ours) == (Origin.LM_STUDIO, False)


@pytest.mark.parametrize("text", ["", "[]", '{"snug_card": 1}', '{"snug_card": 1, "file": {"parts": [{"name": 1}]}}'])
def test_a_card_that_is_none_tells_nothing(text: str, places: Places) -> None:
    put(places.added[0] / "m.gguf", gguf_bytes())
    put(places.added[0] / CARD, text)
    assert the_one(places).origin is Origin.FOLDER


def test_what_a_job_left_stays_as_long_as_the_job_can_go_on(places: Places) -> None:
    folder = places.outputs[0]
    left = [put(folder / name, b"x" * 40) for name in ("m.gguf.snug-part", "m.gguf.snug-journal", "m.gguf.snug-ahead",
                                                       "s-00001-of-00002.gguf.snug-part")]  # fmt: skip
    jobs = [create(places.jobs, QuantizeJob("x", "Q8_0", str(folder / name))) for name in ("m.gguf", "s.gguf")]
    for job, events in zip(jobs, ([Paused("Paused.")], [Failed("The disk is full.", resumable=True)]), strict=True):
        for event in events:
            job.append(event)
    library = scan_library(places)
    assert {leftover.path for leftover in library.leftovers if leftover.busy} == set(left)
    assert plan_cleanup(library).files == ()
    for job in jobs:
        job.append(Failed("Cancelled.", cancelled=True))
    gone = apply_removal(plan_cleanup(scan_library(places)))
    assert (gone.freed, gone.troubles, list(folder.iterdir())) == (160, (), [])


def test_what_a_job_left_is_seen_wherever_it_lies(places: Places, tmp_path: Path) -> None:
    part = put(tmp_path / "other" / "m.gguf.snug-part", b"x")
    create(places.jobs, QuantizeJob("x", "Q8_0", str(part.with_name("m.gguf")))).append(Paused("Paused."))
    assert [leftover.path for leftover in scan_library(places).leftovers] == [part]


def test_a_download_that_a_job_goes_on_with_is_not_given_up(places: Places) -> None:
    blobs = places.hub[0] / "models--org--model" / "blobs"
    part = put(blobs / f"{'d' * 64}.snug.incomplete", b"x" * 20)
    job = create(places.jobs, PullJob("hub:org/model@main:Q4_K_M"))
    job.append(Paused("Paused."))
    later = time.time() + 30 * 86400
    assert "page Jobs" in scan_library(places, now=later).leftovers[0].busy
    job.append(Failed("Cancelled.", cancelled=True))
    library = scan_library(places, now=later)
    assert [(leftover.path, leftover.busy) for leftover in library.leftovers] == [(part, "")]
