"""A GGUF file as it is: the plan in which every tensor keeps its format, for the question whether the file runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from core.gguf import encode_items, header_length, skim_header
from core.model import ModelInfo
from core.plan import Plan, PlannedTensor, place
from core.recipes import RECIPES, Recipe

# No file type of llama-quantize has this number.
_AS_IT_IS = -1


def stored_plan(model: ModelInfo, label: str = "") -> Plan:
    """What is in the file of `model`; `label` names its level, else the format of most of its bytes does."""
    sizes: Counter[str] = Counter()
    for tensor in model.tensors:
        sizes[tensor.dtype] += tensor.sources[0].nbytes
    name = label or sizes.most_common(1)[0][0]
    recipe = Recipe(name, _AS_IT_IS, sizes.most_common(1)[0][0], "The file as it is.")
    tensors = place(PlannedTensor(t, t.dtype, 0, sum(part.source.nbytes for part in t.parts)) for t in model.tensors)
    shapes = ((tensor.name, tensor.shape) for tensor in model.tensors)
    return Plan(model, recipe, tensors, header_length(len(encode_items(model.metadata)), shapes), (), model.metadata)


def level_of(path: Path) -> str:
    """What llama-quantize calls the mix in a GGUF file; "" where the file does not say. Raises SnugError."""
    keys = {item.key: item.value for item in skim_header(path).metadata}
    number = keys.get("general.file_type")
    return next((recipe.name for recipe in RECIPES if recipe.file_type == number), "")


def is_stored(plan: Plan) -> bool:
    """Whether it is of a file that is there, not of one to be made."""
    return plan.recipe.file_type == _AS_IT_IS
