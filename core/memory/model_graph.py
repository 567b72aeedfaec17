"""A model's whole graph: embedding, layers, output."""

from __future__ import annotations

from collections.abc import Iterable

from core.memory import graph as g
from core.memory.attention import attention, positions
from core.memory.builder import Builder
from core.memory.feed_forward import feed_forward
from core.memory.graph import Node
from core.memory.per_layer import (
    feed_forward_of_gemma4,
    gathered,
    layer_of_gemma3n,
    looked_up_per_layer,
    mixed_in,
    per_layer_inputs,
    spread,
)
from core.memory.recurrent import recurrent
from core.memory.rules import Rules
from core.memory.settings import Settings
from core.memory.shape import CACHELESS, Shape


def model_graph(
    shape: Shape, settings: Settings, rules: Rules, *, flash: bool, tokens: int, outputs: int, layers: Iterable[int]
) -> Builder:
    """The builder with its graph made, of these `layers`."""
    b = Builder(shape, settings, flash=flash, tokens=tokens, outputs=outputs)
    x = _embedded(b, rules)
    inputs = per_layer_inputs(b, x, looked_up_per_layer(b))
    if shape.architecture == "gemma3n" and inputs is not None:
        x = spread(b, x)
        for layer in layers:
            x = layer_of_gemma3n(b, layer, x, inputs, rules)
        x = gathered(b, x)
    else:
        for layer in layers:
            x = _layer(b, layer, x, rules, inputs)
    _output(b, x, rules)
    return b


def _embedded(b: Builder, rules: Rules) -> Node:
    table = b.of_model("token_embd.weight")
    assert table is not None
    ids = b.given("tokens", b.tokens)
    x = g.new("GET_ROWS", (b.shape.embedding, b.tokens), table, ids)
    width = b.shape.embedding * (1 + b.stacked)
    if b.stacked:
        x = g.new("PAD", (width, b.tokens), x)
    b.expand(x)
    # The same graph takes embeddings, such as those of images, in place of tokens.
    b.expand(b.given("embeddings", width, b.tokens))
    if b.stacked:
        b.embedded = x
        x = b.expand(g.part(x, b.shape.embedding, b.tokens))
    if rules.scales_embedding:
        x = g.like("SCALE", x)
        if b.shape.key("embedding_scale"):
            b.expand(x)
    types = b.of_model("token_types.weight")
    if types is not None:
        x = g.like("ADD", x, g.view(types, types.ne[0]))
    places = b.of_model("position_embd.weight")
    if places is not None:
        at = g.new("GET_ROWS", x.ne, places, positions(b))
        x = g.like("ADD", at, x) if b.shape.architecture in CACHELESS else g.like("ADD", x, at)
    norm = b.of_model("token_embd_norm.weight") if "token_embd_norm.weight" in b.shape.layers[0] else None
    if norm is not None:
        x = b.normed(x, norm, b.of_model("token_embd_norm.bias"), op=rules.norm)
    return x


def _layer(b: Builder, layer: int, x: Node, rules: Rules, inputs: Node | None) -> Node:
    names = b.names(layer)
    if rules.norm_after:
        return _norms_after(b, layer, x, rules)
    if rules.beside and not (rules.beside == "neox" and b.shape.key("use_parallel_residual") is False):
        return _beside(b, layer, x, rules)
    has_norm = "attn_norm.weight" in names or rules.norms_without_weights
    normed = b.norm(x, layer, "attn_norm", op=rules.norm) if has_norm else x
    if rules.state == "both":
        out = _both(b, layer, x, normed, rules)
    elif b.shape.recurrent[layer]:
        out = recurrent(b, layer, normed, rules)
    elif b.shape.attends[layer]:
        out = attention(b, layer, normed, rules)
    else:
        out = feed_forward(b, layer, normed, rules)
    if rules.state != "both":
        out, x = _picked_at_last(b, layer, out, x, rules)
    after = "post_attention_norm.weight" in names
    has_norm = "ffn_norm.weight" in names or "ffn_norm" in names or rules.norms_without_weights
    before_ffn = "ffn_norm" if has_norm else ""
    if after and (before_ffn or "post_ffw_norm.weight" in names):
        out = b.norm(out, layer, "post_attention_norm", op=rules.norm)
    elif after:
        before_ffn = "post_attention_norm"
    if rules.scales_residual:
        out = g.like("SCALE", out)
    x = g.like("ADD", x, out) if rules.residual_first else g.like("ADD", out, x)
    if rules.state == "both" and b.picks_in(layer, rules):
        x = b.picked(x)
    if not any(name.startswith("ffn_") for name in names) or (not before_ffn and _is_single(b)):
        return x
    if not before_ffn and b.shape.architecture == "stablelm":
        inner = feed_forward(b, layer, b.picked(normed) if layer == len(b.shape.layers) - 1 else normed, rules)
    elif b.shape.architecture == "gemma4":
        inner = feed_forward_of_gemma4(b, layer, x, rules)
    else:
        inner = b.norm(x, layer, before_ffn, op=rules.norm) if before_ffn else x
        inner = feed_forward(b, layer, inner, rules)
    if "post_ffw_norm.weight" in names:
        inner = b.norm(inner, layer, "post_ffw_norm", op=rules.norm)
    if rules.scales_residual:
        inner = g.like("SCALE", inner)
    if b.shape.architecture == "gemma4":
        return mixed_in(b, layer, g.like("ADD", inner, x), inputs, rules)
    residual_first = rules.residual_first or rules.residual_first_at_end
    x = g.like("ADD", x, inner) if residual_first else g.like("ADD", inner, x)
    if layer < b.stacked:
        x = g.like("ADD", x, g.part(b.embedded, x.ne[0], b.tokens))
    return x


def _is_single(b: Builder) -> bool:
    """Whether a layer is one of state, attention or feed-forward."""
    return b.shape.architecture in ("nemotron_h", "nemotron_h_moe")


def _picked_at_last(b: Builder, layer: int, out: Node, x: Node, rules: Rules) -> tuple[Node, Node]:
    return (b.picked(out), b.picked(x)) if b.picks_in(layer, rules) else (out, x)


def _both(b: Builder, layer: int, x: Node, normed: Node, rules: Rules) -> Node:
    """Attention and state side by side, as in Falcon-H1."""
    out = attention(b, layer, normed, rules)
    again = b.norm(x, layer, "attn_norm", op=rules.norm)
    return g.like("ADD", out, recurrent(b, layer, again, rules))


def _beside(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """Attention and feed-forward of the same input."""
    normed = b.norm(x, layer, "attn_norm", op=rules.norm)
    second = "attn_norm_2" if "attn_norm_2.weight" in b.names(layer) else ""
    out = attention(b, layer, b.norm(x, layer, second, op=rules.norm) if second else normed, rules)
    if layer == len(b.shape.layers) - 1:
        out, x, normed = b.picked(out), b.picked(x), b.picked(normed)
    inner = normed
    if rules.beside == "neox":
        inner = b.norm(x, layer, "ffn_norm", op=rules.norm)
    inner = feed_forward(b, layer, inner, rules)
    if rules.beside == "phi":
        return g.like("ADD", g.like("ADD", out, inner), x)
    if rules.beside == "falcon":
        return g.like("ADD", g.like("ADD", inner, out), x)
    return g.like("ADD", g.like("ADD", inner, x), out)


def _norms_after(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """Norms of the sums, as in BERT."""
    out = attention(b, layer, x, rules)
    out, x = _picked_at_last(b, layer, out, x, rules)
    x = b.norm(g.like("ADD", out, x), layer, "attn_output_norm", op=rules.norm)
    inner = feed_forward(b, layer, x, rules)
    return b.norm(g.like("ADD", inner, x), layer, "layer_output_norm", op=rules.norm)


def _output(b: Builder, x: Node, rules: Rules) -> None:
    norm = b.of_model("output_norm.weight") or b.of_model("token_embd_norm.weight")
    if rules.picks == "before the norm":
        x = b.picked(_kept(x))
    if (norm is not None or rules.norms_without_weights) and not rules.norm_after:
        x = b.normed(x, norm, b.of_model("output_norm.bias"), op=rules.norm)
    if rules.picks == "after the norm":
        x = b.picked(_kept(x))
    _kept(x)
    table = b.tied_output()
    if table is not None and b.shape.architecture not in CACHELESS:
        if rules.scales_before_output:
            x = g.like("SCALE", x)
        logits = b.product(table, x, b.of_model("output.bias"))
        if rules.scales_logits:
            logits = g.like("SCALE", logits)
        if rules.caps_logits:
            for op in ("SCALE", "UNARY", "SCALE"):
                logits = g.like(op, logits)
        b.expand(_kept(logits))
    else:
        b.expand(x)
    _pooled(b, x)


def _kept(x: Node) -> Node:
    """What a program may read after the run: its memory serves nothing else."""
    x.is_output = True
    return x


def _pooled(b: Builder, x: Node) -> None:
    """One vector a text, of a model that is made for that."""
    kind = int(b.shape.key("pooling_type", 0) or 0)
    if kind == 1:
        turned = g.new("CONT", (x.ne[1], x.ne[0]), g.view(x, x.ne[1], x.ne[0]))
        mean = b.given("mean", b.tokens, b.settings.parallel)
        b.expand(g.new("MUL_MAT", (x.ne[0], b.settings.parallel), turned, mean))
    elif kind:
        ids = b.given("chosen rows", b.settings.parallel)
        b.expand(g.new("GET_ROWS", (x.ne[0], b.settings.parallel), x, ids))
