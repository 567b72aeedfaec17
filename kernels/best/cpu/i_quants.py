# mypy: allow-untyped-defs, allow-untyped-calls
"""IQ4_XS with lower error: the search of Q6_K over the levels of IQ4_NL."""

import numpy as np

from kernels.best.cpu.blocks import IQ4, IQ4_MIDDLES, count_passed, iq4_level
from kernels.best.cpu.frame import improve, stored_f16
from kernels.best.cpu.k_quants import signed
from kernels.best.searches import IQ4_XS
from kernels.cpu.halves import layout, put_f16
from kernels.cpu.lanes import inlined, kernel, load, splat, store, to_bytes

f32 = np.float32
i32 = np.int32

_IQ4_XS = layout("IQ4_XS")


@inlined
def _search_iq4_xs(xt, wt, room, how, known):
    return signed(xt, wt, how, iq4_level)


@inlined
def _pack_iq4_xs(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _IQ4_XS.d, d)
    high = i32(0)
    for j in range(8):
        biased = i32(scales[j0 + j]) + i32(32)
        high |= (biased >> i32(4)) << i32(2 * j)
        if j % 2:
            block[_IQ4_XS.scales_l + j // 2] |= (biased & i32(15)) << i32(4)
        else:
            block[_IQ4_XS.scales_l + j // 2] = biased & i32(15)
        low = count_passed(load(levels, start + 32 * j, 16), IQ4_MIDDLES, 15)
        upper = count_passed(load(levels, start + 32 * j + 16, 16), IQ4_MIDDLES, 15)
        store(block, _IQ4_XS.qs + 16 * j, to_bytes(low | (upper << splat(4, 16))))
    block[_IQ4_XS.scales_h] = high & i32(255)
    block[_IQ4_XS.scales_h + 1] = high >> i32(8)


@inlined
def _unpack_iq4_xs(block, at, scales, minima, levels):
    d = stored_f16(block, at + _IQ4_XS.d)
    high = i32(block[at + _IQ4_XS.scales_h]) | (i32(block[at + _IQ4_XS.scales_h + 1]) << i32(8))
    for j in range(8):
        low = (i32(block[at + _IQ4_XS.scales_l + j // 2]) >> i32(4 * (j % 2))) & i32(15)
        scale = low | (((high >> i32(2 * j)) & i32(3)) << i32(4))
        scales[j], minima[j] = d * f32(scale - i32(32)), f32(0)
        for i in range(16):
            packed = i32(block[at + _IQ4_XS.qs + 16 * j + i])
            levels[32 * j + i], levels[32 * j + 16 + i] = IQ4[packed & i32(15)], IQ4[packed >> i32(4)]


@kernel
def iq4_xs(x, importance, out, first, last):
    improve(
        x,
        importance,
        out,
        first,
        last,
        IQ4_XS,
        _IQ4_XS.size,
        False,
        _search_iq4_xs,
        iq4_level,
        _pack_iq4_xs,
        _unpack_iq4_xs,
    )
