"""What a graph's buffers take: each tensor lives from its making to its last use. Source: ggml-alloc.c.

The order of takings and givings back is found once for a graph (`lifetimes`); `peaks` then plays it with sizes.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from core.memory.graph import CPU, GPU, IN_PLACE, NOTHING, UNPLACED, Graph, Node, Size
from core.memory.schedule import Step

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
    """When each tensor is made and when it is used the last time. Counts on the graph's nodes: once for a graph.

    Source: ggml_gallocr_alloc_graph_impl.
    """
    found = Lifetimes([], [], [])
    for leaf in graph.leaves:
        if leaf.home == UNPLACED:
            _take(leaf, leaf.place, found)
    for step in steps:
        node = step.node
        if node.root is not None and not step.is_note:
            node.root.views += 1
        for source in node.sources:
            source.uses += 1
    for step in steps:
        node = step.node
        if not step.is_note and node.root is None:
            _take(node, step.place, found)
        for source in node.sources:
            source.uses -= 1
            if not source.uses and not source.views:
                _used_up(source, found)
    return found


def _take(node: Node, place: int, found: Lifetimes) -> None:
    before = _taken_over(node) if node.op in IN_PLACE else None
    node.number, node.owned = len(found.sizes), True
    if before is None:
        found.events.append((_TAKE, node.number, -1))
    else:
        place = found.places[before.number]
        found.events.append((_PASS_ON, node.number, before.number))
    size, extra = node.size, node.extra
    if place == GPU and extra is not NOTHING:
        size = (size[0] + extra[0], size[1] + extra[1], size[2] + extra[2])
    found.sizes.append(size)
    found.places.append(place)


def _taken_over(node: Node) -> Node | None:
    """The source whose memory the result can have: never a view, for a view owns none."""
    for source in node.sources:
        if not source.owned or source.uses != 1 or source.views or source.is_output:
            continue
        if source.layout == node.layout:
            source.owned = False
            return source
    return None


def _used_up(source: Node, found: Lifetimes) -> None:
    """Gives back the memory of what nobody needs any more, or looks at any more."""
    root = source.root
    if root is not None:
        root.views -= 1
        if root.views or root.uses:
            return
        source = root
    if source.owned and not source.is_output:
        source.owned = False
        found.events.append((_GIVE, source.number, -1))


def peaks(found: Lifetimes, *, cells: int, window: int) -> tuple[int, int]:
    """Bytes (on the GPU, in RAM) that hold all tensors when the best fitting gap is taken."""
    most = (ALIGNMENT[GPU] - 1, ALIGNMENT[CPU] - 1)
    places = found.places
    sizes = [(fixed + cell * cells + inside * window + most[place]) & ~most[place]
             for (fixed, cell, inside), place in zip(found.sizes, places, strict=True)]  # fmt: skip
    pools = (_Pool(), _Pool())
    where = [0] * len(sizes)
    for what, number, before in found.events:
        pool = pools[places[number]]
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
        best = last = len(lengths) - 1
        best_length = _ENDLESS
        for index, length in enumerate(lengths):
            if size <= length <= best_length and index != last:
                best, best_length = index, length
        start = self.starts[best]
        if lengths[best] == size:
            del self.starts[best], lengths[best]
        else:
            self.starts[best] += size
            lengths[best] -= size
        if start + size > self.most:
            self.most = start + size
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
