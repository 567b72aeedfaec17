"""Gemma 3n and 4: embeddings of each token for each layer, and (3n) four versions of every token side by side."""

from __future__ import annotations

from core.memory import graph as g
from core.memory.attention import attention
from core.memory.builder import Builder
from core.memory.feed_forward import dense, experts, feed_forward
from core.memory.graph import Node
from core.memory.rules import Rules

_VERSIONS = 4


def looked_up_per_layer(b: Builder) -> Node | None:
    """What each layer knows of each token [width, layers, tokens]; None for a model without."""
    table = b.of_model("per_layer_token_embd.weight")
    if table is None:
        return None
    layers, tokens = len(b.shape.layers), b.tokens
    width = int(b.shape.key("embedding_length_per_layer_input", 0))
    found = g.new("GET_ROWS", (width * layers, tokens), table, b.given("tokens again", tokens))
    return b.expand(g.like("SCALE", g.reshaped(found, width, layers, tokens)))


def per_layer_inputs(b: Builder, x: Node, own: Node | None) -> Node | None:
    """What each layer gets of each token [width, tokens, layers], from its own table and from the embedding."""
    if own is None:
        return None
    width, layers, tokens = own.ne
    projection = b.of_model("per_layer_model_proj.weight", layer=0)
    assert projection is not None
    made = g.like("SCALE", b.product(projection, x))
    made = b.normed(g.reshaped(made, width, layers, tokens), b.of_model("per_layer_proj_norm.weight"), op="RMS_NORM")
    both = g.like("SCALE", g.like("ADD", made, own))
    return g.new("CONT", (width, tokens, layers), g.view(both, width, tokens, layers))


def _of_layer(b: Builder, inputs: Node, layer: int) -> Node:
    return g.view(inputs, inputs.ne[0], b.tokens)


def mixed_in(b: Builder, layer: int, x: Node, inputs: Node | None, rules: Rules) -> Node:
    """A Gemma 4 layer's end: its own embedding of each token, and a scale."""
    if inputs is not None:
        gate = g.like("UNARY", b.linear(layer, "inp_gate", x))
        own = _of_layer(b, inputs, layer)
        if b.picks_in(layer, rules):
            own = b.picked(own)
        out = b.linear(layer, "proj", g.like("MUL", gate, own))
        x = g.like("ADD", x, b.norm(out, layer, "post_norm", op="RMS_NORM"))
    scale = b.weight(layer, "layer_output_scale.weight")
    return x if scale is None else g.like("MUL", x, scale)


def feed_forward_of_gemma4(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """A plain block, and experts beside it where there are any, each with norms of its own."""
    inner = b.norm(x, layer, "ffn_norm", op="RMS_NORM")
    if "ffn_gate_inp.weight" not in b.names(layer):
        return feed_forward(b, layer, inner, rules)
    plain = b.norm(dense(b, layer, inner, rules), layer, "post_ffw_norm_1", op="RMS_NORM")
    chosen = b.norm(x, layer, "pre_ffw_norm_2", op="RMS_NORM")
    asked = g.like("SCALE", g.like("RMS_NORM", x))
    logits = b.linear(layer, "ffn_gate_inp", g.like("MUL", asked, b.needed(layer, "ffn_gate_inp.scale")))
    routed = b.norm(experts(b, layer, chosen, rules, logits=logits), layer, "post_ffw_norm_2", op="RMS_NORM")
    return g.like("ADD", plain, routed)


# --- Gemma 3n ---


def spread(b: Builder, x: Node) -> Node:
    """Four versions of each token [embedding, tokens, 4], all as long as the first."""
    return g.new("CONCAT", (x.ne[0], b.tokens, _VERSIONS), x, _as_long(b, x, "altup_proj.weight", _repeated(b, x)))


def _repeated(b: Builder, x: Node) -> Node:
    return g.new("REPEAT", (x.ne[0], b.tokens, _VERSIONS - 1), x)


def _length(x: Node) -> Node:
    return g.like("UNARY", g.new("SUM_ROWS", (1, *x.ne[1:]), g.like("SQR", x)))


def _as_long(b: Builder, x: Node, name: str, others: Node) -> Node:
    projection = b.of_model(name)
    assert projection is not None
    made = g.new("MUL_MAT", (x.ne[0], b.tokens, _VERSIONS - 1), projection, others)
    return g.like("DIV", g.like("MUL", made, _length(x)), _length(made))


def gathered(b: Builder, x: Node) -> Node:
    """One version again."""
    width = x.ne[0]
    first = g.view(x, width, b.tokens)
    rest = g.view(x, width, b.tokens, _VERSIONS - 1)
    made = _as_long(b, first, "altup_unembd_proj.weight", rest)
    for _ in range(_VERSIONS - 1):
        first = g.new("ADD", (width, b.tokens), first, g.view(made, width, b.tokens))
    return b.picked(g.like("SCALE", first))


def layer_of_gemma3n(b: Builder, layer: int, x: Node, inputs: Node, rules: Rules) -> Node:
    """Predicts all versions, works with one, and corrects the others by it."""
    width, tokens = x.ne[0], b.tokens
    predicted = _predicted(b, layer, x)
    active = g.view(predicted, width, tokens)
    normed = b.norm(active, layer, "attn_norm", op="RMS_NORM")
    out = b.norm(attention(b, layer, normed, rules), layer, "post_attention_norm", op="RMS_NORM")
    out = g.like("ADD", out, active)
    side = b.linear(layer, "laurel_r", b.linear(layer, "laurel_l", normed))
    side = g.like("ADD", b.norm(side, layer, "laurel_post_norm", op="RMS_NORM"), normed)
    out = g.like("SCALE", g.like("ADD", out, side))
    inner = _sparse(b, layer, b.norm(out, layer, "ffn_norm", op="RMS_NORM"))
    out = g.like("ADD", b.norm(inner, layer, "post_ffw_norm", op="RMS_NORM"), out)
    corrected = _corrected(b, layer, predicted, out)
    first = g.like("MUL", g.view(corrected, width, tokens), b.needed(layer, "altup_correct_scale.weight"))
    gate = g.like("UNARY", b.linear(layer, "inp_gate", first))
    own = b.linear(layer, "proj", g.like("MUL", gate, _of_layer(b, inputs, layer)))
    own = b.norm(own, layer, "post_norm", op="RMS_NORM")
    rest = g.view(corrected, width, tokens, _VERSIONS - 1)
    return g.new("CONCAT", x.ne, g.view(corrected, width, tokens), g.like("ADD", rest, own))


def _modes(b: Builder, layer: int, x: Node) -> Node:
    normed = g.like("SCALE", b.norm(x, layer, "altup_router_norm", op="RMS_NORM"))
    return g.like("UNARY", b.linear(layer, "altup_router", normed))


def _predicted(b: Builder, layer: int, x: Node) -> Node:
    width, tokens = x.ne[0], b.tokens
    by_version = g.new("CONT", (_VERSIONS, width, tokens), g.view(x, _VERSIONS, width, tokens))
    factors = b.linear(layer, "altup_predict_coef", _modes(b, layer, g.view(x, width, tokens)))
    made = g.new("MUL_MAT", (width, _VERSIONS, tokens), by_version, g.reshaped(factors, _VERSIONS, _VERSIONS, tokens))
    return g.like("ADD", g.new("CONT", x.ne, g.view(made, *x.ne)), x)


def _corrected(b: Builder, layer: int, predicted: Node, out: Node) -> Node:
    new = g.like("SUB", out, g.view(predicted, *out.ne))
    everywhere = g.new("REPEAT", predicted.ne, new)
    factors = g.like("SCALE", b.linear(layer, "altup_correct_coef", _modes(b, layer, out)))
    turned = g.new("CONT", (1, b.tokens, _VERSIONS), g.view(factors, 1, b.tokens, _VERSIONS))
    return g.like("ADD", g.like("MUL", everywhere, turned), predicted)


def _sparse(b: Builder, layer: int, x: Node) -> Node:
    """A gated block; in some layers only what stands out of a gate counts."""
    up, gate = b.linear(layer, "ffn_up", x), b.linear(layer, "ffn_gate", x)
    scales = b.shape.key("activation_sparsity_scale") or ()
    if layer < len(scales) and scales[layer] > 0:
        mean = g.new("MEAN", (1, b.tokens), gate)
        spread_out = g.new("SUM_ROWS", (1, b.tokens), g.like("SQR", g.like("SUB", gate, mean)))
        limit = g.like("SCALE", g.like("UNARY", g.like("SCALE", spread_out)))
        gate = g.like("UNARY", g.like("SUB", gate, g.like("ADD", mean, limit)))
    return b.linear(layer, "ffn_down", g.like("MUL", up, g.like("UNARY", gate)))
