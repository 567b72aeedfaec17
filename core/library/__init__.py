"""The library: every model on this computer, in whose folder it may be, and what is left over of others.

item.py        what there is: items, leftovers, troubles;  places.py  where each tool keeps its models
hub_cache.py ollama.py folders.py outputs.py   one store each;  groups.py reading.py   what they share
headers.py     what the headers say, remembered on disk;  made.py  what Snug made, by its card
shares.py      hard links, shared content, duplicates;  job_ends.py  what jobs made, and can go on with
scan.py        all of it at once
remove.py      what would go, to the byte, and then exactly that;  clean up likewise
inspect.py     one file: keys, tensors;  histogram.py  the values of one tensor

Other tools' stores are only looked at. Nothing is removed that was not listed before.
"""

from core.library.histogram import Histogram, tensor_histogram
from core.library.inspect import InspectedFile, InspectedKey, inspect_file
from core.library.item import (
    FormatShare,
    Leftover,
    LeftoverKind,
    LibraryItem,
    Origin,
    Shares,
    StoredFile,
    Summary,
    Trouble,
)
from core.library.outputs import remember_output
from core.library.places import Places, find_places
from core.library.remove import Removal, Removed, apply_removal, find_items, plan_cleanup, plan_removal
from core.library.scan import DiskUse, Library, memory_file, scan_library

__all__ = [
    "DiskUse",
    "FormatShare",
    "Histogram",
    "InspectedFile",
    "InspectedKey",
    "Leftover",
    "LeftoverKind",
    "Library",
    "LibraryItem",
    "Origin",
    "Places",
    "Removal",
    "Removed",
    "Shares",
    "StoredFile",
    "Summary",
    "Trouble",
    "apply_removal",
    "find_items",
    "find_places",
    "inspect_file",
    "memory_file",
    "plan_cleanup",
    "plan_removal",
    "remember_output",
    "scan_library",
    "tensor_histogram",
]
