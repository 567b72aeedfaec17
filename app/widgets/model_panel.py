"""One model of the Hub: what it is, what fits, its files, ready GGUFs of others, and its card."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSettings, Signal
from PySide6.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from app import words
from app.tables.hub_columns import (
    FILE_COLUMNS,
    GGUF_COLUMNS,
    LEVEL_COLUMNS,
    HubRow,
    Values,
    best_in_words,
    parameters_of,
)
from app.tables.row_model import RowModel
from app.tables.row_view import RowView
from app.theme import SIZES
from app.widgets.card_view import CardView
from app.widgets.facts import Facts
from app.widgets.make_or_download import MakeOrDownload, ways_of
from app.widgets.parts import Elided, button, column, holder, label, row, scrolled
from app.words import Problem

OVERVIEW, LEVELS, GGUFS, FILES, CARD = range(5)
_LOOKING = "Looking at the headers: names and shapes of the weights, and the tokenizer. No weights are read."
_BUILT_IN = "By the headers that come with Snug: those on the Hub could not be looked at."


class ModelPanel(QWidget):
    """`download_wanted` carries a repository and the name of one of its GGUF files.

    `rate` is how fast the line was in the last download, in bytes a second; 0 before the first. `machine` is which one
    the verdicts are for, in words.
    """

    back_wanted = Signal()
    page_wanted = Signal()
    download_wanted = Signal(str, str)
    pictures_wanted = Signal(list)

    def __init__(self, store: QSettings) -> None:
        super().__init__()
        self.row: HubRow | None = None
        self.rate, self.machine = 0.0, "this machine"
        self.back = button("Back", self.back_wanted.emit, tip="Escape")
        self.name = Elided(role="heading")
        self.web = button("Its page", self.page_wanted.emit, tip="Open the model's page in your browser")
        self.state, self.verdict = label(role="muted", wrap=True), label(wrap=True)
        self.facts, self.ways_title, self.ways = Facts(), label("Make or download?", role="section"), MakeOrDownload()
        self.levels = RowModel[Values](LEVEL_COLUMNS, key=lambda item: str(item["level"]))
        self.ggufs = RowModel[Values](GGUF_COLUMNS, key=lambda item: f"{item['repo']}/{item['name']}")
        self.files = RowModel[Values](FILE_COLUMNS, key=lambda item: str(item["name"]))
        self.level_table = RowView(self.levels, name="Every quantization with its verdict here")
        self.gguf_table = RowView(self.ggufs, name="GGUF files that exist already")
        self.file_table = RowView(self.files, name="Files of the model")
        for key, table in (("levels", self.level_table), ("ggufs", self.gguf_table), ("files", self.file_table)):
            table.remember_widths(store, f"widths/find-{key}")
        self.gguf_state, self.file_state = label(role="muted", wrap=True), label(role="muted", wrap=True)
        self.get_gguf = button("Download this file", self._get_gguf, glyph="download")
        self.gguf_table.chosen.connect(lambda item: self.get_gguf.setEnabled(item is not None))
        self.card, self.picture_state = CardView(), label(role="muted", wrap=True)
        self.show_pictures = button("Show pictures", self._ask_pictures, tip="Fetches them from the Hub")
        self.tabs = self._make_tabs()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        head = row(self.back, self.name, self.web)
        head.setStretch(1, 1)
        layout.addLayout(head)
        layout.addWidget(self.tabs, 1)

    def _make_tabs(self) -> QTabWidget:
        tabs = QTabWidget()
        tabs.setAccessibleName("About the model")
        tabs.setDocumentMode(True)
        tabs.tabBar().setDrawBase(False)
        tabs.tabBar().setAccessibleName(tabs.accessibleName())
        overview = column(
            self.verdict, self.state, self.facts, self.ways_title, self.ways, 1,
            spacing=SIZES.m,
        )  # fmt: skip
        said = row(self.picture_state, self.show_pictures)
        said.setStretch(0, 1)
        pictures = holder(said)
        ggufs = column(self.gguf_state, self.gguf_table, spacing=SIZES.s)
        ggufs.addLayout(row(1, self.get_gguf))
        for widget, title in (
            (scrolled(overview, name="What the model is"), "Overview"),
            (self.level_table, "What fits"),
            (holder(ggufs), "Ready files"),
            (holder(column(self.file_state, self.file_table)), "Files"),
            (holder(column(pictures, self.card, spacing=SIZES.s)), "Card"),
        ):
            tabs.addTab(widget, title)
        return tabs

    def start(self, row: HubRow) -> None:
        """Shows what the list knew; the rest comes as it is found."""
        self.row = row
        self.name.show_text(row.id)
        self.verdict.setText("")
        self.verdict.hide()
        self.state.setText(_LOOKING)
        self.state.show()
        self.facts.show_facts(_row_facts(row))
        self.ways.show_ways([], rate=self.rate)
        self.ways_title.hide()
        for model in (self.levels, self.ggufs, self.files):
            model.set_rows([])
        self.gguf_state.setText("Looking for files that others have made of this model.")
        self.file_state.setText("Asking for the list of files.")
        self.get_gguf.setEnabled(False)
        self.show_card({"text": "", "pictures": [], "elsewhere": 0})
        self.card.setPlaceholderText("Fetching the card.")
        self._details: Values = {}
        self._is_refused = False
        self._options: list[Values] = []
        self._others: list[Values] | None = None
        self.show_row(row)
        self.tabs.setCurrentIndex(OVERVIEW)

    def show_row(self, row: HubRow) -> None:
        """A verdict that has come meanwhile."""
        self.row = row
        if row.glance is not None:
            self.verdict.setText(f"On {self.machine}: {best_in_words(row)}")
            self.verdict.show()

    def show_details(self, details: Values) -> None:
        self._details = details
        self.files.set_rows(details["files"])
        shown, count = len(details["files"]), details["file_count"]
        more = f"; the first {shown:,} are listed" if shown < count else ""
        self.file_state.setText(details["refusal"] or f"{words.count(count, 'file')}{more}.")
        self._show_ggufs()
        self._show_ways()

    def show_check(self, found: Values) -> None:
        check: Values | None = found["check"]
        self._options = found["options"]
        self.levels.set_rows(self._options)
        best = next((item for item in self._options if item["recommended"]), None)
        self.level_table.choose(best["level"] if best else "")
        self._is_refused = check is None
        notes = check["notes"] if check else [_BUILT_IN]
        self.state.setVisible(bool(notes))
        self.state.setText("\n".join(notes))
        if check:
            self.facts.show_facts(check_facts(check))
        if best:
            self.verdict.setText(f"On {self.machine}: {best['level']}, {words.size(best['size'])}. {best['reason']}")
            self.verdict.show()
        self._show_ways()

    def show_trouble(self, text: str) -> None:
        """The check found that it cannot be, or could not be made."""
        self._is_refused = True
        self._show_ways()
        self.state.setText(text)
        self.state.show()
        # A verdict by headers that were seen before is still true.
        self.verdict.setVisible(self.row is not None and self.row.verdict not in ("", "unsupported"))

    def show_card(self, card: Values) -> None:
        """The card in words; its pictures come when they are asked for."""
        self._pictures: list[str] = list(card["pictures"])
        self._spoilt = 0
        self.card.setPlaceholderText("This model has no card.")
        self.card.show_card(card["text"])
        own, elsewhere = len(self._pictures), card["elsewhere"]
        is_or_are = "lies" if elsewhere == 1 else "lie"
        others = f"{words.count(elsewhere, 'picture')} {is_or_are} on other servers, which Snug does not ask."
        mine = f"{words.count(own, 'picture')} not loaded yet." if own else ""
        self.picture_state.setText(" ".join(filter(None, [mine, others if elsewhere else ""])))
        self.picture_state.setVisible(bool(own or elsewhere))
        self.show_pictures.setVisible(bool(own))
        self.show_pictures.setEnabled(True)

    def _ask_pictures(self) -> None:
        self.show_pictures.setEnabled(False)
        self.picture_state.setText(f"Fetching {words.count(len(self._pictures), 'picture')}.")
        self.pictures_wanted.emit(self._pictures)

    def take_picture(self, found: Values) -> None:
        self._spoilt += not self.card.add_picture(found["number"], found["data"])

    def pictures_came(self, missing: int) -> None:
        """All that can be had are there; `missing` were not to be had."""
        missing += self._spoilt
        self.show_pictures.hide()
        self.picture_state.setText(f"{words.count(missing, 'picture')} could not be shown." if missing else "")
        self.picture_state.setVisible(bool(missing))

    def show_others(self, found: list[Values]) -> None:
        self._others = found
        self._show_ggufs()
        self._show_ways()

    def show_no_others(self, problem: Problem) -> None:
        """Whether there are any could not be found out."""
        self.gguf_state.setText(problem.message)

    def _show_ggufs(self) -> None:
        own = self._details.get("choices", [])
        both = [*own, *(self._others or [])]
        self.ggufs.set_rows(both)
        if both:
            self.gguf_table.choose(f"{both[0]['repo']}/{both[0]['name']}")
            self.gguf_state.setText(f"{words.count(len(both), 'GGUF file')} that exist already, made by others.")
        elif self._others is not None:
            self.gguf_state.setText("Nobody has published GGUF files that name this model as their base.")

    def _show_ways(self) -> None:
        """Bytes that each way takes over the line."""
        known = self.ggufs.rows if self.ggufs.rows or self._others is not None else None
        facts = ways_of(self._details, self._options, known, rate=self.rate, makeable=not self._is_refused)
        self.ways.show_ways(facts, rate=self.rate)
        self.ways_title.setVisible(bool(facts))

    def show_rate(self, rate: float) -> None:
        """How fast the line is has been measured."""
        self.rate = rate
        self._show_ways()

    @property
    def can_be_made(self) -> bool:
        """False once it is known that there are no weights that a GGUF can be made of, or no way to make one."""
        files = self._details.get("files")
        return not self._is_refused and (files is None or any(f["name"].endswith(".safetensors") for f in files))

    def _get_gguf(self) -> None:
        item = self.gguf_table.current()
        if item is not None:
            self.download_wanted.emit(item["repo"], item["name"])


def _row_facts(row: HubRow) -> list[tuple[str, str]]:
    total, active = parameters_of(row)
    facts = [
        ("Parameters", words.parameters(total) if total else "not stated"),
        ("Active", f"{words.parameters(active)} for each token" if active else ""),
        ("Licence", row.licence),
        ("Good at", row.note),
    ]
    if row.gated:
        facts.append(("Access", "Its authors ask you to accept terms first"))
    return [(name, value) for name, value in facts if value]


def check_facts(check: dict[str, Any]) -> list[tuple[str, str]]:
    """What the check found, in words."""
    active, experts = check["active_parameters"], check["experts"]
    rows = [
        ("Family", f"{check['family']} ({check['architecture']})"),
        ("Parameters", words.parameters(check["parameters"])),
        ("Active", f"{words.parameters(active)} for each token, {experts} experts" if experts else ""),
        ("Context", words.tokens(check["context"]) if check["context"] else "not stated"),
        ("Weights", f"{check['dtype']}, {words.size(check['source_bytes'])}, {check['layers']} layers"),
        ("Tokenizer", f"{check['tokenizer']}, {words.count(check['vocabulary'], 'token')}"),
        ("Licence", check["licence"]),
        ("Left out", "; ".join(f"{item['tensors']} tensors: {item['reason']}" for item in check["left_out"])),
    ]
    return [(name, value) for name, value in rows if value]
