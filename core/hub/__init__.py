"""The Hugging Face Hub: find, look at headers, download. Plain HTTP, into the cache that all its tools share.

connection.py  which Hub, as whom, into which cache;  account.py  log in and out, in Hugging Face's own store
web.py         one GET with redirects, limits and clear errors;  problems.py  what a refusal means, in words
names.py       "hub:ORG/NAME@rev:choice", and which names from a stranger may become files
search.py      rows of models;  repo.py  one model's files;  choose.py  which of them a GGUF needs
pictures.py    the pictures of its card;  line.py  how fast the line is
ranges.py      bytes of a file, again and again until they are there;  retries.py  what is said of that
headers.py     a model from its headers alone;  tokenizer_head.py  its tokenizer in short;  kept.py  what was read
part.py        a file under way: ranges, journal, hash;  fetch.py  connections that fill it
cache.py       the layout that every Hugging Face tool shares;  download.py  several files as one job
"""

from core.hub.account import Account, login, logout, whoami
from core.hub.choose import GgufChoice, gguf_choices, wanted_files
from core.hub.connection import Hub, HubSetting, close_connections, connect, hub_facts, hub_settings
from core.hub.download import drop_download, pull
from core.hub.headers import HeaderSource, downloaded, header_source, open_remote, open_to_check
from core.hub.line import line_speed
from core.hub.names import HubSource, as_hub_source, hub_source
from core.hub.pictures import picture_bytes, picture_of
from core.hub.ranges import RangeReader
from core.hub.repo import RepoFile, RepoInfo, card_text, repo_info
from core.hub.search import SEARCH_SORTS, Filters, Repo, gguf_repos_of, search_models
from core.jobs.job import PullJob

__all__ = [
    "SEARCH_SORTS",
    "Account",
    "Filters",
    "GgufChoice",
    "HeaderSource",
    "Hub",
    "HubSetting",
    "HubSource",
    "PullJob",
    "RangeReader",
    "Repo",
    "RepoFile",
    "RepoInfo",
    "as_hub_source",
    "card_text",
    "close_connections",
    "connect",
    "downloaded",
    "drop_download",
    "gguf_choices",
    "gguf_repos_of",
    "header_source",
    "hub_facts",
    "hub_settings",
    "hub_source",
    "line_speed",
    "login",
    "logout",
    "open_remote",
    "open_to_check",
    "picture_bytes",
    "picture_of",
    "pull",
    "repo_info",
    "search_models",
    "wanted_files",
    "whoami",
]
