"""The command line: every verb prints a table for people, or JSON with --json.

Exit codes: 0 ok, 1 failed, 2 bad input, 130 cancelled.
"""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, is_dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import core
from app import (
    check_report,
    doctor_command,
    fit_answer,
    fit_command,
    hub_command,
    jobs_command,
    library_command,
    preflight_command,
    report,
    reproduce_command,
    words,
)
from app.machine_options import Gpus, Ram, machine_asked
from app.pages.fit_answers import Asked
from app.targets import targets_of

app = typer.Typer(
    name="snug",
    help="Makes language models fit the machine they must run on. Without a command, the window opens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

BAD_INPUT, CANCELLED = 2, 130

Source = Annotated[
    str,
    typer.Argument(metavar="SRC", help="A Hugging Face model folder, a .gguf file, or hub:ORG/NAME[@rev][:choice]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Type = Annotated[str, typer.Option("--type", "-t", metavar="T", help="The recipe, such as Q4_K_M; see snug fit.")]
Pure = Annotated[bool, typer.Option("--pure", help="Every tensor that may be quantized in the base format.")]
Context = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        min=1,
        metavar="N",
        help="Tokens of context to reckon with, whatever SRC was trained for; without it 4096, or what it was.",
    ),
]
Imatrix = Annotated[
    str, typer.Option("--imatrix", metavar="FILE", help="What each input counts, as llama-imatrix measures it.")
]
Effort = Annotated[
    str,
    typer.Option(metavar="E", help="exact: llama-quantize's bytes; best: less error in the weights, but slower."),
]
Threads = Annotated[int, typer.Option("--threads", min=0, metavar="N", help="Threads to encode with; 0: all cores.")]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    report.print_anything()
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(args=arguments, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return CANCELLED
    except typer.Exit as stop:
        return stop.exit_code
    except (OSError, MemoryError) as error:
        found = words.problem(error)
        _say_problem(found.message, found.hint, as_json=as_json)
        return 1
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's own errors know their words and exit code
            raise
        _say_problem(error.format_message(), "See snug --help.", as_json=as_json)
        return getattr(error, "exit_code", BAD_INPUT)
    return result if isinstance(result, int) else 0


def verb(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """A command whose SnugErrors become one clear sentence and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> int | None:
        try:
            return function(*args, **kwargs)
        except core.SnugError as error:
            _fail(error.message, error.hint, as_json=bool(kwargs.get("as_json")), exit_code=error.exit_code)

    return app.command()(run)


def _fail(message: str, hint: str, *, as_json: bool, exit_code: int) -> NoReturn:
    _say_problem(message, hint, as_json=as_json)
    raise typer.Exit(exit_code)


def _say_problem(message: str, hint: str, *, as_json: bool) -> None:
    if as_json:
        _print_json({"error": message, "hint": hint})
    else:
        report.problem(message, hint)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


@verb
def machine(ram: Ram = "", gpu: Gpus = None, as_json: Json = False) -> None:
    """Show what this computer has: processor, memory, GPUs, disks."""
    hardware = machine_asked(ram, gpu)
    _print_json(hardware) if as_json else report.machine(hardware)


@verb
def doctor(as_json: Json = False) -> None:
    """Print a report fit for a bug tracker: versions, machine, sources, caches; no names, paths or tokens of yours."""
    found = core.examine()
    _print_json(found) if as_json else doctor_command.show(found)


@verb
def check(source: Source, as_json: Json = False) -> None:
    """Say what Snug can make of a model, from its headers: family, size, tokenizer, what is left out, warnings."""
    found = core.check_model(source)
    _print_json(found) if as_json else check_report.check(found)


@verb
def plan(source: Source, recipe: Type, pure: Pure = False, imatrix: Imatrix = "", as_json: Json = False) -> None:
    """Show every tensor of the file to be, with its format and bytes."""
    model, wanted = core.open_model(source), core.find_recipe(recipe)
    made = core.make_plan(model, wanted, pure=pure, importance=_importance(imatrix))
    made = replace(made, notes=(*made.notes, *core.check_importance(made)))
    _print_json(report.plan_values(made)) if as_json else report.plan(made)


@verb
def fit(
    source: Annotated[
        str, typer.Argument(metavar="[SRC]", help="A model folder or a .gguf file; without it, all models are ranked.")
    ] = "",
    ctx: Context = None,
    imatrix: Imatrix = "",
    ram: Ram = "",
    gpu: Gpus = None,
    header: Annotated[str, typer.Option(metavar="FILE", help="Judge a model by its headers alone: FILE.json.")] = "",
    kv: Annotated[str, typer.Option("--kv", metavar="TYPE", help="The cache's format: f16, q8_0, q4_0, ...")] = "f16",
    want: Annotated[
        str, typer.Option(metavar="W", help="quality, balanced or context: what counts most.")
    ] = "balanced",
    level: Annotated[str, typer.Option("--type", "-t", metavar="T", help="Answer about this recipe.")] = "",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine for a second, for a better estimate of speed.")
    ] = False,
    gpu_layers: Annotated[int, typer.Option(metavar="N", help="With --header: layers on a GPU; 0: no GPU.")] = 0,
    cpu_moe: Annotated[bool, typer.Option("--cpu-moe", help="With --header: all experts stay in RAM.")] = False,
    n_cpu_moe: Annotated[int, typer.Option(metavar="N", help="With --header: experts of N layers stay in RAM.")] = 0,
    as_json: Json = False,
) -> int:
    """Show every recipe with its exact size, which fits this machine, how fast, and what would change that."""
    context = ctx or 4096
    if header:
        found, code = fit_command.predicted(
            header, context=context, kv=kv, gpu_layers=gpu_layers, cpu_moe=cpu_moe, n_cpu_moe=n_cpu_moe
        )
        _print_json(found) if as_json else fit_command.show(found)
        return code
    hardware, wanted, kv = machine_asked(ram, gpu), fit_answer.want_of(want), fit_command.check_kv(kv)
    if not source:
        asked = Asked(wanted.value, context, kv)
        rows, lost = fit_command.ranking(hardware, asked, calibrate=calibrate)
        if as_json:
            _print_json(fit_answer.ranking_values(rows, lost, hardware, asked))
        else:
            fit_answer.show_ranking(rows, lost, hardware, asked)
        return 0
    model = core.open_model(source)
    options, answer = fit_command.answered(
        model,
        hardware,
        context=context,
        kv=kv,
        want=wanted,
        limit=ctx or 0,
        level=level,
        importance=_importance(imatrix),
        calibrate=calibrate,
    )
    if as_json:
        _print_json(report.fit_values(model, options) | {"answer": fit_answer.values(answer)})
        return 0
    report.fit(model, options)
    fit_answer.show(answer)
    return 0


def _importance(imatrix: str) -> core.ImportanceMatrix | None:
    return core.read_importance(imatrix) if imatrix else None


@verb
def quantize(
    source: Source,
    types: Annotated[
        list[str],
        typer.Option("--type", "-t", metavar="T", help="The recipe, such as Q4_K_M; several are made in one reading."),
    ],
    out: Annotated[
        list[str],
        typer.Option(
            "--out", "-o", metavar="FILE", help="The .gguf file; of several types a folder or {name}-{type}.gguf."
        ),
    ],
    pure: Pure = False,
    imatrix: Imatrix = "",
    effort: Effort = "exact",
    backend: Annotated[str, typer.Option(help="auto, cpu or reference.")] = "auto",
    threads: Threads = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    allow_requantize: Annotated[bool, typer.Option("--allow-requantize", help="Accept a quantized source.")] = False,
    split_max_size: Annotated[str, typer.Option(metavar="SIZE", help="Several files of at most 2G, 500M, ...")] = "",
    keep_download: Annotated[
        bool, typer.Option("--keep-download", help="Of hub:ORG/NAME: download it first, and keep that.")
    ] = False,
    no_card: Annotated[bool, typer.Option("--no-card", help="Do not write into the file how it was made.")] = False,
    hash_source: Annotated[
        bool, typer.Option("--hash-source", help="Read the source once more, for hashes of whole files in the card.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what an interrupted run left, if it left anything.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it takes, and whether it can work.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Make a GGUF file of a model. Ctrl+C keeps what is done: --resume goes on with it."""
    (recipe, target), *also = targets_of(source, types, out)
    job = core.QuantizeJob(
        source=source,
        recipe=recipe,
        target=target,
        also=tuple(also),
        pure=pure,
        backend=backend,
        threads=threads,
        overwrite=overwrite,
        allow_requantize=allow_requantize,
        split_max_size=split_max_size,
        effort=effort,
        imatrix=imatrix,
        keep_download=keep_download,
        card=not no_card,
        hash_source=hash_source,
    )
    if dry_run:
        found = core.preflight_of(job)
        if found.ok and not resume:
            core.check_job(job)
        _print_json(preflight_command.values(found)) if as_json else preflight_command.show(found)
        return 0 if found.ok else BAD_INPUT
    result = _run(job, as_json=as_json, resume=resume)
    library_command.note_output(result)
    if as_json:
        _print_json(result)
        return 0
    for each in (result, *result.get("also", ())):
        report.result(each)
    return 0


@verb
def reproduce(
    file: Annotated[str, typer.Argument(metavar="CARD", help="NAME.gguf.snug.json, or the .gguf file itself.")],
    source: Annotated[str, typer.Option("--source", metavar="SRC", help="The model, where the card names none.")] = "",
    imatrix: Imatrix = "",
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Keep the new file here.")] = "",
    threads: Threads = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> int:
    """Make a file again from its recipe card, and say whether it is the same."""
    start = functools.partial(
        core.rebuild, file, source=source, imatrix=imatrix, target=out, threads=threads, overwrite=overwrite
    )
    result = _follow(start, as_json=as_json)
    _print_json(result) if as_json else reproduce_command.show(result)
    return reproduce_command.exit_code(result)


@verb
def merge(
    first: Annotated[str, typer.Argument(metavar="PART.gguf", help="Any of the parts, such as M-00001-of-00003.gguf.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="The .gguf file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> int:
    """Make one file of the parts of a split GGUF."""
    result = _follow(functools.partial(core.merge_gguf, first, out, overwrite=overwrite), as_json=as_json)
    library_command.note_output(result)
    _print_json(result) if as_json else report.merged(result)
    return 0


for _command in (*hub_command.COMMANDS, *library_command.COMMANDS, *jobs_command.COMMANDS):
    verb(_command)


@verb
def pull(
    model: Annotated[str, typer.Argument(metavar="ORG/NAME[@rev][:choice]", help="A model on the Hub.")],
    file: Annotated[list[str] | None, typer.Option("--file", metavar="F", help="A file, a pattern, or Q4_K_M.")] = None,
    list_files: Annotated[bool, typer.Option("--list", help="Only show its files.")] = False,
    connections: Annotated[int, typer.Option(min=1, max=16, metavar="N", help="For one large file.")] = 4,
    as_json: Json = False,
) -> int:
    """Download from the Hub what Snug needs of a model, into the cache that Hugging Face's tools share."""
    if list_files:
        hub_command.files_of(model, as_json=as_json)
        return 0
    job = core.PullJob(model, ",".join(file or ()), connections)
    result = _follow(functools.partial(core.pull, job), as_json=as_json)
    _print_json(result) if as_json else hub_command.show_pulled(result)
    return 0


def _run(job: core.QuantizeJob, *, as_json: bool, resume: bool = False) -> dict[str, Any]:
    """The result of a job that ran to its end. Who stops it keeps what is done."""
    control = core.Control()

    def start(cancelled: Callable[[], bool]) -> Generator[core.Event, None, None]:
        return core.run(job, control=control, resume=resume)

    return _follow(start, as_json=as_json, stop=lambda: control.ask(core.Stop.KEEP))


def _follow(
    start: Callable[..., Generator[core.Event, None, None]], *, as_json: bool, stop: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The result of what `start(cancelled=...)` begins, shown as it goes. The first Ctrl+C stops it cleanly: `stop` is
    called then, and cancelled() is true.
    """
    stopped = threading.Event()
    last: core.Event = core.Failed("The job ended without a word.")
    try:
        with (
            _signals(stopped, stop) as signals,
            report.progress(as_json=as_json) as show,
            contextlib.closing(start(cancelled=stopped.is_set)) as events,
        ):
            for last in events:
                signals.at_once = not isinstance(last, core.Progress)
                show(last)
    except KeyboardInterrupt:
        last = core.Failed("Cancelled. Nothing was written under the final name.", cancelled=True)
    if isinstance(last, core.Done):
        return last.result
    failed = last if isinstance(last, core.Failed) else core.Failed("The job ended without a word.")
    if failed.result:
        library_command.note_output(failed.result)  # of several targets, those that are good
    code = CANCELLED if failed.cancelled else failed.exit_code
    _fail(failed.message, failed.hint, as_json=as_json, exit_code=code)


class _signals:  # noqa: N801 - reads like a function
    """Ctrl+C, a closed terminal and SIGTERM call `stop`; then what was there before comes back, so that a second Ctrl+C
    ends at once. Signals that whoever started us wanted ignored stay so, as nohup does.

    `at_once` is for work that does not look at that, as the compilation of kernels: then the first one ends it too.
    """

    def __init__(self, stopped: threading.Event, stop: Callable[[], None] = lambda: None) -> None:
        self.stopped, self.stop = stopped, stop
        self.at_once = True
        self.before: dict[int, Any] = {}

    def __enter__(self) -> _signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
                if signal.getsignal(number) not in (signal.SIG_IGN, self._caught):
                    self.before[number] = signal.signal(number, self._caught)
        return self

    def _caught(self, number: int, frame: object) -> None:
        self.stopped.set()
        self.stop()
        self._restore()
        if self.at_once:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __exit__(self, *error: object) -> None:
        self._restore()


@verb
def verify(
    file: Annotated[str, typer.Argument(metavar="FILE.gguf", help="The file to check.")],
    source: Annotated[str, typer.Option("--source", metavar="SRC", help="Compare every tensor with this model.")] = "",
    as_json: Json = False,
) -> int:
    """Check a GGUF file: structure, tensor bounds, finite scales; with --source the error of each tensor."""
    original = core.open_model(source) if source else None
    found = core.verify_file(file, source=original)
    _print_json(report.verify_values(found)) if as_json else report.verify(found)
    return 0 if found.ok else 1


@verb
def demo(
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where to put the file.")] = "",
    as_json: Json = False,
) -> int:
    """Run the whole loop on the small model that comes with Snug: machine, fit, plan, quantize, verify."""
    target = Path(out) if out else _demo_folder() / "snug-sample-Q4_K_M.gguf"
    values = dict(_demo(target, overwrite=not out, quiet=as_json))
    if as_json:
        _print_json(values)
    return 0


def _demo_folder() -> Path:
    folder = core.cache_folder() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _demo(target: Path, *, overwrite: bool, quiet: bool) -> Iterator[tuple[str, Any]]:
    """The steps of the demo: shown one by one unless quiet, and their values for JSON."""
    say = report.silent if quiet else report.shown
    hardware = core.detect()
    say(report.machine, hardware, title="1  This machine")
    yield "machine", hardware
    model = core.open_model(core.sample_folder())
    options = core.options_for(model, hardware)
    say(report.fit, model, options, title="2  What fits")
    yield "fit", report.fit_values(model, options)
    made = core.make_plan(model, core.find_recipe("Q4_K_M"))
    say(report.plan, made, title="3  The plan for Q4_K_M", brief=True)
    yield "plan", report.plan_values(made)
    job = core.QuantizeJob(str(model.path), "Q4_K_M", str(target), overwrite=overwrite)
    say(report.nothing, title="4  Quantize")
    result = _run(job, as_json=quiet)
    say(report.result, result)
    yield "result", result
    checked = core.verify_file(target, source=model)
    say(report.verify, checked, title="5  Verify against the original")
    yield "verify", report.verify_values(checked)
    say(report.next_steps, target, title="Next")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"snug {metadata.version('snug')}")
        raise typer.Exit(0)


if __name__ == "__main__":
    sys.exit(main())
