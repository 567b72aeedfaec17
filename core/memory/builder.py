"""What all layers of a model's graph are built with: its weights by name, inputs, caches, products and norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.memory import graph as g
from core.memory.cache import widths
from core.memory.graph import CPU, GPU, NO_NODE, Fused, Graph, Node
from core.memory.rules import Rules
from core.memory.settings import Settings
from core.memory.shape import CACHELESS, Held, Shape
from core.memory.weights import first_gpu_layer, gpu_bytes, stays_on_host


class Builder:
    """One graph for a whole ubatch of `tokens`, at full caches, with logits for `outputs` of them."""

    def __init__(self, shape: Shape, settings: Settings, *, flash: bool, tokens: int, outputs: int) -> None:
        self.shape = shape
        self.settings = settings
        self.flash = flash
        self.tokens = tokens
        self.outputs = outputs
        self.streams = settings.streams if tokens >= settings.streams else 1
        self.slots = settings.parallel if tokens >= settings.parallel else 1
        self.first = first_gpu_layer(shape, settings)
        self.shape_positions = 4 if shape.key("rope.dimension_sections") else 1
        self.graph = Graph()
        self.fused: dict[int, Fused] = {}
        self._weights: dict[str, Node] = {}
        self._inputs: dict[str, Node] = {}
        self._caches: dict[int, tuple[Node, ...]] = {}
        self._slots: dict[int, Node] = {}
        # Of models that see: parts of an image's embedding that are added behind the first layers.
        self.stacked = int(shape.key("n_deepstack_layers", 0) or 0)
        self.embedded = NO_NODE
        # The cache is laid out by what is asked for, before it is known whether flash attention can run.
        self.turns_values = settings.flash == "off"

    def expand(self, node: Node) -> Node:
        return self.graph.expand(node)

    def fuse(self, nodes: Sequence[Node], kept: Sequence[Node] = ()) -> None:
        """CUDA works these neighbours off at once: until the last of them `kept` must live, without `kept` all of them
        and what they read until the one after them.
        """
        self.fused[id(nodes[0])] = Fused(tuple(nodes), tuple(kept))

    def home(self, layer: int) -> int:
        """The device of a layer; -1 is the input, the number of blocks the output."""
        return GPU if layer >= self.first else CPU

    def weight(self, layer: int, name: str) -> Node | None:
        """A weight of a layer, by its name without blk.N."""
        held = self.shape.layers[layer].get(name)
        return self._stored(held, layer, f"{layer}.{name}") if held else None

    def needed(self, layer: int, name: str) -> Node:
        found = self.weight(layer, name)
        if found is None:
            raise KeyError(name)
        return found

    def of_model(self, name: str, *, layer: int | None = None) -> Node | None:
        """A weight of no layer; it lies with the output unless another `layer` is said."""
        for table, place in ((self.shape.input, -1), (self.shape.output, self.shape.blocks)):
            if name in table:
                return self._stored(table[name], place if layer is None else layer)
        for layer_table in self.shape.layers[:1]:
            if name in layer_table:
                return self._stored(layer_table[name], 0)
        return None

    def shared(self, name: str, layer: int) -> Node | None:
        """A small table that each device has."""
        held = self.shape.shared.get(name)
        return self._stored(held, layer, f"{name}@{self.home(layer)}") if held else None

    def _stored(self, held: Held, layer: int, key: str = "") -> Node:
        key = key or held.name
        if key not in self._weights:
            stays = stays_on_host(held, layer, self.settings) or held.name in self.shape.only_in_ram
            home = CPU if layer < 0 or stays else self.home(layer)
            extra = gpu_bytes(held) - held.nbytes if home == CPU else 0
            # Not nothing: what has no length is laid out in a slower way.
            nbytes, extra = (held.nbytes, extra) if self.settings.copies else (1, 0)
            self._weights[key] = g.stored(held.ne, nbytes, home=home, extra=extra)
        return self._weights[key]

    def tied_output(self) -> Node | None:
        """The output matrix: its own, or the input embedding a second time."""
        own = self.of_model("output.weight")
        if own is not None or self.shape.architecture in CACHELESS:
            return own
        if self.shape.tied is None:
            return self.of_model("token_embd.weight")
        return self._stored(self.shape.tied, self.shape.blocks, "tied")

    def given(self, name: str, *ne: int, item: int = 4) -> Node:
        """An input, made once."""
        if name not in self._inputs:
            self._inputs[name] = g.given(*ne, item=item)
        return self._inputs[name]

    def mask(self, *, windowed: bool) -> Node:
        """What each token may see."""
        name = "mask of the window" if windowed else "mask"
        if name not in self._inputs:
            item = 2 if self.flash else 4
            rows = self.tokens // self.streams
            self._inputs[name] = g.cells_given(rows, windowed=windowed, item=item, streams=self.streams)
        return self._inputs[name]

    def is_windowed(self, layer: int) -> bool:
        return self.shape.windowed[layer]

    def rotation(self, what: str, lengths: tuple[int, ...], *, layer: int) -> Node | None:
        """The matrix by which parts of a head are turned before they are quantized; None where none is."""
        length = lengths[layer]
        alike = {
            lengths[index] for index, windowed in enumerate(self.shape.windowed) if windowed == self.is_windowed(layer)
        }
        if not self.settings.quantized_kv or self.shape.is_mla or lengths[0] % 64 or len(alike) > 1:
            return None
        size = 64
        while what == "keys" and length % (2 * size) == 0:
            size *= 2
        windowed = " of the window" if self.is_windowed(layer) else ""
        return self.given(f"rotation of {what}{windowed}", size, size)

    def caches(self, layer: int) -> tuple[Node, ...]:
        """Keys and, unless they are a part of them, values of a layer: its own, or those of the one it shares with."""
        layer = self._owner(layer)
        if layer not in self._caches:
            home = CPU if self.settings.kv_on_host else self.home(layer)
            self._caches[layer] = tuple(
                g.remembered(width, self.settings.kv_type, windowed=self.is_windowed(layer), home=home,
                             streams=self.settings.streams)
                for width in widths(self.shape, layer, flash=not self.turns_values)
            )  # fmt: skip
        return self._caches[layer]

    def _owner(self, layer: int) -> int:
        if self.shape.cached[layer]:
            return layer
        alike = [index for index, has in enumerate(self.shape.cached)
                 if has and self.shape.windowed[index] == self.shape.windowed[layer]]  # fmt: skip
        return alike[-1] if alike else layer

    def state(self, layer: int, which: int, width: int) -> Node:
        """A layer's running state: 0 is what its convolution looks back on, 1 the sum."""
        key = -1 - 2 * layer - which
        if key not in self._caches:
            home = CPU if self.settings.kv_on_host else self.home(layer)
            leaf = g.stored((width, self.settings.parallel), 4 * width * self.settings.parallel, home=home)
            leaf.is_weight = False
            self._caches[key] = (leaf,)
        return self._caches[key][0]

    def part_of_slots(self, count: int) -> Node:
        """The first `count` of the slots' numbers: looked at by all layers."""
        if count not in self._slots:
            self._slots[count] = g.view(self.given("state slots", self.settings.parallel), count)
        return self._slots[count]

    # --- products and norms ---

    def product(self, weight: Node, x: Node, bias: Node | None = None) -> Node:
        """x through a matrix, and a bias."""
        result = g.new("MUL_MAT", (weight.ne[1], *x.ne[1:]), weight, x)
        return g.like("ADD", result, bias) if bias is not None else result

    def linear(self, layer: int, name: str, x: Node) -> Node:
        """x through a layer's matrix of that name, and its bias where there is one."""
        return self.product(self.needed(layer, f"{name}.weight"), x, self.weight(layer, f"{name}.bias"))

    def norm(self, x: Node, layer: int, name: str, *, op: str) -> Node:
        """x normed by a layer's norm of that name, which may be without weights."""
        weight = self.weight(layer, f"{name}.weight") or self.weight(layer, name)
        return self.normed(x, weight, self.weight(layer, f"{name}.bias"), op=op)

    def normed(self, x: Node, weight: Node | None, bias: Node | None = None, *, op: str) -> Node:
        x = g.like(op, x)
        if weight is not None:
            x = g.like("MUL", x, weight)
        return g.like("ADD", x, bias) if bias is not None else x

    def picks_in(self, layer: int, rules: Rules) -> bool:
        """Whether the rows whose logits are wanted are picked in this layer."""
        return rules.picks == "in the last layer" and layer == len(self.shape.layers) - 1

    def picked(self, x: Node) -> Node:
        """The rows of x whose logits are wanted."""
        ids = self.given("out_ids", self.outputs)
        return g.new("GET_ROWS", (x.ne[0], self.outputs), x, ids)

    def names(self, layer: int) -> Mapping[str, Held]:
        return self.shape.layers[layer]
