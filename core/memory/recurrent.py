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
    """(the cache, its rows of the slots at work, the numbers of the slots)."""
    width = state_widths(b.shape)[which]
    all_slots = b.settings.parallel
    leaf = b.state(layer, which, width)
    rows = g.reshaped(leaf, width, all_slots)
    ids = b.given("state slots", all_slots)
    zeroed = g.Node("SCALE", (width,), (0, 0, 0), (g.view(rows, 0),))
    zeroed.root, zeroed.layout = leaf, object()
    b.expand(zeroed)
    return leaf, rows, ids


def _read(b: Builder, layer: int, which: int) -> Node:
    """The state of the slots at work."""
    width = state_widths(b.shape)[which]
    _, rows, ids = _states(b, layer, which)
    return b.expand(g.new("GET_ROWS", (width, b.slots), rows, g.view(ids, b.slots)))


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
    last = g.view(window, kernel - 1, width, b.slots, at_start=False)
    _write(b, b.state(layer, 0, state_widths(b.shape)[0]), last)
    return window


def _convolution(b: Builder, layer: int, x: Node) -> Node:
    kernel, width = int(b.shape.key("shortconv.l_cache", 0)), x.ne[0]
    mixed = b.linear(layer, "shortconv.in_proj", x)
    b_part, c_part, x_part = (g.view(mixed, width, b.tokens, at_start=part == 0) for part in range(3))
    bx = g.like("MUL", b_part, x_part)
    window = _convolved(b, layer, bx, kernel=kernel, width=width)
    out = g.new("SSM_CONV", (width, b.tokens), window, b.needed(layer, "shortconv.conv.weight"))
    y = g.like("MUL", c_part, out)
    return b.linear(layer, "shortconv.out_proj", y)


def _mamba(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    key, tokens = b.shape.key, b.tokens
    kernel, inner = int(key("ssm.conv_kernel", 0)), int(key("ssm.inner_size", 0))
    state, rank = int(key("ssm.state_size", 0)), int(key("ssm.time_step_rank", 0))
    both = b.linear(layer, "ssm_in", x)
    part, gate = g.view(both, inner, tokens), g.view(both, inner, tokens, at_start=False)
    window = _convolved(b, layer, part, kernel=kernel, width=inner)
    leaf, rows, ids = _states(b, layer, 1)
    out = _biased(b, layer, g.new("SSM_CONV", (inner, tokens), window, b.needed(layer, "ssm_conv1d.weight")))
    out = g.like("UNARY", out)
    mixed = b.linear(layer, "ssm_x", out)
    dt = g.view(mixed, rank, tokens)
    parts = [g.view(mixed, state, tokens, at_start=False) for _ in range(2)]
    if "ssm_dt_norm.weight" in b.names(layer):
        dt = b.norm(dt, layer, "ssm_dt_norm", op=rules.norm)
        parts = [b.norm(part, layer, f"ssm_{name}_norm", op=rules.norm) for part, name in zip(parts, "bc", strict=True)]
    else:
        dt = g.new("CONT", (rank, tokens), dt)
    dt = b.linear(layer, "ssm_dt", dt)
    seen = g.view(g.reshaped(out, 1, inner, tokens), 1, inner, tokens)
    slots = g.view(ids, b.slots)
    scan = g.new("SSM_SCAN", (inner * tokens + state * inner * b.slots,), g.reshaped(rows, state, inner), seen, dt,
                 b.needed(layer, "ssm_a"), *parts, slots)  # fmt: skip
    _keep_scan(b, leaf, rows, ids, scan, state * inner)
    y = g.view(scan, inner, tokens)
    y = g.like("ADD", y, g.like("MUL", out, b.needed(layer, "ssm_d")))
    gate = g.new("CONT", (inner, tokens), gate)
    y = g.new("GLU", (inner, tokens), gate, y)
    return b.linear(layer, "ssm_out", y)


def _biased(b: Builder, layer: int, out: Node) -> Node:
    bias = b.weight(layer, "ssm_conv1d.bias")
    return out if bias is None else g.like("ADD", out, bias)


def _keep_scan(b: Builder, leaf: Node, rows: Node, ids: Node, scan: Node, width: int) -> None:
    """The state that a scan ends with goes back to its place."""
    b.expand(scan)
    _write(b, leaf, g.view(scan, width, b.slots, at_start=False))


def _mamba2(b: Builder, layer: int, x: Node, rules: Rules) -> Node:
    key, tokens = b.shape.key, b.tokens
    kernel, inner = int(key("ssm.conv_kernel", 0)), int(key("ssm.inner_size", 0))
    state, groups = int(key("ssm.state_size", 0)), int(key("ssm.group_count", 0))
    heads = int(key("ssm.time_step_rank", 0))
    width = inner + 2 * groups * state
    mixed = b.linear(layer, "ssm_in", x)
    gate = g.view(mixed, inner // heads, heads, tokens)
    part = g.view(mixed, width, tokens, at_start=False)
    window = _convolved(b, layer, part, kernel=kernel, width=width)
    leaf, rows, ids = _states(b, layer, 1)
    out = g.new("SSM_CONV", (width, tokens), window, b.needed(layer, "ssm_conv1d.weight"))
    out = g.like("UNARY", _biased(b, layer, out))
    seen = g.view(out, inner // heads, heads, tokens)
    parts = [g.view(out, state, groups, tokens, at_start=False) for _ in range(2)]
    dt = g.new("CONT", (heads, tokens), g.view(mixed, heads, tokens, at_start=False))
    dt = g.like("ADD", dt, b.needed(layer, "ssm_dt.bias"))
    slots = g.view(ids, b.slots)
    scan = g.new("SSM_SCAN", (inner * tokens + state * inner * b.slots,), g.reshaped(rows, state, inner), seen, dt,
                 b.needed(layer, "ssm_a"), *parts, slots)  # fmt: skip
    _keep_scan(b, leaf, rows, ids, scan, state * inner)
    y = g.view(scan, inner // heads, heads, tokens)
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
        beta = g.new("CONT", (v_heads, 1, tokens), g.view(ba, v_heads, tokens))
        alpha = g.new("CONT", (v_heads, tokens), g.view(ba, v_heads, tokens, at_start=False))
    else:
        beta = g.reshaped(b.linear(layer, "ssm_beta", x), v_heads, 1, tokens)
        alpha = g.reshaped(b.linear(layer, "ssm_alpha", x), v_heads, tokens)
    beta = g.like("UNARY", beta)
    decay = g.like("UNARY", g.like("ADD", alpha, b.needed(layer, "ssm_dt.bias")))
    decay = g.like("MUL", decay, b.needed(layer, "ssm_a"))
    window = _convolved(b, layer, mixed, kernel=kernel, width=width)
    now = _read(b, layer, 1)
    out = g.like("UNARY", g.new("SSM_CONV", (width, tokens), window, b.needed(layer, "ssm_conv1d.weight")))
    q, k = (_unit(g.view(out, state, k_heads, tokens, at_start=part == 0)) for part in range(2))
    if rules.repeats_heads and k_heads != v_heads:
        q, k = (g.new("REPEAT", (state, v_heads, tokens), part) for part in (q, k))
    v = g.view(out, length, v_heads, tokens, at_start=False)
    made = g.new("GATED_DELTA_NET", (inner * tokens + state * inner * b.slots,), q, k, v, decay, beta,
                 g.reshaped(now, state, length, v_heads, b.slots))  # fmt: skip
    _write(b, b.state(layer, 1, state_widths(b.shape)[1]), g.view(made, state * inner * b.slots, at_start=False))
    y = b.norm(g.view(made, length, v_heads, tokens), layer, "ssm_norm", op="RMS_NORM")
    y = g.like("MUL", y, g.like("UNARY", g.reshaped(gate, length, v_heads, tokens)))
    return b.linear(layer, "ssm_out", g.reshaped(y, inner, tokens))


def _unit(part: Node) -> Node:
    """Vectors of length one."""
    return g.like("SCALE", g.like("RMS_NORM", part))
