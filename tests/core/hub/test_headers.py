"""Models of the Hub from headers alone: the same as from the whole files, for few requests and bytes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import core
from core.check import check_of
from core.errors import SnugError
from core.hub import (
    PullJob,
    RangeReader,
    downloaded,
    header_source,
    hub_source,
    open_remote,
    open_to_check,
    pull,
    repo_info,
)
from core.hub.headers import FIRST_BYTES
from core.tokenizer.splitting_names import SPLITTINGS
from tests.core.hub.conftest import Start, folder_repo, noise
from tests.core.tokenizer.made import byte_level
from tests.fake_hub import FakeRepo, Fault
from tests.models import CONFIG, SAMPLE, llama_shapes, make_llama, write_raw

SOURCE = hub_source("org/model")


def same_tensors(one: core.ModelInfo, other: core.ModelInfo) -> bool:
    def seen(model: core.ModelInfo) -> list[tuple[object, ...]]:
        return [(t.name, t.shape, t.dtype, [(s.offset, s.nbytes) for s in t.sources]) for t in model.tensors]

    return seen(one) == seen(other)


def test_a_model_from_its_headers_is_the_model_itself(start: Start, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model", shards=3)
    fake, hub = start(folder_repo("org/model", folder))
    found, local = open_remote(SOURCE, hub=hub), core.open_model(folder)
    assert same_tensors(found, local)
    assert found.metadata == local.metadata
    assert (found.name, str(found.path)) == ("Model", "hub:org/model")
    plan = core.make_plan(found, core.find_recipe("Q4_K_M"))
    assert plan.tensor_bytes == core.make_plan(local, core.find_recipe("Q4_K_M")).tensor_bytes
    assert fake.sent("/storage/*") <= 3 * FIRST_BYTES


def test_a_second_look_asks_only_what_the_newest_commit_is(start: Start, tmp_path: Path) -> None:
    fake, hub = start(folder_repo("org/model", make_llama(tmp_path / "model", shards=2)))
    open_remote(SOURCE, hub=hub)
    fake.log.clear()
    open_remote(SOURCE, hub=hub)
    assert fake.paths() == ["/api/models/org/model/revision/main?blobs=true"]
    fake.log.clear()
    open_remote(hub_source(f"org/model@{fake.repos['org/model'].commit}"), hub=hub)
    assert fake.paths() == []


def test_what_was_seen_before_can_be_seen_offline(start: Start, tmp_path: Path) -> None:
    _, hub = start(folder_repo("org/model", make_llama(tmp_path / "model")))
    seen = open_remote(SOURCE, hub=hub)
    assert open_remote(SOURCE, hub=replace(hub, offline=True)).metadata == seen.metadata
    with pytest.raises(SnugError, match="HF_HUB_OFFLINE"):
        open_remote(hub_source("org/other"), hub=replace(hub, offline=True))


def large(shards: int) -> FakeRepo:
    """The headers of an 8B model; its weights are so short that this is no honest file, but for them no one asks."""
    shapes = llama_shapes({**CONFIG, "num_hidden_layers": 32})
    names = list(shapes)
    files: dict[str, bytes] = {
        "config.json": json.dumps({**CONFIG, "num_hidden_layers": 32}).encode(),
        "README.md": b"---\nlicense: apache-2.0\n---\n" + b"text " * 4000,
        "tokenizer.json": b" " * (9 << 20),
    }
    where = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        header, at = {}, 0
        for tensor in names[number::shards]:
            size = 2 * int(shapes[tensor][0]) * (shapes[tensor][1] if len(shapes[tensor]) > 1 else 1)
            header[tensor] = {"dtype": "BF16", "shape": list(shapes[tensor]), "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header).encode()
        files[name] = len(text).to_bytes(8, "little") + text + bytes(at)
        where |= dict.fromkeys(header, name)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": where}).encode()
    return FakeRepo("org/model", files)


@pytest.mark.parametrize("shards", [1, 4, 30])
def test_a_verdict_needs_few_requests_and_bytes(shards: int, start: Start) -> None:
    fake, hub = start(large(shards))
    found = open_remote(SOURCE, hub=hub, quick=True)
    assert len(found.tensors) == 32 * 9 + 3
    assert core.make_plan(found, core.find_recipe("Q4_K_M")).tensors
    assert len(fake.log) <= 10
    assert fake.sent() < 1 << 20


@pytest.mark.parametrize("shards", [1, 4, 30])
def test_a_check_needs_few_requests_and_bytes_whatever_the_vocabulary(shards: int, start: Start) -> None:
    repo = large(shards)
    rule = next(rule for rule in SPLITTINGS if rule.name == "qwen2")
    text = json.dumps(byte_level(rule)).replace('"vocab": {', '"vocab": {' + '"filler": 9, ' * 800_000, 1)
    repo.files = {**repo.files, "tokenizer.json": text.encode(), "tokenizer_config.json": b'{"add_bos_token": false}'}
    repo.tags = ("license:mit",)
    fake, hub = start(repo)
    found = check_of(open_to_check(SOURCE, hub=hub))
    assert (found.tokenizer, found.licence) == ("byte-level BPE, split as qwen2", "mit")
    assert found.vocabulary == CONFIG["vocab_size"]
    assert len(fake.log) <= 10
    assert fake.sent() < 1 << 20
    fake.log.clear()
    assert check_of(open_to_check(SOURCE, hub=hub)) == found
    assert len(fake.log) == 1


def test_a_check_of_a_model_in_the_cache_reads_it_there(start: Start, tmp_path: Path) -> None:
    fake, hub = start(folder_repo("org/model", make_llama(tmp_path / "model")))
    list(pull(PullJob("org/model"), hub=hub))
    fake.log.clear()
    assert check_of(open_to_check(SOURCE, hub=hub)).tokenizer == "SentencePiece BPE"
    assert len(fake.log) == 1


def test_without_the_short_way_headers_are_read_one_by_one(start: Start) -> None:
    fake, hub = start(large(4))
    fake.faults = [Fault("*safetensors-metadata*", -1, status=404)]
    assert len(open_remote(SOURCE, hub=hub, quick=True).tensors) == 32 * 9 + 3
    assert fake.sent() < 1 << 20


def test_headers_of_another_commit_are_not_taken(start: Start) -> None:
    fake, hub = start(large(2))
    answer = {"headers": {f"model-{n:05}-of-00002.safetensors": {"a": {"data_offsets": [0, 8]}} for n in (1, 2)}}
    fake.faults = [Fault("*safetensors-metadata*", status=200, body=json.dumps(answer).encode())]
    assert len(open_remote(SOURCE, hub=hub, quick=True).tensors) == 32 * 9 + 3


def test_verdicts_may_be_asked_for_from_several_threads(start: Start) -> None:
    repos = [replace(large(1), id=f"org/model-{number}") for number in range(6)]
    fake, hub = start(*repos)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda repo: open_remote(hub_source(repo.id), hub=hub, quick=True), repos))
    assert [len(model.tensors) for model in found] == [32 * 9 + 3] * 6
    assert len(fake.log) == 6 * 5


def test_a_long_header_is_read_whole(start: Start, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model")
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    write_raw(
        folder / "model.safetensors", {**header, "__metadata__": {"x": "y" * 3 * FIRST_BYTES}}, data[8 + length :]
    )
    _, hub = start(folder_repo("org/model", folder))
    assert same_tensors(open_remote(SOURCE, hub=hub), core.open_model(folder))


@pytest.mark.parametrize("data", [b"", b"abc", b"\xff" * 100, (1 << 40).to_bytes(8, "little") + b"{}" * 100])
def test_a_file_that_is_no_safetensors_is_a_clear_error(data: bytes, start: Start, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(data)
    _, hub = start(folder_repo("org/model", folder))
    with pytest.raises(SnugError, match="no safetensors file"):
        open_remote(SOURCE, hub=hub)


@pytest.fixture
def gguf(tmp_path: Path) -> bytes:
    out = tmp_path / "made.gguf"
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "Q8_0", str(out), backend="reference"))
    assert isinstance(last, core.Done), last
    return out.read_bytes()


def test_a_gguf_is_known_from_its_first_bytes(start: Start, gguf: bytes, tmp_path: Path) -> None:
    fake, hub = start(FakeRepo("org/model", {"a-Q8_0.gguf": gguf, "a-Q4_K_M.gguf": gguf, "mmproj-f16.gguf": b"x"}))
    found = open_remote(hub_source("org/model:q8_0"), hub=hub)
    local = core.open_model(tmp_path / "made.gguf")
    assert same_tensors(found, local)
    assert found.metadata == local.metadata
    assert found.is_gguf
    assert fake.sent("/storage/*") < len(gguf)
    assert same_tensors(open_remote(SOURCE, hub=hub), local)


def test_a_damaged_gguf_is_a_clear_error(start: Start, gguf: bytes) -> None:
    for number, data in enumerate((gguf[:100], gguf[:-100], b"GGUF" + b"\xff" * 1000, b"GGUF", gguf[:4096] * 40)):
        _, hub = start(FakeRepo(f"org/model{number}", {"a.gguf": data}))
        with pytest.raises(SnugError):
            open_remote(hub_source(f"org/model{number}"), hub=hub)


def test_the_bytes_of_a_tensor_can_be_read(start: Start, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model", shards=2)
    _, hub = start(folder_repo("org/model", folder))
    source = header_source(SOURCE, hub=hub)
    tensor = source.model().tensors[0].sources[0]
    whole = (folder / tensor.file.name).read_bytes()[tensor.offset :]
    assert source.read(tensor, 100, 5000).tobytes() == whole[100:5100]
    assert source.remote[tensor.file.name].size == (folder / tensor.file.name).stat().st_size


def test_a_stream_gives_every_byte_once_through_failures(start: Start) -> None:
    data = noise(3 << 20)
    fake, hub = start(FakeRepo("org/model", {"model.safetensors": data}))
    source = repo_info("org/model", hub=hub)
    reader = RangeReader(hub, source, source.files[0])
    storage = "/storage/*"
    fake.faults = [
        Fault(storage, cut_after=1_000_000),
        Fault(storage, status=503),
        Fault(storage, cut_after=5, reset=True),
    ]
    assert b"".join(reader.stream(1000, len(data) - 7)) == data[1000:-7]
    asked = len(fake.log)
    assert reader.read(5, 10) == data[5:15]
    assert len(fake.log) == asked + 1  # the signed address is known
    fake.expire()
    assert reader.read(len(data) - 4, 100) == data[-4:]
    assert reader.read(len(data), 100) == b""


def test_a_server_without_ranges_still_gives_headers(start: Start, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model", shards=2)
    fake, hub = start(folder_repo("org/model", folder))
    fake.faults = [Fault("/storage/*", -1, no_range=True)]
    assert same_tensors(open_remote(SOURCE, hub=hub), core.open_model(folder))


def test_small_files_that_were_read_for_a_look_are_not_downloaded_again(start: Start, tmp_path: Path) -> None:
    fake, hub = start(folder_repo("org/model", make_llama(tmp_path / "model")))
    open_remote(SOURCE, hub=hub)
    fake.log.clear()
    *_, last = pull(PullJob("org/model"), hub=hub)
    assert isinstance(last, core.Done)
    assert not any("config.json" in path for path in fake.paths())
    assert core.open_model(last.result["folder"]).tensors


def test_a_damaged_small_file_is_refused(start: Start, tmp_path: Path) -> None:
    fake, hub = start(folder_repo("org/model", make_llama(tmp_path / "model")))
    fake.faults = [Fault("*resolve-cache*/config.json", -1, flip_at=20)]
    with pytest.raises(SnugError, match="arrived damaged"):
        open_remote(SOURCE, hub=hub)


def test_headers_alone_are_never_taken_for_weights(start: Start, tmp_path: Path) -> None:
    _, hub = start(folder_repo("org/model", make_llama(tmp_path / "model")))
    folder = header_source(SOURCE, hub=hub).folder
    with pytest.raises(SnugError):
        core.open_model(folder)


def test_an_unknown_family_is_said_before_any_weights_move(start: Start, tmp_path: Path) -> None:
    fake, hub = start(folder_repo("org/model", make_llama(tmp_path / "model", architectures=["LlamoForCausalLM"])))
    with pytest.raises(SnugError, match="LlamoForCausalLM"):
        open_remote(SOURCE, hub=hub, quick=True)
    assert fake.sent() < 1 << 20


def test_every_command_takes_a_name_on_the_hub(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, hub = start(folder_repo("org/model", make_llama(tmp_path / "model")))
    monkeypatch.setattr("core.hub.headers.connect", lambda: hub)
    for text in ("hub:org/model", "org/model", "org/model@main"):
        assert core.check_model(text).path == f"hub:{text.removeprefix('hub:').removesuffix('@main')}"
    with pytest.raises(SnugError, match="does not exist"):
        core.open_model(f"{tmp_path}/missing")


def test_a_model_that_is_in_the_cache_is_opened_there(start: Start, tmp_path: Path) -> None:
    fake, hub = start(folder_repo("org/model", make_llama(tmp_path / "model", shards=2)))
    assert downloaded(SOURCE, hub=hub) is None
    *_, last = pull(PullJob("org/model"), hub=hub)
    folder = downloaded(SOURCE, hub=hub)
    assert str(folder) == last.result["folder"]
    fake.log.clear()
    found = open_remote(SOURCE, hub=replace(hub, offline=True))
    assert fake.log == []
    assert str(found.path) == "hub:org/model"
    assert all(file.exists() and file.stat().st_size > 100_000 for file in found.files)
    *_, again = pull(PullJob("org/model"), hub=replace(hub, offline=True))
    assert again.result["fetched"] == 0
    (Path(last.result["folder"]) / "config.json").unlink()
    assert downloaded(SOURCE, hub=hub) is None


def test_a_gguf_that_is_in_the_cache_is_opened_there(start: Start, gguf: bytes) -> None:
    _, hub = start(FakeRepo("org/model", {"a-Q8_0.gguf": gguf, "a-Q4_K_M.gguf": gguf[:-1]}))
    source = hub_source("org/model:Q8_0")
    *_, last = pull(PullJob(str(source)), hub=hub)
    assert downloaded(source, hub=hub) == Path(last.result["folder"]) / "a-Q8_0.gguf"
    assert downloaded(hub_source("org/model:Q4_K_M"), hub=hub) is None
    assert open_remote(source, hub=replace(hub, offline=True)).is_gguf
