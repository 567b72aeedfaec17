"""Which files of a repository a GGUF needs, and no other: no weights twice, no pickles, nothing of other frameworks."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase

from core.errors import SnugError
from core.hub.names import shown
from core.hub.repo import RepoFile, RepoInfo

INDEX = "model.safetensors.index.json"
SMALL_FILE = 64 << 20
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.(?P<kind>safetensors|gguf)")
_QUANT = re.compile(r"(?:^|[-_.])((?:i?q\d\w*|tq\d_\d|b?f16|f32|mxfp4\w*|nvfp4)(?:_[a-z0-9]+)*)$", re.IGNORECASE)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_KEPT = ("*.json", "*.txt", "*.jinja", "*.tiktoken", "*.model", "tokenizer.model*", "README.md", "LICENSE*", "LICENCE*")
_KEPT_BELOW = ("additional_chat_templates/*.jinja", "[0-9]_*/config.json")
_NOT_KEPT = ("*.index.json", "trainer_state.json", "training_args*", "optimizer*", "model_index.json", "*.gguf.json")


@dataclass(frozen=True, slots=True)
class GgufChoice:
    """One GGUF of a repository, whole or in parts. `label` is its quantization, or its name where that does not say."""

    label: str
    name: str
    files: tuple[RepoFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def wanted_files(info: RepoInfo, choice: str = "") -> list[RepoFile]:
    """The files to download for `choice`: names, patterns (*.json), or a quantization, by commas; "" takes Snug's own.

    That is config, tokenizer and one set of safetensors; of a repository with GGUF files alone, the only one of them.
    Raises SnugError when there is nothing Snug can use, or several GGUF files to choose from.
    """
    choice = choice or info.source.choice
    if file := info.file(choice):
        return list(_with_parts(info, file))
    if choice:
        return _unique([file for item in choice.split(",") for file in _named(info, item.strip())])
    weights = weight_files(info)
    if weights:
        return _unique([*small_files(info), *weights])
    if choices := gguf_choices(info):
        return list(the_choice(info, choices).files)
    raise no_weights(info)


def small_files(info: RepoInfo) -> list[RepoFile]:
    """Config, tokenizer, card and licence: everything but weights that opening a model may read."""
    index = [file for file in info.files if file.name == INDEX]
    return index + [file for file in info.files if file.size <= SMALL_FILE and _is_kept(file.name)]


def _is_kept(name: str) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in _NOT_KEPT):
        return False
    return any(fnmatchcase(name, pattern) for pattern in (_KEPT_BELOW if "/" in name else _KEPT))


def weight_files(info: RepoInfo) -> list[RepoFile]:
    """One set of safetensors files, [] without any. Raises SnugError when a numbered set is not whole."""
    found = {file.name: file for file in info.files if file.name.endswith(".safetensors") and "/" not in file.name}
    whole = [name for name in found if not _SHARD.fullmatch(name)]
    sets: dict[tuple[str, int], list[RepoFile]] = defaultdict(list)
    for name, file in found.items():
        if match := _SHARD.fullmatch(name):
            sets[match["stem"], int(match["count"])].append(file)
    if INDEX in {file.name for file in info.files} and (shards := _preferred(sets)):
        return _complete(info, shards)
    if "model.safetensors" in whole:
        return [found["model.safetensors"]]
    if shards := _preferred(sets):
        return _complete(info, shards)
    rest = [name for name in whole if not name.startswith(("consolidated", "adapter_", "optimizer"))] or whole
    return [found[name] for name in sorted(rest)]


def _preferred(sets: dict[tuple[str, int], list[RepoFile]]) -> list[RepoFile]:
    """The set called model-, else any that is not a copy in the publisher's own layout."""
    names = sorted(sets, key=lambda key: (key[0] != "model", key[0].startswith("consolidated"), key))
    return sorted(sets[names[0]], key=lambda file: file.name) if names else []


def _complete(info: RepoInfo, shards: list[RepoFile]) -> list[RepoFile]:
    match = _SHARD.fullmatch(shards[0].name)
    count = int(match["count"]) if match else 1
    if len(shards) != count:
        raise SnugError(
            f"{info.id} has {len(shards)} of the {count} parts of its weights.",
            "Its upload is not complete: try later, or another revision.",
        )
    return shards


def gguf_choices(info: RepoInfo) -> list[GgufChoice]:
    """Every GGUF language model of a repository, the smallest first; projectors and importance matrices left out."""
    groups: dict[str, list[RepoFile]] = defaultdict(list)
    for file in info.files:
        base = file.name.rpartition("/")[2].lower()
        if not base.endswith(".gguf") or base.startswith("mmproj") or "imatrix" in base:
            continue
        match = _SHARD.fullmatch(file.name)
        groups[match["stem"] if match else file.name.removesuffix(".gguf")].append(file)
    made = [_choice(stem, files) for stem, files in groups.items()]
    return sorted((item for item in made if item), key=lambda item: (item.size, item.name))


def _choice(stem: str, files: list[RepoFile]) -> GgufChoice | None:
    files = sorted(files, key=lambda file: file.name)
    match = _SHARD.fullmatch(files[0].name)
    if match and len(files) != int(match["count"]):
        return None
    label = _QUANT.search(stem.rpartition("/")[2])
    return GgufChoice(label[1].upper() if label else stem.rpartition("/")[2], stem, tuple(files))


def the_choice(info: RepoInfo, choices: list[GgufChoice]) -> GgufChoice:
    if len(choices) == 1:
        return choices[0]
    labels = ", ".join(shown(item.label, 40) for item in choices[:30])
    raise SnugError(
        f"{info.id} has {len(choices)} GGUF files: {labels}.", f"Say which: {info.id}:{shown(choices[0].label, 40)}."
    )


def _named(info: RepoInfo, item: str) -> list[RepoFile]:
    if file := info.file(item):
        return list(_with_parts(info, file))
    choices = gguf_choices(info)
    found = [c for c in choices if item.lower() in (c.label.lower(), c.name.lower(), c.name.lower() + ".gguf")]
    if found:
        return list(the_choice(info, found).files)
    matching = [file for file in info.files if fnmatchcase(file.name, item)] if any(c in item for c in "*?[") else []
    if matching:
        return matching
    labels = ", ".join(shown(choice.label, 40) for choice in choices[:30])
    raise SnugError(
        f"{info.id} has no file and no quantization {shown(item)}.",
        f"It has: {labels}." if labels else "Look at the list of its files: snug pull --list.",
    )


def _with_parts(info: RepoInfo, file: RepoFile) -> tuple[RepoFile, ...]:
    """All parts of the GGUF that `file` is a part of: one alone is of no use."""
    return next((choice.files for choice in gguf_choices(info) if file in choice.files), (file,))


def no_weights(info: RepoInfo) -> SnugError:
    pickles = [file.name for file in info.files if file.name.endswith(_PICKLES)]
    if pickles:
        return SnugError(
            f"{info.id} has its weights only as PyTorch pickles ({shown(pickles[0])}), which Snug does not open: "
            "loading a pickle can run any program on this computer.",
            "Look for a safetensors version: its branch refs/convert/safetensors, or the Hub's safetensors/convert.",
        )
    if below := next((file.name for file in info.files if file.name.endswith(".safetensors")), ""):
        return SnugError(
            f"{info.id} has no weights at its top, only such as {shown(below)}.", "It may not be a language model."
        )
    return SnugError(f"{info.id} has no weights that Snug can read.", "Snug reads safetensors and GGUF.")


def _unique(files: list[RepoFile]) -> list[RepoFile]:
    return list({file.name: file for file in files}.values())
