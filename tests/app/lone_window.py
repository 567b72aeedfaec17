"""The queue of a window without its pages, as a process that can be killed: lone_window.py JOBS [JOB as JSON] [detach].

Adds the job, takes up what is there, lets whatever failed go on from what is done, and ends when all is done; to
detach, with the first progress.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QTimer

from app.job_queue import Closing, JobQueue
from app.job_record import read_records
from core import Limits, QuantizeJob


def main() -> int:
    app = QCoreApplication([])
    root = Path(sys.argv[1])
    queue = JobQueue(root, listing=True)
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

    if sys.argv[3:]:
        queue.progress.connect(leave)
    queue.finished.connect(go_on)
    queue.idle.connect(end_if_done)
    queue.add_earlier(read_records(root))
    if sys.argv[2:]:
        queue.add(QuantizeJob(**json.loads(sys.argv[2])))
    end_if_done()
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
