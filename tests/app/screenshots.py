"""Pictures of every page, to be looked at: python tests/app/screenshots.py FOLDER. No test; run by hand."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="snug-pictures-")
os.environ["HF_HUB_CACHE"] = os.environ["XDG_DATA_HOME"] + "/hub"
os.environ["OLLAMA_MODELS"] = os.environ["XDG_DATA_HOME"] + "/ollama"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PySide6.QtWidgets import QApplication

from app.window import ENTRIES, FIT, JOBS, LIBRARY, MACHINE, MAKE, MODELS, MainWindow, make_app
from core import read_override, sample_folder
from tests.core.library.stores import add_to_hub, add_to_ollama, gguf_bytes, put
from tests.imatrix import seeded_means, write_imatrix

SIZES = ((1280, 800), (960, 640))
THEMES = ("light", "dark")


def wait(app: QApplication, seconds: float = 20.0, *, until: object = None) -> None:
    """Lets the window work until `until()` is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (callable(until) and until()):
        app.processEvents()
        time.sleep(0.01)


def take(app: QApplication, window: MainWindow, folder: Path, name: str) -> None:
    for theme in THEMES:
        window.side.theme_chosen.emit(theme)
        for width, height in SIZES:
            window.resize(width, height)
            wait(app, 0.15)
            window.grab().save(str(folder / f"{name}-{theme}-{width}.png"))


def ask_about_another(app: QApplication, window: MainWindow, folder: Path) -> None:
    """The editor of the page Machine, and its answer; then back."""
    window.machine.edit()
    window.machine.editor.add.click()
    window.machine.editor.lines[0].name.setText("RTX 4070")
    window.machine.editor.fields["ram"].setText("16G")
    take(app, window, folder, "4-machine-editor")
    window.machine.editor.ask.click()
    wait(app, 2, until=lambda: window.machine.strip.isVisible())
    take(app, window, folder, "4-machine-another")
    window.machine.reset()


def judge_known_models(app: QApplication, window: MainWindow, folder: Path) -> None:
    """The page Fit with models of real size, on a machine with a GPU; then back."""
    window.machine.ask_about(read_override(ram="16G", gpus=["RTX 4070"]))
    fit = window.fit
    window.show_page(FIT)
    take(app, window, folder, "6-fit-loading")
    wait(app, until=lambda: fit.detail.full and not window.judge.busy("judge"))

    def show(name: str) -> None:
        fit.table.choose(name)
        wait(app, until=lambda: fit.detail.full.key == name and not window.judge.busy("answer"))

    show("meta-llama/Llama-3.1-8B-Instruct")
    for number, name in enumerate(("answer", "run", "grid")):
        fit.detail.tabs.setCurrentIndex(number)
        take(app, window, folder, f"6-fit-{name}")
    fit.detail.tabs.setCurrentIndex(0)
    show("Qwen/Qwen3-30B-A3B-Instruct-2507")
    take(app, window, folder, "6-fit-experts")
    fit.detail.show_sum.click()
    fit.want.choose("quality")
    fit.context.choose("65536")
    wait(app, 1)
    wait(app, until=lambda: not window.judge.busy("judge") and not window.judge.busy("answer"))
    show("meta-llama/Llama-3.1-8B-Instruct")
    take(app, window, folder, "6-fit-sum")
    show("meta-llama/Llama-3.3-70B-Instruct")
    take(app, window, folder, "6-fit-no")
    fit.detail.show_sum.click()
    fit.filter.setText("this computer")
    take(app, window, folder, "6-fit-filtered")
    fit.filter.clear()
    fit.want.choose("balanced")
    fit.context.choose("4096")
    window.machine.reset()


def fill_stores() -> None:
    """Something for the library: a cache with the sample, two GGUFs and a leftover, and a model of Ollama's."""
    hub, ollama = Path(os.environ["HF_HUB_CACHE"]), Path(os.environ["OLLAMA_MODELS"])
    snapshot = add_to_hub(hub, "snug/sample", {path.name: path.read_bytes() for path in sample_folder().iterdir()})
    put(snapshot.parents[1] / "blobs" / "abc.0123abcd.incomplete", bytes(3_100_000))
    small, cut = gguf_bytes(1, rows=9000), gguf_bytes(2, file_type=7, rows=20_000)[:-7]
    add_to_hub(hub, "org/Qwen3-4B-GGUF", {"Qwen3-4B-Q4_K_M.gguf": small, "Qwen3-4B-Q8_0.gguf": cut})
    add_to_ollama(ollama, "hf.co/org/Qwen3-4B-GGUF/Q4_K_M", small)


def look_at_library(app: QApplication, window: MainWindow, folder: Path) -> None:
    """The page with something in each state, and the inspector."""
    fill_stores()
    library = window.library
    window.show_page(LIBRARY)
    wait(app, until=lambda: library.rows.rows and not window.tasks.busy("library"))
    for number, item in enumerate(library.rows.rows):
        library.table.choose(item.id)
        take(app, window, folder, f"13-library-{number}")
    library.table.choose(next(item.id for item in library.rows.rows if item.name == "snug/sample"))
    library.ask_delete()
    wait(app, until=lambda: library.banner.message)
    take(app, window, folder, "13-library-asked")
    library.banner.dismiss()
    library.filter.setText("nothing has this name")
    take(app, window, folder, "13-library-filtered")
    library.filter.clear()
    library.inspect_button.click()
    wait(app, until=lambda: library.state == "inspector")
    take(app, window, folder, "14-inspector-keys")
    library.inspector.count_values()
    wait(app, until=lambda: library.inspector.histogram.found)
    take(app, window, folder, "14-inspector-values")
    library.cancel()


def look_at_jobs(app: QApplication, window: MainWindow, folder: Path) -> None:
    """The page with jobs in every state: the first of three is cancelled, the second crashes, the third runs."""
    queue, jobs = window.queue, window.jobs
    first, second, third = queue.open_jobs()
    queue.cancel(first.id)
    wait(app, 5, until=lambda: (queue.record(third.id) or third).progress)
    waiting = queue.duplicate(third.id)
    queue.pause(queue.duplicate(third.id).id)
    window.show_page(JOBS)
    for name, id in (("running", third.id), ("waiting", waiting.id), ("failed", second.id), ("cancelled", first.id)):
        jobs.choose(id)
        take(app, window, folder, f"8-jobs-{name}")
    jobs.choose(third.id)
    jobs.cancel()
    take(app, window, folder, "8-jobs-stop-asked")
    jobs.banner.dismiss()
    jobs.limits_button.click()
    take(app, window, folder, "8-jobs-limits")
    jobs.limits_button.click()
    queue.hold()
    wait(app, 5, until=lambda: not queue.is_working)
    take(app, window, folder, "8-jobs-held")
    for record in queue.open_jobs():
        queue.cancel(record.id)
    queue.go_on()
    wait(app, 5, until=lambda: not queue.open_jobs())


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    app = make_app(sys.argv[:1])
    window = MainWindow(app)
    window.show()
    wait(app, until=lambda: window.machine.state == "content")
    for number, (word, _) in enumerate(ENTRIES):
        window.show_page(number)
        take(app, window, folder, f"{number}-{word.lower()}-first")
    window.show_page(MACHINE)
    ask_about_another(app, window, folder)
    window.open_path(folder / "nothing-here")
    wait(app, until=lambda: window.models.banner.message)
    take(app, window, folder, "5-models-error")
    window.models.open_sample()
    wait(app, until=lambda: window.models.model)
    take(app, window, folder, "6-models-open")
    judge_known_models(app, window, folder)
    look_at_library(app, window, folder)
    window.show_page(MAKE)
    wait(app, until=lambda: window.make.state == "content")
    wait(app, 0.3)
    take(app, window, folder, "7-make-table")
    window.make.options.tick(("Q4_K_M", "Q8_0"))
    wait(app, 5, until=lambda: window.make.detail.costs.whole.startswith("2 files"))
    take(app, window, folder, "7-make-ticked")
    window.make.options.tick(())
    more = window.make.detail.more
    more.matrix_chosen.emit(str(write_imatrix(folder / "imatrix.gguf", seeded_means(window.make.model))))
    wait(app, until=lambda: more.matrix)
    more.longer.setChecked(True)
    more.open()
    wait(app, 0.3)
    take(app, window, folder, "7-make-options")
    more.clear.click()
    more.longer.setChecked(False)
    more.toggle.click()
    window.make.table.choose("IQ2_XS")
    window.make.act()
    take(app, window, folder, "7-make-needs-matrix")
    window.make.banner.dismiss()
    more.toggle.click()
    window.make.table.choose("Q8_0")
    window.make.detail.target.show_folder(folder)
    window.queue._workers.command = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
    window.make.detail.target.name.setText("Phi-preparing")
    window.make.act()
    wait(app, 5, until=lambda: window.queue.records() and window.queue.records()[0].notes)
    take(app, window, folder, "8-make-preparing")
    window.queue.cancel(window.queue.records()[0].id)
    wait(app, 5, until=lambda: not window.queue.open_jobs())
    window.make.act()
    for name in ("Qwen-slow", "Llama-crash", "Gemma-slow"):
        window.make.detail.target.name.setText(name)
        window.make.act()
        wait(app, 5, until=lambda: window.make.panel.isVisible())
        wait(app, 0.5)
        if name == "Qwen-slow":
            take(app, window, folder, "8-make-running")
            window.make.cancel()
            take(app, window, folder, "8-make-stop-asked")
            window.make.banner.dismiss()
        window.make.act()
    look_at_jobs(app, window, folder)
    window.queue._workers.command = ()
    window.show_page(MAKE)
    window.make.detail.target.name.setText("Sample-Q8_0.gguf")
    window.make.act()
    wait(app, 90, until=lambda: window.queue.records()[0].state == "done")
    take(app, window, folder, "9-make-done")
    window.make.act()
    window.make.act()
    wait(app, until=lambda: window.make.banner.message)
    take(app, window, folder, "10-make-asked")
    window.show_page(JOBS)
    take(app, window, folder, "11-jobs-done")
    window.jobs.tabs.setCurrentIndex(1)
    take(app, window, folder, "12-jobs-tensors")
    window.show_page(MODELS)
    window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
