"""What one family says about itself, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.model import Metadata, OutputTensor, TensorInfo
from core.tensor_ops import TensorOp

Config = Mapping[str, Any]
Ops = tuple[TensorOp, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One GGUF key `{arch}.{name}`: the first of `sources` that the config holds, as a value of `type`.

    `default` is used when the config holds none of them; None leaves the key out. A list in the config becomes an
    array.
    """

    name: str
    type: str
    sources: tuple[str, ...]
    default: float | int | bool | str | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """What becomes of the source tensors whose whole name matches `pattern`, a regular expression.

    `target` is the GGUF name, `{0}`, `{1}` standing for the pattern's groups; without one the name map of PyPI gguf
    decides. Several rows with the same pattern make several tensors of one source. `parts` joins the rows that each
    chain of ops makes of the source; `ops` is the same for one chain. Rows of zeros follow up to `pad_to` rows.
    """

    pattern: str
    target: str = ""
    ops: Ops = ()
    parts: tuple[Ops, ...] = ()
    pad_to: int = 0

    @property
    def chains(self) -> tuple[Ops, ...]:
        return self.parts or (self.ops,)


@dataclass(frozen=True, slots=True)
class Drop:
    """Source tensors that are left out on purpose, and why."""

    pattern: str
    reason: str


@dataclass(frozen=True)
class Source:
    """What a family may look at: the config (laid flat), the source tensors by name, and small JSON files beside it.

    `read_json(name)` gives the file's content, or None where there is none; `read_values(name)` all values of a small
    tensor, or None where only headers are at hand; `files` are the names of all files.
    """

    arch: str
    config: Config
    tensors: Mapping[str, TensorInfo]
    read_json: Callable[[str], Any] = lambda name: None
    read_values: Callable[[str], tuple[float, ...] | None] = lambda name: None
    files: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Extra:
    """Keys and tensors that no table can say. One here replaces one of the same name from the tables."""

    keys: tuple[Metadata, ...] = ()
    tensors: tuple[OutputTensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Architecture:
    """A family: its Hugging Face classes, its GGUF architecture, its keys and what happens to its tensors.

    `when` decides between entries that share a class. `config` completes a config: values that published files leave
    out. `renames` are regular expressions and their replacements for source names, tried in order, all of them;
    `stacks` are patterns (what comes before, the number, what comes after) of numbered tensors that become one.
    `permuted` names the source tensors (by a part of their name) whose rows go from half-split to interleaved rotary
    order, with the config key that counts their heads. `tensors` says what else differs from the name map, `dropped`
    what is left out. `extra` are functions that give keys and tensors that no table can say. `needed` are GGUF tensors
    that every model of the family has, `{}` standing for each block.
    """

    classes: tuple[str, ...]
    arch: str
    keys: tuple[Key, ...]
    tensors: Callable[[Config], tuple[Tensor | Drop, ...]] = lambda config: ()
    permuted: tuple[tuple[str, str], ...] = ()
    dropped: tuple[Drop, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    stacks: tuple[str, ...] = ()
    extra: tuple[Callable[[Source], Extra], ...] = ()
    when: Callable[[Config], bool] = lambda config: True
    config: Callable[[Config], Config] = lambda config: config
    needed: tuple[str, ...] = ("token_embd.weight", "output_norm.weight", "blk.{}.attn_norm.weight")
