"""A tensor is encoded where it is: on its GPU where there is a kernel, else in main memory."""

import numpy as np
import pytest
import torch

import kernels
from kernels import gpu


class OnGpu(torch.Tensor):
    """A tensor that says that it is on a GPU, for machines without one."""

    @property
    def is_cuda(self) -> bool:
        return True


@pytest.fixture
def tensor(device: str, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Weights on a GPU, or said to be."""
    monkeypatch.setattr(gpu, "available", lambda: True)
    x = torch.arange(512, dtype=torch.float32, device=device).reshape(2, 256).bfloat16()
    return x if device == "cuda" else x.as_subclass(OnGpu)


@pytest.fixture
def formats_on_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The formats that the gpu backend was asked for."""
    seen: list[str] = []
    encode = gpu.encode

    def noted(rows: torch.Tensor, format: str) -> torch.Tensor:
        seen.append(format)
        return encode(rows.as_subclass(torch.Tensor), format)

    monkeypatch.setattr(gpu, "encode", noted)
    return seen


def bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.as_subclass(torch.Tensor).cpu().view(torch.uint16).numpy()


def test_a_tensor_on_a_gpu_is_encoded_there(tensor: torch.Tensor, formats_on_gpu: list[str]) -> None:
    out = np.empty((2, 272), np.uint8)
    assert kernels.encode(tensor, "Q8_0", out=out) is out
    assert np.array_equal(out, kernels.encode(bits(tensor), "Q8_0", backend="reference"))
    assert formats_on_gpu == ["Q8_0"]


@pytest.mark.parametrize("how", [{"backend": "reference"}, {"effort": "best", "backend": "reference"}])
def test_another_backend_or_effort_takes_it_to_main_memory(
    how: dict[str, str], tensor: torch.Tensor, formats_on_gpu: list[str]
) -> None:
    packed = kernels.encode(tensor, "Q8_0", **how)
    assert np.array_equal(packed, kernels.encode(bits(tensor), "Q8_0", **how))
    assert formats_on_gpu == []


@pytest.mark.slow
def test_what_the_gpu_does_not_encode_is_encoded_in_main_memory(
    tensor: torch.Tensor, formats_on_gpu: list[str]
) -> None:
    vector = np.ones(256, np.float32)
    weighted = kernels.encode(tensor, "Q4_0", importance=vector)
    assert np.array_equal(weighted, kernels.encode(bits(tensor), "Q4_0", importance=vector))
    assert formats_on_gpu == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_in_main_memory_are_like_arrays(dtype: torch.dtype) -> None:
    values = torch.arange(256, dtype=torch.float32).reshape(1, 256)
    source = values.to(dtype)
    packed = kernels.encode(source, "Q8_0", backend="reference")
    assert np.array_equal(packed, kernels.encode(values.numpy(), "Q8_0", backend="reference"))
