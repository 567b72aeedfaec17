"""Rows of tensors through ops: what comes out, and how much is read for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import core.rows
from core.errors import SnugError
from core.model import OutputTensor, Part, TensorInfo
from core.rows import RowReader, encode_type, step_of
from core.tensor_ops import Add, Heads, NegExp, Oriented, Retile, Rows, Scale, TensorOp, Ternary, Transpose

Array = npt.NDArray[np.float32]


class CountingReader(RowReader):
    """Knows how many bytes it has read."""

    total = 0

    def _bytes(self, source: TensorInfo, offset: int, count: int) -> npt.NDArray[np.uint8]:
        self.total += count
        return super()._bytes(source, offset, count)


@pytest.fixture
def reader() -> Iterator[CountingReader]:
    counting = CountingReader()
    with counting:
        yield counting


def _stored(folder: Path, values: Array) -> TensorInfo:
    file = folder / "values"
    file.write_bytes(values.tobytes())
    return TensorInfo("values", "F32", values.shape, file, 0, values.nbytes)


def _output(*parts: Part) -> OutputTensor:
    shapes = [part.shape for part in parts]
    return OutputTensor("made", (sum(shape[0] for shape in shapes), *shapes[0][1:]), "F32", parts)


def _numbers(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_run_of_rows_of_a_matrix_is_read_alone(tmp_path: Path, reader: CountingReader) -> None:
    values = _numbers(1000, 4)
    tensor = _output(Part(_stored(tmp_path, values), (Rows(100, 900),)))
    assert (tensor.shape, step_of(tensor)) == ((800, 4), 1)
    np.testing.assert_array_equal(reader.rows(tensor, 10, 20), values[110:130])
    assert reader.total == 20 * 4 * 4


def test_ops_after_a_run_of_rows_see_only_these(tmp_path: Path, reader: CountingReader) -> None:
    values = _numbers(16, 3)
    tensor = _output(Part(_stored(tmp_path, values), (Rows(4, 16), Retile(2, 3))))
    expected = values[4:].reshape(2, 3, 2, 3).swapaxes(0, 1).reshape(12, 3)
    np.testing.assert_array_equal(reader.rows(tensor, 0, 12), expected)
    np.testing.assert_array_equal(reader.rows(tensor, 5, 3), expected[5:8])


def test_a_vector_may_be_made_of_several_runs_of_one(tmp_path: Path, reader: CountingReader) -> None:
    values = _numbers(12)
    source = _stored(tmp_path, values)
    chains: list[tuple[TensorOp, ...]] = [(Heads(2), Rows(0, 2)), (Heads(2), Rows(2, 6))]
    tensor = _output(*(Part(source, chain) for chain in chains))
    assert tensor.shape == (12,)
    expected = [0, 1, 6, 7, 2, 3, 4, 5, 8, 9, 10, 11]
    np.testing.assert_array_equal(reader.rows(tensor, 0, 1), [expected])
    np.testing.assert_array_equal(reader.raw(tensor, 0, 1).view(np.float32), [expected])


@pytest.mark.parametrize("upright", [True, False])
def test_matrices_that_are_stored_either_way_come_out_upright(
    tmp_path: Path, reader: CountingReader, upright: bool
) -> None:
    values = _numbers(3, 6, 4)
    source = _stored(tmp_path, values if upright else np.ascontiguousarray(values.swapaxes(1, 2)))
    tensor = _output(Part(source, (Oriented(6, 4), Rows(2, 6))))
    assert tensor.shape == (3, 4, 4)
    np.testing.assert_array_equal(reader.rows(tensor, 0, 12), values[:, 2:].reshape(12, 4))


def test_matrices_of_another_size_are_refused() -> None:
    with pytest.raises(SnugError, match="not made of matrices of 6 times 5"):
        Oriented(6, 5).shape((3, 6, 4))
    assert Transpose().shape((3, 6, 4)) == (3, 4, 6)


@pytest.mark.parametrize("op", [Transpose(), Add(1.0), Scale(2.0), NegExp(), Ternary()])
def test_the_type_that_is_prepared_is_the_type_that_is_read(tmp_path: Path, op: TensorOp) -> None:
    file = tmp_path / "values"
    file.write_bytes(bytes(8))
    half = TensorInfo("values", "BF16", (2, 2), file, 0, 8)
    tensor = OutputTensor("out", (2, 2), "BF16", (Part(half, (op,)),))
    with RowReader() as reader:
        assert reader.rows(tensor, 0, 2).dtype == encode_type(tensor)


def test_of_many_files_a_few_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.rows, "MOST_OPEN", 3)
    tensors = []
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        tensors.append(_output(Part(_stored(folder, _numbers(2, 3) + number))))
    with RowReader() as reader, ThreadPoolExecutor(4) as pool:
        for found, number in pool.map(lambda n: (reader.rows(tensors[n % 10], 0, 2), n % 10), range(200)):
            np.testing.assert_array_equal(found, _numbers(2, 3) + number)
        for tensor in tensors:
            reader.rows(tensor, 0, 2)
            assert len(reader._files) <= 3
