"""Library: every model on this computer, what each takes, and what can be done with it."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QLineEdit, QStackedWidget, QVBoxLayout, QWidget

from app import words
from app.reveal import reveal
from app.tables.library_columns import LIBRARY_COLUMNS
from app.tables.row_model import RowModel
from app.tables.row_view import RowView
from app.tasks import Tasks
from app.theme import SIZES
from app.widgets.disk_bar import DiskBar
from app.widgets.facts import Facts
from app.widgets.folder_list import FolderList
from app.widgets.inspector import Inspector
from app.widgets.page import Page, empty_state
from app.widgets.parts import Elided, button, card, column, icon_button, label, row
from app.widgets.question import ask
from core import Settings

if TYPE_CHECKING:
    from core import InspectedFile, Library, LibraryItem, Removal, Removed

_OPENS = ("GGUF", "safetensors")
MADE_HERE = "made with Snug"  # a value of core.Origin
_AGAIN = "Make it once more from its recipe card, and see whether it comes out the same; nothing else is kept"
_MOST_NAMED = 3
_ROWS_AHEAD = 100


class LibraryPage(Page):
    """`make_wanted` carries the path of a model to be quantized, `again_wanted` of a file to be made once more from its
    card, `folders_changed` the folders to look in as well.
    """

    make_wanted = Signal(Path)
    again_wanted = Signal(Path)
    folders_changed = Signal(tuple)

    def __init__(self, tasks: Tasks, store: QSettings, settings: Settings) -> None:
        super().__init__("Library", "Every model on this computer, whoever keeps it, and the room that it takes.")
        self._tasks, self._settings = tasks, settings
        self.library: Library | None = None
        self._last: LibraryItem | None = None
        self.clean = self.add_action(button("Clean up", self.ask_clean_up, tip="Remove what is of no use to anyone"))
        self.make = self.add_action(button("Open in Make", self._make, role="primary"))
        self.rows: RowModel[LibraryItem] = RowModel(LIBRARY_COLUMNS, key=lambda item: item.id)
        self.table = RowView(self.rows, name="Models on this computer")
        self.table.remember_widths(store, "widths/library")
        self.table.chosen.connect(self._show_item)
        self.table.opened.connect(lambda _: self.act())
        shortcut = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.table)
        shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
        shortcut.activated.connect(self.ask_delete)
        self._make_parts(store)
        self.add_state("loading", empty_state("Looking for models", "In the caches and folders of every tool."))
        self.add_state("content", self._make_content())
        self.add_state("inspector", self.inspector)
        self.show_state("loading")
        self._show_item(None)

    def _make_parts(self, store: QSettings) -> None:
        self.filter = QLineEdit(placeholderText="Filter by name, family, format or place", clearButtonEnabled=True)
        self.filter.setAccessibleName("Filter the models")
        self.filter.textChanged.connect(self._filter)
        self.sum, self.disk = label(role="muted"), DiskBar()
        self.folders = FolderList(self._settings.library_folders)
        self.folders.changed.connect(self.folders_changed)
        self.folders.hide()
        self.folders_button = button("Folders", self._toggle_folders, glyph="folder", tip="Where else to look")
        self.folders_button.setCheckable(True)
        self._ahead = QTimer(self, interval=0)
        self._ahead.timeout.connect(self._read_ahead)
        self.again = icon_button("Look again (F5)", "refresh", self.refresh)
        self.name, self.path, self.facts = Elided(role="section"), Elided(role="small"), Facts(pairs=2)
        self.problem = label(role="strong", wrap=True)
        self.removal = label(role="muted", wrap=True)
        self.show_button = button("Show in folder", self._show_in_folder, glyph="folder")
        self.inspect_button = button("Inspect", self._inspect, glyph="inspect", tip="Keys, tensors and their values")
        self.again_button = button("Reproduce", self._make_again, glyph="retry", tip=_AGAIN)
        self.delete_button = button("Delete", self.ask_delete, glyph="trash", tip="Says first how much would be freed")
        self.inspector = Inspector(self._tasks, store)
        self.inspector.closed.connect(self._close_inspector)
        self.inspector.failed.connect(self.banner.show_problem)

    def _make_content(self) -> QWidget:
        self._nothing = empty_state(
            "No models yet",
            "What Snug downloads or makes is listed here, and what Ollama, LM Studio and llama.cpp keep.",
        )
        self._none_fits = empty_state("No model matches", "Every column is searched for what you typed.")
        self._middle = QStackedWidget()
        for widget in (self.table, self._nothing, self._none_fits):
            self._middle.addWidget(widget)
        head = row()
        head.addWidget(self.name, 1)
        for action in (self.show_button, self.inspect_button, self.again_button, self.delete_button):
            head.addWidget(action)
        self.detail = card(head, self.path, self.problem, self.facts, self.removal, margin=SIZES.m)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SIZES.s)
        layout.addLayout(row(self.filter, self.folders_button, self.again))
        layout.addWidget(self.folders)
        layout.addLayout(column(self.sum, self.disk, spacing=SIZES.xs))
        layout.addWidget(self._middle, 1)
        layout.addWidget(self.detail)
        return content

    # What is shown

    def first_focus(self) -> QWidget | None:
        if self.state == "inspector":
            return self.inspector.first_focus()
        return self.table if self.rows.rows else self.folders_button

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()

    def take_settings(self, settings: Settings) -> None:
        """Looks where the settings say from now on."""
        before, self._settings = self._settings, settings
        if before.library_folders != settings.library_folders and self.isVisible():
            self.refresh()

    def refresh(self) -> None:
        """Looks again; what is shown stays until then."""
        self._tasks.run("library", partial(_scan, self._settings), done=self._show, failed=self._failed)

    def _failed(self, problem: words.Problem) -> None:
        if self.state == "loading":
            self._show_rows()
            self.show_state("content")
        self.banner.show_problem(problem)

    def _show(self, library: Library) -> None:
        before = self.table.current()
        self.library = library
        self.rows.replace_rows(library.items)
        self._ahead.start()
        models = f"{words.count(len(library.items), 'model')}, {words.size(library.total)}"
        self.sum.setText(f"{models}{_not_seen(library)}")
        self.sum.setToolTip("\n".join(f"{trouble.path}: {trouble.message}" for trouble in library.troubles))
        if library.disk:
            disk = library.disk
            self.disk.show_disk(models=disk.models, free=disk.free, total=disk.total, place=str(disk.folder))
        self.clean.setEnabled(bool(library.useless))
        self.clean.setText(f"Clean up {words.size(library.useless)}" if library.useless else "Clean up")
        self._show_rows()
        was_loading = self.state == "loading"
        if was_loading:
            self.show_state("content")
        self._choose(before)
        if was_loading and self.isVisible():
            self.take_focus()

    def _read_ahead(self) -> None:
        """A few rows whenever there is nothing else to do, so that the first letter of a filter need not wait."""
        if not self.rows.prepare(_ROWS_AHEAD):
            self._ahead.stop()

    def _choose(self, before: LibraryItem | None) -> None:
        """Selects what was selected, or the first row that is shown."""
        known = before is not None and self.rows.position_of(before.id) is not None
        if before is not None and known:
            self.table.choose(before.id)
        else:
            self.table.selectRow(0)
        self._show_item(self.table.current())

    def _show_rows(self) -> None:
        """The table, or why it would be empty."""
        shown = self.table if self.table.shown_rows() else self._none_fits
        self._middle.setCurrentWidget(shown if self.rows.rows else self._nothing)

    def _filter(self, text: str) -> None:
        self.table.show_only(text)
        self._show_rows()
        if self.table.current() is None:
            self._choose(self._last if self._last and self.table.is_shown(self._last.id) else None)

    def _show_item(self, item: LibraryItem | None) -> None:
        self.make.setEnabled(item is not None and item.summary.kind in _OPENS and self.state == "content")
        self.detail.setVisible(item is not None)
        if item is None:
            return
        self._last = item
        self.name.show_text(item.name)
        self.path.show_text(words.path(item.path))
        self.facts.show_facts(item_facts(item), {"Size": words.exact(item.size)})
        self.problem.setText(item.problem)
        self.problem.setVisible(bool(item.problem))
        self.removal.setText(item.removal)
        self.removal.setVisible(bool(item.removal))
        self.again_button.setVisible(item.origin == MADE_HERE and item.summary.kind == "GGUF")
        self.delete_button.setVisible(item.is_ours)
        self.inspect_button.setEnabled(item.summary.kind in _OPENS)

    # What the user does

    def act(self) -> None:
        if self.state == "inspector":
            self.inspector.count_values()
            return
        super().act()

    def cancel(self) -> None:
        if self.banner.isHidden() and self.state == "inspector":
            self._close_inspector()
        elif self.banner.isHidden() and self.filter.text():
            self.filter.clear()
        else:
            super().cancel()

    def _make(self) -> None:
        if (item := self.table.current()) is not None:
            self.make_wanted.emit(item.path)

    def _make_again(self) -> None:
        if (item := self.table.current()) is not None:
            self.again_wanted.emit(item.path)

    def _show_in_folder(self) -> None:
        if (item := self.table.current()) is not None:
            reveal(item.path)

    def _toggle_folders(self) -> None:
        self.folders.setVisible(self.folders_button.isChecked())
        if self.folders.isVisible():
            self.folders.add.setFocus()

    def _inspect(self) -> None:
        if (item := self.table.current()) is not None:
            self.banner.hide()
            work = partial(_inspect, item.path)
            self._tasks.run("inspect", work, done=partial(self._inspected, item.name), failed=self.banner.show_problem)

    def _inspected(self, name: str, found: InspectedFile) -> None:
        self.inspector.show_file(found, name)
        self.show_state("inspector")
        self.make.setEnabled(False)
        self.inspector.first_focus().setFocus()

    def _close_inspector(self) -> None:
        self.show_state("content")
        self._show_item(self.table.current())
        self.inspect_button.setFocus()

    def ask_delete(self) -> None:
        """Works out what deleting the selected model would free, then asks."""
        item, library = self.table.current(), self.library
        if item is None or library is None:
            return
        work = partial(_plan_removal, library, item)
        title = f"Delete {item.name}?"
        self._tasks.run("plan", work, done=partial(self._ask, title, "Delete"), failed=self.banner.show_problem)

    def ask_clean_up(self) -> None:
        if self.library is not None:
            work = partial(_plan_cleanup, self.library)
            title = "Remove unfinished downloads and content that nothing uses?"
            self._tasks.run("plan", work, done=partial(self._ask, title, "Clean up"), failed=self.banner.show_problem)

    def _ask(self, title: str, yes: str, removal: Removal) -> None:
        ask(self.banner, title, removal_words(removal), yes=yes, no="Keep", then=partial(self._carry_out, removal))

    def _carry_out(self, removal: Removal) -> None:
        self._tasks.run("remove", partial(_apply, removal), done=self._removed, failed=self.banner.show_problem)

    def _removed(self, done: Removed) -> None:
        if done.troubles:
            first = done.troubles[0]
            stays = f"{words.count(len(done.troubles), 'file stays', 'files stay')}: {first.path}: {first.message}"
            self.banner.show_message("warning", f"Freed {words.exact(done.freed)}, but not everything went.", stays)
        else:
            self.banner.show_message("good", f"Freed {words.size(done.freed)}.", words.exact(done.freed))
        self.refresh()
        self.table.setFocus()


def item_facts(item: LibraryItem) -> list[tuple[str, str]]:
    """What is worth knowing of a model in the library, in words."""
    summary, shares = item.summary, item.shares
    formats = ", ".join(f"{share.tensors} {share.format}" for share in summary.formats[:4])
    source = f"{item.repo}, {', '.join(item.refs) or item.commit[:7]}" if item.commit else item.repo
    facts = [
        ("Weights", words.parameters(summary.parameters) if summary.parameters else ""),
        ("Tensors", f"{summary.kind}: {formats}" if formats else summary.kind),
        ("Size", words.size(item.size)),
        ("Deleting frees", words.size(shares.unique) if item.is_ours else ""),
        ("From", source),
        ("Shared", f"{words.size(shares.shared)} with others" if shares.shared else ""),
        ("Stored twice", f"{words.size(shares.duplicate)}, in {', '.join(shares.twins)}" if shares.duplicate else ""),
        ("Last used", words.moment(item.used)),
    ]
    return [fact for fact in facts if fact[1]]


def removal_words(removal: Removal) -> str:
    """What a removal would do, for a question."""
    files = words.count(len(removal.files), "file goes", "files go")
    named = [str(title) for title in removal.titles[:_MOST_NAMED]] if len(removal.titles) > 1 else []
    more = len(removal.titles) - _MOST_NAMED
    if named and more > 0:
        named.append(f"and {more} more")
    lines = [f"{words.exact(removal.freed)} will be freed ({words.size(removal.freed)}); {files}.", *named]
    if removal.kept:
        lines += [f"{words.size(removal.kept)} stay. {removal.notes[0]}" if removal.notes else ""]
    return "\n".join(line for line in lines if line)


def _not_seen(library: Library) -> str:
    count = len(library.troubles)
    return f"; {words.count(count, 'place', 'places')} could not be read" if count else ""


def _scan(settings: Settings) -> Library:
    """Thousands of models are a hundred thousand objects, which stay: walking through them all again and again, in
    search of what nobody uses, would hold up the window each time."""
    import core

    gc.disable()
    try:
        return core.scan_library(core.find_places(settings), remember=core.memory_file())
    finally:
        gc.freeze()
        gc.enable()


def _inspect(path: Path) -> InspectedFile:
    import core

    return core.inspect_file(path)


def _plan_removal(library: Library, item: LibraryItem) -> Removal:
    import core

    return core.plan_removal(library, [item])


def _plan_cleanup(library: Library) -> Removal:
    import core

    return core.plan_cleanup(library)


def _apply(removal: Removal) -> Removed:
    import core

    return core.apply_removal(removal)
