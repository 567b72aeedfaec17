"""The fast part compiles few kernels: each takes seconds on a machine that has none yet. The full run compiles all."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Of the formats that most models are made in; of all others, kernels of one input type.
USUAL = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K")
WEIGHTED = ("Q4_K", "Q6_K", "IQ4_XS")
ON_GPU = ("F16", "Q8_0", "Q4_K", "MXFP4")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and HERE in item.path.parents and _compiles_more(item):
            item.add_marker(pytest.mark.slow)


def _compiles_more(item: pytest.Function) -> bool:
    """Whether a test needs a kernel that no other one of the fast part needs."""
    values = item.callspec.params if hasattr(item, "callspec") else {}
    name, dtype, on_cpu = values.get("name"), values.get("dtype"), values.get("backend", "cpu") == "cpu"
    file = item.path.relative_to(HERE).as_posix()
    if file == "gpu/test_encode.py":
        return item.originalname == "test_bytes_are_those_of_the_reference" and name not in ON_GPU
    if file == "test_importance.py":
        return name is not None and on_cpu and name not in WEIGHTED
    return (
        file in ("test_encode.py", "test_i_quants_lanes.py")
        and dtype in ("f16", "bf16")
        and on_cpu
        and name not in USUAL
    )
