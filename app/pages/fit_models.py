"""Which models the page Fit judges: those on this computer, the well-known ones, and those that were searched last."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from app.fit_wanted import wanted_models
from app.hub_tasks import HubTasks
from app.pages.find_lists import HubLists, known_models
from app.pages.fit_answers import Wanted
from app.pages.library import LibraryPage
from app.pages.models import ModelsPage
from app.tables.hub_columns import HubRow

MOST_FOUND = 20
_HUB = "hub:"


class FitModels:
    """Looks at what the other pages know. Of models found, headers are asked for that nobody has asked for yet."""

    def __init__(self, library: LibraryPage, models: ModelsPage, lists: HubLists, hub: HubTasks) -> None:
        self._library, self._models, self._lists, self._hub = library, models, lists, hub
        self._known = known_models()
        self._asked: set[str] = set()
        self._seen: set[str] = set()

    def wanted(self) -> list[Wanted]:
        """Those on this computer first, for they are judged first."""
        items = self._library.library.items if self._library.library else ()
        found = list(self._lists.found.rows)[:MOST_FOUND]
        self._ask_about(found)
        self._seen.update(row.source for row in found if row.verdict not in ("", "unsupported"))
        ready = [row for row in found if row.source in self._seen]
        recent = self._models.recent()
        of_hub = [path.removeprefix(_HUB) for path in recent if path.startswith(_HUB)]
        hub = [*((name, name.partition("@")[0]) for name in of_hub), *((row.source, row.id) for row in ready)]
        known = {row.id: row.note for row in self._known}
        return list(wanted_models(items, [Path(path) for path in recent if not path.startswith(_HUB)], hub, known))

    def row(self, key: str) -> HubRow:
        """The model of the Hub that is called `key`."""
        rows = (*self._lists.found.rows, *self._known)
        id, _, commit = key.partition("@")
        row = next((row for row in rows if row.source == key), HubRow(id, commit=commit))
        return self._lists.row(row)

    def _ask_about(self, rows: Iterable[HubRow]) -> None:
        for row in rows:
            if row.glance is None and not row.trouble and row.source not in self._asked:
                self._asked.add(row.source)
                seen = partial(self._take, row.source)
                self._hub.ask("glance", {"source": row.source}, done=seen, failed=lambda _: None)

    def _take(self, source: str, glance: dict[str, object]) -> None:
        if glance["supported"]:
            self._seen.add(source)
