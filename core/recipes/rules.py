"""The words that rules are made of: what a tensor does in the model, where it stands, and when a rule holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum


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
    """A condition of a rule, in words; `_TESTS` says what each means."""

    MORE_BITS = "the first and last eighth of the layers and every third between"
    MIDDLE = "all layers but the first and last eighth"
    FIRST_TWO = "the first two tensors of the role"
    FIRST_FOUR = "the first four tensors of the role"
    FIRST_EIGHTH = "the first eighth of the layers"
    FIRST_EIGHTH_COUNTED = "as many tensors of the role as an eighth of the layers, even where a layer has several"
    FIRST_SIXTEENTH = "the first sixteenth of the layers"
    GROUPED_QUERY = "at least four query heads share a key and value head"
    FOUR_EXPERTS = "four experts or more"
    EIGHT_EXPERTS = "eight experts, as in Mixtral 8x7B"
    SEVENTY_B = "the shape of Llama 2 and 3 70B: attn_v is small there"
    FALCON = "the Falcon architecture"
    NOT_FALCON = "any architecture but Falcon"
    BAILING_3 = "the BailingMoE 3 architecture: its attention is stacked like experts"
    ROW_MISFIT = "the row is no multiple of the base format's block"
    NOT_STACKED = "one matrix, not one for each expert"
    IMPORTANCE = "there is an importance matrix"
    NO_IMPORTANCE = "there is no importance matrix"


@dataclass(frozen=True, slots=True)
class Rule:
    """Tensors of `role` (None: of any) get `format` where all of `when` holds. The first rule that matches decides."""

    role: Role | None
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
class Shape:
    """What the rules ask about the model as a whole, and the block size of the recipe's base format."""

    architecture: str
    query_heads_per_kv: int
    experts: int
    is_70b: bool
    has_importance: bool
    block: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor stands: in layer `index` of `count`, and how many of its role were before it."""

    index: int
    counted: int
    count: int
    columns: int
    is_stacked: bool
    shape: Shape


def matching(rules: tuple[Rule, ...], role: Role, place: Place) -> str:
    """The format of the first rule that matches, or ""."""
    return next((r.format for r in rules if r.role in (None, role) and all(_TESTS[when](place) for when in r.when)), "")


_TESTS: Mapping[When, Callable[[Place], bool]] = {
    When.MORE_BITS: lambda p: not _in_middle(p) or (p.index - p.count // 8) % 3 == 2,
    When.MIDDLE: lambda p: _in_middle(p),
    When.FIRST_TWO: lambda p: p.counted < 2,
    When.FIRST_FOUR: lambda p: p.counted < 4,
    When.FIRST_EIGHTH: lambda p: p.index < p.count // 8,
    When.FIRST_EIGHTH_COUNTED: lambda p: p.counted < p.count // 8,
    When.FIRST_SIXTEENTH: lambda p: p.index < p.count // 16,
    When.GROUPED_QUERY: lambda p: p.shape.query_heads_per_kv >= 4,
    When.FOUR_EXPERTS: lambda p: p.shape.experts >= 4,
    When.EIGHT_EXPERTS: lambda p: p.shape.experts == 8,
    When.SEVENTY_B: lambda p: p.shape.is_70b,
    When.FALCON: lambda p: p.shape.architecture == "falcon",
    When.NOT_FALCON: lambda p: p.shape.architecture != "falcon",
    When.BAILING_3: lambda p: p.shape.architecture == "bailingmoe3",
    When.ROW_MISFIT: lambda p: p.columns % p.shape.block != 0,
    When.NOT_STACKED: lambda p: not p.is_stacked,
    When.IMPORTANCE: lambda p: p.shape.has_importance,
    When.NO_IMPORTANCE: lambda p: not p.shape.has_importance,
}


def _in_middle(place: Place) -> bool:
    return place.count // 8 <= place.index < 7 * place.count // 8
