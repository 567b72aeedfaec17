"""Every recipe of llama-quantize, with the rules that make its mix; best quality first.

Source: llama_tensor_get_type_impl in llama.cpp's src/llama-quant.cpp, which decides by file type and tensor.
"""

from __future__ import annotations

from difflib import get_close_matches

from core.errors import SnugError
from core.recipes.rules import Recipe, Role, Rule, When

_MORE, _FALCON, _NOT_FALCON = When.MORE_BITS, When.FALCON, When.NOT_FALCON
_EIGHT, _GROUPED, _70B = When.EIGHT_EXPERTS, When.GROUPED_QUERY, When.SEVENTY_B
_IMPORTANCE, _NO_IMPORTANCE, _EARLY = When.IMPORTANCE, When.NO_IMPORTANCE, When.FIRST_EIGHTH


def _output(name: str) -> tuple[Rule, ...]:
    return (
        Rule(Role.OUTPUT, "Q8_0", (_FALCON,)),
        Rule(Role.OUTPUT, "Q8_0", (When.ROW_MISFIT,)),
        Rule(Role.OUTPUT, name),
    )


_MIXTRAL = (
    Rule(Role.ATTN_V, "Q8_0", (_EIGHT,)),
    Rule(Role.ATTN_QKV, "Q8_0", (_EIGHT,)),
    Rule(Role.ATTN_K, "Q8_0", (_EIGHT,)),
)
# Every recipe from 3 bits on but Q8_0 and MXFP4_MOE has these first.
_COMMON = (*_output("Q6_K"), *_MIXTRAL)
_EIGHT_EXPERTS_OUTPUT = Rule(Role.ATTN_OUTPUT, "Q5_K", (_NOT_FALCON, _EIGHT))


def _values(*rules: tuple[str, tuple[When, ...]]) -> tuple[Rule, ...]:
    """The same rules for a separate attn_v and for one that is fused into attn_qkv."""
    return tuple(Rule(role, name, when) for role in (Role.ATTN_V, Role.ATTN_QKV) for name, when in rules)


_MORE_BITS_VALUES = _values(("Q6_K", (_MORE,)))
_GROUPED_VALUES = _values(("Q5_K", (_70B, _GROUPED)), ("Q4_K", (_GROUPED,)))


def _lowest(*, sensitive: str, embedding: str, attn_output: str = "") -> tuple[Rule, ...]:
    """The mix of all recipes of one and two bits: attention and the first ffn_down are `sensitive`."""
    rules = (
        *_output("Q5_K"),
        Rule(Role.TOKEN_EMBD, embedding),
        *_values(("Q4_K", (_GROUPED,)), ("Q4_K", (When.FOUR_EXPERTS,)), (sensitive, ())),
        Rule(Role.ATTN_K, "Q4_K", (_EIGHT,)),
        Rule(Role.FFN_DOWN, sensitive, (When.FIRST_EIGHTH_COUNTED,)),
        Rule(Role.ATTN_OUTPUT, "Q5_K", (_EIGHT,)),
    )
    return (*rules, Rule(Role.ATTN_OUTPUT, attn_output)) if attn_output else rules


_ONE_BIT = _lowest(sensitive="Q2_K", embedding="Q2_K", attn_output="IQ2_XXS")
_TWO_BITS = _lowest(sensitive="Q2_K", embedding="Q2_K")
_TWO_BITS_AND_MORE = _lowest(sensitive="IQ3_S", embedding="IQ3_S", attn_output="IQ3_S")
_TERNARY = (*_COMMON, Rule(Role.TOKEN_EMBD, "Q4_K"))

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "F32",
        0,
        "F32",
        "Every weight in 32 bits: nothing is lost, and nothing is gained over BF16 for most models.",
    ),
    Recipe(
        "BF16",
        32,
        "BF16",
        "The 16 bits most models are trained in: the original, for machines with room to spare.",
    ),
    Recipe(
        "F16",
        1,
        "F16",
        "Half precision: like the original, for hardware that has no BF16.",
    ),
    Recipe(
        "Q8_0",
        7,
        "Q8_0",
        "Half the size of the original, and no difference that you would notice.",
        _values(("Q8_0", (_EIGHT,))),
    ),
    Recipe(
        "Q6_K",
        18,
        "Q6_K",
        "Very close to the original at two fifths of its size: for when memory allows it.",
        _COMMON,
    ),
    Recipe(
        "Q5_K_M",
        17,
        "Q5_K",
        "A little larger than Q4_K_M and a little better: a small loss that is hard to notice.",
        (*_COMMON, *_MORE_BITS_VALUES, Rule(Role.FFN_DOWN, "Q6_K", (_MORE,))),
    ),
    Recipe(
        "Q5_1",
        9,
        "Q5_1",
        "An older 5-bit format: larger than Q5_K_M and no better, for software that wants it.",
        _COMMON,
    ),
    Recipe(
        "Q5_K_S",
        16,
        "Q5_K",
        "5 bits throughout: slightly smaller and slightly worse than Q5_K_M.",
        _COMMON,
    ),
    Recipe(
        "Q5_0",
        8,
        "Q5_0",
        "An older 5-bit format: about Q5_K_S in size, a little worse, works with any row length.",
        (*_COMMON, Rule(Role.FFN_DOWN, "Q5_1", (_EARLY, _IMPORTANCE))),
    ),
    Recipe(
        "Q4_K_M",
        15,
        "Q4_K",
        "The usual choice: under a third of the original's size for a loss that is small in most uses.",
        (
            *_COMMON,
            *_MORE_BITS_VALUES,
            *_values(("Q5_K", (_70B,))),
            Rule(Role.FFN_DOWN, "Q6_K", (_FALCON, When.FIRST_SIXTEENTH)),
            Rule(Role.FFN_DOWN, "Q5_K", (_FALCON, _MORE)),
            Rule(Role.FFN_DOWN, "Q6_K", (_NOT_FALCON, _MORE)),
            _EIGHT_EXPERTS_OUTPUT,
        ),
    ),
    Recipe(
        "Q4_1",
        3,
        "Q4_1",
        "An older 4-bit format: larger than Q4_K_M and worse, for software that wants it.",
        _COMMON,
    ),
    Recipe(
        "Q4_K_S",
        14,
        "Q4_K",
        "4 bits nearly throughout: slightly smaller than Q4_K_M for a little more loss.",
        (
            *_COMMON,
            *_values(("Q5_K", (When.FIRST_FOUR,)), ("Q5_K", (_70B,))),
            Rule(Role.FFN_DOWN, "Q5_K", (_NOT_FALCON, _EARLY)),
            _EIGHT_EXPERTS_OUTPUT,
        ),
    ),
    Recipe(
        "IQ4_NL",
        25,
        "IQ4_NL",
        "4 bits on uneven steps: about Q4_K_S in size and quality, works with any row length.",
        (
            *_COMMON,
            *_values(("Q5_K", (_GROUPED,))),
            Rule(Role.FFN_DOWN, "Q5_K", (_EARLY, _NO_IMPORTANCE)),
            _EIGHT_EXPERTS_OUTPUT,
        ),
    ),
    Recipe(
        "IQ4_XS",
        30,
        "IQ4_XS",
        "4 bits on uneven steps, smaller than Q4_K_S for nearly its quality; slower on some processors.",
        (
            *_COMMON,
            *_values(("Q5_K", (_GROUPED,))),
            Rule(Role.FFN_DOWN, "Q5_K", (_EARLY, _NO_IMPORTANCE)),
            _EIGHT_EXPERTS_OUTPUT,
        ),
    ),
    Recipe(
        "Q4_0",
        2,
        "Q4_0",
        "The simplest 4-bit format: quick to make and fast on phones and ARM, with more loss than Q4_K_S.",
        (*_COMMON, Rule(Role.FFN_DOWN, "Q4_1", (_EARLY, _IMPORTANCE))),
    ),
    Recipe(
        "MXFP4_MOE",
        38,
        "MXFP4",
        "Experts in the 4-bit floats that gpt-oss is trained in, all else in 8 bits: for models of that kind.",
        (
            Rule(None, "Q8_0", (When.NOT_STACKED,)),
            *(Rule(role, "MXFP4") for role in (Role.FFN_UP, Role.FFN_GATE, Role.FFN_DOWN)),
            Rule(None, "Q8_0", (When.BAILING_3,)),
        ),
    ),
    Recipe(
        "Q3_K_L",
        13,
        "Q3_K",
        "3 bits with the sensitive parts in 5: a visible loss, for when 4 bits do not fit.",
        (
            *_COMMON,
            *_values(("Q5_K", ())),
            Rule(Role.FFN_DOWN, "Q4_K", (_FALCON,)),
            Rule(Role.FFN_DOWN, "Q5_K"),
            Rule(Role.ATTN_OUTPUT, "Q4_K", (_FALCON,)),
            Rule(Role.ATTN_OUTPUT, "Q3_K", (_EIGHT,)),
            Rule(Role.ATTN_OUTPUT, "Q5_K"),
        ),
    ),
    Recipe(
        "IQ3_M",
        27,
        "IQ3_S",
        "3 bits on a grid with the sensitive parts in 4: smaller than Q3_K_M, best with an importance matrix.",
        (
            *_COMMON,
            *_values(("Q5_K", (_70B,)), ("Q4_K", ())),
            Rule(Role.FFN_DOWN, "Q4_K", (_EARLY,)),
            Rule(Role.FFN_DOWN, "Q4_K", (_EIGHT, _MORE)),
            _EIGHT_EXPERTS_OUTPUT,
            Rule(Role.ATTN_OUTPUT, "Q4_K", (_NOT_FALCON,)),
        ),
    ),
    Recipe(
        "Q3_K_M",
        12,
        "Q3_K",
        "3 bits with the sensitive parts in 4: a clear loss, for a large model in little memory.",
        (
            *_COMMON,
            *_values(("Q5_K", (When.FIRST_TWO,)), ("Q5_K", (_70B,)), ("Q4_K", ())),
            Rule(Role.FFN_DOWN, "Q5_K", (When.FIRST_SIXTEENTH,)),
            Rule(Role.FFN_DOWN, "Q4_K", (_NOT_FALCON,)),
            Rule(Role.FFN_DOWN, "Q4_K", (_MORE,)),
            _EIGHT_EXPERTS_OUTPUT,
            Rule(Role.ATTN_OUTPUT, "Q4_K", (_NOT_FALCON,)),
        ),
    ),
    Recipe(
        "IQ3_S",
        26,
        "IQ3_S",
        "3 bits on a grid nearly throughout: Q3_K_S in size and better, best with an importance matrix.",
        (*_COMMON, *_GROUPED_VALUES, _EIGHT_EXPERTS_OUTPUT),
    ),
    Recipe(
        "Q3_K_S",
        11,
        "Q3_K",
        "3 bits throughout: small, and clearly worse than the original.",
        (*_COMMON, *_values(("Q5_K", (_70B,))), _EIGHT_EXPERTS_OUTPUT),
    ),
    Recipe(
        "IQ3_XS",
        22,
        "IQ3_S",
        "A little under 3.5 bits: slightly smaller than IQ3_S, and it needs an importance matrix.",
        (
            *_COMMON,
            *_GROUPED_VALUES,
            Rule(Role.ATTN_K, "IQ3_XXS"),
            Rule(Role.ATTN_Q, "IQ3_XXS"),
            Rule(Role.FFN_GATE, "IQ3_XXS", (When.MIDDLE,)),
            Rule(Role.FFN_UP, "IQ3_XXS", (When.MIDDLE,)),
            _EIGHT_EXPERTS_OUTPUT,
        ),
        needs_importance=True,
    ),
    Recipe(
        "IQ3_XXS",
        23,
        "IQ3_XXS",
        "About 3 bits: a clear loss, less than Q2_K's; it needs an importance matrix.",
        (
            *_output("Q5_K"),
            *_MIXTRAL,
            Rule(Role.TOKEN_EMBD, "IQ3_S"),
            *_GROUPED_VALUES,
            *_values(("IQ3_S", (_NO_IMPORTANCE,))),
            Rule(Role.ATTN_K, "IQ2_S"),
            Rule(Role.ATTN_Q, "IQ2_S"),
            Rule(Role.FFN_DOWN, "Q4_K", (_NO_IMPORTANCE, _EARLY)),
            Rule(Role.FFN_DOWN, "Q3_K", (_NO_IMPORTANCE,)),
            _EIGHT_EXPERTS_OUTPUT,
            Rule(Role.ATTN_OUTPUT, "IQ3_S", (_NOT_FALCON,)),
        ),
        needs_importance=True,
    ),
    Recipe(
        "Q2_K",
        10,
        "Q2_K",
        "2 bits with the sensitive parts in 3 and 4: a heavy loss, only for large models that fit no other way.",
        (
            *_COMMON,
            *_values(("Q5_K", (_70B,)), ("Q4_K", (_GROUPED,)), ("Q3_K", ())),
            Rule(Role.FFN_DOWN, "Q3_K"),
            _EIGHT_EXPERTS_OUTPUT,
            Rule(Role.ATTN_OUTPUT, "Q3_K", (_NOT_FALCON,)),
        ),
    ),
    Recipe(
        "IQ2_M",
        29,
        "IQ2_S",
        "About 2.7 bits with an importance matrix: a heavy loss, for large models in very little memory.",
        _TWO_BITS_AND_MORE,
        needs_importance=True,
    ),
    Recipe(
        "Q2_K_S",
        21,
        "Q2_K",
        "2 bits nearly throughout: answers suffer badly, so try a smaller model at 4 bits first.",
        (*_COMMON, *_GROUPED_VALUES, Rule(Role.FFN_DOWN, "Q4_K", (_EARLY,))),
        needs_importance=True,
    ),
    Recipe(
        "IQ2_S",
        28,
        "IQ2_XS",
        "About 2.5 bits with an importance matrix: a heavy loss, a step below IQ2_M.",
        _TWO_BITS_AND_MORE,
        needs_importance=True,
    ),
    Recipe(
        "IQ2_XS",
        20,
        "IQ2_XS",
        "About 2.3 bits with an importance matrix: a heavier loss, only for very large models.",
        _TWO_BITS,
        needs_importance=True,
    ),
    Recipe(
        "IQ2_XXS",
        19,
        "IQ2_XXS",
        "About 2.1 bits with an importance matrix: for very large models that fit no other way.",
        _TWO_BITS,
        needs_importance=True,
    ),
    Recipe(
        "IQ1_M",
        31,
        "IQ1_M",
        "Under 2 bits with an importance matrix: little is left of a model below a hundred billion parameters.",
        _ONE_BIT,
        needs_importance=True,
    ),
    Recipe(
        "IQ1_S",
        24,
        "IQ1_S",
        "The smallest for ordinary models, about 1.6 bits: to see whether a huge model runs at all.",
        _ONE_BIT,
        needs_importance=True,
    ),
    Recipe(
        "TQ2_0",
        37,
        "TQ2_0",
        "For models trained with weights of -1, 0 and 1, such as BitNet: lossless there, useless elsewhere. Fast.",
        _TERNARY,
    ),
    Recipe(
        "TQ1_0",
        36,
        "TQ1_0",
        "For models trained with weights of -1, 0 and 1, such as BitNet: lossless there, useless elsewhere. Smallest.",
        _TERNARY,
    ),
    Recipe(
        "Q2_0",
        41,
        "Q2_0",
        "For models trained with weights of 2 bits: lossless there, useless elsewhere.",
        _TERNARY,
    ),
    Recipe(
        "Q1_0",
        40,
        "Q1_0",
        "For models trained with weights of 1 bit: lossless there, useless elsewhere.",
        _COMMON,
    ),
)
# What llama-quantize calls them too.
_ALSO = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name, in any case. Raises SnugError for an unknown one."""
    by_name = {recipe.name: recipe for recipe in RECIPES}
    wanted = _ALSO.get(name.upper(), name.upper())
    if wanted in by_name:
        return by_name[wanted]
    nearest = get_close_matches(wanted, by_name, n=1, cutoff=0.0)[0]
    raise SnugError(f"There is no recipe {name!r}; the nearest is {nearest}.", f"Recipes: {', '.join(by_name)}.")
