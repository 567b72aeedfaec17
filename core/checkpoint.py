"""Opening a model: a Hugging Face folder or a GGUF file, headers only."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.architectures import (
    Architecture,
    Mapped,
    Source,
    check_complete,
    check_values,
    family_of,
    find_architecture,
    flat_config,
    map_model,
)
from core.errors import SnugError
from core.gguf import MAGIC, encode_header
from core.gguf_split import read_split
from core.model import (
    Metadata,
    ModelInfo,
    OutputTensor,
    Parameters,
    Part,
    ReadBytes,
    TensorInfo,
    count_parameters,
    left_out,
)
from core.paths import expanded
from core.rows import RowReader
from core.shards import INDEX, read_folder
from core.sources import refuse_adapter, unpack
from core.tensor_ops import as_float32
from core.tokenizer import read_tokenizer

_DECIDED_BY_RECIPE = ("general.file_type", "general.quantization_version", "general.alignment")
# What PyPI gguf's Metadata reads from the folder's name.
_FROM_NAME = ("name", "organization", "basename", "finetune", "version", "size_label")
# Keys that hold one whole number, and those that may hold one for each layer.
_WHOLE = (
    "block_count", "context_length", "embedding_length", "vocab_size", "expert_count", "expert_used_count",
    "expert_feed_forward_length", "attention.key_length", "attention.value_length",
)  # fmt: skip
_WHOLE_EACH = ("feed_forward_length", "attention.head_count", "attention.head_count_kv")
GIVE_UP_HINT = "Choose a folder with config.json, tokenizer files and .safetensors weights, or a .gguf file."

QUANTIZED_NOTE = (
    "This file is quantized already: quantizing it again adds its loss to the new one. "
    "The original model gives a better result."
)


@dataclass(frozen=True)
class Elsewhere:
    """Weights of which only the headers are here: the lengths of their files by name, and how to read a few bytes.

    Without `has_tokenizer` the tokenizer's files are not here either, and its keys are left out.
    """

    lengths: Mapping[str, int] = field(default_factory=dict)
    read: ReadBytes | None = None
    has_tokenizer: bool = True


def open_model(path: Path | str) -> ModelInfo:
    """The model at `path`, a folder, a GGUF file or hub:ORG/NAME, from its headers.

    Raises SnugError with what is wrong and what to do.
    """
    if str(path).startswith("hub:") or not os.path.exists(path):
        from core.hub.headers import open_remote  # only here: looking at a file needs no network
        from core.hub.names import as_hub_source

        if source := as_hub_source(path):
            return open_remote(source)
    path = expanded(path)
    try:
        path = _resolved(path)
        return _open(path)
    except OSError as error:
        raise SnugError(
            f"{error.filename or path} cannot be opened: {error.strerror or error}.",
            "Check the path and its permissions.",
        ) from error


def open_quickly(path: Path | str) -> ModelInfo:
    """The same without reading a folder's tokenizer: all that decides how much memory the model takes."""
    folder = expanded(path)
    if not folder.is_dir():
        return open_model(path)
    return _open_folder(folder.resolve(), Elsewhere(has_tokenizer=False))


def _resolved(path: Path) -> Path:
    """Without links in the way, but a file keeps its own name: a Hugging Face cache links to files named by hashes."""
    if not path.exists():
        raise SnugError(f"{path} does not exist.", GIVE_UP_HINT)
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def _open(path: Path) -> ModelInfo:
    if path.is_dir():
        return _open_folder(path)
    if path.suffix == ".gguf" or _starts_as_gguf(path):
        return open_gguf(path)
    if path.name in ("config.json", INDEX) or path.suffix == ".safetensors":
        return _open_folder(path.parent)
    raise SnugError(f"{path.name} is neither a model folder nor a .gguf file.", GIVE_UP_HINT)


def open_headers(path: Path, elsewhere: Elsewhere) -> ModelInfo:
    """The model whose small files are in the folder `path`, or the GGUF whose first bytes are in the file `path`."""
    return _open_folder(path, elsewhere) if path.is_dir() else open_gguf(path, elsewhere.lengths)


def _open_folder(folder: Path, elsewhere: Elsewhere | None = None) -> ModelInfo:
    elsewhere = elsewhere or Elsewhere()
    if any((folder / name).exists() for name in ("adapter_config.json", "adapter_model.safetensors")):
        refuse_adapter(folder)
    whole = _read_config(folder)
    config = flat_config(whole)
    entry = find_architecture(config)
    stored, files = read_folder(folder, elsewhere.lengths)
    unpacked = unpack(config, stored, elsewhere.read)
    tensors = {tensor.name: tensor for tensor in unpacked.tensors}
    source = Source(
        arch=entry.arch,
        config=config,
        tensors=tensors,
        read_json=lambda name: _json_of(folder / name),
        read_values=lambda name: _values_of(tensors.get(name), elsewhere.read),
        files=frozenset(file.name for file in folder.iterdir()),
    )
    source, mapped = _mapped(folder, entry, source)
    embedding = next(tensor for tensor in mapped.tensors if tensor.name == "token_embd.weight")
    rows = embedding.shape[0]
    tokenizer = read_tokenizer(folder, source.config, rows=rows) if elsewhere.has_tokenizer else ()
    general = _general(folder, _name_of(folder), entry.arch, count_parameters(mapped.tensors))
    check_values((*tokenizer, *general))
    own = {item.key: item for item in (*tokenizer, *mapped.keys)}
    return ModelInfo(
        name=str(next((item.value for item in general if item.key == "general.name"), folder.name)),
        path=folder,
        family=family_of(whole),
        architecture=entry.arch,
        dtype=_main_dtype(mapped.tensors),
        metadata=(*general, *own.values()),
        tensors=mapped.tensors,
        files=tuple(files),
        dropped=mapped.dropped,
        notes=(*unpacked.notes, *(item.note for item in left_out(mapped.dropped))),
    )


def _mapped(folder: Path, entry: Architecture, source: Source) -> tuple[Source, Mapped]:
    """The source with its config completed, and what becomes of it."""
    try:
        source = replace(source, config=entry.config(source.config))
        mapped = map_model(entry, source)
        check_complete(entry, mapped)
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SnugError(
            f"{folder / 'config.json'} is not laid out as Snug expects of {family_of(source.config)} "
            f"({type(error).__name__}: {error}).",
            "Download config.json of this model again.",
        ) from error
    return source, mapped


def _json_of(file: Path) -> Any:
    """The content of a small JSON file, None where there is none or it cannot be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _values_of(tensor: TensorInfo | None, read: ReadBytes | None) -> tuple[float, ...] | None:
    """All values of a tensor, None without one."""
    if tensor is None:
        return None
    tensor = replace(tensor, shape=tensor.shape or (1,))
    whole = OutputTensor(tensor.name, tensor.shape, tensor.dtype, (Part(tensor),))
    with RowReader(read) as reader:
        return tuple(as_float32(reader.rows(whole, 0, whole.rows)).reshape(-1).tolist())


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        ggufs = sorted(folder.glob("*.gguf"))
        if ggufs:
            raise SnugError(f"{folder} holds GGUF files and no config.json.", f"Open the file itself: {ggufs[0].name}.")
        if any(folder.glob("*.safetensors")):
            raise SnugError(
                f"{folder} has weights but no config.json, so its family is unknown.",
                "Download config.json of the same model into the folder.",
            )
        raise SnugError(f"{folder} is not a model folder: it has no config.json.", GIVE_UP_HINT)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SnugError(f"{file} is not readable JSON: {error}.", "Download config.json again.") from error
    if not isinstance(config, dict):
        raise SnugError(f"{file} is not a table of settings.", "Download config.json again.")
    return config


def _main_dtype(tensors: Sequence[OutputTensor]) -> str:
    """The dtype that holds most of the matrices' weights."""
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.dtype] += tensor.weights if len(tensor.shape) > 1 else 0
    return counts.most_common(1)[0][0] if counts else "F32"


def _general(folder: Path, name: str, arch: str, parameters: Parameters) -> list[Metadata]:
    """The general.* keys: names and authorship from the folder's name, README.md and generation_config.json.

    PyPI gguf knows the conventions; its writer is only asked what it would write.
    """
    import gguf

    for logger in ("gguf", "metadata"):  # those of its modules
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    try:
        found = gguf.Metadata.load(None, folder, None, parameters.total)
        if folder.name != name:
            card, config = gguf.Metadata.load_model_card(folder), gguf.Metadata.load_hf_parameters(folder)
            named = gguf.Metadata.apply_metadata_heuristic(gguf.Metadata(), card, config, Path(name), parameters.total)
            for field in _FROM_NAME:
                setattr(found, field, getattr(named, field))
        return _as_written(found, name, arch, parameters)
    except Exception:  # whatever a stranger's README.md holds, the model can be made without it
        return _as_written(gguf.Metadata(), name, arch, parameters)


def _name_of(folder: Path) -> str:
    """The folder's name; in a Hugging Face cache (models--ORG--NAME/snapshots/HASH) that of the repository."""
    cached = folder.parent.parent.name
    is_cached = folder.parent.name == "snapshots" and cached.startswith("models--")
    return cached.rpartition("--")[2] if is_cached else folder.name


def _as_written(found: Any, name: str, arch: str, parameters: Parameters) -> list[Metadata]:
    """The keys that PyPI gguf's writer makes of its Metadata. Raises for what no file can hold."""
    import gguf

    writer = gguf.GGUFWriter(None, arch)
    writer.add_type("model")
    found.name = found.name or name
    if not found.size_label:
        found.size_label = gguf.size_label(*parameters)
    found.set_gguf_meta_model(writer)
    items = [_from_writer(key, value) for key, value in writer.kv_data[0].items()]
    kept = [item for item in items if item is not None and item.key not in _DECIDED_BY_RECIPE]
    encode_header(kept, [])
    return kept


def _from_writer(key: str, value: Any) -> Metadata | None:
    names = {"UINT32": "u32", "INT32": "i32", "FLOAT32": "f32", "BOOL": "bool"}
    if value.type.name == "ARRAY":
        return Metadata(key, "[str]", [str(item) for item in value.value])
    if value.type.name == "STRING":
        return Metadata(key, "str", str(value.value))
    kind = names.get(value.type.name)
    return Metadata(key, kind, value.value) if kind else None


def _starts_as_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _check_keys(path: Path, arch: str, keys: dict[str, Any], *, tensors: int) -> None:
    """Raises SnugError when a key that Snug reckons with is of another kind than it must be, or beyond all reason."""
    for name in (*_WHOLE, *_WHOLE_EACH):
        value = keys.get(f"{arch}.{name}", 0)
        numbers = value if isinstance(value, list) and name in _WHOLE_EACH else [value]
        most = tensors if name == "block_count" else 2**32 - 1
        if not all(type(number) is int and 0 <= number <= most for number in numbers):
            raise SnugError(
                f"{path} is damaged: its key {arch}.{name} is {str(value)[:60]}, which makes no sense.",
                "Download or make it again.",
            )
    if not isinstance(keys.get("tokenizer.ggml.tokens", []), list):
        raise SnugError(f"{path} is damaged: tokenizer.ggml.tokens is no list.", "Download or make it again.")


def open_gguf(path: Path, lengths: Mapping[str, int] | None = None) -> ModelInfo:
    """The model in a GGUF file, whatever the file is called; of one in several parts, any part will do.

    `lengths`: those of the whole files, by name, where only their headers are there.
    """
    found = read_split(path, lengths)
    keys = {item.key: item.value for item in found.metadata}
    arch = keys.get("general.architecture")
    if not isinstance(arch, str) or not found.tensors:
        raise SnugError(
            f"{path} holds no model (general.architecture is {arch!r}, {len(found.tensors)} tensors).",
            "Choose a GGUF file with a language model in it.",
        )
    _check_keys(path, arch, keys, tensors=len(found.tensors))
    tensors = tuple(OutputTensor(t.name, t.shape, t.dtype, (Part(t),)) for t in found.tensors)
    model = ModelInfo(
        name=str(keys.get("general.name") or path.stem),
        path=path,
        family=arch,
        architecture=arch,
        dtype=_main_dtype(tensors),
        metadata=tuple(item for item in found.metadata if item.key not in _DECIDED_BY_RECIPE),
        tensors=tensors,
        files=found.files,
        is_gguf=True,
    )
    return replace(model, notes=(QUANTIZED_NOTE,)) if model.quantized_formats else model
