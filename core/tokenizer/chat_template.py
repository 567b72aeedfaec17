"""Chat templates: one, or several by name."""

from __future__ import annotations

import re
from typing import Any

from core.model import Metadata
from core.tokenizer.files import TokenizerFiles, read_json, read_text

_KEY = "tokenizer.chat_template"
_JINJA = "chat_template.jinja"


def chat_templates(files: TokenizerFiles) -> list[Metadata]:
    """The template of tokenizer_config.json, else of chat_template.jinja or .json; none without the first file."""
    found = _find(files) if files.has_config else None
    if isinstance(found, str):
        return [Metadata(_KEY, "str", found)]
    return _named(found) if isinstance(found, list) else []


def mistrals_template(files: TokenizerFiles) -> list[Metadata]:
    """The template beside a tekken.json, which has no tokenizer_config.json."""
    jinja = files.folder / _JINJA
    return [Metadata(_KEY, "str", read_text(jinja))] if jinja.is_file() else []


def _find(files: TokenizerFiles) -> Any:
    if "chat_template" in files.config:
        return files.config["chat_template"]
    jinja = files.folder / _JINJA
    if not jinja.is_file():
        return read_json(files.folder / "chat_template.json").get("chat_template")
    more = sorted((files.folder / "additional_chat_templates").glob("*.jinja"))
    if not more:
        return read_text(jinja)
    pairs = [("default", jinja), *((file.stem, file) for file in more)]
    return [{"name": name, "template": read_text(file)} for name, file in pairs]


def _named(choices: list[Any]) -> list[Metadata]:
    """ "default" is the template, the others go by their names, which are listed in tokenizer.chat_templates."""
    templates = {
        re.sub(r"[^A-Za-z0-9]", "_", choice["name"]): choice["template"]
        for choice in choices
        if choice.get("name") and isinstance(choice.get("template"), str)
    }
    default = templates.pop("default", None)
    keys = [Metadata(f"{_KEY}.{name}", "str", text) for name, text in templates.items()]
    if templates:
        keys.append(Metadata("tokenizer.chat_templates", "[str]", list(templates)))
    return keys if default is None else [*keys, Metadata(_KEY, "str", default)]
