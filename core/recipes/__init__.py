"""Recipes: which format each tensor gets, as ordered rules. The same choice as llama-quantize's, tensor by tensor.

rules.py has the words, table.py every recipe, kept.py what is never quantized, choice.py the decision.
"""

from core.recipes.choice import NONE, Overrides, choose_formats, needing_importance, read_overrides
from core.recipes.kept import FLOATS, may_quantize
from core.recipes.rules import Recipe, Role, Rule, When
from core.recipes.table import RECIPES, find_recipe

__all__ = [
    "FLOATS",
    "NONE",
    "RECIPES",
    "Overrides",
    "Recipe",
    "Role",
    "Rule",
    "When",
    "choose_formats",
    "find_recipe",
    "may_quantize",
    "needing_importance",
    "read_overrides",
]
