"""FP4 and NF4: the bytes of bitsandbytes on the CPU."""

import bitsandbytes.functional as bnb
import numpy as np
import pytest
import torch

import kernels
from kernels import numbers
from kernels.numbers import FP4, NF4, CodeBook
from kernels.numbers.fp4 import BLOCKS, dynamic_map
from tests.kernels.numbers.samples import weights

BOOKS = [pytest.param(book, id=book.name) for book in (FP4, NF4)]
BACKENDS = ["cpu", "reference"]


@pytest.mark.parametrize("book", BOOKS)
def test_levels_are_those_of_bitsandbytes(book: CodeBook) -> None:
    assert np.array_equal(book.levels, bnb.get_4bit_type(book.name, device="cpu").numpy())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shape", [(128, 320), (3, 1367), (1, 1), (1, 33)], ids=str)
@pytest.mark.parametrize("book", BOOKS)
def test_codes_are_those_of_bitsandbytes(book: CodeBook, shape: tuple[int, int], block: int, backend: str) -> None:
    x = weights(128, 320).reshape(-1)[-shape[0] * shape[1] :].reshape(shape).copy()
    theirs, state = bnb.quantize_4bit(torch.from_numpy(x), blocksize=block, quant_type=book.name)
    q = numbers.quantize_4bit(x, book, block, backend=backend)
    assert np.array_equal(q.codes, theirs.numpy()[:, 0])
    assert np.array_equal(q.absmax, state.absmax.numpy())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("book", BOOKS)
def test_codes_of_16_bit_weights_are_those_of_bitsandbytes(book: CodeBook, dtype: torch.dtype, backend: str) -> None:
    x = torch.from_numpy(weights()).to(dtype)
    theirs, state = bnb.quantize_4bit(x, quant_type=book.name)
    source = x.numpy() if dtype is torch.float16 else x.view(torch.int16).numpy().view(np.uint16)
    q = numbers.quantize_4bit(source, book, backend=backend)
    assert np.array_equal(q.codes, theirs.numpy()[:, 0])
    assert np.array_equal(q.absmax, state.absmax.numpy())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("book", BOOKS)
def test_weights_on_a_limit_and_beside_it_take_the_codes_of_bitsandbytes(book: CodeBook, backend: str) -> None:
    beside = [book.limits, np.nextafter(book.limits, np.float32(2)), np.nextafter(book.limits, np.float32(-2))]
    x = np.zeros((4, 64), np.float32)
    x[:, :45] = np.concatenate(beside)
    x[:, 63] = 1
    x *= np.array([[1], [-1], [3], [0.7]], np.float32)
    theirs, _ = bnb.quantize_4bit(torch.from_numpy(x), quant_type=book.name)
    assert np.array_equal(numbers.quantize_4bit(x, book, backend=backend).codes, theirs.numpy()[:, 0])


@pytest.mark.parametrize("book", BOOKS)
def test_values_are_those_of_bitsandbytes(book: CodeBook) -> None:
    x = weights(64, 256)
    theirs, state = bnb.quantize_4bit(torch.from_numpy(x), quant_type=book.name)
    back = torch.ops.bitsandbytes.dequantize_4bit.default(theirs, state.absmax, 64, book.name, x.shape, torch.float32)
    ours = numbers.dequantize_4bit(numbers.quantize_4bit(x, book))
    # The compiled CPU kernel of bitsandbytes may multiply in another order; a float32 unit is all it may differ by.
    assert np.allclose(ours, back.numpy(), rtol=2e-7, atol=0)


def test_the_first_weight_is_in_the_high_nibble() -> None:
    x = np.zeros((1, 64), np.float32)
    x[0, 0], x[0, 1] = 1, -1
    assert numbers.quantize_4bit(x).codes[:2].tolist() == [0xF0, 0x77]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("book", BOOKS)
def test_what_a_book_holds_survives(book: CodeBook, backend: str) -> None:
    rng = np.random.default_rng(1)
    x = book.levels[rng.integers(0, 16, (8, 64))]
    x[:, 0] = 1
    x = x * np.ldexp(np.float32(1), rng.integers(-20, 20, (8, 1)))
    assert np.array_equal(numbers.dequantize_4bit(numbers.quantize_4bit(x, book, backend=backend)), x)


def test_the_dynamic_map_is_that_of_bitsandbytes() -> None:
    assert np.array_equal(dynamic_map(), bnb.create_dynamic_map().numpy())


@pytest.mark.parametrize("count", [1, 255, 256, 4096, 5001])
def test_nested_magnitudes_are_those_of_the_portable_bitsandbytes(count: int) -> None:
    absmax = np.abs(np.random.default_rng(count).standard_t(5, count)).astype(np.float32)
    ours = numbers.nest(absmax)
    rest = torch.from_numpy(absmax - ours.offset)
    portable = torch.ops.bitsandbytes.quantize_blockwise.default._op_dk
    key = torch._C.DispatchKey.CompositeExplicitAutograd
    codes, peaks = portable(key, rest, torch.from_numpy(dynamic_map()), 256)
    assert np.array_equal(ours.codes, codes.numpy())
    assert np.array_equal(ours.absmax, peaks.numpy())
    assert np.isclose(ours.offset, torch.from_numpy(absmax).mean().item(), rtol=1e-6)


def test_nested_magnitudes_are_nearly_those_of_the_compiled_bitsandbytes() -> None:
    # Its compiled search goes by a table and takes the farther of two codes within 1e-5 of their midpoint.
    x = np.random.default_rng(4).standard_normal((512, 1024)).astype(np.float32)
    _, state = bnb.quantize_4bit(torch.from_numpy(x), quant_type="nf4", compress_statistics=True)
    ours = numbers.nest(numbers.quantize_4bit(x).absmax)
    apart = np.abs(ours.codes.astype(int) - state.absmax.numpy())
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01
    assert np.allclose(ours.absmax, state.state2.absmax.numpy(), rtol=1e-5)


def test_unnested_magnitudes_are_close_to_what_was_nested() -> None:
    absmax = numbers.quantize_4bit(np.random.default_rng(5).standard_normal((64, 1024)).astype(np.float32)).absmax
    back = numbers.unnest(numbers.nest(absmax))
    assert back.dtype == np.float32
    assert np.abs(back - absmax).max() < 0.02 * (absmax.max() - absmax.min())


def test_values_with_nested_magnitudes_are_those_of_bitsandbytes() -> None:
    ours = numbers.nest(np.linspace(0.5, 3, 600, dtype=np.float32))
    theirs = torch.ops.bitsandbytes.dequantize_blockwise.default(
        torch.from_numpy(ours.codes), torch.from_numpy(ours.absmax), torch.from_numpy(dynamic_map()), 256, torch.float32
    )
    assert np.array_equal(numbers.unnest(ours), theirs.numpy() + ours.offset)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_non_finite_weight_is_refused_with_its_place(backend: str) -> None:
    x = weights()
    x[9, 300] = -np.inf
    with pytest.raises(kernels.NonFinite, match="row 9, column 300"):
        numbers.quantize_4bit(x, backend=backend)


def test_a_block_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a block has 32, 64, .* weights, not 48"):
        numbers.quantize_4bit(weights(), NF4, 48)
