"""A quantized checkpoint becomes the GGUF that its dequantized weights become."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from tests.core.sources import test_awq, test_compressed_tensors, test_fp8, test_gptq
from tests.core.sources.checkpoints import Array, Tensors, floats
from tests.models import CONFIG, llama_shapes, make_llama, write_json, write_safetensors


def fp8(shape: tuple[int, int]) -> tuple[Tensors, Array]:
    stored, exact = test_fp8.codes(shape)
    scale = np.abs(floats((-(-shape[0] // 128), -(-shape[1] // 128)), 3)) / 100
    return {"weight": ("F8_E4M3", stored), "weight_scale_inv": ("F32", scale)}, test_fp8.by_hand(exact, scale, 128, 128)


def renamed(made: tuple[Tensors, Array]) -> tuple[Tensors, Array]:
    return {name.rpartition(".")[2]: array for name, array in made[0].items()}, made[1]


METHODS: dict[str, Any] = {
    "fp8": (fp8, test_fp8.BLOCKS),
    "gptq": (
        lambda shape: renamed(test_gptq.made(4, inputs=shape[1], outputs=shape[0])),
        {"quant_method": "gptq", "bits": 4, "group_size": 32},
    ),
    "awq": (lambda shape: renamed(test_awq.made(inputs=shape[1], outputs=shape[0])), test_awq.SETTINGS),
    "compressed-tensors": (
        lambda shape: renamed(test_compressed_tensors.made(4, shape)),
        test_compressed_tensors.settings("pack-quantized", num_bits=4, group_size=32),
    ),
}


def converted(folder: Path, recipe: str = "Q8_0") -> bytes:
    out = folder.with_suffix(".gguf")
    last = list(core.run(core.QuantizeJob(str(folder), recipe, str(out), card=False)))[-1]
    assert isinstance(last, core.Done), last
    return out.read_bytes()


def put(folder: Path, tensors: Tensors, **changes: Any) -> Path:
    """The folder of a Llama with these tensors, whatever they are."""
    make_llama(folder)
    arrays = {name: np.ascontiguousarray(array) for name, (_, array) in tensors.items()}
    write_safetensors(folder / "model.safetensors", arrays, {name: dtype for name, (dtype, _) in tensors.items()})
    write_json(folder / "config.json", CONFIG | changes)
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_a_quantized_llama_gives_the_file_of_its_dequantized_weights(tmp_path: Path, method: str) -> None:
    make, settings = METHODS[method]
    quantized: Tensors = {}
    plain: Tensors = {}
    for name, shape in llama_shapes(CONFIG).items():
        if "_proj." in name:
            parts, values = make(shape)
            quantized |= {name.removesuffix("weight") + part: array for part, array in parts.items()}
            plain[name] = ("F32", values)
        else:
            plain[name] = quantized[name] = ("F32", floats(shape))
    source = put(tmp_path / "one" / "tiny", quantized, quantization_config=settings)
    expected = converted(put(tmp_path / "two" / "tiny", plain))
    assert converted(source) == expected
    assert "quantized already" in core.open_model(source).notes[0]
    shutil.rmtree(tmp_path / "one")
