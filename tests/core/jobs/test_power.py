"""The machine's power, and what a process takes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.jobs import power


@pytest.mark.parametrize(
    ("battery", "mains"),
    [(None, True), (SimpleNamespace(power_plugged=True), True), (SimpleNamespace(power_plugged=None), True),
     (SimpleNamespace(power_plugged=False), False)],
)  # fmt: skip
def test_only_a_battery_that_is_drained_is_no_mains(
    monkeypatch: pytest.MonkeyPatch, battery: object, *, mains: bool
) -> None:
    monkeypatch.setattr("psutil.sensors_battery", lambda: battery, raising=False)
    assert power.on_mains() == mains


def test_a_machine_that_says_nothing_of_its_power_is_on_mains(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("no such file")

    monkeypatch.setattr("psutil.sensors_battery", refuse, raising=False)
    assert power.on_mains()


def test_sleep_is_told_from_time_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = power.seconds_asleep()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert abs(power.seconds_asleep() - before) < 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="niceness by thread is Linux's own")
def test_every_thread_steps_back() -> None:
    code = (
        "import os, threading, time\n"
        "from core.jobs.power import set_niceness\n"
        "threading.Thread(target=time.sleep, args=(1,), daemon=True).start()\n"
        "assert set_niceness(17)\n"
        "tasks = [int(name) for name in os.listdir('/proc/self/task')]\n"
        "print(len(tasks), {os.getpriority(os.PRIO_PROCESS, task) for task in tasks})"
    )
    root = Path(power.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "2 {17}"


def test_a_change_that_the_system_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "setpriority", refuse, raising=False)
    assert not power.set_niceness(0)


def test_a_machine_without_a_way_to_sleep_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert not power.can_sleep()
    with pytest.raises(OSError, match="nothing known"):
        power.put_to_sleep()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says in /sys which states it knows")
def test_linux_says_whether_it_can_sleep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    states = tmp_path / "state"
    assert not power.can_sleep(states=states)
    states.write_text("freeze mem disk\n")
    assert power.can_sleep(states=states)
