"""The Llama family against llama.cpp's own converter and quantizer: every key, every byte of every tensor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core.gguf import read_header
from core.tensor_ops import RopePermute
from tests.models import llama_shapes, make_llama, write_json, write_weights

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "llama_family.json").read_text())["models"]
NEVER_TO_BE_WRITTEN = ("tokenizer.", "general.name", "general.size_label", "general.sampling.", "general.basename",
                       "general.finetune")  # fmt: skip


def seeded(model: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The golden models' weights: N(0, 0.02) with three outlier channels, seeded by the names; norms are one more."""
    seed = int.from_bytes(hashlib.sha256(f"{model}/{name}".encode()).digest()[:8], "little")
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape, dtype=np.float32) * 0.02
    if len(shape) >= 2 and shape[-1] >= 32:
        values[..., random.choice(shape[-1], 3, replace=False)] *= 8
    return values + np.float32(1) if len(shape) == 1 else values


def experts_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The modelling code holds a layer's experts as one tensor; that is what the seeds are of."""
    hidden, inner, count = config["hidden_size"], config["intermediate_size"], config["num_local_experts"]
    fused = {}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}.mlp."
        fused |= {
            at + "experts.gate_up_proj": (count, 2 * inner, hidden),
            at + "experts.down_proj": (count, hidden, inner),
        }
        fused[at + "gate.weight"] = (count, hidden)
    return fused


def checkpoint(name: str, config: dict[str, Any]) -> dict[str, np.ndarray]:
    shapes = llama_shapes(config)
    tensors = {n: seeded(name, n, shape) for n, shape in shapes.items() if "block_sparse_moe" not in n}
    for n, shape in (experts_of(config) if config.get("num_local_experts") else {}).items():
        tensors |= split_experts(n, seeded(name, n, shape))
    return {n: rounded(tensors[n]) for n in shapes}


def split_experts(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    at = name.split(".mlp.")[0] + ".block_sparse_moe."
    if name.endswith("gate.weight"):
        return {at + "gate.weight": values}
    if name.endswith("down_proj"):
        return {f"{at}experts.{e}.w2.weight": v for e, v in enumerate(values)}
    half = values.shape[1] // 2
    return {f"{at}experts.{e}.w1.weight": v[:half] for e, v in enumerate(values)} | {
        f"{at}experts.{e}.w3.weight": v[half:] for e, v in enumerate(values)
    }


def rounded(values: np.ndarray) -> np.ndarray:
    """bf16 bits, rounded to nearest even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


@pytest.fixture(scope="module", params=list(GOLDEN))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = request.param
    config = GOLDEN[name]["config"]
    folder = make_llama(tmp_path_factory.mktemp("golden") / name)
    write_json(folder / "config.json", config)
    (folder / "model.safetensors").unlink()
    write_weights(folder, checkpoint(name, config), shards=4)
    return folder


@pytest.mark.parametrize(
    "recipe", ["BF16", "Q4_K_M", *(pytest.param(name, marks=pytest.mark.slow) for name in ("F16", "F32", "Q8_0"))]
)
def test_keys_and_tensors_equal_those_of_llama_cpp(folder: Path, recipe: str, tmp_path: Path) -> None:
    golden, out = GOLDEN[folder.name], tmp_path / "out.gguf"
    *_, last = core.run(core.QuantizeJob(str(folder), recipe, str(out), card=False))
    assert isinstance(last, core.Done), last
    header = read_header(out)
    keys = {i.key: [i.type, i.value] for i in header.metadata if not i.key.startswith(NEVER_TO_BE_WRITTEN)}
    expected = golden["keys"] | {"general.file_type": ["u32", golden["file_types"][recipe]]}
    assert keys == expected
    data = out.read_bytes()
    made = {
        t.name: (list(reversed(t.shape)), [t.dtype, hashlib.sha256(data[t.offset : t.offset + t.nbytes]).hexdigest()])
        for t in header.tensors
    }
    assert made == {name: (entry["shape"], entry[recipe]) for name, entry in golden["tensors"].items()}


def test_rope_permute_interleaves_the_halves_of_each_head() -> None:
    rows = np.arange(16).reshape(16, 1)
    made = RopePermute(2).apply(rows, rows.shape).reshape(-1).tolist()
    assert made == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]


def test_mistral_without_a_head_dim_writes_no_key_length(tmp_path: Path) -> None:
    model = core.open_model(make_llama(tmp_path, architectures=["MistralForCausalLM"]))
    assert model.key("attention.key_length") is None
    assert model.key("rope.dimension_count") == 64


def test_a_head_dim_of_its_own_is_kept(tmp_path: Path) -> None:
    model = core.open_model(make_llama(tmp_path, architectures=["MistralForCausalLM"], head_dim=128))
    assert model.key("attention.key_length") == 128
    assert model.key("rope.dimension_count") == 128


def test_linear_rope_scaling_becomes_keys(tmp_path: Path) -> None:
    model = core.open_model(make_llama(tmp_path, rope_scaling={"type": "linear", "factor": 4.0}))
    assert model.key("rope.scaling.type") == "linear"
    assert model.key("rope.scaling.factor") == 4.0


def test_transformers_5_spelling_of_rope_is_read(tmp_path: Path) -> None:
    model = core.open_model(make_llama(tmp_path, rope_parameters={"rope_theta": 7e5, "rope_type": "default"}))
    assert model.key("rope.freq_base") == 7e5


def test_an_unknown_rope_scaling_is_refused_by_name(tmp_path: Path) -> None:
    folder = make_llama(tmp_path, rope_scaling={"type": "spiral", "factor": 4.0})
    with pytest.raises(core.SnugError, match="spiral"):
        core.open_model(folder)


def test_biases_of_q_and_k_are_permuted_like_their_weights(tmp_path: Path) -> None:
    folder = make_llama(tmp_path, attention_bias=True)
    config = json.loads((folder / "config.json").read_text())
    tensors = checkpoint("bias", config)
    bias = np.arange(256, dtype=np.float32)
    tensors["model.layers.0.self_attn.q_proj.bias"] = rounded(bias)
    write_weights(folder, tensors)
    out = tmp_path / "out.gguf"
    *_, last = core.run(core.QuantizeJob(str(folder), "F32", str(out)))
    assert isinstance(last, core.Done), last
    tensor = next(t for t in read_header(out).tensors if t.name == "blk.0.attn_q.bias")
    made = np.frombuffer(out.read_bytes()[tensor.offset : tensor.offset + tensor.nbytes], np.float32)
    expected = bias.reshape(4, 2, 32).swapaxes(1, 2).reshape(-1)
    assert tensor.dtype == "F32"
    assert made.tolist() == expected.tolist()
