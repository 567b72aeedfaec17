"""A file of the library once more from its recipe card: what it was made of is found or asked for, then queued."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog

from app import words
from app.job_queue import JobQueue
from app.tasks import Tasks
from app.widgets.banner import Banner
from app.widgets.parts import button
from core import JobState, QuantizeJob, ReproduceJob, SnugError


class Reproduction(QObject):
    """`queued` carries the id of the job."""

    queued = Signal(str)

    def __init__(self, tasks: Tasks, queue: JobQueue, banner: Banner, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks, self._queue, self._banner = tasks, queue, banner

    def start(self, path: Path, source: str = "", imatrix: str = "") -> None:
        """Reads the card of a file off the UI thread, and puts the job into the queue."""
        self._banner.hide()
        made_of = self._made_of(path)
        source, imatrix = source or made_of[0], imatrix or made_of[1]
        work = partial(_job_of, path, source, imatrix)
        failed = partial(self._refused, path, source, imatrix)
        self._tasks.run("reproduce", work, done=self._put, failed=failed)

    def _made_of(self, path: Path) -> tuple[str, str]:
        """Model and importance matrix on this computer, as far as a job here has made the file; cards do not tell."""
        for record in self._queue.records():
            job = record.job
            if isinstance(job, QuantizeJob) and record.state == JobState.DONE and path in record.targets:
                return _if_here(job.source), _if_here(job.imatrix)
        return "", ""

    def _put(self, job: ReproduceJob) -> None:
        try:
            self.queued.emit(self._queue.add(job).id)
        except (SnugError, OSError) as error:
            self._banner.show_problem(words.problem(error))

    def _refused(self, path: Path, source: str, imatrix: str, problem: words.Problem) -> None:
        """What is missing, with a button that asks for it."""
        if "--source" in problem.hint:
            choose = button("Choose the model…", partial(self._ask_model, path, imatrix), role="primary")
            hint = "Choose the folder of the model that it was made of."
        elif "--imatrix" in problem.hint:
            choose = button("Choose the matrix…", partial(self._ask_matrix, path, source), role="primary")
            hint = "Choose the importance matrix that it was made with."
        else:
            self._banner.show_problem(problem)
            return
        self._banner.show_message("warning", problem.message, hint, choose)
        choose.setFocus()

    def _ask_model(self, path: Path, imatrix: str) -> None:
        if folder := QFileDialog.getExistingDirectory(self._banner, "The model that it was made of", str(path.parent)):
            self.start(path, folder, imatrix)

    def _ask_matrix(self, path: Path, source: str) -> None:
        patterns = "Importance matrices (*.gguf *.dat *.imatrix);;All files (*)"
        title = "The importance matrix that it was made with"
        file, _ = QFileDialog.getOpenFileName(self._banner, title, str(path.parent), patterns)
        if file:
            self.start(path, source, file)


def _if_here(name: str) -> str:
    return name if name and Path(name).exists() else ""


def _job_of(path: Path, source: str, imatrix: str) -> ReproduceJob:
    import core

    return core.reproduction_of(path, source=source, imatrix=imatrix)
