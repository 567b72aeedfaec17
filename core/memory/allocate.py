"""What a graph's buffers take: each tensor lives from its making to its last use. Source: ggml-alloc.c.

The order of takings and givings back is found once for a graph (`lifetimes`); `peaks` then plays it with sizes.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from core.memory.graph import CPU, GPU, UNPLACED, Graph, Node, Size
from core.memory.schedule import Step
from core.memory.settings import padded

ALIGNMENT = {GPU: 128, CPU: 32}

# What happens to a tensor, by its number.
_TAKE, _GIVE, _PASS_ON = range(3)
_ENDLESS = 1 << 62


@dataclass(frozen=True)
class Lifetimes:
    """`sizes` and `places` by number of a tensor; `events` are (what, tensor, the one whose memory it takes over)."""

    sizes: list[Size]
    places: list[int]
    events: list[tuple[int, int, int]]


def lifetimes(graph: Graph, steps: list[Step]) -> Lifetimes:
    """When each tensor is made and when it is used the last time."""
    return _Lifetimes(steps).found(graph)


class _Lifetimes:
    """ggml_gallocr_alloc_graph_impl: counts of the uses and views that are left of each tensor."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.uses: dict[int, int] = {}
        self.views: dict[int, int] = {}
        self.number: dict[int, int] = {}
        self.owned: dict[int, bool] = {}
        self.result = Lifetimes([], [], [])

    def found(self, graph: Graph) -> Lifetimes:
        for leaf in graph.leaves:
            self._take(leaf, leaf.place)
        for step in self.steps:
            node = step.node
            if node.root is not None and not step.is_note:
                self.views[id(node.root)] = self.views.get(id(node.root), 0) + 1
            for source in node.sources:
                self.uses[id(source)] = self.uses.get(id(source), 0) + 1
        for step in self.steps:
            node = step.node
            if not step.is_note:
                self._take(node, step.place)
            for source in node.sources:
                self._used(source)
        return self.result

    def _take(self, node: Node, place: int) -> None:
        if id(node) in self.owned or node.home != UNPLACED or node.root is not None:
            return
        before = self._taken_over(node) if node.in_place else None
        number = len(self.result.sizes)
        self.number[id(node)] = number
        self.owned[id(node)] = True
        if before is None:
            self._add(node, place)
            self.result.events.append((_TAKE, number, -1))
        else:
            old = self.number[id(before)]
            self._add(node, self.result.places[old])
            self.result.events.append((_PASS_ON, number, old))

    def _add(self, node: Node, place: int) -> None:
        size, extra = node.size, node.extra
        both = (size[0] + extra[0], size[1] + extra[1], size[2] + extra[2])
        self.result.sizes.append(both if place == GPU else size)
        self.result.places.append(place)

    def _taken_over(self, node: Node) -> Node | None:
        """The source whose memory the result can have: never a view, for a view owns none."""
        for source in node.sources:
            if not self.owned.get(id(source), False) or source.is_output or source.layout != node.layout:
                continue
            if self.uses.get(id(source), 0) == 1 and not self.views.get(id(source), 0):
                self.owned[id(source)] = False
                return source
        return None

    def _used(self, source: Node) -> None:
        self.uses[id(source)] -= 1
        if self.uses[id(source)] or self.views.get(id(source), 0):
            return
        root = source.root
        if root is None:
            self._give(source)
            return
        self.views[id(root)] -= 1
        if not self.views[id(root)] and not self.uses.get(id(root), 0):
            self._give(root)

    def _give(self, node: Node) -> None:
        if self.owned.get(id(node), False) and not node.is_output:
            self.owned[id(node)] = False
            self.result.events.append((_GIVE, self.number[id(node)], -1))


def peaks(found: Lifetimes, *, cells: int, window: int) -> tuple[int, int]:
    """Bytes (on the GPU, in RAM) that hold all tensors when the best fitting gap is taken."""
    sizes = [padded(fixed + cell * cells + inside * window, ALIGNMENT[place])
             for (fixed, cell, inside), place in zip(found.sizes, found.places, strict=True)]  # fmt: skip
    pools = (_Pool(), _Pool())
    where = [0] * len(sizes)
    for what, number, before in found.events:
        pool = pools[found.places[number]]
        size = sizes[number]
        if what == _TAKE:
            where[number] = pool.take(size)
        elif what == _GIVE:
            pool.give(where[number], size)
        else:
            where[number] = where[before]
            if sizes[before] > size:
                pool.give(where[number] + size, sizes[before] - size)
    return pools[GPU].most, pools[CPU].most


class _Pool:
    """The free gaps of one buffer, in the order of their place; the last has no end."""

    def __init__(self) -> None:
        self.starts = [0]
        self.lengths = [_ENDLESS]
        self.most = 0
        self.is_ragged = False

    def take(self, size: int) -> int:
        lengths = self.lengths
        best, best_length = len(lengths) - 1, _ENDLESS
        for index in range(len(lengths) - 1):
            if size <= lengths[index] <= best_length:
                best, best_length = index, lengths[index]
        start = self.starts[best]
        if lengths[best] == size:
            del self.starts[best], lengths[best]
        else:
            self.starts[best] += size
            lengths[best] -= size
        self.most = max(self.most, start + size)
        return start

    def give(self, start: int, size: int) -> None:
        if self.is_ragged or not size:
            self._give_in_turn(start, size)
            return
        starts, lengths = self.starts, self.lengths
        index = bisect_left(starts, start)
        joins_next = index < len(starts) and starts[index] == start + size
        joins_last = index > 0 and starts[index - 1] + lengths[index - 1] == start
        if joins_last and joins_next:
            lengths[index - 1] += size + lengths[index]
            del starts[index], lengths[index]
        elif joins_last:
            lengths[index - 1] += size
        elif joins_next:
            starts[index] = start
            lengths[index] += size
        else:
            starts.insert(index, start)
            lengths.insert(index, size)

    def _give_in_turn(self, start: int, size: int) -> None:
        """A tensor without a length leaves a gap without one, even inside others: then the gaps are in no order."""
        starts, lengths = self.starts, self.lengths
        for index in range(len(starts)):
            if starts[index] + lengths[index] == start:
                lengths[index] += size
                self._join(index)
                return
            if starts[index] == start + size:
                starts[index], lengths[index] = start, lengths[index] + size
                self._join(index - 1)
                return
        self.is_ragged = True
        index = next((index for index, other in enumerate(starts) if other >= start), len(starts))
        starts.insert(index, start)
        lengths.insert(index, size)

    def _join(self, index: int) -> None:
        """Makes one gap of two where the second begins at the first one's end."""
        starts, lengths = self.starts, self.lengths
        if 0 <= index < len(starts) - 1 and starts[index] + lengths[index] == starts[index + 1]:
            lengths[index] += lengths[index + 1]
            del starts[index + 1], lengths[index + 1]
