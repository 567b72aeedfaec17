"""What a model takes in llama.cpp, by place: weights, cache, the graph's buffers, output, and what no buffer shows.

Weights, cache, state and output to the byte, the graph's buffers by the same planning, at llama.cpp of ggml 0.25.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.memory.cache import cache, window_cells
from core.memory.compute import compute, compute_of_split, uses_flash
from core.memory.rules import rules_of
from core.memory.settings import KV_BLOCKS, Settings
from core.memory.shape import Shape
from core.memory.weights import first_gpu_layer, weights

_MIB = 1024**2

# What no buffer shows, beside the context of a GPU: the process and the tokenizer.
_PROCESS = 96 * _MIB
_TOKENIZER_PER_TOKEN = 430
_BOOKKEEPING_PER_CELL = 52
# Several GPUs work on different parts at once, with that many copies of each input.
_COPIES = 4
# By how much a family without rules of its own may be wrong: a share of what is not weights.
_ROUGH = 0.5


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model takes in one place, in bytes."""

    weights: int = 0
    kv: int = 0
    compute: int = 0
    output: int = 0
    overhead: int = 0

    @property
    def buffers(self) -> int:
        """What llama.cpp allocates."""
        return self.weights + self.kv + self.compute + self.output

    @property
    def total(self) -> int:
        return self.buffers + self.overhead

    def __add__(self, other: Needs) -> Needs:
        return Needs(
            self.weights + other.weights,
            self.kv + other.kv,
            self.compute + other.compute,
            self.output + other.output,
            self.overhead + other.overhead,
        )


NOTHING = Needs()


@dataclass(frozen=True, slots=True)
class Prediction:
    """`doubt` is by how many bytes it may be short: 0 for a family whose graph is known. `flash`: whether attention is
    flash attention, None where it was not looked at.
    """

    gpu: Needs
    host: Needs
    flash: bool | None
    doubt: int


def predict(shape: Shape, settings: Settings, *, cards: int = 1, quick: bool = False) -> Prediction:
    """What the model takes with these settings, on `cards` GPUs of one kind and in RAM.

    `quick` takes the graph's buffers of a model that is split between GPU and RAM from above, the same for all splits.

    Raises ValueError with llama.cpp's reason where it refuses them.
    """
    reason = refusal(shape, settings)
    if reason:
        raise ValueError(reason)
    on_gpu, as_stored, repacked = weights(shape, settings)
    remembered = cache(shape, settings)
    is_split = settings.has_gpu and first_gpu_layer(shape, settings) > 0
    gpu_compute, host_compute = (compute_of_split if quick and is_split else compute)(shape, settings)
    if cards > 1:
        inputs = (_COPIES - 1) * _inputs(shape, settings)
        gpu_compute, host_compute = cards * (gpu_compute + inputs), host_compute + inputs
    gpu = Needs(on_gpu, remembered.gpu, gpu_compute)
    cells = settings.cells * settings.streams
    overhead = _PROCESS + shape.vocabulary * _TOKENIZER_PER_TOKEN + cells * _BOOKKEEPING_PER_CELL
    host = Needs(as_stored + repacked, remembered.host, host_compute, _output(shape, settings), overhead)
    known = rules_of(shape)[1]
    doubt = 0 if known else int(_ROUGH * (gpu + host).buffers - _ROUGH * (gpu + host).weights)
    return Prediction(gpu, host, None if quick and is_split else uses_flash(shape, settings), doubt)


def refusal(shape: Shape, settings: Settings) -> str:
    """llama.cpp's reason against the settings, "" where it has none."""
    key = ("refusal", settings.kv_type, settings.flash)
    if key not in shape.remembered:
        shape.remembered[key] = _refusal(shape, settings)
    return str(shape.remembered[key])


def _refusal(shape: Shape, settings: Settings) -> str:
    block = KV_BLOCKS[settings.kv_type][1]
    if block == 1 or not any(shape.heads):
        return ""
    if settings.flash == "off":
        return "quantized V cache requires flash_attn to be enabled"
    for letter, name, lengths in (("K", "k", shape.key_lengths), ("V", "v", shape.value_lengths)):
        if letter == "V" and shape.is_mla:
            continue
        wrong = next((length for length in lengths if length % block), None)
        if wrong is not None:
            return (f"{letter} cache type {settings.kv_type} with block size {block} "
                    f"does not divide n_embd_head_{name}={wrong}")  # fmt: skip
    return ""


def _output(shape: Shape, settings: Settings) -> int:
    """Rows of logits or of vectors, one a slot, that a program reads."""
    return 4 * settings.parallel * (shape.vocabulary + (shape.embedding if shape.is_pooled else 0))


def _inputs(shape: Shape, settings: Settings) -> int:
    """Bytes of what is put in before each run: the masks, and vectors in place of tokens."""
    masks = settings.cells + (window_cells(shape, settings) if any(shape.windowed) else 0)
    return settings.tokens * (2 * masks + 4 * shape.embedding)
