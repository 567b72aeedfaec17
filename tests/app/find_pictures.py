"""Pictures of the page Find against a Hub of the tests' own: python tests/app/find_pictures.py FOLDER. Run by hand."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.window import FIND, MainWindow, make_app
from tests.app.hub_models import hub_environment, hub_models
from tests.app.screenshots import take, wait
from tests.fake_hub import FakeHub


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="snug-hub-"))
    with FakeHub(hub_models(place / "model")) as fake:
        os.environ.update(hub_environment(fake, place))
        app = make_app(sys.argv[:1])
        window = MainWindow(app)
        window.show()
        window.show_page(FIND)
        page = window.finder
        lists = page.lists
        wait(app, 3)
        take(app, window, folder, "find-0-known")
        lists.filters.toggle.click()
        lists.filters.text.setText("o")
        wait(app, 0.5, until=lambda: lists.state == "waiting")
        wait(app, 8, until=lambda: any(row.glance for row in lists.found.rows))
        wait(app, 2)
        take(app, window, folder, "find-1-found")
        lists.filters.text.setText("nothing like it")
        wait(app, 2, until=lambda: lists.state == "nothing")
        take(app, window, folder, "find-2-nothing")
        lists.filters.toggle.click()
        lists.filters.text.setText("")
        wait(app, 1)
        lists.filters.order.setCurrentIndex(1)
        wait(app, 5, until=lambda: lists.found.rows)
        page.open_model(lists.found.rows[0])
        wait(app, 8, until=lambda: page.panel.levels.rows and page.panel.ggufs.rows)
        wait(app, 0.3)
        for tab in range(page.panel.tabs.count()):
            page.panel.tabs.setCurrentIndex(tab)
            take(app, window, folder, f"find-3-model-{tab}")
        fake.rate = 300_000
        page.download.click()
        wait(app, 5, until=lambda: page.progress.bar.value() > 50)
        page.panel.tabs.setCurrentIndex(0)
        take(app, window, folder, "find-4-download")
        page.progress.cancel.click()
        began = time.monotonic()
        wait(app, 5, until=lambda: not page.is_downloading)
        print(f"cancelled in {time.monotonic() - began:.2f} s")
        take(app, window, folder, "find-5-cancelled")
        page.open_model(next(row for row in lists.found.rows if row.gated))
        wait(app, 5, until=lambda: page.banner.message)
        take(app, window, folder, "find-6-gated")
        page.account.ask_token()
        box = page.account.box
        assert box is not None
        wait(app, 0.3)
        box.resize(box.sizeHint())
        box.grab().save(str(folder / "find-7-login.png"))
        box.reject()
        window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
