"""The recipe card of a GGUF: what it was made of and how, in its own keys, so that anyone can make it again.

    general.quantized_by         Snug, unless the source names somebody
    general.source.repo_url      the repository on the Hub, unless the source names one
    snug.card.version            1: this list
    snug.version                 of Snug
    snug.kernels                 16 hexadecimal digits that change with the sources of the kernels
    snug.recipe.name             such as Q4_K_M; which format each tensor got, the file's own table of tensors says
    snug.recipe.pure             every tensor that may be quantized has the base format
    snug.recipe.best_effort      the effort was "best", not "exact"
    snug.source.repo, .commit    of a model of the Hub
    snug.source.files            the names of its weights' files, without folders but the repository's own
    snug.source.bytes            their lengths
    snug.source.sha256           their SHA-256,
    snug.source.hashed_whole     ... of all bytes if true; of the headers alone, which come before the tensors, if not
    snug.imatrix.sha256          of the importance matrix's file, where there was one
    snug.parent.card             SHA-256 of the source's own snug.* keys as bytes, where it was made by Snug itself
    snug.error.sample_rows       how many rows of each tensor were compared with the source
    snug.error.rmse              for each tensor in order: root of the mean squared error over that of the mean square

There are no times, no paths and no names of users in it: the same job on the same source gives the same bytes. The
length of all that is known before a weight is read; the errors, which are known last, take the place of zeros.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kernels
from core.cards.card_source import UNKNOWN, CardSource, SourceFile, source_of, with_header_hashes
from core.errors import SnugError
from core.gguf import encode_items
from core.imatrix import ImportanceMatrix
from core.jobs.job import QuantizeJob
from core.model import Metadata, ModelInfo
from core.paths import expanded
from core.recipes import Recipe

if TYPE_CHECKING:
    from core.plan import Plan

PREFIX = "snug."
CARD_VERSION = 1
SAMPLE_ROWS = 16
RMSE = "snug.error.rmse"
BEST = "best"
_WHOLE_PATH = re.compile(r"[/\\~]|[A-Za-z]:[\\/]")
_ITEMS_AT = 24  # where the keys of a GGUF begin


@cache
def snug_version() -> str:
    try:
        return metadata.version("snug")
    except metadata.PackageNotFoundError:  # a packed application may leave it out
        return "unknown"


def without_card(items: Iterable[Metadata]) -> tuple[Metadata, ...]:
    """The keys of a model without those of its own card: of another file, they would not be true."""
    return tuple(item for item in items if not item.key.startswith(PREFIX))


def without_folder(name: str) -> str:
    """A whole path's last name, which is nobody's secret; any other name as it is."""
    return re.split(r"[\\/]", name)[-1] if _WHOLE_PATH.match(name) else name


def card_hash(items: Iterable[Metadata]) -> str:
    """SHA-256 of the snug.* keys among these; "" when there are none."""
    own = [item for item in items if item.key.startswith(PREFIX)]
    return hashlib.sha256(encode_items(own)).hexdigest() if own else ""


def source_keys(model: ModelInfo) -> tuple[Metadata, ...]:
    """What a card says of the model itself, whatever is made of it. Hashes that would cost a look are zeros."""
    source, parent = source_of(model), card_hash(model.metadata)
    general = [Metadata("general.quantized_by", "str", "Snug")]
    general += [Metadata("general.source.repo_url", "str", source.url)] if source.repo else []
    hub = [Metadata("snug.source.repo", "str", source.repo), Metadata("snug.source.commit", "str", source.commit)]
    return (
        *(item for item in general if item.key not in model.keys),
        Metadata("snug.card.version", "u32", CARD_VERSION),
        Metadata("snug.version", "str", snug_version()),
        Metadata("snug.kernels", "str", kernels.version()),
        *(hub if source.repo else ()),
        Metadata("snug.source.files", "[str]", [file.name for file in source.files]),
        Metadata("snug.source.bytes", "[u64]", [file.size for file in source.files]),
        *_hash_keys(source),
        *([Metadata("snug.parent.card", "str", parent)] if parent else []),
    )


def _hash_keys(source: CardSource) -> tuple[Metadata, ...]:
    return (
        Metadata("snug.source.sha256", "[str]", [file.sha256 for file in source.files]),
        Metadata("snug.source.hashed_whole", "bool", source.is_whole),
    )


def recipe_keys(
    recipe: Recipe, *, pure: bool, importance: ImportanceMatrix | None, tensors: int
) -> tuple[Metadata, ...]:
    """What a card says of what is made; what a plan does not know is filled in by `filled`."""
    return (
        Metadata("snug.recipe.name", "str", recipe.name),
        Metadata("snug.recipe.pure", "bool", pure),
        Metadata("snug.recipe.best_effort", "bool", False),
        *([Metadata("snug.imatrix.sha256", "str", UNKNOWN)] if importance else []),
        Metadata("snug.error.sample_rows", "u32", SAMPLE_ROWS),
        Metadata(RMSE, "[f32]", [0.0] * tensors),
    )


def filled(plan: Plan, job: QuantizeJob, source: CardSource | None = None) -> Plan:
    """The plan with the rest of its card, which is as long as before; `source` when its hashes are known already.

    Raises SnugError for a file that cannot be read.
    """
    source = source or with_header_hashes(source_of(plan.model), plan.model)
    values: dict[str, Any] = {item.key: item.value for item in _hash_keys(source)}
    values["snug.recipe.best_effort"] = job.effort == BEST
    if job.imatrix:
        values["snug.imatrix.sha256"] = file_hash(job.imatrix)
    return replace(plan, metadata=_with_values(plan.metadata, values))


def source_in(items: Iterable[Metadata]) -> CardSource:
    """What a card says of the source. KeyError or TypeError when it says nothing that makes sense."""
    keys = {item.key: item.value for item in items}
    lists = (keys["snug.source.files"], keys["snug.source.bytes"], keys["snug.source.sha256"])
    files = tuple(SourceFile(str(name), int(size), str(sha256)) for name, size, sha256 in zip(*lists, strict=True))
    repo, commit = keys.get("snug.source.repo", ""), keys.get("snug.source.commit", "")
    return CardSource(str(repo), str(commit), files, bool(keys["snug.source.hashed_whole"]))


def _with_values(items: Sequence[Metadata], values: Mapping[str, Any]) -> tuple[Metadata, ...]:
    return tuple(replace(item, value=values[item.key]) if item.key in values else item for item in items)


def file_hash(file: Path | str) -> str:
    """SHA-256 of a file. Raises SnugError when it cannot be read."""
    try:
        with expanded(file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise SnugError(f"{file} cannot be read: {error.strerror or error}.", "Check the path.") from error


def with_errors(plan: Plan, rmse: Mapping[str, float]) -> Plan:
    """The plan with the measured error of each tensor, by its name; its header is as long as before."""
    values = [struct.unpack("<f", struct.pack("<f", rmse.get(tensor.name, 0.0)))[0] for tensor in plan.tensors]
    return replace(plan, metadata=_with_values(plan.metadata, {RMSE: values}))


def error_bytes(plan: Plan) -> tuple[int, bytes]:
    """Where in the file the errors are, and their bytes."""
    at = next(number for number, item in enumerate(plan.metadata) if item.key == RMSE)
    before, values = len(encode_items(plan.metadata[:at])), plan.metadata[at].value
    data = struct.pack(f"<{len(values)}f", *values)
    return _ITEMS_AT + before + len(encode_items([plan.metadata[at]])) - len(data), data
