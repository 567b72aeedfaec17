"""Which format each tensor gets. The same choice as llama-quantize's, tensor by tensor.

Source of the order of decisions: llama_tensor_get_type, tensor_allows_quantization and tensor_type_fallback in
llama.cpp's src/llama-quant.cpp, and its converter for what stays in floats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from core.errors import SnugError
from core.model import ModelInfo, OutputTensor
from core.recipes.kept import FLOATS, kept_format, may_quantize
from core.recipes.rules import Place, Recipe, Role, Shape, matching
from kernels import FORMATS

# Rows that are no multiple of a large block take the format beside it, with blocks of 32; rows that are no multiple of
# 32 either stay in 16 bits. llama-quantize refuses Q1_0 and blocks of 32 where the rows do not fit; Snug goes on.
_FALLBACK = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q1_0", "Q2_0", "TQ1_0", "TQ2_0", "Q2_K", "Q3_K"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
# Number of layers at which llama.cpp calls a model of that architecture 70B.
_SEVENTY_B = {"llama": 80, "llama-embed": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}
# With these, one of that many layers without grouped queries is Llama 1's 65B.
_SIXTY_FIVE_B = ("llama", "llama-embed")
# Too few bits to do without an importance matrix.
_NEED_IMPORTANCE = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
_PARTS_OF_NAMES = tuple((role.value, role) for role in list(Role)[2:])


@dataclass(frozen=True, slots=True)
class Overrides:
    """Formats that a person wants for some tensors, whatever the recipe says; "" leaves it to the recipe.

    `tensors` are pairs (regular expression, format): the first one found in a tensor's name decides.
    """

    output: str = ""
    token_embedding: str = ""
    tensors: tuple[tuple[str, str], ...] = ()
    leave_output: bool = False


NONE = Overrides()


def read_overrides(
    *, output: str = "", token_embedding: str = "", tensors: Iterable[str] = (), leave_output: bool = False
) -> Overrides:
    """Overrides as llama-quantize's options spell them; `tensors` are NAME=FORMAT. Raises SnugError for nonsense."""
    pairs = tuple(_read_pair(text) for text in tensors)
    return Overrides(_read_format(output), _read_format(token_embedding), pairs, leave_output)


def _read_pair(text: str) -> tuple[str, str]:
    pattern, _, name = text.partition("=")
    if not pattern or not name:
        raise SnugError(f"{text!r} is no choice of a format.", "Write NAME=FORMAT, such as ffn_down=Q6_K.")
    try:
        re.compile(pattern)
    except re.error as error:
        raise SnugError(
            f"{pattern!r} is no regular expression: {error}.", "Write a part of the tensor's name."
        ) from error
    return pattern, _read_format(name)


def _read_format(name: str) -> str:
    if name and name.upper() not in FORMATS:
        raise SnugError(f"There is no format {name!r}.", f"Formats: {', '.join(FORMATS)}.")
    return name.upper()


def choose_formats(
    model: ModelInfo,
    recipe: Recipe,
    *,
    pure: bool = False,
    has_importance: bool = False,
    overrides: Overrides = NONE,
) -> dict[str, str]:
    """Tensor name -> format (a key of kernels.FORMATS).

    `pure` gives every tensor that may be quantized the base format; some rules ask `has_importance`: whether an
    importance matrix will be at hand. Raises SnugError where an override asks for blocks that do not fill a row.
    """
    names = {tensor.name for tensor in model.tensors}
    free = [t for t in model.tensors if may_quantize(t) and not (overrides.leave_output and t.name == "output.weight")]
    chosen = {t.name: name for t in free if (name := _asked_for(t, overrides))}
    left = [tensor for tensor in free if tensor.name not in chosen]
    if recipe.format not in FLOATS:
        chosen |= _by_rules(model, recipe, left, names, pure=pure, has_importance=has_importance, overrides=overrides)
    elif model.is_gguf:
        chosen |= {tensor.name: recipe.format for tensor in left}
    return {t.name: chosen.get(t.name) or kept_format(t, model, recipe.format) for t in model.tensors}


def needing_importance(formats: dict[str, str], recipe: Recipe) -> list[str]:
    """The tensors that llama-quantize refuses to make without an importance matrix: too few bits.

    Embeddings and the output are never among them: no importance is known for them. Q2_K is in Q2_K_S only.
    """
    low = (*_NEED_IMPORTANCE, "Q2_K") if recipe.name == "Q2_K_S" else _NEED_IMPORTANCE
    exempt = ("output.weight", *_EMBEDDINGS)
    return [name for name, chosen in formats.items() if chosen in low and name not in exempt]


def _asked_for(tensor: OutputTensor, overrides: Overrides) -> str:
    """The format asked for an embedding or the output by its own option, which knows no fallback; else ""."""
    asked = {"output.weight": overrides.output, **dict.fromkeys(_EMBEDDINGS, overrides.token_embedding)}
    name = asked.get(tensor.name, "")
    if name and tensor.columns % FORMATS[name].block_size:
        raise SnugError(
            f"{tensor.name} cannot be {name}: its rows of {tensor.columns} weights are no multiple of "
            f"{FORMATS[name].block_size}.",
            "Choose a format with smaller blocks, such as Q8_0.",
        )
    return name


def _by_rules(
    model: ModelInfo,
    recipe: Recipe,
    tensors: list[OutputTensor],
    names: AbstractSet[str],
    *,
    pure: bool,
    has_importance: bool,
    overrides: Overrides,
) -> dict[str, str]:
    """Formats of `tensors`: those a person asked for by a part of the name, then those of the rules."""
    patterns = [(re.compile(pattern, re.IGNORECASE), name) for pattern, name in overrides.tensors]
    named = {t.name: next((name for pattern, name in patterns if pattern.search(t.name)), "") for t in tensors}
    ruled = [] if pure else [tensor for tensor in tensors if not named[tensor.name]]
    for tensor, role, place in _places(model, ruled, names, _shape(model, recipe, has_importance=has_importance)):
        tied_output = overrides.output if role is Role.OUTPUT else ""
        named[tensor.name] = tied_output or matching(recipe.rules, role, place)
    return {tensor.name: _fit(named[tensor.name] or recipe.format, tensor.columns) for tensor in tensors}


def _places(
    model: ModelInfo, tensors: list[OutputTensor], names: AbstractSet[str], shape: Shape
) -> Iterator[tuple[OutputTensor, Role, Place]]:
    """`tensors` by layer and then by name: the order in which llama-quantize counts them."""
    seen: Counter[Role] = Counter()
    tied = "output.weight" not in names
    values = sum(_role(name, tied=tied) in (Role.ATTN_V, Role.ATTN_QKV) for name in names)
    layers = int(model.key("block_count", 0))
    for tensor in sorted(tensors, key=lambda tensor: (_layer(tensor.name), tensor.name)):
        role = _role(tensor.name, tied=tied)
        counter = Role.ATTN_V if role is Role.ATTN_QKV else role
        yield (
            tensor,
            role,
            Place(
                index=_layer(tensor.name) if shape.experts > 1 and "ffn_" in role.value else seen[counter],
                counted=seen[counter],
                count=values if counter is Role.ATTN_V else layers,
                columns=tensor.columns,
                is_stacked=len(tensor.shape) > 2 and tensor.shape[-3] > 1,
                shape=shape,
            ),
        )
        seen[counter] += 1


def _shape(model: ModelInfo, recipe: Recipe, *, has_importance: bool) -> Shape:
    heads = _first(model.key("attention.head_count", 0))
    kv_heads = _first(model.key("attention.head_count_kv", heads))
    architecture = model.architecture
    is_70b = _SEVENTY_B.get(architecture) == model.key("block_count", 0)
    return Shape(
        architecture=architecture,
        query_heads_per_kv=heads // kv_heads if kv_heads else 0,
        experts=int(model.key("expert_count", 0) or 0),
        is_70b=is_70b and not (architecture in _SIXTY_FIVE_B and heads == kv_heads),
        has_importance=has_importance,
        block=FORMATS[recipe.format].block_size,
    )


def _first(value: int | list[int] | tuple[int, ...]) -> int:
    """Head counts are one number or one a layer; llama-quantize looks at the first."""
    return int(value) if isinstance(value, int) else int(next(iter(value), 0))


def _role(name: str, *, tied: bool) -> Role:
    """`tied`: the model has no output of its own, so the embedding is the output too."""
    if name == "output.weight":
        return Role.OUTPUT
    if name in _EMBEDDINGS:
        return Role.OUTPUT if tied else Role.TOKEN_EMBD
    if "attn_kv_b.weight" in name:
        return Role.ATTN_V
    return next(role for part, role in _PARTS_OF_NAMES if part in name)


def _layer(name: str) -> int:
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _fit(name: str, columns: int) -> str:
    """`name`, or what takes its place when a row of `columns` weights cannot be cut into its blocks."""
    if columns % FORMATS[name].block_size == 0:
        return name
    name = _FALLBACK.get(name, name)
    return name if columns % FORMATS[name].block_size == 0 else "F16"
