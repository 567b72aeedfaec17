"""The feed-forward part of one layer: plain, gated, or of experts. Source: build_ffn and build_moe_ffn."""

from __future__ import annotations

from core.memory import graph as g
from core.memory.builder import Builder
from core.memory.graph import Node
from core.memory.rules import Rules
from core.memory.shape import Shape

# What CUDA works off at once: sums over so many experts, choices among so many.
_MOST_REDUCED = 15
_MOST_CHOSEN_AMONG = 512
_ALSO_CHOSEN_AMONG = (288, 576)


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


def experts(b: Builder, layer: int, x: Node, rules: Rules, *, logits: Node | None = None) -> Node:
    """A few experts for each token, their results weighted and summed."""
    shape = b.shape
    used, tokens = int(shape.key("expert_used_count", 0)), x.ne[1]
    if logits is None:
        logits = b.linear(layer, "ffn_gate_inp", x)
    count = logits.ne[0]
    probabilities = logits if rules.weighs_chosen else g.like(rules.gating(shape), logits)
    chosen_by = logits if rules.chooses_by_logits else probabilities
    bias = b.weight(layer, "exp_probs_b.bias")
    if bias is not None:
        chosen_by = g.like("ADD", chosen_by, bias)
    in_groups = int(shape.key("expert_group_count", 0) or 0) > 1
    sorted_by = _in_groups(b, chosen_by, count, tokens) if in_groups else chosen_by
    order = g.new("ARGSORT", (count, tokens), sorted_by)
    chosen = g.view(order, used, tokens)
    each = g.reshaped(probabilities, 1, count, tokens)
    picked = g.new("GET_ROWS", (1, used, tokens), each, chosen)
    after = _weights(picked, used, tokens, rules, shape)
    weights = after[-1]
    if not (rules.weighs_chosen or rules.chooses_by_logits or in_groups) and _fits_topk(count):
        biased = [chosen_by] if bias is not None else []
        b.fuse([probabilities, each, *biased, order, chosen, *after])
    b.expand(weights)
    rows = g.reshaped(x, x.ne[0], 1, tokens)
    if rules.weighs_before:
        repeated = g.new("REPEAT", (x.ne[0], used, tokens), rows)
        rows = g.like("MUL", repeated, weights)
    out = _through_experts(b, layer, rows, chosen, used, tokens, rules)
    if rules.weighs_before:
        return _summed(b, out, used, tokens)[1][-1]
    weighted = g.like("MUL", out, weights)
    views, sums = _summed(b, weighted, used, tokens)
    if 2 <= used <= _MOST_REDUCED and out.op == "MUL":
        raw, scales = out.sources
        b.fuse([out, weighted, *views, *sums], kept=(raw, weights, scales))
    elif 2 <= used <= _MOST_REDUCED:
        b.fuse([weighted, *views, *sums], kept=(out, weights))
    return sums[-1]


def _weights(picked: Node, used: int, tokens: int, rules: Rules, shape: Shape) -> list[Node]:
    """From the probabilities of the chosen experts to their weights, step by step."""
    steps = [picked]
    if rules.weighs_chosen:
        flat = g.reshaped(picked, used, tokens)
        soft = g.like("SOFT_MAX", flat)
        steps += [flat, soft, g.reshaped(soft, 1, used, tokens)]
    if rules.normalizes(shape):
        flat = g.reshaped(steps[-1], used, tokens)
        total = g.new("SUM_ROWS", (1, tokens), flat)
        limited = g.like("CLAMP", total)
        shares = g.like("DIV", flat, limited)
        steps += [flat, total, limited, shares, g.reshaped(shares, 1, used, tokens)]
    if rules.scales_experts(shape):
        steps.append(g.like("SCALE", steps[-1]))
    return steps


def _fits_topk(experts: int) -> bool:
    """Whether CUDA has a kernel that chooses among so many."""
    return (experts <= _MOST_CHOSEN_AMONG and experts & (experts - 1) == 0) or experts in _ALSO_CHOSEN_AMONG


def _through_experts(b: Builder, layer: int, x: Node, chosen: Node, used: int, tokens: int, rules: Rules) -> Node:
    names = b.names(layer)

    def through(name: str, rows: Node) -> Node:
        weight = b.needed(layer, f"{name}.weight")
        made = g.new("MUL_MAT_ID", (weight.ne[1], used, tokens), weight, rows, chosen)
        scale = b.weight(layer, f"{name}.scale")
        if scale is not None:
            count = scale.ne[0]
            everywhere = g.new("REPEAT", (1, count, tokens), g.reshaped(scale, 1, count, 1))
            made = g.like("MUL", made, g.new("GET_ROWS", (1, used, tokens), everywhere, chosen))
        bias = b.weight(layer, f"{name}.bias")
        return g.like("ADD_ID", made, bias, chosen) if bias is not None else made

    if "ffn_gate_up_exps.weight" in names:
        both = through("ffn_gate_up_exps", x)
        half = both.ne[0] // 2
        gate, up = g.view(both, half, used, tokens), g.view(both, half, used, tokens)
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


def _summed(b: Builder, out: Node, used: int, tokens: int) -> tuple[list[Node], list[Node]]:
    """(the results of each expert, the sums of the first ones)."""
    b.expand(out)
    parts = [b.expand(_of_expert(out, tokens, index)) for index in range(used)]
    sums = [g.new("CONT", parts[0].ne, parts[0])] if used == 1 else []
    for part in parts[1:]:
        sums.append(b.expand(g.like("ADD", sums[-1] if sums else parts[0], part)))
    return parts, sums


def _of_expert(out: Node, tokens: int, index: int) -> Node:
    width, used = out.ne[0], out.ne[1]
    spanned = 4 * ((tokens - 1) * width * used + width)
    return g.view(out, width, tokens, size=(spanned, 0, 0))


def _in_groups(b: Builder, scores: Node, count: int, tokens: int) -> Node:
    """Only the experts of the best groups may be chosen, as in DeepSeek 3."""
    groups = int(b.shape.key("expert_group_count", 0))
    used = int(b.shape.key("expert_group_used_count", 0))
    inside = count // groups
    by_group = g.reshaped(scores, inside, groups, tokens)
    best_two = g.view(g.new("ARGSORT", (inside, groups, tokens), by_group), 2, groups, tokens)
    best = g.new("GET_ROWS", (1, 2, groups, tokens), g.reshaped(by_group, 1, inside, groups, tokens), best_two)
    total = g.new("SUM_ROWS", (1, groups, tokens), g.reshaped(best, 2, groups, tokens))
    chosen = g.view(g.new("ARGSORT", (groups, tokens), g.reshaped(total, groups, tokens)), used, tokens)
    filled = g.like("FILL", by_group)
    kept = g.new("GET_ROWS", (inside, used, tokens), by_group, chosen)
    write = g.Node("SET_ROWS", scores.ne, scores.size, (kept, chosen, filled))
    write.root, write.layout, write.batch = filled, object(), tokens
    return g.reshaped(write, count, tokens)
