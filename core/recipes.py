"""Recipes: which format each tensor gets, as ordered rules. The same choice as llama-quantize's, tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from core.errors import SnugError
from core.model import ModelInfo, OutputTensor
from kernels import FORMATS


class Role(Enum):
    """What a tensor does in the model, as far as the rules care. The value is what its GGUF name contains."""

    OUTPUT = "output.weight"
    TOKEN_EMBD = "token_embd.weight"
    ATTN_QKV = "attn_qkv.weight"
    ATTN_V = "attn_v.weight"
    ATTN_K = "attn_k.weight"
    ATTN_Q = "attn_q.weight"
    ATTN_OUTPUT = "attn_output.weight"
    FFN_DOWN = "ffn_down"
    FFN_GATE = "ffn_gate"
    FFN_UP = "ffn_up"
    OTHER = ""


class When(Enum):
    """A condition of a rule, in words; `_holds` says what each means."""

    MORE_BITS = "the first and last eighth of the layers and every third between"
    FIRST_TWO = "the first two tensors of the role"
    FIRST_FOUR = "the first four tensors of the role"
    FIRST_EIGHTH = "the first eighth of the layers"
    FIRST_SIXTEENTH = "the first sixteenth of the layers"
    GROUPED_QUERY = "at least four query heads share a key and value head"
    EIGHT_EXPERTS = "eight experts, as in Mixtral 8x7B"
    SEVENTY_B = "the shape of Llama 2 and 3 70B: attn_v is small there"
    FALCON = "the Falcon architecture"
    NOT_FALCON = "any architecture but Falcon"
    ROW_MISFIT = "the row is no multiple of the base format's block"


@dataclass(frozen=True, slots=True)
class Rule:
    """Tensors of `role` get `format` where all of `when` holds. The first rule that matches decides."""

    role: Role
    format: str
    when: tuple[When, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A named mix. `format` is what a tensor without a matching rule gets; `file_type` is GGUF's general.file_type.

    `needs_importance`: llama-quantize refuses to make it without an importance matrix, and for good reason.
    """

    name: str
    file_type: int
    format: str
    summary: str
    rules: tuple[Rule, ...] = ()
    needs_importance: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor stands: number `index` of `count` of its role, in a model of this shape."""

    index: int
    count: int
    columns: int
    architecture: str
    query_heads_per_kv: int
    experts: int
    is_70b: bool
    block: int
    has_importance: bool


# Rows that are no multiple of a super-block of 256 weights take the format beside it, with blocks of 32; rows that are
# no multiple of 32 either stay in 16 bits.
_FALLBACK = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_FLOATS = ("F32", "BF16", "F16")

_MORE, _FALCON, _NOT_FALCON = When.MORE_BITS, When.FALCON, When.NOT_FALCON
_EIGHT, _GROUPED, _70B = When.EIGHT_EXPERTS, When.GROUPED_QUERY, When.SEVENTY_B

# Every quantized recipe but Q8_0 has these first.
_COMMON = (
    Rule(Role.OUTPUT, "Q8_0", (_FALCON,)),
    Rule(Role.OUTPUT, "Q8_0", (When.ROW_MISFIT,)),
    Rule(Role.OUTPUT, "Q6_K"),
    Rule(Role.ATTN_V, "Q8_0", (_EIGHT,)),
    Rule(Role.ATTN_QKV, "Q8_0", (_EIGHT,)),
    Rule(Role.ATTN_K, "Q8_0", (_EIGHT,)),
)
_EIGHT_EXPERTS_OUTPUT = Rule(Role.ATTN_OUTPUT, "Q5_K", (_NOT_FALCON, _EIGHT))


def _values(*rules: tuple[str, tuple[When, ...]]) -> tuple[Rule, ...]:
    """The same rules for a separate attn_v and for one that is fused into attn_qkv."""
    return tuple(Rule(role, name, when) for role in (Role.ATTN_V, Role.ATTN_QKV) for name, when in rules)


_MORE_BITS_VALUES = _values(("Q6_K", (_MORE,)))

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
        _COMMON,
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
            Rule(Role.FFN_DOWN, "Q5_K", (_NOT_FALCON, When.FIRST_EIGHTH)),
            _EIGHT_EXPERTS_OUTPUT,
        ),
    ),
    Recipe(
        "Q4_0",
        2,
        "Q4_0",
        "The simplest 4-bit format: quick to make and fast on phones and ARM, with more loss than Q4_K_S.",
        _COMMON,
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
        "Q3_K_S",
        11,
        "Q3_K",
        "3 bits throughout: small, and clearly worse than the original.",
        (*_COMMON, *_values(("Q5_K", (_70B,))), _EIGHT_EXPERTS_OUTPUT),
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
        "Q2_K_S",
        21,
        "Q2_K",
        "The smallest: answers suffer badly, so try a smaller model at 4 bits first.",
        (
            *_COMMON,
            *_values(("Q5_K", (_70B, _GROUPED)), ("Q4_K", (_GROUPED,))),
            Rule(Role.FFN_DOWN, "Q4_K", (When.FIRST_EIGHTH,)),
        ),
        needs_importance=True,
    ),
)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name, in any case. Raises SnugError for an unknown one."""
    by_name = {recipe.name: recipe for recipe in RECIPES}
    if name.upper() in by_name:
        return by_name[name.upper()]
    nearest = get_close_matches(name.upper(), by_name, n=1, cutoff=0.0)[0]
    raise SnugError(f"There is no recipe {name!r}; the nearest is {nearest}.", f"Recipes: {', '.join(by_name)}.")


def choose_formats(
    model: ModelInfo, recipe: Recipe, *, pure: bool = False, has_importance: bool = False
) -> dict[str, str]:
    """Tensor name -> format (a key of kernels.FORMATS).

    `pure` gives every tensor that may be quantized the base format; some rules ask `has_importance`: whether an
    importance matrix will be at hand. Source: llama_tensor_get_type and
    tensor_allows_quantization in llama.cpp's src/llama-quant.cpp, and its converter for what stays in floats.
    """
    if recipe.format in _FLOATS and not model.is_gguf:
        return {tensor.name: _kept(tensor, model, recipe) for tensor in model.tensors}
    rules = () if pure else recipe.rules
    chosen = {
        tensor.name: _fit(_pick(rules, role, place) or recipe.format, tensor.columns)
        for tensor, role, place in _places(model, recipe.format, has_importance=has_importance)
    }
    return {tensor.name: chosen.get(tensor.name) or _kept(tensor, model, recipe) for tensor in model.tensors}


def may_quantize(tensor: OutputTensor) -> bool:
    """True for weights of two or more dimensions, except norms, routers, position tables and other small ones."""
    name = tensor.name
    return _dimensions(tensor) >= 2 and name.endswith("weight") and not _NEVER_QUANTIZED.search(name)


_NEVER_QUANTIZED = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj"
    r"|^position_embd\.weight$|^token_types\.weight$|\.position_embd|sam\.|\.rel_pos|\.patch_embd|\.patch_merger"
    r"|a\.rvq\.codebook|mm\.a\.code_embd|ssm_conv1d|shortconv\.conv\.weight|indexer\.[kq]_proj|attn_rel_b\.weight"
    r"|time_mix_(first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\.weight"
)
_ALWAYS_F32 = re.compile(
    r"_norm\.weight$|ffn_gate_inp(_shexp)?\.weight|ssm_conv1d\.weight|shortconv\.conv\.weight|indexer\.proj\.weight"
    r"|(^|\.)position_embd\.weight|^token_types\.weight|altup_(correct|predict)_coef"
    r"|time_mix_(first|w[12]|decay_w[12]|lerp_fused)\.weight"
)
# Architectures whose 80-layer model llama.cpp calls 70B. In Llama's own, 65B is the one without grouped queries.
_SEVENTY_B = ("llama", "qwen2", "deci")


def _places(model: ModelInfo, base: str, *, has_importance: bool) -> Iterator[tuple[OutputTensor, Role, Place]]:
    """Tensors that may be quantized, by layer and then by name: the order in which llama-quantize counts them."""
    seen = dict.fromkeys(Role, 0)
    roles = {tensor.name: _role(tensor.name, model) for tensor in model.tensors}
    values = sum(role in (Role.ATTN_V, Role.ATTN_QKV) for role in roles.values())
    layers, shape = int(model.key("block_count", 0)), _model_shape(model)
    for tensor in sorted(filter(may_quantize, model.tensors), key=lambda tensor: (_layer(tensor.name), tensor.name)):
        role = roles[tensor.name]
        counter = Role.ATTN_V if role is Role.ATTN_QKV else role
        by_name = role is Role.FFN_DOWN and shape["experts"] > 1
        yield (
            tensor,
            role,
            Place(
                index=_layer(tensor.name) if by_name else seen[counter],
                count=values if counter is Role.ATTN_V else layers,
                columns=tensor.columns,
                block=FORMATS[base].block_size,
                architecture=model.architecture,
                query_heads_per_kv=shape["query_heads_per_kv"],
                experts=shape["experts"],
                is_70b=bool(shape["is_70b"]),
                has_importance=has_importance,
            ),
        )
        seen[counter] += 1


def _model_shape(model: ModelInfo) -> dict[str, int]:
    heads = _first(model.key("attention.head_count", 0))
    kv_heads = _first(model.key("attention.head_count_kv", heads))
    is_70b = model.key("block_count") == 80 and model.architecture in _SEVENTY_B
    return {
        "query_heads_per_kv": heads // kv_heads if kv_heads else 0,
        "experts": int(model.key("expert_count", 0) or 0),
        "is_70b": is_70b and not (model.architecture == "llama" and heads == kv_heads),
    }


def _first(value: int | list[int] | tuple[int, ...]) -> int:
    """Head counts are one number or one a layer; llama-quantize looks at the first."""
    return int(value) if isinstance(value, int) else int(next(iter(value), 0))


def _role(name: str, model: ModelInfo) -> Role:
    if name == "output.weight":
        return Role.OUTPUT
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        tied = all(tensor.name != "output.weight" for tensor in model.tensors)
        return Role.OUTPUT if tied else Role.TOKEN_EMBD
    if "attn_kv_b.weight" in name:
        return Role.ATTN_V
    return next(role for role in list(Role)[2:] if role.value in name)


def _layer(name: str) -> int:
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _pick(rules: tuple[Rule, ...], role: Role, place: Place) -> str:
    """The format of the first rule that matches, or ""."""
    return next((r.format for r in rules if r.role is role and all(_holds(when, place) for when in r.when)), "")


def _holds(when: When, place: Place) -> bool:
    index, count = place.index, place.count
    match when:
        case When.MORE_BITS:
            return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2
        case When.FIRST_TWO:
            return index < 2
        case When.FIRST_FOUR:
            return index < 4
        case When.FIRST_EIGHTH:
            return index < count // 8
        case When.FIRST_SIXTEENTH:
            return index < count // 16
        case When.GROUPED_QUERY:
            return place.query_heads_per_kv >= 4
        case When.EIGHT_EXPERTS:
            return place.experts == 8
        case When.SEVENTY_B:
            return place.is_70b
        case When.FALCON:
            return place.architecture == "falcon"
        case When.NOT_FALCON:
            return place.architecture != "falcon"
        case When.ROW_MISFIT:
            return place.columns % place.block != 0


def _fit(name: str, columns: int) -> str:
    """`name`, or what takes its place when a row of `columns` weights cannot be cut into its blocks."""
    if columns % FORMATS[name].block_size == 0:
        return name
    name = _FALLBACK.get(name, name)
    return name if columns % FORMATS[name].block_size == 0 else "F16"


def _kept(tensor: OutputTensor, model: ModelInfo, recipe: Recipe) -> str:
    """The format of a tensor that stays in floats: a GGUF source's own, else what the converter would give it."""
    if model.is_gguf:
        return tensor.dtype
    if len(tensor.shape) < 2 or not tensor.name.endswith(".weight") or _ALWAYS_F32.search(tensor.name):
        return "F32"
    if recipe.format in _FLOATS:
        return recipe.format
    return "BF16" if model.dtype == "BF16" else "F16"


def _dimensions(tensor: OutputTensor) -> int:
    """ggml's count: leading dimensions of one do not count."""
    shape = tensor.shape
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return len(shape)
