"""Where Snug starts: without arguments the window; `worker`, `hub` and `judge` are its processes; else commands."""

from __future__ import annotations

import sys


def main() -> int:
    arguments = sys.argv[1:]
    if not arguments:
        from app.start import run_window

        return run_window()
    if arguments == ["worker"]:
        from core.jobs.worker import main as run_worker

        return run_worker()
    if arguments == ["hub"]:
        from app.hub_desk import main as run_desk

        return run_desk()
    if arguments == ["judge"]:
        from app.fit_desk import main as run_judge

        return run_judge()
    from app.cli import main as run_command

    return run_command(arguments)


if __name__ == "__main__":
    sys.exit(main())
