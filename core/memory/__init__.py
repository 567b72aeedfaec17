"""What a model takes in llama.cpp, known from headers alone. Pure: no torch, no files.

shape.py reads a plan once; weights.py, cache.py and compute.py say what each part takes; needs.py adds them up.
compute.py plays llama.cpp's own planning: model_graph.py builds the graph (attention.py, feed_forward.py, recurrent.py,
by the rules of rules.py), schedule.py places it on devices, allocate.py lays its tensors out.
"""

from core.memory.needs import NOTHING, Needs, Prediction, predict, refusal
from core.memory.rules import rules_of
from core.memory.settings import ALL_LAYERS, CELL, KV_TYPES, Settings
from core.memory.shape import Shape, shape_of

__all__ = [
    "ALL_LAYERS",
    "CELL",
    "KV_TYPES",
    "NOTHING",
    "Needs",
    "Prediction",
    "Settings",
    "Shape",
    "predict",
    "refusal",
    "rules_of",
    "shape_of",
]
