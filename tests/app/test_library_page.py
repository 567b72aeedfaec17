"""The page Library in the real window: what is listed, found, looked into, opened and deleted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import QAbstractButton, QFileDialog, QPushButton
from pytestqt.qtbot import QtBot

import core.library.item
import core.library.scan
from app.pages.library import LibraryPage, removal_words
from app.tables.library_columns import LIBRARY_COLUMNS
from app.widgets.disk_bar import DiskBar
from app.widgets.inspector_histogram import HistogramView
from app.window import LIBRARY, MAKE, MODELS, MainWindow
from core import Histogram, Removal, load_settings, sample_folder, settings_file
from tests.app.conftest import MakeWindow
from tests.app.test_window import controls, name_of, named
from tests.core.library.stores import (
    add_to_hub,
    add_to_ollama,
    bytes_below,
    gguf_bytes,
    lone_home,
    put,
    safetensors_bytes,
)

SAMPLE = "snug/sample"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lone_home(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def stores(home: Path) -> Path:
    """The sample in the cache beside two GGUFs, one of Ollama's, something left over."""
    add_to_hub(home / "hub", SAMPLE, {path.name: path.read_bytes() for path in sample_folder().iterdir()})
    add_to_hub(home / "hub", "org/pair", {"a-Q4_K_M.gguf": gguf_bytes(1), "b-Q8_0.gguf": gguf_bytes(2, file_type=7)})
    put(home / "hub" / "models--org--pair" / "blobs" / "abc.0123abcd.incomplete", b"x" * 1000)
    add_to_ollama(home / ".ollama" / "models", "registry.ollama.ai/library/tiny/1b", gguf_bytes(3))
    return home


def look(window: MainWindow, qtbot: QtBot) -> LibraryPage:
    window.show_page(LIBRARY)
    qtbot.waitUntil(lambda: not window.tasks.busy("library") and window.library.state == "content")
    return window.library


def names(page: LibraryPage) -> list[str]:
    model = page.table.model()
    return [str(model.index(row, 0, QModelIndex()).data()) for row in range(model.rowCount())]


def choose(page: LibraryPage, name: str) -> None:
    page.table.choose(next(item.id for item in page.rows.rows if item.name == name))


def answer(page: LibraryPage, word: str) -> None:
    buttons = page.banner.findChildren(QPushButton)
    next(button for button in buttons if button.text() == word and button.isVisible()).click()


def test_an_empty_computer_is_told_what_will_be_listed(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    assert page._nothing.isVisible()
    assert not page.table.isVisible()
    assert not page.detail.isVisible()
    assert not page.make.isEnabled()
    assert not page.clean.isEnabled()


@pytest.mark.usefixtures("stores")
def test_every_model_is_listed_with_the_sum_and_the_disk(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    assert names(page) == ["org/pair/a-Q4_K_M.gguf", "org/pair/b-Q8_0.gguf", SAMPLE, "tiny:1b"]
    assert page.sum.text().startswith("4 models, 4.4 MB")
    assert page.disk.accessibleName().startswith("Disk: Models 4.4 MB, Other files ")
    assert page.clean.text() == "Clean up 1.0 kB"
    texts = [[column.text(item) for column in LIBRARY_COLUMNS[:5]] for item in page.rows.rows]
    assert texts[0] == ["org/pair/a-Q4_K_M.gguf", "llama", "Q4_K_M", "1.8 kB", "Hugging Face"]


@pytest.mark.usefixtures("stores")
def test_the_table_sorts_by_size_and_not_by_its_words(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    page.table.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    assert names(page)[0] == SAMPLE


@pytest.mark.usefixtures("stores")
def test_the_filter_searches_every_column_and_escape_clears_it(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    page.filter.setFocus()
    qtbot.keyClicks(page.filter, "OLLAMA")
    assert names(page) == ["tiny:1b"]
    current = page.table.current()
    assert current is not None
    assert current.name == "tiny:1b"
    qtbot.keyClicks(page.filter, " nothing")
    assert page._none_fits.isVisible()
    assert not page.make.isEnabled()
    qtbot.keyClick(page.filter, Qt.Key.Key_Escape)
    assert len(names(page)) == 4
    assert page.table.isVisible()


@pytest.mark.usefixtures("stores")
def test_another_tools_model_has_no_delete_but_the_way_to_do_it_there(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    choose(page, "tiny:1b")
    assert not page.delete_button.isVisible()
    assert page.removal.text() == "Remove it with: ollama rm tiny:1b"
    choose(page, SAMPLE)
    assert page.delete_button.isVisible()
    assert not page.removal.isVisible()


def test_deleting_asks_with_the_exact_bytes_and_frees_them(window: MainWindow, qtbot: QtBot, stores: Path) -> None:
    page = look(window, qtbot)
    choose(page, SAMPLE)
    before = bytes_below(stores)
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: page.banner.message == f"Delete {SAMPLE}?")
    promised = int(page.banner.hint.split(" byte")[0].replace(",", ""))
    assert bytes_below(stores) == before
    answer(page, "Delete")
    qtbot.waitUntil(lambda: SAMPLE not in names(page))
    assert before - bytes_below(stores) == promised
    assert page.banner.message.startswith("Freed 4.4 MB")


def test_keep_and_escape_delete_nothing(window: MainWindow, qtbot: QtBot, stores: Path) -> None:
    page = look(window, qtbot)
    choose(page, SAMPLE)
    before = bytes_below(stores)
    page.delete_button.click()
    qtbot.waitUntil(lambda: page.banner.message != "")
    assert isinstance(window.focusWidget(), QAbstractButton)
    answer(page, "Keep")
    page.delete_button.click()
    qtbot.waitUntil(lambda: page.banner.message != "")
    qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Escape)
    assert window.focusWidget() is page.table
    assert page.banner.message == ""
    assert bytes_below(stores) == before


def test_cleaning_up_asks_first_and_says_what_it_freed(window: MainWindow, qtbot: QtBot, stores: Path) -> None:
    page = look(window, qtbot)
    page.clean.click()
    qtbot.waitUntil(lambda: page.banner.hint.startswith("1,000 bytes will be freed"))
    answer(page, "Clean up")
    qtbot.waitUntil(lambda: page.clean.text() == "Clean up")
    assert page.banner.hint == "1,000 bytes"
    assert len(names(page)) == 4


@pytest.mark.usefixtures("stores")
def test_a_model_opens_in_make(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    choose(page, SAMPLE)
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.page is window.make and window.make.state == "content", timeout=10_000)
    assert window.make.model is not None
    assert window.make.model.architecture == "llama"


def test_what_cannot_be_opened_ends_on_the_page_models_with_its_reason(
    window: MainWindow, qtbot: QtBot, home: Path
) -> None:
    files = {"config.json": b'{"model_type": "nonsense"}', "model.safetensors": safetensors_bytes()}
    add_to_hub(home / "hub", "org/odd", files)
    page = look(window, qtbot)
    page.make.click()
    qtbot.waitUntil(lambda: window.models.banner.message != "")
    assert window.page is window.models
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: window.models.model is not None)
    assert window.pages.currentIndex() == MODELS != MAKE


@pytest.mark.usefixtures("stores")
def test_the_inspector_shows_keys_tensors_and_values_on_request(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    choose(page, SAMPLE)
    page.inspect_button.click()
    qtbot.waitUntil(lambda: page.state == "inspector")
    inspector = page.inspector
    assert inspector.name.whole == SAMPLE
    assert inspector.tabs.tabText(1) == "Tensors (29)"
    inspector.tabs.setCurrentIndex(1)
    inspector.tensor_table.setFocus()
    assert inspector.histogram.found is None
    qtbot.keyClick(inspector.tensor_table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: inspector.histogram.found is not None)
    assert inspector.histogram.accessibleName().startswith("Histogram: model.embed_tokens.weight, most values from ")
    assert inspector.figures.text().startswith("model.embed_tokens.weight: 393,216 values, mean ")
    inspector.filter.setText("norm")
    assert inspector.tensor_table.shown_rows() == sum("norm" in tensor.name for tensor in inspector.tensors.rows)
    qtbot.keyClick(inspector.tensor_table, Qt.Key.Key_Escape)
    assert page.state == "content"
    assert page.make.isEnabled()


def test_a_file_that_cannot_be_inspected_says_why(window: MainWindow, qtbot: QtBot, home: Path) -> None:
    add_to_hub(home / "hub", "org/bad", {"bad.gguf": gguf_bytes()[:90]})
    page = look(window, qtbot)
    assert page.problem.isVisible()
    assert LIBRARY_COLUMNS[0].badge is not None
    assert LIBRARY_COLUMNS[0].badge(page.rows.rows[0]) == "Damaged"
    page.inspect_button.click()
    qtbot.waitUntil(lambda: page.banner.message != "")
    assert "is damaged" in page.banner.message
    assert page.state == "content"


def test_a_folder_can_be_added_and_taken_off_again(
    window: MainWindow, qtbot: QtBot, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(home / "mine" / "m.gguf", gguf_bytes())
    page = look(window, qtbot)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(home / "mine"))
    page.folders_button.click()
    assert window.focusWidget() is page.folders.add
    page.folders.add.click()
    qtbot.waitUntil(lambda: names(page) == ["m.gguf"])
    assert load_settings(settings_file()).library_folders == (str(home / "mine"),)
    page.folders._remove(str(home / "mine"))
    qtbot.waitUntil(lambda: names(page) == [])
    assert load_settings(settings_file()).library_folders == ()


def test_the_folder_of_a_model_is_shown(
    window: MainWindow, qtbot: QtBot, stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Path] = []
    monkeypatch.setattr("app.pages.library.reveal", shown.append)
    page = look(window, qtbot)
    for name in (SAMPLE, "org/pair/a-Q4_K_M.gguf"):
        choose(page, name)
        page.show_button.click()
    sample, pair = (
        stores / "hub" / f"models--{repo}" / "snapshots" / ("a" * 40) for repo in ("snug--sample", "org--pair")
    )
    assert shown == [sample, pair / "a-Q4_K_M.gguf"]


@pytest.mark.usefixtures("stores")
def test_looking_again_keeps_the_selected_model(window: MainWindow, qtbot: QtBot, home: Path) -> None:
    page = look(window, qtbot)
    choose(page, "tiny:1b")
    add_to_hub(home / "hub", "a/first", {"x.gguf": gguf_bytes(9)})
    qtbot.keyClick(window, Qt.Key.Key_F5)
    qtbot.waitUntil(lambda: len(names(page)) == 5)
    current = page.table.current()
    assert current is not None
    assert current.name == "tiny:1b"


def test_a_bug_while_looking_is_a_banner_and_the_page_stays(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(core.library.scan, "scan_outputs", broken)
    window.show_page(LIBRARY)
    qtbot.waitUntil(lambda: window.library.banner.message != "")
    assert "bug in Snug" in window.library.banner.message
    assert window.library.state == "content"
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.usefixtures("stores")
def test_every_control_of_the_page_and_the_inspector_has_a_name(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    page.folders_button.click()
    nameless = [widget for widget in controls(page) if not name_of(widget).strip() and named(widget)]
    choose(page, SAMPLE)
    page.inspect_button.click()
    qtbot.waitUntil(lambda: page.state == "inspector")
    page.inspector.tabs.setCurrentIndex(1)
    nameless += [widget for widget in controls(page) if not name_of(widget).strip() and named(widget)]
    assert nameless == []


@pytest.mark.usefixtures("stores")
def test_the_page_fits_into_the_least_window(window: MainWindow, qtbot: QtBot) -> None:
    page = look(window, qtbot)
    choose(page, "org/pair/a-Q4_K_M.gguf")
    needed = page.layout().minimumSize()
    assert needed.height() <= window.minimumHeight()
    assert needed.width() + window.side.width() <= window.minimumWidth()


def test_the_window_never_waits_for_a_slow_disk(
    make_window: MakeWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    gate = threading.Event()
    monkeypatch.setattr(core.library.scan, "scan_outputs", lambda *_: gate.wait(10) and core.library.item.Found())
    window.show_page(LIBRARY)
    assert window.library.state == "loading"
    window.show_page(MODELS)
    assert window.page is window.models
    gate.set()
    qtbot.waitUntil(lambda: window.library.state == "content")


def test_a_removal_in_words_names_the_first_and_counts_the_rest() -> None:
    removal = Removal(tuple("abcde"), (), (), 1_500_000, 20, ("They are in use.",))
    assert removal_words(removal).splitlines() == [
        "1,500,000 bytes will be freed (1.5 MB); 0 files go.",
        "a",
        "b",
        "c",
        "and 2 more",
        "20 B stay. They are in use.",
    ]


def test_a_disk_bar_says_its_parts_in_words(qtbot: QtBot) -> None:
    bar = DiskBar()
    qtbot.addWidget(bar)
    bar.show_disk(models=10**9, free=3 * 10**9, total=10**10, place="/models")
    assert bar.in_words() == "Models 1.0 GB, Other files 6.0 GB, Free 3.0 GB of 10.0 GB"
    assert "Free: 3,000,000,000 bytes" in bar.toolTip()
    assert not bar.grab().isNull()


def test_a_histogram_is_painted_at_any_size_and_says_its_bins(qtbot: QtBot) -> None:
    view = HistogramView()
    qtbot.addWidget(view)
    view.show_histogram(Histogram("w", -1.0, 3.0, (1, 5, 0, 2), 0.1, 0.5, 1, 0, 8, 8))
    assert view.in_words() == "w, most values from 0 to 1: 5"
    for width in (1, 40, 900):
        view.resize(width, 90)
        assert not view.grab().isNull()
