"""A Llama model in plain numpy, to see what goes into each of its weights: the stuff of importance matrices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class Forward:
    """`file` is a Llama GGUF in F32. `means` gives float32 [1, columns] of the mean square of each weight's inputs."""

    def __init__(self, file: Path) -> None:
        reader = gguf.GGUFReader(file)
        self.weights = {tensor.name: np.array(tensor.data, np.float32) for tensor in reader.tensors}
        self.keys = {name: field.contents() for name, field in reader.fields.items()}
        self._squares: dict[str, NDArray[np.float64]] = {}
        self._tokens = 0

    def key(self, name: str) -> Any:
        return self.keys[f"llama.{name}"]

    @property
    def means(self) -> dict[str, F32]:
        squares = self._squares.items()
        return {name: (total / self._tokens).astype(np.float32)[None] for name, total in squares}

    def measure(self, chunks: Iterable[list[int]]) -> dict[str, F32]:
        """The means over the tokens of all chunks."""
        for tokens in chunks:
            self.logits(tokens)
        return self.means

    def logits(self, tokens: list[int]) -> F32:
        """float32 [tokens, vocabulary]."""
        self._tokens += len(tokens)
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.key("block_count")):
            at = f"blk.{layer}."
            x = x + self._attention(at, self._norm(x, at + "attn_norm.weight"))
            x = x + self._feed_forward(at, self._norm(x, at + "ffn_norm.weight"))
        x = self._norm(x, "output_norm.weight")
        result: F32 = x @ self.weights.get("output.weight", self.weights["token_embd.weight"]).T
        return result

    def _norm(self, x: F32, name: str) -> F32:
        mean = np.mean(x * x, axis=-1, keepdims=True) + np.float32(self.key("attention.layer_norm_rms_epsilon"))
        return np.asarray(x / np.sqrt(mean) * self.weights[name], np.float32)

    def _times(self, x: F32, name: str) -> F32:
        squares = np.sum(x.astype(np.float64) ** 2, axis=0)
        self._squares[name] = self._squares.get(name, 0) + squares
        return np.asarray(x @ self.weights[name].T, np.float32)

    def _attention(self, at: str, x: F32) -> F32:
        heads, kv_heads = self.key("attention.head_count"), self.key("attention.head_count_kv")
        query = self._turned(self._times(x, at + "attn_q.weight"), heads)
        key = np.repeat(self._turned(self._times(x, at + "attn_k.weight"), kv_heads), heads // kv_heads, axis=0)
        value = self._times(x, at + "attn_v.weight").reshape(len(x), kv_heads, -1).swapaxes(0, 1)
        scores = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(query.shape[-1]))
        scores += np.triu(np.full(scores.shape[1:], -np.inf, np.float32), 1)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = weights @ np.repeat(value, heads // kv_heads, axis=0)
        return self._times(mixed.swapaxes(0, 1).reshape(len(x), -1), at + "attn_output.weight")

    def _turned(self, x: F32, heads: int) -> F32:
        """[tokens, heads * size] -> [heads, tokens, size], each pair of neighbours turned by its position (RoPE)."""
        pairs = x.reshape(len(x), heads, -1, 2).swapaxes(0, 1)
        size = 2 * pairs.shape[2]
        angles = np.arange(len(x))[:, None] * self.key("rope.freq_base") ** (-np.arange(0, size, 2) / size)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        even, odd = pairs[..., 0], pairs[..., 1]
        turned = np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
        return np.asarray(turned.reshape(heads, len(x), size), np.float32)

    def _feed_forward(self, at: str, x: F32) -> F32:
        gate, up = self._times(x, at + "ffn_gate.weight"), self._times(x, at + "ffn_up.weight")
        return self._times(gate / (1 + np.exp(-gate)) * up, at + "ffn_down.weight")
