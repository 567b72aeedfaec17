"""The feed-forward part of one layer: plain, gated, or of experts. Source: build_ffn and build_moe_ffn."""

from __future__ import annotations

from core.memory import graph as g
from core.memory.builder import Builder
from core.memory.graph import Node
from core.memory.rules import Rules


def feed_forward(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """What a layer's feed-forward part gives for x, before the residual."""
    if "ffn_gate_inp.weight" not in b.names(layer):
        return dense(b, layer, x, rules)
    out = experts(b, layer, x, rules)
    if "ffn_up_shexp.weight" in b.names(layer):
        shared = dense(b, layer, x, rules, suffix="_shexp")
        if "ffn_gate_inp_shexp.weight" in b.names(layer):
            gate = b.linear(layer, "ffn_gate_inp_shexp", x)
            opened = g.like("UNARY", gate)
            if rules.divides_gate:
                opened = g.like("DIV", opened, gate)
            shared = g.like("MUL", shared, opened)
        out = g.like("ADD", out, shared)
    elif rules.dense_beside_experts and "ffn_up.weight" in b.names(layer):
        out = g.like("ADD", out, dense(b, layer, x, rules))
    return out


def dense(b: Builder, layer: int, x: Node, rules: Rules, *, suffix: str = "") -> Node:
    """One block of matrices for all tokens."""
    names = b.names(layer)
    down = names[f"ffn_down{suffix}.weight"]
    up = b.linear(layer, f"ffn_up{suffix}", x)
    if f"ffn_gate{suffix}.weight" in names:
        inner = _gated(b, b.linear(layer, f"ffn_gate{suffix}", x), up, rules)
    elif up.ne[0] == 2 * down.ne[0]:
        inner = g.new("GLU", (down.ne[0], *up.ne[1:]), up)
    else:
        inner = g.like("UNARY", up)
        if rules.squares:
            inner = g.like("SQR", inner)
    if f"ffn_sub_norm{suffix}.weight" in names:
        inner = b.norm(inner, layer, "ffn_sub_norm", op=rules.norm)
    return b.linear(layer, f"ffn_down{suffix}", inner)


def _gated(b: Builder, gate: Node, up: Node, rules: Rules) -> Node:
    if rules.sequential_gate:
        return g.like("MUL", g.like("UNARY", gate), up)
    return g.new("GLU", gate.ne, gate, up)


def experts(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """A few experts for each token, their results weighted and summed."""
    shape = b.shape
    used, tokens = int(shape.key("expert_used_count", 0)), x.ne[1]
    logits = b.linear(layer, "ffn_gate_inp", x)
    count = logits.ne[0]
    probabilities = logits if rules.weighs_chosen else g.like(rules.gating(shape), logits)
    chosen_by = logits if rules.chooses_by_logits else probabilities
    bias = b.weight(layer, "exp_probs_b.bias")
    if bias is not None:
        chosen_by = g.like("ADD", chosen_by, bias)
    if int(shape.key("expert_group_count", 0) or 0) > 1:
        chosen_by = _in_groups(b, chosen_by, count, tokens)
    chosen = g.view(g.new("ARGSORT", (count, tokens), chosen_by), used, tokens)
    weights = g.new("GET_ROWS", (1, used, tokens), g.reshaped(probabilities, 1, count, tokens), chosen)
    if rules.weighs_chosen:
        weights = g.reshaped(g.like("SOFT_MAX", g.reshaped(weights, used, tokens)), 1, used, tokens)
    if rules.normalizes(shape):
        flat = g.reshaped(weights, used, tokens)
        total = g.like("CLAMP", g.new("SUM_ROWS", (1, tokens), flat))
        weights = g.reshaped(g.like("DIV", flat, total), 1, used, tokens)
    if rules.scales_experts(shape):
        weights = g.like("SCALE", weights)
    b.expand(weights)
    rows = g.reshaped(x, x.ne[0], 1, tokens)
    if rules.weighs_before:
        repeated = g.new("REPEAT", (x.ne[0], used, tokens), rows)
        rows = g.like("MUL", repeated, weights)
    out = _through_experts(b, layer, rows, chosen, used, tokens, rules)
    if rules.weighs_before:
        return _summed(b, out, used, tokens)
    total = _summed(b, g.like("MUL", out, weights), used, tokens)
    b.keep_until(total, out, weights)
    return total


def _through_experts(b: Builder, layer: int, x: Node, chosen: Node, used: int, tokens: int, rules: Rules) -> Node:
    names = b.names(layer)

    def through(name: str, rows: Node) -> Node:
        weight = b.needed(layer, f"{name}.weight")
        made = g.new("MUL_MAT_ID", (weight.ne[1], used, tokens), weight, rows, chosen)
        bias = b.weight(layer, f"{name}.bias")
        return g.like("ADD_ID", made, bias, chosen) if bias is not None else made

    if "ffn_gate_up_exps.weight" in names:
        both = through("ffn_gate_up_exps", x)
        half = both.ne[0] // 2
        gate, up = g.view(both, half, used, tokens), g.view(both, half, used, tokens, at_start=False)
        inner = g.new("GLU", (half, used, tokens), gate, up)
    else:
        up = through("ffn_up_exps", x)
        if "ffn_gate_exps.weight" in names:
            inner = g.new("GLU", up.ne, through("ffn_gate_exps", x), up)
        else:
            inner = g.like("UNARY", up)
            if rules.squares:
                inner = g.like("SQR", inner)
    return through("ffn_down_exps", inner)


def _summed(b: Builder, out: Node, used: int, tokens: int) -> Node:
    b.expand(out)
    parts = [b.expand(g.view(out, out.ne[0], tokens, at_start=index == 0)) for index in range(used)]
    total = parts[0]
    for part in parts[1:]:
        total = b.expand(g.like("ADD", total, part))
    if used == 1:
        total = g.new("CONT", total.ne, total)
    return total


def _in_groups(b: Builder, scores: Node, count: int, tokens: int) -> Node:
    """Only the experts of the best groups may be chosen, as in DeepSeek 3."""
    groups = int(b.shape.key("expert_group_count", 0))
    used = int(b.shape.key("expert_group_used_count", 0))
    inside = count // groups
    by_group = g.reshaped(scores, inside, groups, tokens)
    order = g.view(g.new("ARGSORT", (inside, groups, tokens), by_group), 2, groups, tokens)
    best = g.new("GET_ROWS", (1, 2, groups, tokens), g.reshaped(by_group, 1, inside, groups, tokens), order)
    total = g.new("SUM_ROWS", (1, groups, tokens), g.reshaped(best, 2, groups, tokens))
    total = g.reshaped(total, groups, tokens)
    group_order = g.view(g.new("ARGSORT", (groups, tokens), total), groups - used, tokens, at_start=False)
    filled = g.like("FILL", total)
    write = g.Node("SET_ROWS", scores.ne, scores.size, (filled, group_order, by_group))
    write.root, write.layout, write.batch = by_group.root, object(), tokens
    return g.view(write, count, tokens)
