"""What the GPU's face takes and refuses, and how rows of main memory go through it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import kernels
from kernels import gpu
from tests.kernels import inputs

ROOT = Path(__file__).parents[3]


def test_kernels_and_their_gpu_face_import_neither_torch_nor_triton() -> None:
    code = "import kernels.gpu, sys; print([m for m in ('numba', 'torch', 'triton') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["torch", "triton"])
def test_without_torch_or_triton_no_gpu_is_available(missing: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; from kernels import gpu; print(gpu.available())"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_gpu_is_available_where_torch_has_one(triton: None) -> None:
    assert gpu.available() == torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, which takes them")
def test_rows_for_a_missing_gpu_are_refused() -> None:
    with pytest.raises(kernels.UnsupportedBackend, match="no backend 'gpu'"):
        kernels.encode(np.zeros((1, 256), np.float32), "Q4_K", backend="gpu")


def test_a_tensor_of_main_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_interpreted", lambda: False)
    with pytest.raises(kernels.UnsupportedBackend, match="must be on a GPU, not on cpu"):
        gpu.encode(torch.zeros(1, 256), "Q4_K")


def test_a_format_without_kernel_is_refused(device: str) -> None:
    with pytest.raises(kernels.UnsupportedFormat, match="unknown format 'Q9_X'"):
        gpu.encode(torch.zeros(1, 256, device=device), "Q9_X")
    with pytest.raises(kernels.UnsupportedBackend, match="does not encode IQ1_S"):
        gpu.encode(torch.zeros(1, 256, device=device), "IQ1_S")


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(256), torch.zeros(256, 4).T, torch.zeros(1, 256, dtype=torch.float64), torch.zeros(1, 200)],
    ids=["one dimension", "strided", "float64", "columns"],
)
def test_tensors_of_a_wrong_kind_are_refused(tensor: torch.Tensor, device: str) -> None:
    with pytest.raises(ValueError, match=r"rows must be|do not divide"):
        gpu.encode(tensor.to(device), "Q4_K")


@pytest.mark.parametrize("out", [torch.zeros(2, 144, dtype=torch.uint8), torch.zeros(1, 144, dtype=torch.int8)])
def test_a_buffer_of_a_wrong_kind_is_refused(out: torch.Tensor, device: str) -> None:
    with pytest.raises(ValueError, match="out must be"):
        gpu.encode(torch.zeros(1, 256, device=device), "Q4_K", out=out.to(device))


def test_no_rows_give_no_bytes(device: str) -> None:
    assert tuple(gpu.encode(torch.zeros(0, 256, device=device), "Q4_K").shape) == (0, 144)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_rows_of_main_memory_go_through_in_slabs(dtype: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_SLAB", 32 * 50)
    source, _ = inputs.as_source(inputs.weights("spikes"), dtype)
    source.flags.writeable = False
    packed = np.full((4, 1088), 0xA5, np.uint8)
    assert gpu.encode_rows(source, packed, kernels.FORMATS["Q8_0"], device=device)
    assert np.array_equal(packed, kernels.encode(source, "Q8_0", backend="reference"))


def test_rows_of_main_memory_that_are_not_finite_are_noticed(device: str) -> None:
    x = inputs.weights("normal")
    x[2, 777] = np.nan
    assert not gpu.encode_rows(x, np.empty((4, 1088), np.uint8), kernels.FORMATS["Q8_0"], device=device)
