"""Settings come back as they were kept, and a spoiled file never keeps the window from opening."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import Settings, load_settings, save_settings


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    settings = Settings(
        theme="dark", last_folder="/models/模型", context=8192, threads=3, library_folders=("/a b", "/c")
    )
    save_settings(tmp_path / "new" / "settings.json", settings)
    assert load_settings(tmp_path / "new" / "settings.json") == settings


@pytest.mark.parametrize(
    "text", ["", "[[[", "[" * 200_000, "null", '{"context": "many"}', '{"context": true}', '{"library_folders": [1]}']
)
def test_a_spoiled_file_gives_the_defaults(text: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(text)
    assert load_settings(tmp_path / "settings.json") == Settings()


@pytest.mark.parametrize("number", [10**12, -1, -(10**12)])
def test_a_number_beyond_all_reason_gives_its_default_and_the_rest_stays(number: int, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(f'{{"context": {number}, "theme": "dark"}}')
    assert load_settings(tmp_path / "settings.json") == Settings(theme="dark")
