"""A graph of operations as llama.cpp builds it, reduced to what decides its buffers: sizes, sources, views and order.

A size is linear in the cells of the caches, (bytes, bytes a cell, bytes a cell of a window), so that one graph serves
all contexts. The order is that of ggml_build_forward_expand: sources first, left to right.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from core.memory.settings import KV_BLOCKS

Size = tuple[int, int, int]
NOTHING: Size = (0, 0, 0)

GPU, CPU = 0, 1
UNPLACED = -1

# Operations whose result may lie where a source was. Source: ggml_op_can_inplace.
IN_PLACE = frozenset({
    "FILL", "SCALE", "ADD", "ADD_ID", "SUB", "MUL", "DIV", "SQR", "SQRT", "UNARY", "ROPE", "RMS_NORM", "CLAMP",
    "SOFT_MAX",
})  # fmt: skip


class Node:
    """A tensor of the graph.

    `ne` is its shape with the row length first, and `layout` equal for tensors that lie in memory alike. `root` is what
    a view looks at. `home` is where a weight or a cache lies; `extra` what CUDA adds to its size. `batch` is the number
    of rows that decides whether work is worth a GPU. `uses` and `views` are counts of what is left of them, `number` is
    that of its memory, which it has while it is `owned`: see allocate.py.
    """

    __slots__ = (
        "batch", "extra", "home", "is_met", "is_output", "is_view", "is_weight", "layer", "layout", "ne", "number",
        "op", "owned", "place", "root", "size", "sources", "uses", "views",
    )  # fmt: skip

    def __init__(self, op: str, ne: tuple[int, ...], size: Size, sources: Iterable[Node] = ()) -> None:
        self.op = op
        self.ne = ne
        self.size = size
        self.sources = list(sources)
        self.layout: object = None
        self.root: Node | None = None
        self.home = self.place = UNPLACED
        self.extra: Size = NOTHING
        self.batch = 0
        self.is_output = self.is_weight = self.is_view = self.is_met = self.owned = False
        self.layer = self.number = -1
        self.uses = self.views = 0


NO_NODE = Node("", (), NOTHING)


class Fused(NamedTuple):
    """Neighbours that CUDA works off at once; `kept` live until the last one, or, if empty, all until the next node."""

    nodes: tuple[Node, ...]
    kept: tuple[Node, ...]


class Graph:
    """Nodes in the order of work, and the leaves (inputs, weights, caches) in the order in which they are met."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.leaves: list[Node] = []

    def expand(self, node: Node) -> Node:
        """Adds `node` and all it needs."""
        if node.is_met:
            return node
        node.is_met = True
        for source in node.sources:
            if not source.is_met:
                self.expand(source)
        (self.nodes if node.op else self.leaves).append(node)
        return node


def new(op: str, ne: tuple[int, ...], *sources: Node, item: int = 4) -> Node:
    """The result of an operation: contiguous, of `item` bytes a number."""
    whole = (*ne, 1, 1, 1, 1)[:4]
    node = Node(op, ne, (item * prod(ne), 0, 0), sources)
    node.layout = (item, whole)
    node.batch = _batch(op, whole)
    return node


def _batch(op: str, ne: tuple[int, ...]) -> int:
    if op == "GET_ROWS":
        return 0
    if op == "MUL_MAT":
        return ne[1]
    return ne[2] if op in ("MUL_MAT_ID", "ROPE") else prod(ne[1:])


def full(ne: tuple[int, ...]) -> tuple[int, ...]:
    return (*ne, 1, 1, 1, 1)[:4]


def like(op: str, source: Node, *others: Node) -> Node:
    """The result of an operation on each number of `source`."""
    return new(op, source.ne, source, *others)


def reshaped(source: Node, *ne: int) -> Node:
    """The same memory read in another shape."""
    return _viewed(source, ne, (4, full(ne)))


def view(source: Node, *ne: int, size: Size | None = None) -> Node:
    """A part of `source`, or all of it in another order."""
    seen = _viewed(source, ne, None)
    seen.size = size or seen.size
    return seen


def part(source: Node, *ne: int) -> Node:
    """Some of each row of `source`: its memory spans the rows between."""
    seen = view(source, *ne)
    rows = source.ne[-1]
    seen.size = (4 * ((rows - 1) * (prod(source.ne) // rows) + prod(ne) // rows), 0, 0)
    return seen


def _viewed(source: Node, ne: tuple[int, ...], layout: object) -> Node:
    seen = Node("VIEW", ne, (4 * prod(ne), 0, 0), (source,))
    seen.root = source.root or source
    seen.is_view = True
    seen.layout = layout if layout is not None else object()
    return seen


def given(*ne: int, item: int = 4) -> Node:
    """What is put in before each run."""
    leaf = Node("", ne, (item * prod(ne), 0, 0))
    leaf.layout = (item, full(ne))
    return leaf


def cells_given(rows: int, *, windowed: bool, item: int, streams: int = 1) -> Node:
    """An input with a number for each row and cell, as the attention's mask is."""
    leaf = Node("", (rows,), per_cell(rows * item * streams, windowed=windowed))
    leaf.layout = object()
    return leaf


def per_cell(nbytes: int, *, windowed: bool) -> Size:
    return (0, 0, nbytes) if windowed else (0, nbytes, 0)


def stored(ne: tuple[int, ...], nbytes: int, *, home: int, extra: int = 0) -> Node:
    """A weight."""
    leaf = Node("", ne, (nbytes, 0, 0))
    leaf.home, leaf.is_weight, leaf.extra = home, True, (extra, 0, 0)
    leaf.layout = object()
    return leaf


def remembered(width: int, kv_type: str, *, windowed: bool, home: int, streams: int = 1) -> Node:
    """A layer's keys or values."""
    nbytes, weights = KV_BLOCKS[kv_type]
    leaf = Node("", (width,), per_cell(width * nbytes // weights * streams, windowed=windowed))
    leaf.home = home
    leaf.layout = object()
    return leaf
