"""Which recipe to take: the best that runs well here, by what is known of the loss at each level and model size.

Evidence: llama.cpp's table of losses for Llama-3-8B (tools/perplexity/README.md); four bits are the best use of a given
memory, three are not (Dettmers and Zettlemoyer, ICML 2023); small models lose more (arXiv 2409.11055); long inputs
suffer at four bits (arXiv 2505.20276); a cache in q8_0 costs nothing measurable (llama.cpp pull request 7412).
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

from core.fit import Verdict

if TYPE_CHECKING:
    from core.model import ModelInfo
    from core.plan import Plan


class Want(StrEnum):
    """What a person wants most."""

    BEST_QUALITY = "quality"
    BALANCED = "balanced"
    LONGEST_CONTEXT = "context"


LONG_CONTEXT = 65536
SMALL_MODEL = 3e9
LARGE_MODEL = 65e9
_RUNS_WHOLE = (Verdict.FITS, Verdict.TIGHT)
_RUNS = (*_RUNS_WHOLE, Verdict.SPLITS)

# (fewer parameters than, formats that keep a model of that size good, first choice first).
_GOOD: tuple[tuple[float, tuple[str, ...]], ...] = (
    (SMALL_MODEL, ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M")),
    (10e9, ("Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q8_0")),
    (30e9, ("Q5_K_M", "Q5_K_S", "Q4_K_M", "Q6_K", "Q8_0")),
    (LARGE_MODEL, ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")),
    (float("inf"), ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")),
)
# All that can be used, best first; K-quants before the older formats of the same size.
_USABLE = (
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_1", "Q4_0",
    "MXFP4_MOE", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS",
)  # fmt: skip
# Those worth naming first: not the older formats, which are larger than K-quants of the same loss.
ADVISED = tuple(name for name in _USABLE if not name.endswith(("_0", "_1", "NL", "MOE")) or name == "Q8_0")
LAST_RESORT = "Q2_K"
# Two bits a weight. Those that are smaller than Q2_K_S lose so much more that only large models bear it; and they are
# made with an importance matrix alone.
_TWO_BITS = (LAST_RESORT, "Q2_K_S")
_TWO_BITS_OF_LARGE = ("IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS")

# Kullback-Leibler divergence from the original, Llama-3-8B; between the rows by bits.
_LOSS: tuple[tuple[str, float], ...] = (
    ("F", 0.0), ("BF", 0.0), ("Q8", 0.0014), ("Q6", 0.0055), ("Q5", 0.0108), ("Q4", 0.0282), ("MXFP4", 0.0363),
    ("IQ4", 0.0363), ("Q3", 0.0844), ("IQ3", 0.184), ("Q2", 0.332), ("TQ2", 0.812), ("IQ2", 0.812), ("TQ1", 2.2),
    ("IQ1", 2.2),
)  # fmt: skip
# So that a doubled model at four bits beats this one at eight, and three bits beat four only for large models.
_LOSS_WEIGHT = 9.0
_LOSS_MODEL, _LOSS_EXPONENT = 8e9, 0.32


def can_be_made(plan: Plan) -> bool:
    """Whether all that it takes is there: some levels need an importance matrix."""
    return plan.importance is not None or not plan.recipe.needs_importance


def trained_in(model: ModelInfo) -> tuple[str, ...]:
    """The level that keeps weights which were trained in few bits as they are; none for most models."""
    return ("MXFP4_MOE",) if not model.is_gguf and "MXFP4" in model.quantized_formats else ()


def preferences(model: ModelInfo, *, context: int, want: Want) -> list[tuple[str, Verdict]]:
    """Recipes with verdicts in the order in which they are taken.

    A good format that fits comes before one that is tight; both before a lower format; that before splitting, unless
    quality is wanted most; and two bits a weight come last. Never taken are unquantized files, one bit a weight, and
    formats for models trained in them; but what a model was trained in comes before all else, for every other level is
    larger or loses more. With more memory, the choice moves only up this list.
    """
    good = good_formats(model.parameters, context=context, want=want)
    low = tuple(name for name in _USABLE if name not in good)
    last = (*_TWO_BITS, *(_TWO_BITS_OF_LARGE if model.parameters >= LARGE_MODEL else ()))
    steps = [(trained_in(model), verdict) for verdict in _RUNS]
    steps += [(good, verdict) for verdict in _RUNS_WHOLE]
    if want is Want.BEST_QUALITY:
        steps += [(good, Verdict.SPLITS)]
    steps += [(low, verdict) for verdict in _RUNS_WHOLE]
    steps += [(names, Verdict.SPLITS) for names in (good, low)]
    steps += [(last, verdict) for verdict in _RUNS]
    return list(dict.fromkeys((name, verdict) for names, verdict in steps for name in names))


def good_formats(parameters: int, *, context: int, want: Want) -> tuple[str, ...]:
    """Best quality takes them from the top; a long context wants a level more than the model's size alone."""
    tier = next(index for index, (limit, _) in enumerate(_GOOD) if parameters < limit)
    good = _GOOD[tier][1]
    if want is Want.LONGEST_CONTEXT:
        return tuple(name for name in ("Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0") if name in good)
    if want is Want.BEST_QUALITY:
        return tuple(sorted(good, key=_USABLE.index))
    return _GOOD[tier - 1][1] if context >= LONG_CONTEXT and tier else good


def loss_of(recipe: str) -> float:
    """Kullback-Leibler divergence that this level costs a model of 8 billion weights, by its first letters."""
    return max((loss for prefix, loss in _LOSS if recipe.startswith(prefix)), default=0.0)


def quality_of(model: ModelInfo, recipe: str) -> float:
    """A rank across models and levels, comparable with any other: see quality_of_size."""
    return quality_of_size(size_of(model), "" if recipe in trained_in(model) else recipe)


def size_of(model: ModelInfo) -> float:
    """Weights; a mixture of experts counts as a dense model of the geometric mean of all and active ones."""
    return math.sqrt(max(1, model.parameters) * max(1, model.active_parameters))


def quality_of_size(size: float, recipe: str) -> float:
    """Doublings of size, less what the level costs a model of this size."""
    size = max(1.0, size)
    return math.log2(size) - _LOSS_WEIGHT * loss_of(recipe) * math.pow(_LOSS_MODEL / size, _LOSS_EXPONENT)


def is_below_four_bits(recipe: str) -> bool:
    """Whether a level has fewer than four bits a weight."""
    return loss_of(recipe) > loss_of("IQ4_XS")
