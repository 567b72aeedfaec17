"""The page Find, in the real window, against a Hub of the tests' own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QAccessible, QDesktopServices
from PySide6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from app.pages.find import FindPage
from app.pages.find_lists import known_models
from app.tables.hub_columns import HubRow
from app.widgets.model_panel import CARD, _row_facts
from app.window import FIND, MAKE, MainWindow
from core import read_override, sample_folder
from tests.app.conftest import MakeWindow
from tests.app.hub_models import asking, hub_environment, hub_models
from tests.fake_hub import FakeHub, FakeRepo, Fault

pytestmark = pytest.mark.slow

PATIENCE = 30_000


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> list[FakeRepo]:
    return hub_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def fake(repos: list[FakeRepo], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub(repos) as started:
        for name, value in hub_environment(started, tmp_path).items():
            monkeypatch.setenv(name, value)
        with asking(started, monkeypatch, tmp_path):
            yield started


@pytest.fixture
def page(fake: FakeHub, make_window: MakeWindow) -> Iterator[FindPage]:
    window = make_window(worker_command=())
    window.show_page(FIND)
    yield window.finder
    window.hub.close()


def window_of(page: FindPage) -> MainWindow:
    window = page.window()
    assert isinstance(window, MainWindow)
    return window


def search(page: FindPage, qtbot: QtBot, text: str) -> None:
    with qtbot.waitSignal(page.lists.began):
        page.lists.filters.text.setText(text)
    qtbot.waitUntil(lambda: page.lists.state != "waiting", timeout=PATIENCE)


def open_found(page: FindPage, qtbot: QtBot, id: str) -> None:
    search(page, qtbot, id)
    page.open_model(page.lists.found.rows[0])
    assert page.state == "model"


def press(page: FindPage, text: str) -> None:
    """A button of the banner, once it is laid out."""
    QApplication.processEvents()
    next(one for one in page.banner.findChildren(QPushButton) if one.text() == text and one.isVisible()).click()


def test_the_first_page_is_there_without_the_hub(page: FindPage) -> None:
    assert page.lists.state == "known"
    assert len(page.lists.known.rows) == len(known_models()) >= 40
    assert all(row.note and row.parameters for row in page.lists.known.rows)
    assert len({row.id for row in known_models()}) == len(known_models())


def test_well_known_models_have_verdicts_without_the_hub(page: FindPage, qtbot: QtBot, fake: FakeHub) -> None:
    qtbot.waitUntil(lambda: page.lists.known.rows[0].verdict != "", timeout=PATIENCE)
    assert page.lists.known.rows[0].id == "Qwen/Qwen3-0.6B"
    assert not [path for path in fake.paths() if "Qwen3-0.6B" in path]


def test_typing_searches_after_a_moment_and_clearing_brings_the_first_page_back(page: FindPage, qtbot: QtBot) -> None:
    search(page, qtbot, "small")
    assert [row.id for row in page.lists.found.rows] == ["org/small", "quants/small-GGUF"]
    assert page.lists.filters.sort == "trending"
    qtbot.keyClick(page.lists.filters.text, Qt.Key.Key_Escape)
    assert page.lists.filters.text.text() == ""


def test_verdicts_come_by_themselves_and_are_kept(page: FindPage, qtbot: QtBot, fake: FakeHub) -> None:
    def verdicts() -> dict[str, str]:
        return {row.id: row.verdict for row in page.lists.found.rows}

    search(page, qtbot, "org/")
    qtbot.waitUntil(lambda: all(verdicts().values()), timeout=PATIENCE)
    assert verdicts() == {"org/small": "fits", "org/larger-in-two-parts": "fits", "org/of-another-kind": "unsupported"}
    small = next(row for row in page.lists.found.rows if row.id == "org/small")
    assert small.glance is not None
    assert small.glance["level"] == "Q8_0"
    asked = len(fake.log)
    found, again = [], {"source": small.source}
    page._hub.ask("glance", again, done=found.append, failed=lambda problem: pytest.fail(problem.message))
    qtbot.waitUntil(lambda: bool(found), timeout=PATIENCE)
    assert found == [small.glance]
    assert len(fake.log) == asked


def test_verdicts_heed_the_context_wanted_and_the_machine_asked_about(page: FindPage, qtbot: QtBot) -> None:
    def first() -> str:
        return page.lists.known.rows[0].verdict

    window = window_of(page)
    qtbot.waitUntil(lambda: first() in ("fits", "tight"), timeout=PATIENCE)
    assert page.lists.about.text() == "Verdicts: this machine, 4,096 tokens of context"
    window.fit.context.choose("32768")
    window.store.setValue("fit/context", "32768")
    window.show_page(MAKE)
    window.show_page(FIND)
    assert page.lists.about.text() == "Verdicts: this machine, 32,768 tokens of context"
    assert first() == ""
    qtbot.waitUntil(lambda: first() != "", timeout=PATIENCE)
    window.machine.asked_changed.emit(read_override("1G:100M", ["none"]))
    assert page.lists.about.text() == "Verdicts: the machine that you asked about, 32,768 tokens of context"
    qtbot.waitUntil(lambda: first() == "no", timeout=PATIENCE)
    page.lists.filters.fits.setChecked(True)
    qtbot.waitUntil(lambda: "Qwen/Qwen3-0.6B" not in [row.id for row in page.lists.known.rows], timeout=PATIENCE)


def test_what_does_not_fit_can_be_left_out(page: FindPage, qtbot: QtBot) -> None:
    page.lists.filters.fits.setChecked(True)
    search(page, qtbot, "org/")
    qtbot.waitUntil(lambda: len(page.lists.found.rows) == 2, timeout=PATIENCE)
    assert "org/of-another-kind" not in [row.id for row in page.lists.found.rows]


def test_filters_reach_the_hub(page: FindPage, qtbot: QtBot, fake: FakeHub) -> None:
    filters = page.lists.filters
    for box in (filters.task, filters.library, filters.parameters, filters.licence, filters.access):
        box.setCurrentIndex(1)
    filters.author.setText("org")
    filters.gguf.setChecked(True)
    filters.order.setCurrentIndex(filters.order.findData("likes"))
    qtbot.waitUntil(lambda: any("sort=likes" in path for path in fake.paths()), timeout=PATIENCE)
    asked = next(path for path in fake.paths() if "sort=likes" in path)
    for part in ("pipeline_tag=text-generation", "author=org", "gated=false", "max%3A2000000000", "sort=likes",
                 "filter=gguf", "license%3Aapache-2.0", "filter=transformers"):  # fmt: skip
        assert part in asked
    assert filters.toggle.text() == "Filters: 7"
    filters.clear.click()
    qtbot.waitUntil(lambda: page.lists.state == "found", timeout=PATIENCE)


def test_more_rows_come_as_one_scrolls(page: FindPage, qtbot: QtBot) -> None:
    search(page, qtbot, "many")
    assert len(page.lists.found.rows) == 20
    for _ in range(3):
        page.lists.found_table.scrollToBottom()
        count = len(page.lists.found.rows)
        qtbot.waitUntil(
            lambda count=count: len(page.lists.found.rows) > count or not page.lists._has_more, timeout=PATIENCE
        )  # type: ignore[misc]
    ids = [row.id for row in page.lists.found.rows]
    assert len(ids) == len(set(ids)) == 60


def test_a_model_shows_check_levels_files_ready_files_and_card(page: FindPage, qtbot: QtBot) -> None:
    open_found(page, qtbot, "org/small")
    panel = page.panel
    qtbot.waitUntil(lambda: bool(panel.levels.rows and panel.ggufs.rows and panel.files.rows), timeout=PATIENCE)
    assert "Tokenizer: SentencePiece BPE, 1,536 tokens" in panel.facts.as_text()
    assert sum(item["recommended"] for item in panel.levels.rows) == 1
    assert [item["label"] for item in panel.ggufs.rows] == ["Q4_K_M", "Q8_0"]
    wanted = {file["name"]: file["wanted"] for file in panel.files.rows}
    assert wanted["model.safetensors"]
    assert not wanted["pytorch_model.bin"]
    ways = panel.ways.facts
    assert "Make it here: fetches 4.4 MB, makes a file of 2.3 MB (Q8_0)" in ways.as_text()
    assert "Download a GGUF: fetches 2.4 MB (Q8_0, quants/small-GGUF)" in ways.as_text()
    panel.ways.measure.click()
    qtbot.waitUntil(lambda: panel.rate > 0, timeout=PATIENCE)
    assert "fetches 4.4 MB in less than a second, makes" in ways.as_text()
    assert panel.ways.note.text().startswith("By a line of ")
    assert page._store.value("find/rate")
    qtbot.waitUntil(lambda: "A small model" in panel.card.toPlainText(), timeout=PATIENCE)


def test_a_card_is_words_alone_and_its_links_are_asked(
    page: FindPage, qtbot: QtBot, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    open_found(page, qtbot, "org/small")
    card = page.panel.card
    qtbot.waitUntil(lambda: "A small model" in card.toPlainText(), timeout=PATIENCE)
    assert "alert" not in card.toPlainText()
    assert "<img" not in card.toPlainText()
    assert "[a picture]" in card.toPlainText()
    assert card.loadResource(2, "https://example.com/chart.png") is None
    for address in ("file:///etc/passwd", "javascript:alert(1)", "https://example.com/paper"):
        card.anchorClicked.emit(address)
    assert opened == []
    assert page.banner.hint == "https://example.com/paper"
    press(page, "Open")
    assert opened == ["https://example.com/paper"]


def test_pictures_of_a_card_come_when_asked_and_from_the_model_alone(
    page: FindPage, qtbot: QtBot, fake: FakeHub
) -> None:
    open_found(page, qtbot, "org/small")
    panel = page.panel
    qtbot.waitUntil(lambda: "A small model" in panel.card.toPlainText(), timeout=PATIENCE)
    panel.tabs.setCurrentIndex(CARD)
    assert "[a chart]" in panel.card.toPlainText()
    assert panel.picture_state.text() == (
        "2 pictures not loaded yet. 2 pictures lie on other servers, which Snug does not ask."
    )
    assert not any("png" in path for path in fake.paths())
    panel.show_pictures.click()
    qtbot.waitUntil(lambda: panel.picture_state.text() == "1 picture could not be shown.", timeout=PATIENCE)
    assert "[a chart]" not in panel.card.toPlainText()
    assert "[broken]" in panel.card.toPlainText()
    image = panel.card.loadResource(2, "picture:0")
    assert 0 < image.width() <= panel.card.viewport().width()
    assert panel.card.loadResource(2, "chart.png") is None
    assert not panel.show_pictures.isVisible()


def test_a_model_is_made_of_straight_from_the_hub(page: FindPage, qtbot: QtBot, fake: FakeHub, tmp_path: Path) -> None:
    window = window_of(page)
    open_found(page, qtbot, "org/small")
    qtbot.keyClick(page.panel.tabs, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.pages.currentIndex() == MAKE and window.make.state == "content", timeout=PATIENCE)
    assert window.models.model is not None
    assert str(window.models.model.path) == "hub:org/small"
    assert not page.is_downloading
    assert not (tmp_path / "cache").exists()
    assert fake.sent("/storage/*") < 1 << 20
    make, more = window.make, window.make.detail.more
    assert not more.keep.isHidden()
    more.keep.setChecked(True)
    assert more.toggle.text() == "Options (1)"
    assert make._job_for(window.models.model, make._levels(), overwrite=False).keep_download
    qtbot.waitUntil(lambda: "for the download that is kept" in make.detail.costs.whole, timeout=PATIENCE)
    window.open_path(sample_folder())
    qtbot.waitUntil(lambda: more.keep.isHidden(), timeout=PATIENCE)
    assert not more.keep.isChecked()


def test_a_download_goes_on_to_the_page_make(page: FindPage, qtbot: QtBot, tmp_path: Path) -> None:
    window = window_of(page)
    open_found(page, qtbot, "org/small")
    page.download.click()
    assert page.is_downloading
    page.download.click()
    assert page.banner.message == "org/small is being downloaded already."
    assert [record.name for record in window.queue.open_jobs()] == ["Download of org/small"]
    qtbot.waitUntil(lambda: "is downloaded" in page.banner.message, timeout=PATIENCE)
    assert not page.is_downloading
    press(page, "Open it")
    qtbot.waitUntil(lambda: window.pages.currentIndex() == MAKE and window.make.state == "content", timeout=PATIENCE)
    assert window.models.model is not None
    assert tmp_path / "cache" in window.models.model.path.parents


def test_what_cannot_be_made_of_has_no_such_button(page: FindPage, qtbot: QtBot) -> None:
    open_found(page, qtbot, "quants/small-GGUF")
    qtbot.waitUntil(lambda: not page.look.isEnabled(), timeout=PATIENCE)
    assert page.look.text() == "Make a GGUF"
    open_found(page, qtbot, "org/of-another-kind")
    qtbot.waitUntil(lambda: not page.look.isEnabled(), timeout=PATIENCE)
    assert page.download.isEnabled()


def test_a_ready_file_is_downloaded_and_offered(page: FindPage, qtbot: QtBot, tmp_path: Path) -> None:
    open_found(page, qtbot, "org/small")
    qtbot.waitUntil(lambda: bool(page.panel.ggufs.rows) and page.panel.get_gguf.isEnabled(), timeout=PATIENCE)
    page.panel.gguf_table.choose("quants/small-GGUF/small-Q8_0")
    page.panel.get_gguf.click()
    qtbot.waitUntil(lambda: "is downloaded" in page.banner.message, timeout=PATIENCE)
    assert len(list((tmp_path / "cache").rglob("small-Q8_0.gguf"))) == 1
    assert list((tmp_path / "cache").rglob("small-Q4_K_M.gguf")) == []


def test_a_download_pauses_goes_on_and_is_cancelled_within_a_second(
    page: FindPage, qtbot: QtBot, fake: FakeHub
) -> None:
    open_found(page, qtbot, "org/small")
    fake.rate = 400_000
    page.download.click()
    qtbot.waitUntil(lambda: page.progress.bar.value() > 0, timeout=PATIENCE)
    page.progress.pause.click()
    qtbot.waitUntil(lambda: page.progress.heading.whole == "Paused org/small", timeout=2000)
    shown = page.progress.amount.text()
    qtbot.wait(200)
    assert page.progress.amount.text() == shown
    page.progress.pause.click()
    qtbot.waitUntil(lambda: page.progress.heading.whole == "Downloading org/small", timeout=2000)
    qtbot.waitUntil(lambda: page.progress.amount.text() != shown, timeout=PATIENCE)
    began = time.monotonic()
    page.progress.cancel.click()
    qtbot.waitUntil(lambda: not page.is_downloading, timeout=2000)
    assert time.monotonic() - began < 1.0
    assert page.banner.message.startswith("Cancelled")
    assert page.progress.isHidden()


def test_a_fact_does_not_say_its_title_again() -> None:
    facts = dict(_row_facts(HubRow("org/m", parameters=30_500_000_000, active_parameters=3_300_000_000)))
    assert facts == {"Parameters": "30.5 billion", "Active": "3.3 billion for each token"}


def test_gated_models_say_what_to_do_and_open_after_logging_in(page: FindPage, qtbot: QtBot, tmp_path: Path) -> None:
    open_found(page, qtbot, "meta/gated")
    qtbot.waitUntil(lambda: "you are not logged in" in page.banner.message, timeout=PATIENCE)
    assert "snug login" not in page.banner.hint
    qtbot.waitUntil(lambda: page.panel.state.text() == "Its headers could not be looked at.", timeout=PATIENCE)
    press(page, "Log in…")
    box = page.account.box
    assert box is not None
    box.token.setText("hf_wrong")
    box.enter.click()
    qtbot.waitUntil(lambda: "does not accept" in box.problem.text(), timeout=PATIENCE)
    box.token.setText("hf_full")
    qtbot.keyClick(box.token, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: page.banner.message == "Logged in as ada.", timeout=PATIENCE)
    assert not box.isVisible()
    assert (tmp_path / "home" / "token").read_text() == "hf_full"
    qtbot.waitUntil(lambda: bool(page.panel.levels.rows), timeout=PATIENCE)
    page.account.button.click()
    qtbot.waitUntil(lambda: page.banner.message == "Logged out.", timeout=PATIENCE)
    assert not (tmp_path / "home" / "token").exists()


def test_who_has_not_accepted_the_terms_is_told_where(
    page: FindPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, fake: FakeHub
) -> None:
    window_of(page).hub.close()
    monkeypatch.setenv("HF_TOKEN", "hf_plain")
    open_found(page, qtbot, "meta/gated")
    qtbot.waitUntil(lambda: "terms that you have not accepted" in page.banner.message, timeout=PATIENCE)
    assert f"{fake.url}/meta/gated" in page.banner.hint


def test_a_hub_that_cannot_be_asked_is_a_banner_with_a_way_on(page: FindPage, qtbot: QtBot, fake: FakeHub) -> None:
    fake.faults.append(Fault("/api/models?*", -1, status=418))
    page.lists.filters.text.setText("small")
    qtbot.waitUntil(lambda: "refused" in page.banner.message, timeout=PATIENCE)
    fake.faults.clear()
    press(page, "Try again")
    qtbot.waitUntil(lambda: len(page.lists.found.rows) == 2, timeout=PATIENCE)
    assert page.banner.message == ""


def test_offline_says_so_and_asks_nothing(
    fake: FakeHub, make_window: MakeWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    window = make_window()
    window.show_page(FIND)
    qtbot.waitUntil(lambda: window.finder.banner.message.startswith("Offline"), timeout=PATIENCE)
    assert len(window.finder.lists.known.rows) >= 40
    page, panel = window.finder, window.finder.panel
    page.open_model(page.lists.known.rows[0])
    qtbot.waitUntil(lambda: bool(panel.levels.rows) and "HF_HUB_OFFLINE" in page.banner.message, timeout=PATIENCE)
    assert panel.state.text().startswith("By the headers that come with Snug")
    assert panel.verdict.text().startswith("On this machine: ")
    assert not page.look.isEnabled()
    assert fake.log == []
    window.hub.close()


def test_the_process_may_go_away_and_the_next_question_starts_another(page: FindPage, qtbot: QtBot) -> None:
    search(page, qtbot, "small")
    process = page._hub._desk._process
    assert process is not None
    process.kill()
    qtbot.waitUntil(lambda: page._hub._desk._process is None, timeout=PATIENCE)
    search(page, qtbot, "larger")
    assert [row.id for row in page.lists.found.rows] == ["org/larger-in-two-parts"]


def test_keys_lead_from_the_words_to_the_model_and_back(page: FindPage, qtbot: QtBot) -> None:
    text = page.lists.filters.text
    assert text.hasFocus()
    text.setText("org/small")
    qtbot.keyClick(text, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: page.lists.state == "found", timeout=PATIENCE)
    page.lists.table.setFocus()
    qtbot.keyClick(page.lists.table, Qt.Key.Key_Return)
    assert page.state == "model"
    qtbot.keyClick(page.panel.tabs, Qt.Key.Key_Escape)
    assert page.state == "content"
    assert page.lists.table.hasFocus()


def nameless(page: QWidget) -> list[QWidget]:
    found = [
        one for one in page.findChildren(QWidget) if one.focusPolicy() & Qt.FocusPolicy.TabFocus and one.isVisible()
    ]
    found = [one for one in found if one.metaObject().className() not in ("QTabBar", "QComboBoxListView")]
    return [one for one in found if not QAccessible.queryAccessibleInterface(one).text(QAccessible.Text.Name).strip()]


def test_every_control_has_an_accessible_name(page: FindPage, qtbot: QtBot) -> None:
    page.lists.filters.toggle.click()
    assert nameless(page) == []
    open_found(page, qtbot, "org/small")
    for tab in range(page.panel.tabs.count()):
        page.panel.tabs.setCurrentIndex(tab)
        assert nameless(page) == []
    page.account.ask_token()
    assert page.account.box is not None
    assert nameless(page.account.box) == []
    page.account.box.reject()


@pytest.mark.slow
def test_the_event_loop_goes_on_while_all_of_it_is_asked(page: FindPage, qtbot: QtBot) -> None:
    gaps, last = [], [time.monotonic()]

    def beat() -> None:
        now = time.monotonic()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer(page, interval=5)
    timer.timeout.connect(beat)
    timer.start()
    open_found(page, qtbot, "org/larger-in-two-parts")
    qtbot.waitUntil(lambda: bool(page.panel.levels.rows), timeout=PATIENCE)
    page.download.click()
    qtbot.waitUntil(lambda: "is downloaded" in page.banner.message, timeout=PATIENCE)
    timer.stop()
    assert sorted(gaps)[-3] < 0.25  # on a busy machine; the bench says how long it is on a quiet one
