"""How a model is run: what of llama.cpp's settings decides memory."""

from __future__ import annotations

from dataclasses import dataclass, field

# (bytes, weights) of a block of the cache's number format.
KV_BLOCKS = {"f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q5_1": (24, 32), "q5_0": (22, 32),
              "q4_1": (20, 32), "q4_0": (18, 32), "iq4_nl": (18, 32)}  # fmt: skip
KV_TYPES = tuple(KV_BLOCKS)

# llama.cpp works with caches of a multiple of that many tokens.
CELL = 256

ALL_LAYERS = 1 << 30


@dataclass(frozen=True, slots=True)
class Settings:
    """The defaults are those of llama.cpp's command line tools, with one slot.

    `gpu_layers` counts from the output, which is one, back to the first layer; `has_gpu` is said apart, for a GPU works
    even without layers of its own. `host_experts` are the first layers whose experts stay in RAM (--n-cpu-moe).
    `outputs` is "one" (a row of logits a slot, as llama-server does) or "all" (one a token). `flash` is "auto", "on" or
    "off". `copies` counts the weights that a GPU fetches from RAM one by one. `brief` lets a few layers stand for all
    alike: several times faster, and in rare cases some hundredths off. `repacked` are the formats that this processor
    has rearranged, which matters only without a GPU.
    """

    context: int = 4096
    kv_type: str = "f16"
    gpu_layers: int = 0
    has_gpu: bool = False
    host_experts: int = 0
    ubatch: int = 512
    parallel: int = 1
    unified: bool = False
    outputs: str = "one"
    flash: str = "auto"
    swa_full: bool = False
    kv_on_host: bool = False
    copies: bool = True
    brief: bool = False
    repacked: frozenset[str] = field(default=frozenset())

    @property
    def cells(self) -> int:
        """Tokens that the cache of one stream holds."""
        whole = padded(self.context, CELL)
        return whole if self.unified else padded(whole // self.parallel, CELL)

    @property
    def streams(self) -> int:
        """Caches beside each other: one a slot, or one for all."""
        return 1 if self.unified else self.parallel

    @property
    def tokens(self) -> int:
        """Tokens that are worked off at once."""
        return min(padded(self.context, CELL), self.ubatch)

    @property
    def graph(self) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """What settings that give the same graph have in common: all but the context's length and the cache's format.

        The second half is about places.
        """
        return (
            (self.tokens, self.ubatch, self.parallel, self.unified, self.outputs, self.flash),
            (self.gpu_layers, self.has_gpu, self.host_experts, self.kv_on_host, self.swa_full, self.copies, self.brief),
        )

    @property
    def quantized_kv(self) -> bool:
        return KV_BLOCKS[self.kv_type][1] > 1


def padded(number: int, multiple: int) -> int:
    """`number`, or the next multiple."""
    return -(-number // multiple) * multiple
