"""The library sees what each tool keeps, and nothing in a store can keep it from seeing the rest."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir

import core.library.headers
from core import Cancelled, JobFolder, Origin, QuantizeJob, Settings, create
from core.events import Done, Failed
from core.library import Library, LibraryItem, Places, find_places, scan_library
from core.library.item import LeftoverKind
from core.library.ollama import model_name
from tests.core.library.stores import (
    COMMIT,
    OTHER,
    add_to_hub,
    add_to_ollama,
    gguf_bytes,
    note_output,
    places_in,
    put,
    safetensors_bytes,
)

MODEL = {"config.json": b'{"model_type": "qwen3"}', "model.safetensors": safetensors_bytes()}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


def named(library: Library) -> dict[str, LibraryItem]:
    return {item.name: item for item in library.items}


def test_an_empty_computer_has_an_empty_library(places: Places) -> None:
    library = scan_library(places)
    assert (library.items, library.leftovers, library.troubles, library.total) == ((), (), (), 0)
    assert library.disk is not None
    assert 0 < library.disk.free < library.disk.total


def test_a_checkpoint_in_the_hub_cache_is_one_model_with_its_family_and_commit(places: Places) -> None:
    snapshot = add_to_hub(places.hub[0], "Org/Model", MODEL)
    (item,) = scan_library(places).items
    assert (item.name, item.repo, item.commit, item.refs) == ("Org/Model", "Org/Model", COMMIT, ("main",))
    assert (item.origin, item.path, item.is_ours) == (Origin.HUB, snapshot, True)
    assert (item.summary.kind, item.summary.family, item.summary.label) == ("safetensors", "qwen3", "BF16")
    assert item.size == sum(map(len, MODEL.values())) == item.shares.unique


def test_each_gguf_of_a_repository_is_a_model_and_the_parts_of_one_are_together(places: Places) -> None:
    files = {
        "M-Q4_K_M.gguf": gguf_bytes(1),
        "Q8_0/M-00001-of-00002.gguf": gguf_bytes(2, file_type=7),
        "Q8_0/M-00002-of-00002.gguf": gguf_bytes(3, file_type=7),
        "README.md": b"hello",
    }
    add_to_hub(places.hub[0], "Org/M-GGUF", files)
    found = named(scan_library(places))
    assert list(found) == ["Org/M-GGUF/M-Q4_K_M.gguf", "Org/M-GGUF/Q8_0/M"]
    whole, split = found.values()
    assert (whole.summary.kind, whole.summary.family, whole.summary.label) == ("GGUF", "llama", "Q4_K_M")
    assert (split.summary.label, len(split.weights)) == ("Q8_0", 2)
    assert [(s.format, s.tensors, s.nbytes) for s in whole.summary.formats] == [("F32", 1, 1024), ("Q4_K", 1, 576)]
    assert (whole.shares.shared, split.shares.shared) == (5, 5)


def test_what_two_revisions_share_is_told_apart_from_what_each_has(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/Model", MODEL)
    add_to_hub(places.hub[0], "Org/Model", {**MODEL, "config.json": b"{}"}, commit=OTHER, refs=["dev"])
    library = scan_library(places)
    assert [item.name for item in library.items] == [f"Org/Model@{COMMIT[:7]}", f"Org/Model@{OTHER[:7]}"]
    weights = len(MODEL["model.safetensors"])
    assert [item.shares.shared for item in library.items] == [weights, weights]
    assert [item.shares.unique for item in library.items] == [len(MODEL["config.json"]), 2]
    assert library.total == weights + len(MODEL["config.json"]) + 2


def test_the_sizes_are_those_that_huggingface_hub_counts(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/Model", MODEL)
    add_to_hub(places.hub[0], "Org/Model", {**MODEL, "config.json": b"{}"}, commit=OTHER, refs=["dev"])
    add_to_hub(places.hub[0], "single", MODEL)
    library = scan_library(places)
    theirs = scan_cache_dir(places.hub[0])
    sizes = {(repo.repo_id, r.commit_hash): r.size_on_disk for repo in theirs.repos for r in repo.revisions}
    assert {(item.repo, item.commit): item.size for item in library.items} == sizes


def test_a_cache_without_links_is_seen_too(places: Places) -> None:
    folder = places.hub[0] / "models--Org--Model" / "snapshots" / COMMIT
    for name, content in MODEL.items():
        put(folder / name, content)
    (item,) = scan_library(places).items
    assert item.size == sum(map(len, MODEL.values()))


def test_missing_files_of_a_checkpoint_are_counted(places: Places) -> None:
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    )
    files = {"model.safetensors.index.json": index.encode(), "model-00001-of-00002.safetensors": safetensors_bytes("a")}
    add_to_hub(places.hub[0], "Org/Model", files)
    (item,) = scan_library(places).items
    assert item.problem == "1 of 2 files with weights are missing."


def test_missing_parts_of_a_gguf_are_counted(places: Places) -> None:
    put(places.added[0] / "m-00002-of-00003.gguf", gguf_bytes())
    (item,) = scan_library(places).items
    assert (item.name, item.problem) == ("m", "2 of 3 parts are missing.")


def test_a_quantized_checkpoint_says_its_method(places: Places) -> None:
    config = b'{"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}}'
    add_to_hub(places.hub[0], "Org/Model", {**MODEL, "config.json": config})
    assert scan_library(places).items[0].summary.label == "GPTQ 4-bit"


def test_ollamas_models_have_ollamas_names(places: Places) -> None:
    add_to_ollama(places.ollama[0], "registry.ollama.ai/library/llama3.2/3b", gguf_bytes(1))
    add_to_ollama(places.ollama[0], "hf.co/Org/M-GGUF/Q4_K_M", gguf_bytes(2))
    found = named(scan_library(places))
    assert list(found) == ["hf.co/Org/M-GGUF:Q4_K_M", "llama3.2:3b"]
    item = found["llama3.2:3b"]
    assert (item.origin, item.is_ours, item.removal) == (Origin.OLLAMA, False, "Remove it with: ollama rm llama3.2:3b")
    assert (item.summary.kind, item.summary.label, item.shares.shared) == ("GGUF", "Q4_K_M", 3)
    assert found["hf.co/Org/M-GGUF:Q4_K_M"].repo == "Org/M-GGUF"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("registry.ollama.ai", "library", "llama3", "8b"), "llama3:8b"),
        (("registry.ollama.ai", "me", "mine", "latest"), "me/mine:latest"),
        (("example.com", "library", "x", "y"), "example.com/library/x:y"),
        (("latest",), ":latest"),
    ],
)
def test_a_manifest_path_gives_the_name_that_ollama_shows(parts: tuple[str, ...], name: str) -> None:
    assert model_name(parts) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "{}",
        '{"layers": 3}',
        '{"layers": [3]}',
        '{"layers": [{"digest": 5}]}',
        '{"layers": [{"mediaType": "model", "digest": "sha256:../../../../etc/passwd"}]}',
        '{"layers": [{"mediaType": "model", "digest": "sha256-' + "A" * 64 + '"}]}',
        '{"layers": null, "config": {}}',
        "\x00\xff",
    ],
)
def test_a_broken_manifest_is_told_of_and_the_others_are_seen(text: str, places: Places) -> None:
    add_to_ollama(places.ollama[0], "registry.ollama.ai/library/good/1", gguf_bytes())
    bad = put(places.ollama[0] / "manifests/registry.ollama.ai/library/bad/1", text)
    library = scan_library(places)
    assert [item.name for item in library.items] == ["good:1"]
    assert [trouble.path for trouble in library.troubles] == [bad]


def test_a_missing_blob_is_a_problem_of_its_model(places: Places) -> None:
    add_to_ollama(places.ollama[0], "registry.ollama.ai/library/x/1", gguf_bytes())
    max((places.ollama[0] / "blobs").iterdir(), key=lambda blob: blob.stat().st_size).unlink()
    (item,) = scan_library(places).items
    assert item.problem == "1 of 2 blobs are missing."


def test_the_same_content_in_two_stores_is_a_duplicate_that_names_the_other(places: Places) -> None:
    content = gguf_bytes(7)
    add_to_hub(places.hub[0], "Org/M", {"m.gguf": content})
    add_to_ollama(places.ollama[0], "registry.ollama.ai/library/m/1", content)
    hub, ollama = scan_library(places).items
    assert (hub.shares.duplicate, hub.shares.twins) == (len(content), ("m:1",))
    assert (ollama.shares.duplicate, ollama.shares.twins) == (len(content), ("Org/M/m.gguf",))


def test_a_hard_link_into_another_store_is_shared_and_counted_once(places: Places) -> None:
    target = put(places.outputs[0] / "m.gguf", gguf_bytes())
    note_output(places.made, target)
    linked = places.lm_studio[0] / "Org" / "M" / "m.gguf"
    linked.parent.mkdir(parents=True)
    os.link(target, linked)
    library = scan_library(places)
    assert [(item.origin, item.shares.unique) for item in library.items] == [(Origin.SNUG, 0), (Origin.LM_STUDIO, 0)]
    assert library.total == target.stat().st_size


def test_a_hard_link_that_the_library_does_not_know_keeps_the_bytes(places: Places, tmp_path: Path) -> None:
    target = put(places.outputs[0] / "m.gguf", gguf_bytes())
    note_output(places.made, target)
    os.link(target, tmp_path / "elsewhere")
    (item,) = scan_library(places).items
    assert (item.shares.unique, item.shares.shared) == (0, target.stat().st_size)


def test_lm_studio_and_llama_cpp_are_only_looked_at(places: Places) -> None:
    put(places.lm_studio[0] / "Org" / "M-GGUF" / "M.gguf", gguf_bytes(1))
    put(places.lm_studio[0] / "Org" / "M-MLX" / "model.safetensors", MODEL["model.safetensors"])
    put(places.lm_studio[0] / "Org" / "M-MLX" / "config.json", MODEL["config.json"])
    file = put(places.llama_cpp[0] / "Org_M-GGUF_M.gguf", gguf_bytes(2))
    put(file.with_name(file.name + ".json"), '{"url": "https://huggingface.co/Org/M-GGUF/resolve/main/M.gguf"}')
    found = named(scan_library(places))
    assert list(found) == ["Org/M-GGUF/M.gguf", "Org/M-MLX", "Org_M-GGUF_M.gguf"]
    assert {item.is_ours for item in found.values()} == {False}
    assert all(item.removal for item in found.values())
    assert [item.repo for item in found.values()] == ["Org/M-GGUF", "Org/M-MLX", "Org/M-GGUF"]
    assert found["Org/M-MLX"].summary.family == "qwen3"


def test_a_file_in_two_places_by_the_same_name_is_listed_once(places: Places) -> None:
    add_to_hub(places.hub[0], "Org/M", {"m.gguf": gguf_bytes()})
    (places.added[0] / "cache").symlink_to(places.hub[0])
    assert [item.origin for item in scan_library(places).items] == [Origin.HUB]


def test_links_in_a_circle_end(places: Places) -> None:
    put(places.added[0] / "a" / "m.gguf", gguf_bytes())
    (places.added[0] / "a" / "again").symlink_to(places.added[0])
    assert [item.name for item in scan_library(places).items] == ["a/m.gguf"]


def test_a_job_in_the_history_makes_its_file_snugs_own(places: Places) -> None:
    target = put(places.outputs[0] / "mine.gguf", gguf_bytes(1))
    put(places.outputs[0] / "other.gguf", gguf_bytes(2))
    finish(create(places.jobs, QuantizeJob("/m", "Q4_K_M", str(target))), target)
    assert [(item.name, item.origin) for item in scan_library(places).items] == [
        ("mine.gguf", Origin.SNUG),
        ("other.gguf", Origin.FOLDER),
    ]


def test_a_job_that_failed_of_one_target_has_made_the_others(places: Places) -> None:
    target = put(places.outputs[0] / "mine.gguf", gguf_bytes(1))
    made = {"target": str(target), "file_bytes": target.stat().st_size, "also": []}
    create(places.jobs, QuantizeJob("/m", "Q4_K_M", str(target))).append(Failed("Another is bad.", result=made))
    assert [item.origin for item in scan_library(places).items] == [Origin.SNUG]


def test_another_file_that_took_the_name_is_not_snugs(places: Places) -> None:
    target = put(places.outputs[0] / "mine.gguf", gguf_bytes(1))
    finish(create(places.jobs, QuantizeJob("/m", "Q4_K_M", str(target))), target)
    put(target, gguf_bytes(1, rows=8))
    assert [item.origin for item in scan_library(places).items] == [Origin.FOLDER]


def finish(job: JobFolder, target: Path) -> None:
    job.append(Done({"target": str(target), "file_bytes": target.stat().st_size}))


@pytest.mark.parametrize("text", ["", "garbage\n", "{}\n", '{"target": "relative.gguf", "file_bytes": 1}\n', "[[\n"])
def test_spoiled_notes_of_what_was_made_are_passed_over(text: str, places: Places) -> None:
    put(places.made, text)
    put(places.jobs / "20260101-000000-abc" / "job.json", text)
    put(places.jobs / "20260101-000000-abc" / "events.jsonl", text)
    assert scan_library(places).items == ()


def test_garbage_is_a_problem_of_its_own_file_alone(places: Places) -> None:
    folder = places.added[0]
    good = gguf_bytes()
    put(folder / "good.gguf", good)
    put(folder / "empty.gguf", b"")
    put(folder / "cut.gguf", good[:100])
    put(folder / "random.gguf", os.urandom(4096))
    put(folder / "bad.safetensors", b"\xff" * 64)
    os.mkfifo(folder / "pipe.gguf")
    (folder / "nowhere.gguf").symlink_to("/nonexistent/x")
    (folder / "folder.gguf").mkdir()
    found = named(scan_library(places))
    assert sorted(found) == ["bad.safetensors", "cut.gguf", "empty.gguf", "good.gguf", "random.gguf"]
    assert {name for name, item in found.items() if item.problem} == set(found) - {"good.gguf"}
    assert found["random.gguf"].problem == "random.gguf is not a GGUF file."


def test_a_folder_that_may_not_be_read_is_told_of(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    put(places.added[0] / "closed" / "m.gguf", gguf_bytes(1))
    put(places.added[0] / "open" / "m.gguf", gguf_bytes(2))
    real = os.scandir

    def scandir(path: str = ".") -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    library = scan_library(places)
    assert [item.name for item in library.items] == ["open/m.gguf"]
    assert [trouble.message for trouble in library.troubles] == ["Permission denied"]


def test_a_link_that_leads_out_of_the_cache_is_not_followed(places: Places, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret.safetensors", safetensors_bytes())
    snapshot = add_to_hub(places.hub[0], "Org/M", MODEL)
    (snapshot / "evil.safetensors").symlink_to(secret)
    library = scan_library(places)
    assert secret not in {file.real for item in library.items for file in item.files}
    assert "leads out of the cache" in library.troubles[0].message


def test_headers_are_read_once(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(places.added[0] / "m.gguf", gguf_bytes(1))
    remember = tmp_path / "memory.json"
    (first,) = scan_library(places, remember=remember).items
    read: list[Path] = []
    real = core.library.headers.skim_header
    monkeypatch.setattr(core.library.headers, "skim_header", lambda path: read.append(path) or real(path))
    (again,) = scan_library(places, remember=remember).items
    assert (again.summary, again.used) == (first.summary, pytest.approx(first.used, abs=1))
    assert read == []
    put(file, gguf_bytes(1, file_type=7, rows=8))
    assert scan_library(places, remember=remember).items[0].summary.label == "Q8_0"
    assert read == [file]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2}', '{"version": 3}\n["x", [1]]', '{"version": 3}\n{', "[" * 100_000]
)
def test_a_spoiled_memory_is_written_anew(text: str, places: Places, tmp_path: Path) -> None:
    put(places.added[0] / "m.gguf", gguf_bytes())
    remember = put(tmp_path / "memory.json", text)
    assert scan_library(places, remember=remember).items[0].summary.label == "Q4_K_M"
    first, entry = map(json.loads, remember.read_text().splitlines())
    assert first == {"version": 3}
    assert entry[0].startswith(str(places.added[0]))


def test_looking_at_a_file_does_not_count_as_use(places: Places, tmp_path: Path) -> None:
    file = put(places.added[0] / "m.gguf", gguf_bytes())
    long_ago = time.time() - 90 * 86400
    os.utime(file, (long_ago, long_ago - 86400))
    remember = tmp_path / "memory.json"
    assert scan_library(places, remember=remember).items[0].used == pytest.approx(long_ago, abs=1)
    os.utime(file, (time.time(), long_ago - 86400))
    assert scan_library(places, remember=remember).items[0].used == pytest.approx(long_ago, abs=1)
    os.utime(file, (time.time() + 3600, long_ago - 86400))
    assert scan_library(places, remember=remember).items[0].used > time.time()


def test_leftovers_say_what_they_are_and_why_they_stay(places: Places) -> None:
    blobs = places.hub[0] / "models--Org--M" / "blobs"
    add_to_hub(places.hub[0], "Org/M", MODEL)
    put(blobs / f"{'c' * 64}.0123abcd.incomplete", b"x" * 10)
    put(blobs / f"{'d' * 64}.snug.incomplete", b"x" * 20)
    put(blobs / ("e" * 64), b"x" * 30)
    put(places.outputs[0] / "m.gguf.snug-part", b"x" * 40)
    put(places.ollama[0] / "blobs" / "sha256-abc-partial", b"x" * 50)
    soon = scan_library(places)
    assert {entry.size: (entry.kind, bool(entry.busy)) for entry in soon.leftovers} == {
        10: (LeftoverKind.DOWNLOAD, False),
        20: (LeftoverKind.DOWNLOAD, True),
        30: (LeftoverKind.BLOB, True),
        40: (LeftoverKind.OUTPUT, False),
        50: (LeftoverKind.DOWNLOAD, True),
    }
    assert soon.useless == 50
    later = scan_library(places, now=time.time() + 8 * 86400)
    assert sorted(entry.size for entry in later.leftovers if not entry.busy) == [10, 20, 30, 40]


def test_a_scan_can_be_stopped(places: Places) -> None:
    put(places.added[0] / "m.gguf", gguf_bytes())
    with pytest.raises(Cancelled):
        scan_library(places, cancelled=lambda: True)


@pytest.mark.slow
def test_five_thousand_files_are_listed_in_seconds(places: Places, tmp_path: Path) -> None:
    content = gguf_bytes()
    for number in range(5000):
        folder = places.added[0] / str(number % 50)
        folder.mkdir(exist_ok=True)
        (folder / f"m{number}.gguf").write_bytes(content)
    before = time.process_time()
    assert len(scan_library(places, remember=tmp_path / "memory.json").items) == 5000
    assert time.process_time() - before < 30


def test_each_tools_own_variables_decide_where_it_is_looked_for(tmp_path: Path) -> None:
    for name in ("hub", "ollama", "llama", "chosen", "added", "home/.lmstudio/models"):
        (tmp_path / name).mkdir(parents=True)
    put(tmp_path / "home/.lmstudio/settings.json", json.dumps({"downloadsFolder": str(tmp_path / "chosen")}))
    environ = {
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "OLLAMA_MODELS": str(tmp_path / "ollama"),
        "LLAMA_CACHE": str(tmp_path / "llama"),
    }
    settings = Settings(library_folders=(str(tmp_path / "added"), str(tmp_path / "gone")))
    found = find_places(settings, environ=environ, home=tmp_path / "home")
    assert (found.hub, found.llama_cpp, found.added) == (
        (tmp_path / "hub",),
        (tmp_path / "llama",),
        (tmp_path / "added",),
    )
    assert found.ollama[0] == tmp_path / "ollama"
    assert found.lm_studio == (tmp_path / "chosen", tmp_path / "home/.lmstudio/models")


def test_without_variables_the_custom_of_each_system_decides(tmp_path: Path) -> None:
    for name in (".cache/huggingface/hub", ".ollama/models", ".cache/llama.cpp", "Library/Caches/llama.cpp"):
        (tmp_path / name).mkdir(parents=True)
    found = find_places(Settings(), environ={}, home=tmp_path, platform="linux")
    assert (found.hub, found.llama_cpp) == ((tmp_path / ".cache/huggingface/hub",), (tmp_path / ".cache/llama.cpp",))
    assert found.ollama[0] == tmp_path / ".ollama/models"
    mac = find_places(Settings(), environ={}, home=tmp_path, platform="darwin")
    assert mac.llama_cpp == (tmp_path / "Library/Caches/llama.cpp",)
