"""Which device does what, and what is copied for it. Source: ggml_backend_sched_split_graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from core.memory.graph import CPU, GPU, NOTHING, UNPLACED, Fused, Graph, Node

# Rows from which on work with weights in RAM is worth their way to the GPU.
_WORTH = 32


class Step(NamedTuple):
    """A node in the order of allocation. Of `is_note` ones only the sources matter: they are kept until here."""

    node: Node
    place: int
    is_note: bool = False


def on_one_device(graph: Graph) -> list[Step]:
    """Everything where there is no choice."""
    for node in (*graph.leaves, *graph.nodes):
        node.place = CPU
    return [Step(node, CPU) for node in graph.nodes]


def on_two_devices(
    graph: Graph, *, supports: Callable[[Node], bool], fused: Mapping[int, Fused] = MappingProxyType({})
) -> list[Step]:
    """The steps with copies between the devices.

    `supports` says whether the GPU knows an operation, `fused` what it may work off at once, by the first node.
    """
    _place(graph, supports)
    return _split(graph, fused)


def _place(graph: Graph, supports: Callable[[Node], bool]) -> None:
    for leaf in graph.leaves:
        leaf.place = leaf.home if leaf.home != UNPLACED else CPU
    work = [node for node in graph.nodes if not node.is_view]
    for node in graph.nodes:
        node.place = _by_sources(node, supports)
    _spread(work, supports, gpu_only=True)
    _spread(work[::-1], supports, gpu_only=True)
    if any(node.place == UNPLACED for node in work):
        _spread(work, supports, gpu_only=False)
        _spread(work[::-1], supports, gpu_only=False)
    for node in work:
        if node.place == UNPLACED:
            node.place = _with_most_sources(node, supports)
    for node in graph.nodes:
        if node.root is not None and node.place == UNPLACED:
            node.place = node.root.place
        for source in node.sources:
            if source.place == UNPLACED:
                source.place = source.root.place if source.root is not None else node.place
        if node.place == UNPLACED:
            node.place = GPU if supports(node) else CPU


def _by_sources(node: Node, supports: Callable[[Node], bool]) -> int:
    """Where a node must be because of what it writes to or the weights it reads; else unplaced."""
    root = node.root or node
    if root.home != UNPLACED:
        return root.home
    if node.is_view or node.op in ("ROPE", "FLASH_ATTN_EXT"):
        return UNPLACED
    for source in node.sources:
        if not source.is_weight:
            continue
        if source.home == CPU and node.batch >= _WORTH and supports(node):
            return GPU
        return source.home if source.home == CPU or supports(node) else CPU
    return UNPLACED


def _spread(work: list[Node], supports: Callable[[Node], bool], *, gpu_only: bool) -> None:
    current = UNPLACED
    for node in work:
        if node.place != UNPLACED:
            current = UNPLACED if gpu_only and node.place == CPU else node.place
        elif current == CPU or (current == GPU and supports(node)):
            node.place = current


def _with_most_sources(node: Node, supports: Callable[[Node], bool]) -> int:
    best, most = CPU, -1
    for place in (GPU, CPU):
        if place == GPU and not supports(node):
            continue
        count = sum(_lies_at(source) == place for source in node.sources)
        if count > most:
            best, most = place, count
    return best


def _lies_at(node: Node) -> int:
    """The device whose memory holds a tensor."""
    root = node.root or node
    if root.home != UNPLACED:
        return root.home
    return node.place if node.place != UNPLACED else root.place


def _split(graph: Graph, fused: Mapping[int, Fused]) -> list[Step]:
    """The steps: each part of work on one device begins with the copies it needs."""
    copies: dict[tuple[int, int], Node] = {}
    parts: list[tuple[int, list[Node], list[Node]]] = []
    first = next(node for node in graph.nodes if not node.is_view)
    place, inputs, nodes = first.place, list[Node](), list[Node]()
    for node in graph.nodes:
        if node.is_view:
            nodes.append(node)
            continue
        if node.place != place or (inputs and _wants_own_part(node, place)):
            parts.append((place, inputs, nodes))
            place, inputs, nodes = node.place, [], []
        nodes.append(node)
        for index, source in enumerate(node.sources):
            if source.place != place and _lies_at(source) != place:
                key = (id(source), place)
                if key not in copies:
                    copies[key] = _copy(source, place)
                    inputs.append(source)
                node.sources[index] = copies[key]
    parts.append((place, inputs, nodes))
    return _steps(parts, copies, _kept(parts, fused))


def _wants_own_part(node: Node, place: int) -> bool:
    """So that the memory of weights copied before can be used again."""
    return any(source.is_weight and source.place != place and _lies_at(source) != place for source in node.sources)


def _copy(source: Node, place: int) -> Node:
    copy = Node("NONE", source.ne, source.size)
    copy.layout = source.layout
    copy.extra = source.extra
    copy.place = place
    return copy


def _kept(parts: list[tuple[int, list[Node], list[Node]]], fused: Mapping[int, Fused]) -> dict[int, list[Node]]:
    """By the node until which they must live: what is worked off at once where all of it is in one part on the GPU."""
    kept: dict[int, list[Node]] = {}
    for number, (place, _, nodes) in enumerate(parts if fused else ()):
        for index, node in enumerate(nodes if place == GPU else ()):
            found = fused.get(id(node))
            if found is None or tuple(nodes[index : index + len(found.nodes)]) != found.nodes:
                continue
            end = index + len(found.nodes)
            if found.kept:
                kept[id(nodes[end - 1])] = list(found.kept)
            elif end < len(nodes) or number + 1 < len(parts):
                until = nodes[end] if end < len(nodes) else parts[number + 1][2][0]
                kept[id(until)] = list(dict.fromkeys(one for node in found.nodes for one in (node, *node.sources)))
    return kept


def _steps(
    parts: list[tuple[int, list[Node], list[Node]]],
    copies: dict[tuple[int, int], Node],
    kept: Mapping[int, list[Node]],
) -> list[Step]:
    steps: list[Step] = []
    for place, inputs, nodes in parts:
        for source in inputs:
            steps.append(Step(Node("NONE", (), NOTHING, (source,)), source.place, is_note=True))
            steps.append(Step(copies[id(source), place], place))
        for node in nodes:
            steps.append(Step(node, node.place))
            if id(node) in kept:
                steps.append(Step(Node("NONE", (), NOTHING, kept[id(node)]), place, is_note=True))
    return steps
