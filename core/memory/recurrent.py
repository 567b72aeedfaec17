"""Layers with a running state instead of a cache. Source: build_rs, build_mamba*_layer and delta-net in llama.cpp."""

from __future__ import annotations

from core.memory import graph as g
from core.memory.builder import Builder
from core.memory.cache import state_widths
from core.memory.graph import Node
from core.memory.rules import Rules


def recurrent(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """What such a layer gives for x, before the residual."""
    names = b.names(layer)
    if "shortconv.conv.weight" in names:
        return _convolution(b, layer, x)
    if "ssm_ba.weight" in names or "ssm_alpha.weight" in names:
        return _delta(b, layer, x, rules)
    if "ssm_dt.weight" in names:
        return _mamba(b, layer, x, rules)
    return _mamba2(b, layer, x, rules)


def _states(b: Builder, layer: int, which: int) -> tuple[Node, Node, Node]:
    """(the cache, its rows, the numbers of the slots at work)."""
    width = state_widths(b.shape)[which]
    leaf = b.state(layer, which, width)
    rows = g.reshaped(leaf, width, b.settings.parallel)
    zeroed = g.Node("SCALE", (width,), g.NOTHING, (g.view(rows, 0),))
    zeroed.root, zeroed.layout = leaf, object()
    b.expand(zeroed)
    return leaf, rows, b.part_of_slots(b.slots)


def _read(b: Builder, layer: int, which: int) -> Node:
    """The state of the slots at work."""
    leaf, rows, slots = _states(b, layer, which)
    read = b.expand(g.new("GET_ROWS", (rows.ne[0], b.slots), rows, slots))
    _keep_others(b, leaf, rows)
    return read


def _keep_others(b: Builder, leaf: Node, rows: Node) -> None:
    """States of slots at rest go back to their places: none in a graph for all slots, but a step of work."""
    _write(b, leaf, g.new("GET_ROWS", (rows.ne[0], 0), rows, b.part_of_slots(0)))


def _write(b: Builder, leaf: Node, source: Node) -> None:
    target = g.view(leaf, 1, size=source.size)
    write = g.Node("CPY", source.ne, source.size, (source, target))
    write.root, write.layout = leaf, object()
    b.expand(write)


def _convolved(b: Builder, layer: int, x: Node, *, kernel: int, width: int) -> Node:
    """The window that a convolution looks at: the state, then x [width, tokens]; its end becomes the state."""
    state = _read(b, layer, 0)
    per_slot = b.tokens // b.slots
    before = g.reshaped(state, kernel - 1, width, b.slots)
    after = g.view(x, per_slot, width, b.slots)
    window = g.new("CONCAT", (kernel - 1 + per_slot, width, b.slots), before, after)
    row = 4 * (kernel - 1 + per_slot)
    spanned = 4 * (kernel - 1) + (width * b.slots - 1) * row
    last = g.view(window, kernel - 1, width, b.slots, size=(spanned, 0, 0))
    _write(b, b.state(layer, 0, state_widths(b.shape)[0]), last)
    return window


def _convolution(b: Builder, layer: int, x: Node) -> Node:
    kernel, width = int(b.shape.key("shortconv.l_cache", 0)), x.ne[0]
    mixed = b.linear(layer, "shortconv.in_proj", x)
    b_part, c_part, x_part = (g.part(mixed, width, b.tokens) for part in range(3))
    bx = g.like("MUL", b_part, x_part)
    window = _convolved(b, layer, bx, kernel=kernel, width=width)
    out = g.new("SSM_CONV", (width, b.tokens), window, b.needed(layer, "shortconv.conv.weight"))
    y = g.like("MUL", c_part, out)
    return _flat(b, b.linear(layer, "shortconv.out_proj", y))


def _mamba(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    key, tokens = b.shape.key, b.tokens
    kernel, inner = int(key("ssm.conv_kernel", 0)), int(key("ssm.inner_size", 0))
    state, rank = int(key("ssm.state_size", 0)), int(key("ssm.time_step_rank", 0))
    both = b.linear(layer, "ssm_in", x)
    part, gate = g.part(both, inner, tokens), g.part(both, inner, tokens)
    window = _convolved(b, layer, part, kernel=kernel, width=inner)
    leaf, rows, slots = _states(b, layer, 1)
    out = _biased(b, layer, g.new("SSM_CONV", (inner, tokens), window, b.needed(layer, "ssm_conv1d.weight")))
    out = g.like("UNARY", out)
    mixed = b.linear(layer, "ssm_x", out)
    dt = g.part(mixed, rank, tokens)
    parts = [g.part(mixed, state, tokens) for _ in range(2)]
    if "ssm_dt_norm.weight" in b.names(layer) or key("ssm.dt_b_c_rms"):
        dt = b.norm(dt, layer, "ssm_dt_norm", op=rules.norm)
        parts = [b.norm(part, layer, f"ssm_{name}_norm", op=rules.norm) for part, name in zip(parts, "bc", strict=True)]
    else:
        dt = g.new("CONT", (rank, tokens), dt)
    dt = b.linear(layer, "ssm_dt", dt)
    seen = g.view(g.reshaped(out, 1, inner, tokens), 1, inner, tokens)
    states = g.reshaped(rows, state, inner, b.settings.parallel)
    scan = g.new("SSM_SCAN", (inner * tokens + state * inner * b.slots,), states, seen, dt, b.needed(layer, "ssm_a"),
                 *parts, slots)  # fmt: skip
    _keep_scan(b, leaf, rows, scan, state * inner)
    y = g.reshaped(scan, inner, tokens)
    y = g.like("ADD", y, g.like("MUL", out, b.needed(layer, "ssm_d")))
    gate = g.new("CONT", (inner, tokens), gate)
    y = g.new("GLU", (inner, tokens), gate, y)
    return _flat(b, b.linear(layer, "ssm_out", y))


def _flat(b: Builder, x: Node) -> Node:
    """The tokens of all slots in one row of vectors: a view."""
    return g.reshaped(x, x.ne[0], b.tokens)


def _biased(b: Builder, layer: int, out: Node) -> Node:
    bias = b.weight(layer, "ssm_conv1d.bias")
    return out if bias is None else g.like("ADD", out, bias)


def _keep_scan(b: Builder, leaf: Node, rows: Node, scan: Node, width: int) -> None:
    """The state that a scan ends with goes back to its place."""
    b.expand(scan)
    _keep_others(b, leaf, rows)
    _write(b, leaf, g.view(scan, width, b.slots))


def _mamba2(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    key, tokens = b.shape.key, b.tokens
    kernel, inner = int(key("ssm.conv_kernel", 0)), int(key("ssm.inner_size", 0))
    state, groups = int(key("ssm.state_size", 0)), int(key("ssm.group_count", 0))
    heads = int(key("ssm.time_step_rank", 0))
    width = inner + 2 * groups * state
    mixed = b.linear(layer, "ssm_in", x)
    gate = g.part(mixed, inner // heads, heads, tokens)
    part = g.part(mixed, width, tokens)
    window = _convolved(b, layer, part, kernel=kernel, width=width)
    leaf, rows, slots = _states(b, layer, 1)
    out = g.new("SSM_CONV", (width, tokens), window, b.needed(layer, "ssm_conv1d.weight"))
    out = g.like("UNARY", _biased(b, layer, out))
    seen = g.part(out, inner // heads, heads, tokens)
    parts = [g.part(out, state, groups, tokens) for _ in range(2)]
    dt = g.new("CONT", (heads, tokens), g.part(mixed, heads, tokens))
    dt = g.like("ADD", dt, b.needed(layer, "ssm_dt.bias"))
    states = g.reshaped(rows, state, inner, b.settings.parallel)
    scan = g.new("SSM_SCAN", (inner * tokens + state * inner * b.slots,), states, seen, dt, b.needed(layer, "ssm_a"),
                 *parts, slots)  # fmt: skip
    _keep_scan(b, leaf, rows, scan, state * inner)
    y = g.reshaped(scan, inner // heads, heads, tokens)
    y = g.like("ADD", y, g.like("MUL", seen, b.needed(layer, "ssm_d")))
    gate = g.new("CONT", (inner // heads, heads, tokens), gate)
    y = g.new("GLU", (inner // heads, heads, tokens), gate, y)
    if "ssm_norm.weight" in b.names(layer):
        y = g.reshaped(y, inner // groups, groups, tokens)
        y = b.norm(y, layer, "ssm_norm", op="RMS_NORM")
    return b.linear(layer, "ssm_out", g.reshaped(y, inner, tokens))


def _delta(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    """Linear attention with a gated delta rule, as in Qwen3-Next and Qwen 3.5."""
    key, tokens = b.shape.key, b.tokens
    kernel, state = int(key("ssm.conv_kernel", 0)), int(key("ssm.state_size", 0))
    k_heads, v_heads = int(key("ssm.group_count", 0)), int(key("ssm.time_step_rank", 0))
    inner = int(key("ssm.inner_size", 0))
    length = inner // v_heads
    width = inner + 2 * k_heads * state
    b.expand(x)
    mixed = b.linear(layer, "attn_qkv", x)
    gate = b.linear(layer, "attn_gate", x)
    if "ssm_ba.weight" in b.names(layer):
        ba = b.linear(layer, "ssm_ba", x)
        beta = g.new("CONT", (v_heads, 1, tokens), g.part(ba, v_heads, tokens))
        alpha = g.new("CONT", (v_heads, tokens), g.part(ba, v_heads, tokens))
    else:
        beta = g.reshaped(b.linear(layer, "ssm_beta", x), v_heads, 1, tokens)
        alpha = g.reshaped(b.linear(layer, "ssm_alpha", x), v_heads, tokens)
    beta = g.like("UNARY", beta)
    decay = g.like("UNARY", g.like("ADD", alpha, b.needed(layer, "ssm_dt.bias")))
    decay = g.like("MUL", decay, b.needed(layer, "ssm_a"))
    window = _convolved(b, layer, mixed, kernel=kernel, width=width)
    now = _read(b, layer, 1)
    out = g.like("UNARY", g.new("SSM_CONV", (width, tokens), window, b.needed(layer, "ssm_conv1d.weight")))
    q, k = (_unit(g.part(out, state, k_heads, tokens)) for part in range(2))
    if rules.repeats_heads and k_heads != v_heads:
        q, k = (g.new("REPEAT", (state, v_heads, tokens), part) for part in (q, k))
    v = g.part(out, length, v_heads, tokens)
    made = g.new("GATED_DELTA_NET", (inner * tokens + state * inner * b.slots,), q, k, v, decay, beta,
                 g.reshaped(now, state, length, v_heads, b.slots))  # fmt: skip
    _write(b, b.state(layer, 1, state_widths(b.shape)[1]), g.view(made, state * inner * b.slots))
    y = b.norm(g.view(made, length, v_heads, tokens), layer, "ssm_norm", op="RMS_NORM")
    y = g.like("MUL", y, g.like("UNARY", g.reshaped(gate, length, v_heads, tokens)))
    return _flat(b, b.linear(layer, "ssm_out", g.reshaped(y, inner, tokens)))


def _unit(part: Node) -> Node:
    """Vectors of length one."""
    return g.like("SCALE", g.like("RMS_NORM", part))
