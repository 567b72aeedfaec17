"""The machine's power and the share a process takes of it: mains or battery, sleep, niceness."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

NICEST = 19
_TASKS = Path("/proc/self/task")
# Two clocks of which only the first goes on while the machine sleeps: Linux, macOS.
_CLOCKS = (("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"), ("CLOCK_MONOTONIC", "CLOCK_UPTIME_RAW"))
_SLEEP = {
    "darwin": ("pmset", "sleepnow"),
    "win32": ("rundll32.exe", "powrprof.dll,SetSuspendState", "0,1,0"),
}
_SLEEP_ON_LINUX = ("systemctl", "suspend")


def on_mains() -> bool:
    """False only where a battery says that it is being drained."""
    import psutil  # only here: a window that starts needs none of it

    try:
        battery = psutil.sensors_battery()
    except (OSError, AttributeError, ValueError, RuntimeError):
        return True
    return battery is None or battery.power_plugged is not False


def seconds_asleep() -> float:
    """How long the machine has slept since it started; 0 where it does not say."""
    for on, off in _CLOCKS:
        if hasattr(time, on) and hasattr(time, off):
            return time.clock_gettime(getattr(time, on)) - time.clock_gettime(getattr(time, off))
    return 0.0


def set_niceness(niceness: int) -> bool:
    """Lets other programs go first, from 0 (not at all) to 19. False where the system does not allow the change."""
    niceness = max(0, min(NICEST, niceness))
    try:
        if not hasattr(os, "setpriority"):
            import psutil

            kind = psutil.BELOW_NORMAL_PRIORITY_CLASS if niceness else psutil.NORMAL_PRIORITY_CLASS  # type: ignore[attr-defined]
            psutil.Process().nice(kind)
            return True
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        for task in _TASKS.iterdir() if _TASKS.is_dir() else ():  # Linux: each thread has its own
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), niceness)
    except OSError:
        return False
    return True


def sleep_command(platform: str = sys.platform) -> tuple[str, ...]:
    """What puts this machine to sleep; empty where nothing known does."""
    command = _SLEEP.get(platform, _SLEEP_ON_LINUX)
    return command if shutil.which(command[0]) else ()


def can_sleep(*, states: Path = Path("/sys/power/state")) -> bool:
    """Whether this machine can be put to sleep, as far as it can be told without trying."""
    if not sleep_command():
        return False
    if not sys.platform.startswith("linux"):
        return True
    try:
        return "mem" in states.read_text(encoding="ascii").split()
    except OSError:
        return False


def put_to_sleep() -> None:
    """Asks the system to sleep now and returns at once. Raises OSError when it cannot be asked."""
    command = sleep_command()
    if not command:
        raise OSError("nothing known puts this machine to sleep")
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
