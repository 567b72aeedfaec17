"""Attention of one layer, in the kinds that families have. Source: build_attn and build_qkv in llama-graph.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from core.memory import graph as g
from core.memory.builder import Builder
from core.memory.graph import Node, Size
from core.memory.rules import Rules
from core.memory.settings import KV_BLOCKS


@dataclass(frozen=True, slots=True)
class Heads:
    """Numbers of one layer."""

    count: int
    kv_count: int
    key: int
    value: int


def heads_of(b: Builder, layer: int) -> Heads:
    shape = b.shape
    return Heads(shape.heads[layer], shape.kv_heads[layer], shape.key_lengths[layer], shape.value_lengths[layer])


def attention(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """What a layer's attention gives for x, before the residual."""
    names = b.names(layer)
    if "attn_k_b.weight" in names:
        return _compressed(b, layer, x, rules)
    if "attn_kv_b.weight" in names:
        return _expanded(b, layer, x, rules)
    if rules.gated_query:
        return _gated(b, layer, x, rules)
    heads = heads_of(b, layer)
    q, k, v = _queries(b, layer, x, heads, rules)
    if "attn_gate.weight" in names:
        gate = b.linear(layer, "attn_gate", x)
        return finished(b, layer, g.like("MUL", looked(b, layer, q, k, v, rules), g.like("UNARY", gate)), rules)
    return attended(b, layer, q, k, v, rules)


def _queries(b: Builder, layer: int, x: Node, heads: Heads, rules: Rules) -> tuple[Node, Node | None, Node | None]:
    """Queries, keys and values [head, heads, tokens], turned by position."""
    tokens = b.tokens
    has_kv = b.shape.cached[layer] or not any(b.shape.cached)
    if "attn_qkv.weight" in b.names(layer):
        fused = b.linear(layer, "attn_qkv", x)
        if b.shape.key("attention.clamp_kqv"):
            fused = g.like("CLAMP", fused)
        q = g.part(fused, heads.key, heads.count, tokens)
        k = g.part(fused, heads.key, heads.kv_count, tokens)
        v = g.part(fused, heads.value, heads.kv_count, tokens)
    else:
        q = _projected(b, layer, "attn_q", x, (heads.key, heads.count), rules)
        if not has_kv:
            return _turned(b, layer, q, rules, query=True), None, None
        k = _projected(b, layer, "attn_k", x, (heads.key, heads.kv_count), rules)
        v = k if "attn_v.weight" not in b.names(layer) else _plain(b, layer, "attn_v", x, (heads.value, heads.kv_count))
    if "attn_qkv.weight" in b.names(layer):
        q, k = (_head_normed(b, layer, name, part, rules) for name, part in (("attn_q", q), ("attn_k", k)))
    if rules.norms_value:
        v = g.like("RMS_NORM", v)
    q = _turned(b, layer, q, rules, query=True)
    return q, _turned(b, layer, k, rules, query=False), v


def _plain(b: Builder, layer: int, name: str, x: Node, by: tuple[int, int]) -> Node:
    made = b.linear(layer, name, x)
    if b.shape.key("attention.clamp_kqv"):
        made = g.like("CLAMP", made)
    return g.reshaped(made, *by, b.tokens)


def _projected(b: Builder, layer: int, name: str, x: Node, by: tuple[int, int], rules: Rules) -> Node:
    """Queries or keys, with the norm that some families have: over all heads, or over each."""
    made = b.linear(layer, name, x)
    if b.shape.key("attention.clamp_kqv"):
        made = g.like("CLAMP", made)
    norm = b.names(layer).get(f"{name}_norm.weight")
    if norm is not None and norm.ne[0] == made.ne[0] and by[1] > 1:
        return g.reshaped(b.norm(made, layer, f"{name}_norm", op=rules.norm), *by, b.tokens)
    made = g.reshaped(made, *by, b.tokens)
    return made if rules.norms_after_turn or rules.turns_first else _head_normed(b, layer, name, made, rules)


def _head_normed(b: Builder, layer: int, name: str, part: Node, rules: Rules) -> Node:
    norm = b.names(layer).get(f"{name}_norm.weight")
    return part if norm is None else b.norm(part, layer, f"{name}_norm", op=rules.norm)


def _turned(b: Builder, layer: int, part: Node, rules: Rules, *, query: bool) -> Node:
    if rules.turns(layer, b.is_windowed(layer) or b.shape.windowed[layer]):
        factors = b.shared("rope_freqs.weight", layer) or b.shared("rope_factors_short.weight", layer)
        if b.shape.architecture == "gemma4" and b.shape.windowed[layer]:
            factors = None
        part = g.like("ROPE", part, positions(b), *([factors] if factors else []))
        if rules.norms_after_turn:
            part = g.like("RMS_NORM", part)
        if rules.turns_first:
            part = _head_normed(b, layer, "attn_q" if query else "attn_k", part, rules)
        if query and b.shape.key("attention.temperature_scale") and not rules.tempers:
            part = g.like("MUL", part, b.given("temperature", 1, 1, b.tokens))
    elif rules.tempers and query:
        part = g.like("MUL", part, b.given("temperature", 1, 1, b.tokens))
    return g.like("SCALE", part) if query and rules.scales_query else part


def positions(b: Builder) -> Node:
    return b.given("positions", b.tokens * b.shape_positions)


def attended(
    b: Builder, layer: int, q: Node, k: Node | None, v: Node | None, rules: Rules, *, value: Node | None = None
) -> Node:
    """The heads' outputs through the output matrix."""
    out = looked(b, layer, q, k, v, rules, value=value)
    return finished(b, layer, out, rules)


def finished(b: Builder, layer: int, out: Node, rules: Rules) -> Node:
    if "attn_sub_norm.weight" in b.names(layer):
        out = b.norm(out, layer, "attn_sub_norm", op=rules.norm)
    return b.linear(layer, "attn_output", out)


def looked(
    b: Builder, layer: int, q: Node, k: Node | None, v: Node | None, rules: Rules, *, value: Node | None = None
) -> Node:
    """The heads' outputs [heads * value, tokens]; `value` turns what comes out of a compressed cache into values."""
    back = None
    if any(b.shape.cached):
        across = b.rotation("keys", b.shape.key_lengths, layer=layer)
        back = b.rotation("values", b.shape.value_lengths, layer=layer)
        q, k, v = _turned_by(q, across), _rotated(k, across), _rotated(v, back)
    b.expand(q)
    keys_first = any(b.shape.windowed) or not any(b.shape.cached)
    for part in (k, v) if keys_first else (v, k):
        if part is not None:
            b.expand(part)
    if not any(b.shape.cached):
        return _all_at_once(b, layer, q, k, v)
    if k is not None:
        _store(b, layer, k, v)
    seen = b.expand(_from_cache(b, layer, q, value=value, rules=rules))
    return _turned_by(seen, back)


def _rotated(part: Node | None, rotation: Node | None) -> Node | None:
    return part if part is None else _turned_by(part, rotation)


def _turned_by(part: Node, rotation: Node | None) -> Node:
    if rotation is None:
        return part
    size, count = rotation.ne[0], prod(part.ne)
    is_contiguous = part.layout == (4, g.full(part.ne))
    rows = g.reshaped(part, size, count // size) if is_contiguous else g.new("CONT", (size, count // size), part)
    return g.reshaped(g.new("MUL_MAT", rows.ne, rotation, rows), *part.ne)


def _store(b: Builder, layer: int, k: Node, v: Node | None) -> None:
    caches = b.caches(layer)
    windowed = " of the window" if b.is_windowed(layer) else ""
    for name, cache, part in zip(("keys", "values"), caches, (k, v), strict=False):
        if part is None:
            continue
        by_number = name == "values" and b.turns_values
        width = cache.ne[0]
        source = g.view(part, part.ne[0] * part.ne[1], b.tokens, size=part.size)
        if by_number and part.layout != (4, g.full(part.ne)):
            source = g.new("CONT", (part.ne[0] * part.ne[1], b.tokens), part)
        if by_number:
            if source.ne[0] < width:
                source = g.new("PAD", (width, b.tokens), source)
            source = g.view(source, 1, width * b.tokens)
        count = b.tokens * (width if by_number else 1)
        ids = b.given(f"places of {name}{windowed}" + (str(width) if by_number else ""), count, item=8)
        target = g.view(cache, 1, 1, size=cache.size) if by_number else cache
        write = g.Node("SET_ROWS", cache.ne, cache.size, (source, ids, target))
        write.root, write.layout, write.batch = cache, object(), b.tokens
        b.expand(write)


def _seen_by(b: Builder, q: Node) -> Node:
    split = g.view(q, q.ne[0], q.ne[1], b.tokens // b.streams, b.streams, size=q.size)
    return g.view(split, q.ne[0], b.tokens // b.streams, q.ne[1], b.streams, size=q.size)


def _cache_view(b: Builder, cache: Node, head: int, heads: int) -> Node:
    """Keys or values by head; a copy of quantized ones has its rows filled up on a GPU."""
    seen = g.view(g.view(cache, 1, size=cache.size), head, 1, heads, size=cache.size)
    seen.extra = _row_end(b, head)
    return seen


def _row_end(b: Builder, head: int) -> Size:
    nbytes, weights = KV_BLOCKS[b.settings.kv_type]
    return (-head % 512 * nbytes // weights if weights > 1 else 0, 0, 0)


def _from_cache(b: Builder, layer: int, q: Node, *, value: Node | None, rules: Rules) -> Node:
    caches = b.caches(layer)
    count, length = q.ne[1], b.shape.value_lengths[layer]
    windowed = b.is_windowed(layer)
    shared = 1 if len(caches) == 1 else b.shape.kv_heads[layer]
    keys = _cache_view(b, caches[0], q.ne[0], shared)
    values = _cache_view(b, caches[-1], length, shared)
    if len(caches) == 1:
        nbytes, weights = KV_BLOCKS[b.settings.kv_type]
        whole = caches[0].size
        behind = (caches[0].ne[0] - length) * nbytes // weights
        values = g.view(g.view(caches[0], 1, size=whole), 1, size=(whole[0] - behind, whole[1], whole[2]))
        values.extra = _row_end(b, length)
    mask = b.mask(windowed=windowed)
    rows = _seen_by(b, q)
    if b.flash:
        sinks = b.weight(layer, "attn_sinks.weight")
        out = g.new("FLASH_ATTN_EXT", (length, count, b.tokens // b.streams, b.streams), rows, keys, values, mask,
                    *([sinks] if sinks else []))  # fmt: skip
        out.layer = layer
        out.extra = _scratch(b, out, caches, length)
        if value is not None:
            out = g.new("MUL_MAT", (value.ne[1], b.tokens, count), value, g.view(out, length, b.tokens, count))
            out = g.new("CONT", (value.ne[1], count, b.tokens), g.view(out, value.ne[1], count, b.tokens))
        return g.reshaped(out, out.ne[0] * out.ne[1], b.tokens)
    return _without_flash(b, layer, rows, keys, values, mask, count, length, value=value, rules=rules)


def _scratch(b: Builder, out: Node, caches: tuple[Node, ...], length: int) -> Size:
    """CUDA keeps quantized keys and values of one layer as f16 behind the result.

    Values that are a part of the keys need no room of their own, unless both are copied from RAM one by one.
    """
    if not b.settings.quantized_kv:
        return g.NOTHING
    apart = length if len(caches) == 1 and caches[0].home == g.CPU else 0
    width = (sum(cache.ne[0] for cache in caches) + apart) * 2 * b.settings.streams
    per_cell = g.per_cell(width, windowed=bool(caches[0].size[2]))
    return (-out.size[0] % 128, per_cell[1], per_cell[2])


def _without_flash(
    b: Builder, layer: int, rows: Node, keys: Node, values: Node, mask: Node, count: int, length: int, *,
    value: Node | None, rules: Rules,
) -> Node:  # fmt: skip
    windowed = b.is_windowed(layer)
    scores = _scores(b, windowed, count, keys, rows)
    if rules.softcaps:
        for op in ("SCALE", "UNARY", "SCALE"):
            scores = _alike(op, scores)
    sinks = b.weight(layer, "attn_sinks.weight")
    weights = _alike("SOFT_MAX", scores, mask, *([sinks] if sinks else []))
    if len(b.caches(layer)) == 1 or not b.turns_values:
        width = length if len(b.caches(layer)) == 1 else b.caches(layer)[1].ne[0]
        copied = g.Node("CONT", (1,), g.per_cell(2 * width * b.settings.streams, windowed=windowed),
                        (g.view(values, 1, size=values.size),))  # fmt: skip
        copied.layout, copied.batch = object(), b.tokens
        values = copied
    out = g.new("MUL_MAT", (length, b.tokens // b.streams, count, b.streams), values, weights)
    if value is not None:
        out = g.new("MUL_MAT", (value.ne[1], b.tokens, count), value, out)
        length = value.ne[1]
    return g.new("CONT", (length * count, b.tokens), g.view(out, length, count, b.tokens))


def _scores(b: Builder, windowed: bool, count: int, keys: Node, rows: Node) -> Node:
    node = g.Node("MUL_MAT", (1,), g.per_cell(4 * b.tokens * count, windowed=windowed), (keys, rows))
    node.layout, node.batch = ("scores", windowed, count), b.tokens // b.streams
    return node


def _alike(op: str, source: Node, *others: Node) -> Node:
    node = g.Node(op, source.ne, source.size, (source, *others))
    node.layout, node.batch = source.layout, source.batch
    return node


def _all_at_once(b: Builder, layer: int, q: Node, k: Node | None, v: Node | None) -> Node:
    """Without a cache: every token sees all others of its batch."""
    assert k is not None
    assert v is not None
    count, length, tokens = q.ne[1], v.ne[0], b.tokens
    rows = _seen_by(b, q)
    name = "mask of the window" if b.shape.windowed[layer] else "mask"
    mask = b.given(name, tokens, tokens, item=2 if b.flash else 4)
    keys = g.view(k, k.ne[0], tokens, k.ne[1], size=k.size)
    values = g.view(v, v.ne[0], tokens, v.ne[1], size=v.size)
    if b.flash:
        out = g.new("FLASH_ATTN_EXT", (length, count, tokens), rows, _cast(keys), _cast(values), mask)
        out.layer = layer
        return b.expand(g.reshaped(out, length * count, tokens))
    scores = g.new("MUL_MAT", (tokens, tokens, count), keys, rows)
    weights = g.like("SOFT_MAX", scores, mask)
    turned = g.new("CONT", (tokens, v.ne[0], v.ne[1]), g.view(values, tokens, v.ne[0], v.ne[1]))
    out = g.new("MUL_MAT", (length, tokens, count), turned, weights)
    return b.expand(g.new("CONT", (length * count, tokens), g.view(out, length, count, tokens)))


def _cast(part: Node) -> Node:
    """As f16. It names itself as a source, which is how ggml writes it."""
    made = g.new("CPY", part.ne, part, item=2)
    made.sources.append(made)
    return made


def _compressed(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """Multi-head latent attention over a compressed cache, as in DeepSeek 2."""
    shape, tokens = b.shape, b.tokens
    count = shape.heads[layer]
    rank = int(shape.key("attention.kv_lora_rank", 0))
    turned = int(shape.key("rope.dimension_count", 0))
    plain = int(shape.key("attention.key_length_mla", 0)) - turned
    q = g.reshaped(_query_of(b, layer, x, rules), plain + turned, count, tokens)
    q_plain = g.view(g.view(q, plain, count, tokens), plain, tokens, count)
    q_turned = g.view(q, turned, count, tokens)
    both = b.linear(layer, "attn_kv_a_mqa", x)
    compressed = g.view(both, rank, tokens)
    k_turned = g.view(both, turned, 1, tokens)
    q_turned = g.like("ROPE", q_turned, positions(b))
    k_turned = g.like("ROPE", k_turned, positions(b))
    if rules.expands_turned:
        b.expand(q_turned), b.expand(k_turned)
    compressed = b.norm(compressed, layer, "attn_kv_a_norm", op="RMS_NORM")
    absorb = b.needed(layer, "attn_k_b.weight")
    absorbed = g.new("MUL_MAT", (rank, tokens, count), absorb, q_plain)
    absorbed = g.view(absorbed, rank, count, tokens)
    query = g.new("CONCAT", (rank + turned, count, tokens), absorbed, q_turned)
    values = g.reshaped(compressed, rank, 1, tokens)
    keys = g.new("CONCAT", (rank + turned, 1, tokens), values, k_turned)
    return attended(b, layer, query, keys, values, rules, value=b.needed(layer, "attn_v_b.weight"))


def _query_of(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    if "attn_q_a.weight" not in b.names(layer):
        return b.linear(layer, "attn_q", x)
    low = b.norm(b.linear(layer, "attn_q_a", x), layer, "attn_q_a_norm", op="RMS_NORM")
    return b.linear(layer, "attn_q_b", low)


def _expanded(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """Latent attention whose keys and values are made whole before they are kept, as in MiniCPM 3."""
    shape, tokens = b.shape, b.tokens
    heads = heads_of(b, layer)
    rank = int(shape.key("attention.kv_lora_rank", 0))
    turned = int(shape.key("rope.dimension_count", 0))
    plain = heads.key - turned
    q = _query_of(b, layer, x, rules)
    query = g.reshaped(q, heads.key, heads.count, tokens)
    both = b.linear(layer, "attn_kv_a_mqa", x)
    compressed = b.norm(g.view(both, rank, tokens), layer, "attn_kv_a_norm", op="RMS_NORM")
    k_turned = g.view(both, turned, 1, tokens)
    made = b.linear(layer, "attn_kv_b", compressed)
    k_plain = g.view(made, plain, heads.count, tokens)
    values = g.new("CONT", (heads.value, heads.count, tokens), g.view(made, heads.value, heads.count, tokens))
    factors = b.shared("rope_factors_short.weight", layer)
    others = [positions(b), *([factors] if factors else [])]
    query = g.like("ROPE", query, *others)
    k_turned = g.like("ROPE", k_turned, *others)
    repeated = g.new("REPEAT", (turned, heads.count, tokens), k_turned)
    keys = g.new("CONCAT", (heads.key, heads.count, tokens), k_plain, repeated)
    return attended(b, layer, query, keys, values, rules)


def _gated(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """Attention whose query matrix also makes a gate for its output, as in Qwen3-Next."""
    heads, tokens = heads_of(b, layer), b.tokens
    both = b.linear(layer, "attn_q", x)
    q = _head_normed(b, layer, "attn_q", g.view(both, heads.key, heads.count, tokens), rules)
    k = _head_normed(b, layer, "attn_k", _plain(b, layer, "attn_k", x, (heads.key, heads.kv_count)), rules)
    v = _plain(b, layer, "attn_v", x, (heads.value, heads.kv_count))
    gate = g.view(both, heads.key, heads.count, tokens)
    gate = g.new("CONT", (heads.key * heads.count, tokens), gate)
    q, k = (g.like("ROPE", part, positions(b)) for part in (q, k))
    out = looked(b, layer, q, k, v, rules)
    out = g.like("MUL", out, g.like("UNARY", gate))
    return b.linear(layer, "attn_output", out)
