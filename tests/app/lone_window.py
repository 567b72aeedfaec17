"""The queue of a window without its pages, as a process that can be killed.

    lone_window.py JOBS [JOB as JSON [detach | at STAGE SHARE FILE]]

Adds the job, takes up what is there, lets whatever failed go on from what is done, and ends when all is done; to
detach, with the first progress. `at`: with a worker that waits there, see staged_worker.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QTimer

from app.job_queue import Closing, JobQueue
from app.job_record import read_records
from core import Limits
from core.jobs.job import job_from


def main() -> int:
    app = QCoreApplication([])
    root = Path(sys.argv[1])
    job, (then, *moment) = sys.argv[2:3], sys.argv[3:] or ("",)
    worker = (sys.executable, "-m", "tests.app.staged_worker", *moment) if then == "at" else ()
    queue = JobQueue(root, listing=True, command=worker)
    queue.limits = Limits(threads=1, niceness=0)

    def go_on(id: str) -> None:
        record = queue.record(id)
        if record is not None and record.can_resume:
            QTimer.singleShot(0, lambda: queue.resume(id))

    def end_if_done() -> None:
        if all(record.is_over and not record.can_resume for record in queue.records()):
            QTimer.singleShot(0, app.quit)

    def leave(_: str) -> None:
        queue.close(Closing.DETACH)
        app.quit()

    if then == "detach":
        queue.progress.connect(leave)
    queue.finished.connect(go_on)
    queue.idle.connect(end_if_done)
    queue.add_earlier(read_records(root))
    if job:
        queue.add(job_from(json.loads(job[0])))
    end_if_done()
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
