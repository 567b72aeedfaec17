"""IQ4_XS with lower error: the search of Q6_K over the levels of IQ4_NL."""

import numpy as np

from kernels.best.reference.blocks import IQ4, iq4_level
from kernels.best.reference.frame import Found, improve, weigh
from kernels.best.reference.k_quants import signed
from kernels.best.reference.parts import F32, U8, lanes_of
from kernels.best.searches import IQ4_XS
from kernels.formats import FORMATS


def _pack_iq4_xs(found: Found, levels: F32) -> U8:
    block = np.zeros(len(levels), FORMATS["IQ4_XS"].dtype)
    biased = found[2].reshape(-1, 8).astype(np.int32) + 32
    codes = np.searchsorted(IQ4, levels).astype(np.int32).reshape(-1, 8, 2, 16)
    block["d"] = found[0].reshape(-1, 8)[:, 0]
    block["scales_l"] = (biased[:, 0::2] & 15) | ((biased[:, 1::2] & 15) << 4)
    block["scales_h"] = ((biased >> 4) << (2 * np.arange(8))).sum(axis=1)
    block["qs"] = (codes[:, :, 0] | (codes[:, :, 1] << 4)).reshape(-1, 128)
    return block.view(np.uint8).reshape(len(block), -1)


def search_iq4_xs(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Six-bit scales of 32 weights, and sixteen uneven levels."""
    lanes = lanes_of(x, IQ4_XS.size)
    weights = weigh(lanes, importance, means, IQ4_XS)
    found = signed(lanes, weights, IQ4_XS, iq4_level)
    improve(
        lanes,
        weights,
        packed,
        name="IQ4_XS",
        how=IQ4_XS,
        found=found,
        level=iq4_level,
        pack=_pack_iq4_xs,
        important=importance is not None,
    )


SEARCHES = {"IQ4_XS": search_iq4_xs}
