"""Removing frees exactly what was promised, and touches nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import scan_cache_dir

from core import SnugError
from core.library import Library, Places, apply_removal, find_items, plan_cleanup, plan_removal, scan_library
from core.running.output import PartFile
from tests.core.library.stores import (
    COMMIT,
    OTHER,
    add_to_hub,
    add_to_ollama,
    bytes_below,
    gguf_bytes,
    note_output,
    places_in,
    put,
    safetensors_bytes,
    tree,
)

MODEL = {"config.json": b'{"model_type": "qwen3"}', "model.safetensors": safetensors_bytes(), "sub/a.txt": b"a"}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path / "stores")


def remove(places: Places, wanted: str) -> None:
    """Removes what `wanted` names; what the disk gives back must be what was promised and what was reported."""
    library = scan_library(places)
    plan = plan_removal(library, find_items(library, wanted))
    root = places.hub[0].parent
    before = bytes_below(root)
    done = apply_removal(plan)
    assert done.troubles == ()
    assert before - bytes_below(root) == plan.freed == done.freed


def names(library: Library) -> list[str]:
    return [item.name for item in library.items]


def test_the_only_revision_takes_the_whole_repository_with_it(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/Model", MODEL)
    add_to_hub(places.hub[0], "Org/Other", {"model.safetensors": safetensors_bytes(["other"])})
    put(places.hub[0] / "models--Org--Model" / "blobs" / "old.incomplete", b"left over")
    remove(places, "org/model")
    assert [path.name for path in places.hub[0].iterdir()] == ["models--Org--Other"]


def test_one_of_two_revisions_goes_with_its_branch_and_what_it_alone_used(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/Model", MODEL)
    add_to_hub(places.hub[0], "Org/Model", {**MODEL, "config.json": b"{}"}, commit=OTHER, refs=["dev", "pr/1"])
    remove(places, f"Org/Model@{OTHER[:7]}")
    library = scan_library(places)
    assert names(library) == ["Org/Model"]
    assert (library.items[0].commit, library.items[0].refs, library.items[0].problem) == (COMMIT, ("main",), "")
    (repo,) = scan_cache_dir(places.hub[0]).repos
    assert (len(repo.revisions), repo.size_on_disk) == (1, sum(map(len, MODEL.values())))


def test_a_revision_that_shares_everything_frees_only_its_branch(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/Model", MODEL)
    add_to_hub(places.hub[0], "Org/Model", MODEL, commit=OTHER, refs=["dev"])
    library = scan_library(places)
    plan = plan_removal(library, find_items(library, "Org/Model@dev"))
    assert (plan.freed, plan.kept) == (len(OTHER), sum(map(len, MODEL.values())))
    assert "another revision" in plan.notes[0]
    remove(places, "Org/Model@dev")
    assert scan_library(places).items[0].size == sum(map(len, MODEL.values()))


def test_our_promise_is_that_of_huggingface_hub(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/Model", MODEL)
    add_to_hub(places.hub[0], "Org/Model", {**MODEL, "config.json": b"{}"}, commit=OTHER, refs=["dev"])
    library = scan_library(places)
    plan = plan_removal(library, find_items(library, "Org/Model@dev"))
    theirs = scan_cache_dir(places.hub[0]).delete_revisions(OTHER)
    assert plan.freed == theirs.expected_freed_size + len(OTHER)


def test_one_gguf_of_several_goes_alone(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/M", {"a.gguf": gguf_bytes(1), "b.gguf": gguf_bytes(2), "README.md": b"hi"})
    remove(places, "Org/M/a.gguf")
    assert names(scan_library(places)) == ["Org/M/b.gguf"]
    assert (places.hub[0] / "models--Org--M" / "snapshots" / COMMIT / "README.md").read_bytes() == b"hi"
    remove(places, "Org/M/b.gguf")
    assert tree(places.hub[0]) == []


def test_all_models_of_a_repository_go_by_its_name(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/M", {"a.gguf": gguf_bytes(1), "b.gguf": gguf_bytes(2)})
    remove(places, "Org/M")
    assert tree(places.hub[0]) == []


def test_a_file_of_snugs_own_goes_with_all_its_parts(places: Places) -> None:
    parts = [places.outputs[0] / f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    for number, part in enumerate(parts):
        put(part, gguf_bytes(number))
    other = put(places.outputs[0] / "other.gguf", gguf_bytes(9))
    put(places.made, f'{{"target": "{parts[0]}", "file_bytes": {sum(p.stat().st_size for p in parts)}}}\n')
    remove(places, str(parts[1]))
    assert list(places.outputs[0].iterdir()) == [other]


def test_a_file_with_a_hard_link_elsewhere_frees_nothing_and_says_so(places: Places) -> None:
    target = put(places.outputs[0] / "m.gguf", gguf_bytes())
    note_output(places.made, target)
    put(places.lm_studio[0] / "Org" / "M" / "x.txt", b"")
    os.link(target, places.lm_studio[0] / "Org" / "M" / "m.gguf")
    library = scan_library(places)
    plan = plan_removal(library, find_items(library, str(target)))
    assert (plan.freed, plan.kept) == (0, target.stat().st_size)
    assert "hard link" in plan.notes[0]
    remove(places, str(target))
    assert (places.lm_studio[0] / "Org" / "M" / "m.gguf").is_file()


def test_other_tools_models_are_refused_with_the_way_to_do_it_there(places: Places) -> None:
    add_to_ollama(places.ollama[0], "registry.ollama.ai/library/m/1", gguf_bytes(1))
    put(places.lm_studio[0] / "Org" / "M" / "m.gguf", gguf_bytes(2))
    put(places.llama_cpp[0] / "l.gguf", gguf_bytes(3))
    put(places.added[0] / "f.gguf", gguf_bytes(4))
    library, before = scan_library(places), tree(places.hub[0].parent)
    hints = []
    for item in library.items:
        with pytest.raises(SnugError) as refusal:
            plan_removal(library, [item])
        hints.append(refusal.value.hint)
    assert [hint.split(":")[0] for hint in hints] == [
        "Remove it with",
        "Remove it in LM Studio",
        "llama.cpp has no command for it",
        "Snug only looks at this folder",
    ]
    assert tree(places.hub[0].parent) == before


def test_a_name_that_nothing_has_is_refused_and_one_of_two_tools_must_be_told_apart(places: Places) -> None:
    target = put(places.outputs[0] / "m.gguf", gguf_bytes(1))
    note_output(places.made, target)
    put(places.added[0] / "m.gguf", gguf_bytes(2))
    library = scan_library(places)
    with pytest.raises(SnugError, match="no model nothing"):
        find_items(library, "nothing")
    other = put(places.outputs[0] / "elsewhere" / "n.gguf", gguf_bytes(3))
    for path in (other, put(places.outputs[0] / "n.gguf", gguf_bytes(4))):
        note_output(places.made, path)
    made = scan_library(places)
    with pytest.raises(SnugError, match="several models"):
        find_items(made, "n.gguf")
    assert [item.path for item in find_items(made, str(other))] == [other]
    with pytest.raises(SnugError, match="several models"):
        find_items(library, "m.gguf")
    assert [item.path for item in find_items(library, str(target))] == [target]


def test_a_repository_that_is_being_downloaded_is_left_alone(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/M", MODEL)
    part = put(places.hub[0] / "models--Org--M" / "blobs" / f"{'c' * 64}.snug.incomplete", b"x")
    lock = put(places.hub[0] / ".locks" / "models--Org--M" / f"{'c' * 64}.lock", b"")
    with FileLock(lock):
        library = scan_library(places)
        assert library.leftovers[0].busy == "It is being downloaded right now."
        with pytest.raises(SnugError, match="being downloaded"):
            plan_removal(library, list(library.items))
    assert part.exists()


def test_a_snapshot_that_links_outside_loses_the_link_and_nothing_else(places: Places, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret" / "model.safetensors", safetensors_bytes())
    snapshot = add_to_hub(places.hub[0], "Org/M", MODEL)
    (snapshot / "evil.safetensors").symlink_to(secret)
    (snapshot / "folder").symlink_to(secret.parent)
    remove(places, "Org/M")
    assert secret.read_bytes() == safetensors_bytes()
    assert tree(places.hub[0]) == []


def test_a_folder_swapped_for_a_link_after_the_plan_loses_nothing(places: Places, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret" / "config.json", b"keep me")
    snapshot = add_to_hub(places.hub[0], "Org/M", {"sub/config.json": b"{}"})
    library = scan_library(places)
    plan = plan_removal(library, list(library.items))
    (snapshot / "sub" / "config.json").unlink()
    (snapshot / "sub").rmdir()
    (snapshot / "sub").symlink_to(secret.parent)
    done = apply_removal(plan)
    assert secret.read_bytes() == b"keep me"
    assert "outside" in done.troubles[0].message


def test_content_that_a_new_revision_came_to_use_stays(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/M", MODEL)
    library = scan_library(places)
    plan = plan_removal(library, list(library.items))
    add_to_hub(places.hub[0], "Org/M", MODEL, commit=OTHER, refs=["dev"])
    done = apply_removal(plan)
    assert len(done.troubles) == len(MODEL)
    (item,) = scan_library(places).items
    assert (item.commit, item.size) == (OTHER, sum(map(len, MODEL.values())))


def test_cleaning_up_takes_what_was_given_up_and_nothing_else(places: Places) -> None:
    blobs = places.hub[0] / "models--Org--M" / "blobs"
    add_to_hub(places.hub[0], "Org/M", MODEL)
    put(blobs / f"{'c' * 64}.0123abcd.incomplete", b"x" * 10)
    resumable = put(blobs / f"{'d' * 64}.snug.incomplete", b"x" * 20)
    old = put(blobs / ("e" * 64), b"x" * 30)
    os.utime(old, (time.time() - 3600,) * 2)
    put(places.outputs[0] / "m.gguf.snug-part", b"x" * 40)
    theirs = put(places.ollama[0] / "blobs" / "sha256-abc-partial", b"x" * 50)
    (places.hub[0] / "models--Org--M" / "snapshots" / COMMIT / "gone").symlink_to("../../blobs/nothing")
    library = scan_library(places)
    plan = plan_cleanup(library)
    assert (plan.freed, len(plan.files), plan.kept) == (80, 4, 70)
    before = bytes_below(places.hub[0].parent)
    done = apply_removal(plan)
    assert (done.troubles, done.freed, before - bytes_below(places.hub[0].parent)) == ((), 80, 80)
    assert resumable.exists()
    assert theirs.exists()
    assert scan_library(places).items[0].size == library.items[0].size


def test_an_unfinished_file_that_a_job_is_writing_stays(places: Places) -> None:
    target = places.outputs[0] / "m.gguf"
    plan_before = None
    with PartFile(target, 64, overwrite=False) as part:
        library = scan_library(places)
        assert library.leftovers[0].busy == "A job is writing it right now."
        plan_before = plan_cleanup(library)
        assert plan_before.files == ()
        part.write(0, b"x" * 64)
        part.finish()
    assert target.stat().st_size == 64


def test_content_named_after_the_plan_is_not_cleaned_up(places: Places) -> None:
    folder = places.hub[0] / "models--Org--M"
    add_to_hub(places.hub[0], "Org/M", MODEL)
    blob = put(folder / "blobs" / ("e" * 64), b"x" * 30)
    library = scan_library(places, now=time.time() + 3600)
    plan = plan_cleanup(library)
    (folder / "snapshots" / COMMIT / "late.bin").symlink_to(f"../../blobs/{'e' * 64}")
    done = apply_removal(plan)
    assert (done.freed, [trouble.path for trouble in done.troubles]) == (0, [blob])
    assert blob.exists()


def test_what_is_gone_already_is_no_trouble(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/M", MODEL)
    library = scan_library(places)
    plan = plan_removal(library, list(library.items))
    assert apply_removal(plan).freed == plan.freed
    again = apply_removal(plan)
    assert (again.freed, again.files, again.troubles) == (0, 0, ())
