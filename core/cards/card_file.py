"""The recipe card as a file, TARGET.snug.json beside the GGUF: all that its keys say, and more.

More is: each tensor with its format, its measured error and the SHA-256 of its bytes, the SHA-256 of the header, and
when it was made. Headers and tensors are all of a file but zeros between them, so who has their hashes can tell whether
another file is the same to the byte. No folder, no name of a user or a machine is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kernels
from core.cards.recipe_card import CARD_VERSION, SAMPLE_ROWS, card_hash, snug_version, source_in, without_folder
from core.errors import SnugError
from core.jobs.job import QuantizeJob
from core.paths import expanded

if TYPE_CHECKING:
    from core.cards.card_source import CardSource
    from core.plan import Plan
    from core.running.split import PlannedPart
    from core.verify import VerifyReport

Values = dict[str, Any]
MARK = "snug_card"
_MOST_BYTES = 64 << 20


def card_path(target: Path | str) -> Path:
    """Where the card of `target` is: beside it, with `.snug.json` at the end."""
    target = expanded(target)
    return target.with_name(target.name + ".snug.json")


def card_values(job: QuantizeJob, plan: Plan, parts: Sequence[PlannedPart], report: VerifyReport) -> Values:
    """The card as plain JSON values; `plan` has the measured errors, and `parts` are its files."""
    tensors = _tensors(plan, report)
    return {
        MARK: CARD_VERSION,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "snug": {"version": snug_version(), "kernels": kernels.version()},
        "file": {
            "name": expanded(job.target).name,
            "bytes": report.file_bytes,
            "parts": [_part(part) for part in parts],
            "tensors_sha256": listing_hash(tensors),
        },
        "recipe": {
            "name": plan.recipe.name,
            "format": plan.recipe.format,
            "pure": job.pure,
            "effort": job.effort,
            "split_max_size": job.split_max_size,
        },
        "source": {
            "name": plan.model.name,
            "parent_card": card_hash(plan.model.metadata),
            **_source(source_in(plan.metadata)),
        },
        "imatrix": _imatrix(plan),
        "error": {"sample_rows": SAMPLE_ROWS, "worst": asdict(report.errors[0]) if report.errors else None},
        "tensors": tensors,
    }


def _part(part: PlannedPart) -> Values:
    sha256 = hashlib.sha256(part.header).hexdigest()
    return {"name": part.path.name, "bytes": part.file_bytes, "header_sha256": sha256, "tensors": len(part.tensors)}


def _source(source: CardSource) -> Values:
    files = [{"name": file.name, "bytes": file.size, "sha256": file.sha256} for file in source.files]
    hashed = "whole files" if source.is_whole else "headers"
    return {"repo": source.repo, "commit": source.commit, "url": source.url, "sha256_of": hashed, "files": files}


def _imatrix(plan: Plan) -> Values | None:
    if plan.importance is None:
        return None
    sha256 = next((item.value for item in plan.metadata if item.key == "snug.imatrix.sha256"), "")
    matrix = plan.importance
    return {
        "file": Path(matrix.file).name,
        "sha256": sha256,
        "datasets": [without_folder(name) for name in matrix.datasets],
        "chunks": matrix.chunks,
    }


def _tensors(plan: Plan, report: VerifyReport) -> list[Values]:
    errors = {error.name: error for error in report.errors}
    return [
        {
            "name": tensor.name,
            "shape": list(tensor.tensor.shape),
            "format": tensor.format,
            "bytes": tensor.nbytes,
            "sha256": report.sha256.get(tensor.name, ""),
            "rmse": errors[tensor.name].rmse if tensor.name in errors else None,
            "max_error": errors[tensor.name].max_error if tensor.name in errors else None,
        }
        for tensor in plan.tensors
    ]


def listing_hash(tensors: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of a line for each tensor: its name, format, shape and SHA-256, with blanks between them."""
    lines = (f"{t['name']} {t['format']} {'x'.join(map(str, t['shape']))} {t['sha256']}\n" for t in tensors)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def write_card(job: QuantizeJob, values: Values) -> str:
    """Writes the card beside the job's target, whole or not at all; "" or, in words, why there is none.

    Another program's file of that name stays unless the job may overwrite.
    """
    path = card_path(job.target)
    if os.path.lexists(path) and not job.overwrite and not _is_card(path):
        return f"{path.name} is there already and no card of Snug's: the recipe card is only in the file itself."
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        new.write_text(_text(values), encoding="utf-8")
        os.replace(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        return f"{path.name} cannot be written ({error.strerror or error}): the recipe card is only in the file itself."
    return ""


def _text(values: Values) -> str:
    """JSON for people too: a line for each thing, and for each tensor."""
    lines = (f" {json.dumps(name)}: {_line(value)}" for name, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value)


def _is_card(path: Path) -> bool:
    try:
        read_values(path)
    except SnugError:
        return False
    return True


def read_values(path: Path) -> Values:
    """The values of a card. Raises SnugError when `path` is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too long")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SnugError(f"{path} cannot be read: {error.strerror or error}.", "Check the path.") from error
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not isinstance(values.get(MARK), int):
        raise SnugError(f"{path.name} is no recipe card.", "Give a NAME.gguf.snug.json, or the GGUF file itself.")
    return values
