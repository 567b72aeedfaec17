"""`snug ls`, `rm`, `gc` and `inspect`: the models on this computer, on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import core
from app import report, words

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
_BAR = 50


def ls(as_json: Json = False) -> None:
    """List the models on this computer: Hugging Face's cache, what Snug made, and what other tools keep."""
    library = _scan()
    _print_json(library_values(library)) if as_json else _show_library(library)


def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME|PATH", help="As snug ls shows it; or a file of it.")],
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Remove models from Hugging Face's cache, or files that Snug made. Says first what would go, to the byte."""
    library = _scan()
    items = list({item.id: item for name in names for item in core.find_items(library, name)}.values())
    return _carry_out(core.plan_removal(library, items), yes=yes, as_json=as_json)


def gc(yes: Yes = False, as_json: Json = False) -> int:
    """Clean up downloads that were given up, unfinished files, content that no model uses. Says first what would go."""
    removal = core.plan_cleanup(_scan())
    if not removal.files and not as_json:
        report.out().print("Nothing is left over.")
        _show_notes(removal)
        return 0
    return _carry_out(removal, yes=yes, as_json=as_json)


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .gguf or .safetensors file, or a folder of those.")],
    tensor: Annotated[str, typer.Option("--tensor", metavar="NAME", help="How its values are spread.")] = "",
    as_json: Json = False,
) -> None:
    """Show all that a model file says: its keys, its tensors with formats and shapes; the values of one tensor."""
    found = core.inspect_file(file)
    histogram = core.tensor_histogram(_tensor(found, tensor)) if tensor else None
    if as_json:
        _print_json(inspected_values(found, histogram))
    elif histogram is not None:
        _show_histogram(histogram)
    else:
        _show_file(found)


COMMANDS: tuple[Callable[..., int | None], ...] = (ls, rm, gc, inspect)


def note_output(result: dict[str, Any]) -> None:
    """Lets the library know what was made; it is no failure of the job if that cannot be written down."""
    try:
        core.remember_output(core.data_folder() / "made.jsonl", result)
    except OSError as error:
        report.problem(f"The library was not told of the new file: {error.strerror or error}.", "")


def _scan() -> core.Library:
    places = core.find_places(core.load_settings(core.settings_file()))
    return core.scan_library(places, remember=core.memory_file())


def library_values(library: core.Library) -> dict[str, Any]:
    """The library as JSON shows it."""
    return {
        "models": [item_values(item) for item in library.items],
        "leftovers": [
            {"path": str(left.path), "kind": left.kind, "bytes": left.size, "kept_because": left.busy}
            for left in library.leftovers
        ],
        "troubles": [{"path": str(trouble.path), "message": trouble.message} for trouble in library.troubles],
        "total_bytes": library.total,
        "useless_bytes": library.useless,
        "disk": {**asdict(library.disk), "folder": str(library.disk.folder)} if library.disk else None,
    }


def item_values(item: core.LibraryItem) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "origin": item.origin,
        "path": str(item.path),
        "files": [str(file.path) for file in item.files],
        "bytes": item.size,
        "unique_bytes": item.shares.unique,
        "shared_bytes": item.shares.shared,
        "duplicate_bytes": item.shares.duplicate,
        "twins": item.shares.twins,
        "kind": item.summary.kind,
        "family": item.summary.family,
        "quantization": item.summary.label,
        "parameters": item.summary.parameters,
        "formats": [asdict(share) for share in item.summary.formats],
        "repo": item.repo,
        "commit": item.commit,
        "refs": item.refs,
        "last_used": item.used,
        "removable": item.is_ours,
        "problem": item.problem,
    }


def _show_library(library: core.Library) -> None:
    console = report.out()
    table = _table("Model", "Family", "Quantization", "Size", "Freed by rm", "Where", "Last used", "")
    for item in library.items:
        table.add_row(
            Text(item.name),
            Text(item.summary.family),
            Text(item.summary.label),
            words.size(item.size),
            words.size(item.shares.unique) if item.is_ours else "",
            str(item.origin),
            words.moment(item.used),
            Text(item.problem, "yellow"),
        )
    if library.items:
        console.print(table)
        disk = f"; {words.size(library.disk.free)} are free on the disk" if library.disk else ""
        console.print(f"{words.count(len(library.items), 'model')}, {words.size(library.total)}{disk}.")
    else:
        console.print("There are no models on this computer that Snug knows of. snug find and snug pull get one.")
    if library.useless:
        console.print(f"{words.size(library.useless)} are left over from earlier; snug gc cleans up.")
    for trouble in library.troubles:
        report.problem(f"{trouble.path}: {trouble.message}", "")


def _carry_out(removal: core.Removal, *, yes: bool, as_json: bool) -> int:
    """Shows the removal, asks unless told not to, does it, and says what came of it."""
    if not as_json:
        _show_removal(removal)
    if not yes and not as_json and sys.stdin.isatty():
        yes = typer.confirm("Remove?", default=False)
        if not yes:
            report.out().print("Nothing was removed.")
            return 0
    done = core.apply_removal(removal) if yes else None
    if as_json:
        _print_json(removal_values(removal, done))
    elif done is None:
        report.out().print("Nothing was removed: say --yes to do it.")
    else:
        _show_done(done)
    return 1 if done is not None and done.troubles else 0


def removal_values(removal: core.Removal, done: core.Removed | None) -> dict[str, Any]:
    """`done`: what came of it; None when it was only looked at."""
    troubles = [{"path": str(t.path), "message": t.message} for t in done.troubles] if done else []
    return {
        "would_free_bytes": removal.freed,
        "stays_bytes": removal.kept,
        "titles": removal.titles,
        "paths": [str(entry.path) for entry in removal.files],
        "notes": removal.notes,
        "done": done is not None,
        "freed_bytes": done.freed if done else 0,
        "troubles": troubles,
    }


def _show_removal(removal: core.Removal) -> None:
    console = report.out()
    for title in removal.titles:
        console.print(Text(title), soft_wrap=True)
    files = words.count(len(removal.files), "file")
    console.print(f"{files}, {words.size(removal.freed)} would be freed: {words.exact(removal.freed)}.")
    _show_notes(removal)


def _show_notes(removal: core.Removal) -> None:
    for note in removal.notes:
        report.out().print(Text(f"Stays: {note}"), soft_wrap=True)


def _show_done(done: core.Removed) -> None:
    report.out().print(f"Freed {words.exact(done.freed)}.")
    for trouble in done.troubles:
        report.problem(f"{trouble.path} stays: {trouble.message}", "")


def _tensor(found: core.InspectedFile, name: str) -> core.TensorInfo:
    """The tensor of that name. Raises SnugError with the nearest names."""
    tensor = next((tensor for tensor in found.tensors if tensor.name == name), None)
    if tensor is None:
        near = [tensor.name for tensor in found.tensors if name in tensor.name][:5]
        near = near or [tensor.name for tensor in found.tensors][:5]
        raise core.SnugError(f"There is no tensor {name} in {found.path}.", f"There are {', '.join(near)} …")
    return tensor


def inspected_values(found: core.InspectedFile, histogram: core.Histogram | None) -> dict[str, Any]:
    """The file as JSON shows it."""
    values: dict[str, Any] = {
        "path": str(found.path),
        "kind": found.kind,
        "files": [str(file) for file in found.files],
        "bytes": found.length,
        "weights": found.weights,
        "bits_per_weight": found.bits_per_weight,
        "formats": [asdict(share) for share in found.formats],
        "keys": [{"key": key.key, "type": key.type, "value": key.whole or key.text} for key in found.keys],
        "tensors": [
            {
                "name": tensor.name,
                "format": tensor.dtype,
                "shape": tensor.shape,
                "bytes": tensor.nbytes,
                "offset": tensor.offset,
                "file": tensor.file.name,
            }
            for tensor in found.tensors
        ],
    }
    return values | ({"histogram": asdict(histogram)} if histogram else {})


def _show_file(found: core.InspectedFile) -> None:
    console = report.out()
    facts = report.facts()
    for name, value in file_facts(found):
        facts.add_row(name, Text(value))
    console.print(facts)
    keys, tensors = _table("Key", "Type", "Value"), _table("Tensor", "Format", "Shape", "Bytes")
    for key in found.keys:
        keys.add_row(Text(key.key), key.type, Text(key.text))
    for tensor in found.tensors:
        tensors.add_row(Text(tensor.name), tensor.dtype, shape_words(tensor.shape), f"{tensor.nbytes:,}")
    for table in (keys, tensors):
        if table.row_count:
            console.print()
            console.print(table)


def file_facts(found: core.InspectedFile) -> list[tuple[str, str]]:
    """(name, value) of the file as a whole."""
    formats = ", ".join(f"{share.tensors} {share.format} ({words.size(share.nbytes)})" for share in found.formats)
    files = f", {words.count(len(found.files), 'file')}" if len(found.files) > 1 else ""
    return [
        ("File", words.path(found.path)),
        ("Kind", f"{found.kind}{files}"),
        ("Size", f"{words.size(found.length)}, {words.exact(found.length)}"),
        ("Weights", f"{words.parameters(found.weights)}, {found.bits_per_weight:.2f} bits each"),
        ("Tensors", formats or "none"),
    ]


def shape_words(shape: Sequence[int]) -> str:
    return " × ".join(f"{length:,}" for length in shape) or "one value"


def histogram_facts(found: core.Histogram) -> list[tuple[str, str]]:
    """(name, value) of a histogram."""
    part = "" if found.looked_at == found.weights else f" of {found.weights:,}, evenly spread"
    facts = [
        ("Values", f"{found.looked_at:,}{part}"),
        ("Range", f"{found.low:.5g} to {found.high:.5g}"),
        ("Mean", f"{found.mean:.5g}"),
        ("Deviation", f"{found.deviation:.5g}"),
        ("Zeros", f"{found.zeros:,}"),
    ]
    return facts + ([("Not finite", f"{found.non_finite:,}")] if found.non_finite else [])


def _show_histogram(found: core.Histogram) -> None:
    console = report.out()
    facts = report.facts()
    facts.add_row("Tensor", Text(found.tensor))
    for name, value in histogram_facts(found):
        facts.add_row(name, value)
    console.print(facts)
    for line in _bars(found):
        console.print(line)


def _bars(found: core.Histogram) -> Iterable[str]:
    """A line for every two bins: where it begins, a bar, how many."""
    pairs = [sum(found.counts[i : i + 2]) for i in range(0, len(found.counts), 2)]
    most, step = max(pairs, default=0), (found.high / 2 - found.low / 2) * 2 / max(len(pairs), 1)
    for number, count in enumerate(pairs):
        if most:
            bar = "█" * round(_BAR * count / most)
            yield f"{found.low + number * step:>12.4g}  {bar:<{_BAR}}  {count:,}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name in ("Size", "Freed by rm", "Bytes")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value)
