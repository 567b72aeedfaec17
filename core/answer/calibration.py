"""What this machine did in a trial, kept: the next answer need not measure again."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.answer.speed import Calibration
from core.hardware import Hardware
from core.paths import data_folder


def calibration_file() -> Path:
    return data_folder() / "calibration.json"


def kept_calibration(hardware: Hardware) -> Calibration | None:
    """What was measured of this very machine; None for one that is only asked about, or has another processor now."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        values = json.loads(calibration_file().read_text(encoding="utf-8"))
        if not hardware.given and values.pop("machine") == _machine(hardware):
            return Calibration(**{name: float(value) for name, value in values.items()})
    return None


def keep_calibration(hardware: Hardware, calibration: Calibration) -> None:
    """Kept for `hardware`, whole or not at all. Raises OSError."""
    file = calibration_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"machine": _machine(hardware), **asdict(calibration)}), encoding="utf-8")
    os.replace(part, file)


def _machine(hardware: Hardware) -> list[Any]:
    return [hardware.cpu.name, hardware.cpu.physical_cores, hardware.memory.total]
