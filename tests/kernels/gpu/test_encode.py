"""The GPU kernels give the bytes of the reference, whatever the weights and however they are cut."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import kernels
from kernels import gpu, reference
from tests.kernels import inputs

ENCODABLE = list(gpu.KERNELS)
GUARD = 64


def as_tensor(source: NDArray[np.generic], device: str) -> torch.Tensor:
    """Rows as `kernels.encode` takes them, as a tensor."""
    bits = torch.from_numpy(source.view(np.int16) if source.dtype == np.uint16 else source)
    return (bits.view(torch.bfloat16) if source.dtype == np.uint16 else bits).to(device)


def blocks_a_program(tensor: torch.Tensor, name: str) -> int | None:
    """All in one program in the interpreter, whose time goes by programs; on a GPU what is usual."""
    if tensor.is_cuda:
        return None
    return 1 << (tensor.numel() // kernels.FORMATS[name].block_size - 1).bit_length()


def poisoned(rows: int, columns: int, name: str, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for packed rows with a guard before and behind it, all of one byte; and the room alone."""
    row_bytes = kernels.FORMATS[name].row_bytes(columns)
    room = torch.full((rows * row_bytes + 2 * GUARD,), 0xA5, dtype=torch.uint8, device=device)
    return room, room[GUARD:-GUARD].view(rows, row_bytes)


def expected_bytes(values: NDArray[np.float32], name: str) -> NDArray[np.uint8]:
    """The reference's packed rows."""
    encode_blocks = reference.ENCODERS[name]
    with np.errstate(all="ignore"):
        return encode_blocks(values.reshape(-1, kernels.FORMATS[name].block_size)).reshape(len(values), -1)


def encoded(source: NDArray[np.generic], name: str, device: str) -> NDArray[np.uint8]:
    """The bytes, after a look at the guards."""
    tensor = as_tensor(source, device)
    room, out = poisoned(*tensor.shape, name, device)
    assert gpu.encode(tensor, name, out=out, blocks=blocks_a_program(tensor, name)) is out
    assert (room[:GUARD] == 0xA5).all()
    assert (room[-GUARD:] == 0xA5).all()
    return out.cpu().numpy()


@pytest.mark.parametrize("dtype", ["bf16", *(pytest.param(name, marks=pytest.mark.slow) for name in ("f32", "f16"))])
@pytest.mark.parametrize("name", ENCODABLE)
def test_bytes_are_those_of_the_reference(name: str, dtype: str, device: str) -> None:
    source, values = inputs.as_source(inputs.all_weights(), dtype)
    actual, expected = encoded(source, name, device), expected_bytes(values, name)
    rows = np.flatnonzero((actual != expected).any(axis=1))
    assert {inputs.case_of_row(row) for row in rows} == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODABLE)
def test_any_split_gives_the_same_bytes_and_writes_no_others(name: str, device: str) -> None:
    x = inputs.weights("heavy tails").reshape(1, -1)[:, : 5 * 256]
    expected = expected_bytes(x, name)
    parts = [encoded(np.ascontiguousarray(part), name, device) for part in np.split(x, [256], axis=1)]
    assert np.array_equal(np.concatenate(parts, axis=1), expected)


@pytest.mark.parametrize("name", ["BF16", "Q5_1", "Q6_K"])
def test_two_programs_share_the_blocks(name: str, device: str) -> None:
    x = inputs.weights("normal")[:1]
    blocks = x.size // kernels.FORMATS[name].block_size
    actual = gpu.encode(as_tensor(x, device), name, blocks=blocks // 2)
    assert np.array_equal(actual.cpu().numpy(), expected_bytes(x, name))


def test_peaks_about_powers_of_two_get_the_exponent_of_the_reference(device: str) -> None:
    powers = np.arange(1, 255, dtype=np.int32)[:, None] << 23
    bits = np.concatenate([(powers + np.arange(-125, 3)).ravel(), np.arange(2048), 1 << np.arange(23)])
    x = np.zeros((len(bits), 32), np.float32)
    x[:, 5] = bits.astype(np.int32).view(np.float32)
    x[:, 6] = x[:, 5] * np.float32(0.4)
    actual = gpu.encode(as_tensor(x, device), "MXFP4", blocks=None if device == "cuda" else 1 << 14)
    assert np.array_equal(actual.cpu().numpy(), expected_bytes(x, "MXFP4"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["F16", "Q4_0", "Q8_0", "Q6_K"])
def test_a_non_finite_weight_is_refused_with_its_place(name: str, bad: float, device: str) -> None:
    x = inputs.weights("normal")[:2]
    x[1, 777] = bad
    tensor = as_tensor(x, device)
    with pytest.raises(kernels.NonFinite) as caught:
        gpu.encode(tensor, name, blocks=blocks_a_program(tensor, name))
    assert (caught.value.row, caught.value.column) == (1, 777)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENCODABLE if name not in ("F16", "Q4_0", "Q8_0", "Q6_K")])
def test_every_kernel_notices_what_is_not_finite(name: str, device: str) -> None:
    x = inputs.weights("normal")[:1]
    x[0, 1023] = np.inf
    tensor = as_tensor(x, device)
    with pytest.raises(kernels.NonFinite, match="row 0, column 1023 "):
        gpu.encode(tensor, name, blocks=blocks_a_program(tensor, name))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ENCODABLE)
def test_millions_of_weights_are_those_of_the_cpu(name: str, device: str) -> None:
    if device != "cuda":
        pytest.skip("no CUDA GPU here: millions of weights take the interpreter minutes")
    rng = np.random.default_rng(11)
    x = (rng.standard_t(4, (4096, 4096)) * 0.02).astype(np.float32)
    source, _ = inputs.as_source(x, "bf16")
    assert np.array_equal(kernels.encode(source, name, backend="gpu"), kernels.encode(source, name))
