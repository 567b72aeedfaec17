"""The kernels run on a GPU if there is one, else in Triton's interpreter, which must be said before Triton is imported.

Triton has wheels for Linux and Windows on common processors only; where the dev extra installs it, a missing Triton is
a failure.
"""

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture
def triton() -> None:
    """Skips where Triton is neither there nor expected."""
    expected = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
    if not expected and importlib.util.find_spec("triton") is None:
        pytest.skip(f"Triton is not installed, and has no wheel of its own for {sys.platform}")


@pytest.fixture
def device(triton: None) -> Iterator[str]:
    """Where the tensors of a test lie. The interpreter computes in numpy, which would warn of every overflow."""
    with np.errstate(all="ignore"):
        yield "cuda" if torch.cuda.is_available() else "cpu"
