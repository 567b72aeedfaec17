"""How a job can fail, as one table: from what the system says to a sentence, what to do about it, and whether what is
done can be gone on with.
"""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Halted, JobFailed, SnugError
from core.events import Failed

_VMSTAT = Path("/proc/vmstat")
_RESUME = "then resume: what is done is kept"


@dataclass(frozen=True, slots=True)
class Cause:
    """What went wrong by the system's numbers, in a sentence on `{file}`, and what a person can do."""

    numbers: tuple[int, ...]
    message: str
    hint: str
    resumable: bool = True


_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.ENOTCONN,
         *(getattr(errno, name) for name in ("ESTALE", "EHOSTDOWN", "ENOMEDIUM") if hasattr(errno, name)))  # fmt: skip
_FULL = (errno.ENOSPC, *(getattr(errno, name) for name in ("EDQUOT",) if hasattr(errno, name)))

WRITING = (
    Cause(_FULL, "The disk filled up while writing {file}.",
          "Free some space, then resume; or choose another disk and start again."),
    Cause((errno.EFBIG,), "{file} is larger than its disk or a limit of the system lets a file be.",
          "Write it in parts (--split-max-size 2G), or choose another disk.", resumable=False),
    Cause((errno.EROFS,), "The disk of {file} became read-only, as a failing one does.",
          f"Check the disk, {_RESUME}; or choose another disk and start again."),
    Cause((errno.EACCES, errno.EPERM), "{file} may not be written to any more: the permission is missing.",
          f"Give yourself the right to write there, {_RESUME}."),
    Cause(_GONE, "The place of {file} went away while it was written.",
          f"Connect the disk, or make the folder again, {_RESUME}."),
    Cause((errno.EIO,), "The disk failed while writing {file} (input/output error).",
          f"Check its cable and its health, {_RESUME}; or choose another disk and start again."),
)  # fmt: skip
READING = (
    Cause(_GONE, "{file} went away while it was read: it cannot be read any more.",
          f"Connect its disk, or put the file back, {_RESUME}."),
    Cause((errno.EIO,), "{file} cannot be read any more: its disk failed (input/output error).",
          f"Check the disk's cable and its health, {_RESUME}; or copy the model to another disk."),
    Cause((errno.EACCES, errno.EPERM), "{file} cannot be read any more: the permission is missing.",
          f"Give yourself the right to read it, {_RESUME}."),
)  # fmt: skip
_ANYWHERE = (
    Cause((errno.ENOMEM,), "The computer ran out of memory.",
          f"Close other programs or use fewer threads, {_RESUME}."),
    Cause((errno.EMFILE, errno.ENFILE), "The system allows no more open files.",
          f"Close other programs, or raise the limit (ulimit -n), {_RESUME}."),
    Cause((errno.ETIMEDOUT,), "{file} did not answer in time.", f"Check the network or the disk, {_RESUME}."),
)  # fmt: skip
# Windows has numbers of its own for some of these, and Python gives several of them one errno:
# https://learn.microsoft.com/windows/win32/debug/system-error-codes
_WINDOWS = {112: errno.ENOSPC, 39: errno.ENOSPC, 19: errno.EROFS, 21: errno.ENODEV, 53: errno.ENODEV, 55: errno.ENODEV,
            59: errno.ENODEV, 64: errno.ENODEV, 1117: errno.EIO, 1167: errno.ENODEV, 23: errno.EIO, 223: errno.EFBIG,
            1455: errno.ENOMEM, 8: errno.ENOMEM}  # fmt: skip

# What a signal that ends a process means, in words. By names: not every system has them all.
_SIGNALS = {
    "SIGKILL": "something outside Snug ended it",
    "SIGTERM": "something outside Snug asked it to end",
    "SIGSEGV": "it touched memory that is not its own, which is a bug or bad RAM",
    "SIGBUS": "a file was cut short while it was in use, or a disk failed",
    "SIGILL": "it met an instruction that this processor does not have",
    "SIGFPE": "it met an impossible calculation",
    "SIGABRT": "it gave up by itself",
    "SIGXCPU": "it used more processor time than the system allows",
    "SIGXFSZ": "its file is larger than the system allows",
    "SIGHUP": "its terminal was closed",
}
# https://learn.microsoft.com/openspecs/windows_protocols/ms-erref/596a1078-e883-4972-9bbc-49e60bebca55
_NT_STATUS = {
    0xC0000005: ("access violation", "it touched memory that is not its own, which is a bug or bad RAM"),
    0xC000001D: ("illegal instruction", "it met an instruction that this processor does not have"),
    0xC00000FD: ("stack overflow", "it called itself too deeply"),
    0xC0000006: ("in-page error", "a file was cut short while it was in use, or a disk failed"),
    0xC0000409: ("fail fast", "it gave up by itself"),
    0xC000013A: ("Ctrl+C", "its console was closed"),
}
_NT_NO_MEMORY = (0xC0000017, 0xC000012D)


def is_full(error: OSError) -> bool:
    """Whether the disk has no room left."""
    return _number(error) in _FULL


def in_words(error: OSError, file: Path | str, table: Sequence[Cause], doing: str) -> JobFailed:
    """The failure of a job that met `error` at `file`; `doing` says what it could not do where the cause has no row."""
    number = _number(error)
    found = next((cause for cause in (*table, *_ANYWHERE) if number in cause.numbers), None)
    if found is None:
        return Halted(f"{file} cannot be {doing}: {error.strerror or error}.", f"Check the disk, {_RESUME}.")
    kind = Halted if found.resumable else JobFailed
    return kind(found.message.format(file=file), found.hint)


def _number(error: OSError) -> int:
    return _WINDOWS.get(getattr(error, "winerror", None) or 0, error.errno or 0)


def writing_failed(error: OSError, file: Path | str) -> JobFailed:
    return in_words(error, file, WRITING, "written")


def reading_failed(error: OSError, file: Path | str) -> JobFailed:
    return in_words(error, file, READING, "read any more")


def failure_of(error: BaseException) -> Failed | None:
    """How a job ends that met `error`; None for what is a bug and nobody's to mend but ours."""
    if isinstance(error, SnugError):
        return Failed(error.message, error.hint, exit_code=error.exit_code, resumable=error.resumable)
    if isinstance(error, MemoryError):
        return Failed("The computer ran out of memory.", f"Close other programs or use fewer threads, {_RESUME}.",
                      resumable=True)  # fmt: skip
    if is_out_of_vram(error):
        return Failed("The GPU ran out of memory.", f"Close what else uses it, or take --backend cpu, {_RESUME}.",
                      resumable=True)  # fmt: skip
    if isinstance(error, OSError):
        table = (*READING, *WRITING) if error.filename2 is None else WRITING
        return failure_of(in_words(error, error.filename or "A file", table, "used"))
    return None


def is_out_of_vram(error: BaseException) -> bool:
    """Whether a GPU had no room left: torch.OutOfMemoryError, known by its name so that nobody must load torch."""
    return any(kind.__name__ == "OutOfMemoryError" and kind.__module__.split(".")[0] == "torch"
               for kind in type(error).__mro__)  # fmt: skip


def vram_note(tensor: str, count: int = 1) -> str:
    """What to say of tensors for which a GPU had no room."""
    more = f" and {count - 1} more" if count > 1 else ""
    return f"The GPU has no room for {tensor}{more}: the processor did the work instead."


def memory_kills() -> int:
    """How many processes the kernel has killed for lack of memory since it started; 0 where it does not say."""
    try:
        lines = _VMSTAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def worker_ended(*, crashed: bool, code: int, memory_kills: int) -> Failed:
    """What to say of a worker that went away without a result. `code` is the signal, or Windows' status, when it
    `crashed`; `memory_kills` is how many processes the kernel killed meanwhile for lack of memory.
    """
    status = code & 0xFFFFFFFF
    if crashed and ((code == _number_of("SIGKILL") and memory_kills > 0) or status in _NT_NO_MEMORY):
        return Failed(
            "The computer ran out of memory, and the system stopped the worker.",
            f"Close other programs, or choose fewer threads, {_RESUME}.",
            resumable=True,
        )
    if crashed:
        name, meaning = _NT_STATUS.get(status) or _signal_words(code)
        return Failed(
            f"The worker crashed ({name}): {meaning}." if meaning else f"The worker crashed ({name}).",
            "Your other files are untouched. The log of the job may say more; resume goes on from what was done.",
            resumable=True,
        )
    return Failed(
        f"The worker stopped without a result (exit code {code}).",
        "The log of the job says what it last did; resume goes on from what was done.",
        resumable=True,
    )


def _signal_words(code: int) -> tuple[str, str]:
    try:
        name = signal.Signals(code).name if sys.platform != "win32" else ""
    except ValueError:
        name = ""
    return (f"signal {code}, {name}", _SIGNALS.get(name, "")) if name else (f"signal {code}", "")


def _number_of(name: str) -> int:
    """Of a signal, by Linux where the system has it not."""
    return int(getattr(signal, name, 9))
