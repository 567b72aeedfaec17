# mypy: allow-untyped-defs, allow-untyped-calls
"""IQ1_S and IQ1_M with lower error: the search of the other grid formats, with levels that a shift moves up or down."""

import numpy as np

from kernels.best.cpu.frame import stored_f16
from kernels.best.cpu.grids import FOUND, WithHalves, find_group, improve, level_of
from kernels.best.searches import IQ1_M, IQ1_S
from kernels.cpu.grid_search import pick
from kernels.cpu.halves import f16_bits, f16_value, layout
from kernels.cpu.lanes import WIDE, bits_of, inlined, kernel, load, nearest, select, splat, store

f32 = np.float32
i32 = np.int32

_S, _M = layout("IQ1_S"), layout("IQ1_M")


@inlined
def _both_errors(room, count):
    """The error of `count` groups with the shift upwards, and downwards."""
    up, down = splat(f32(0), 16), splat(f32(0), 16)
    for g in range(count):
        up = up + load(room, FOUND + 128 * g, 16)
        down = down + load(room, FOUND + 128 * g + 64, 16)
    return up, down


@inlined
def _spell(qt, at, bits, up, down, downwards, how):
    """Writes the levels of one of two words."""
    key = select(downwards, down, up)
    shift = select(downwards, splat(-f32(how.shift), 16), splat(f32(how.shift), 16))
    for i in range(8):
        store(qt, at + i * WIDE, level_of(key, i, bits, how) + shift)


@inlined
def _choose(xt, wt, yt, ot, qt, scales, dims, bits, how, room, tree):
    """The levels of least error, all of `shared` weights moved the same way."""
    count = how.shared // 8
    for part in range(0, WIDE, 16):
        scale = load(scales, part, 16)
        for first in range(0, how.size, how.shared):
            for g in range(2 * count):
                at = (first + g // 2 * 8) * WIDE + part
                shift = -f32(how.shift) if g % 2 else f32(how.shift)
                find_group(xt, wt, yt, at, dims, bits, scale, shift, how, room, tree, FOUND + 64 * g)
            up_error, down_error = _both_errors(room, count)
            for g in range(count):
                up, down = load(room, FOUND + 128 * g + 16, 16), load(room, FOUND + 128 * g + 80, 16)
                at = (first + g * 8) * WIDE + part
                _spell(qt, at, bits, bits_of(up), bits_of(down), down_error < up_error, how)


@inlined
def _put_codes(x, levels, start, how, codes, signs):
    """The codes of 256 levels; in signs, for each eight a bit that is set where the shift is downwards."""
    for i in range(0, 256, 16):
        store(codes, i, nearest(load(levels, start + i, 16)) + splat(f32(1), 16))
    bits = i32(0)
    for k in range(32):
        downwards = levels[start + 8 * k] < codes[8 * k] - f32(1)
        bits |= i32(downwards) << i32(k)
    signs[0] = bits


@inlined
def _is_downwards(signs, k):
    return (i32(signs[0]) >> i32(k)) & i32(1)


@inlined
def _put_word16(block, at, value):
    block[at] = value & i32(255)
    block[at + 1] = (value >> i32(8)) & i32(255)


@inlined
def _get_word16(block, at):
    return i32(block[at]) | (i32(block[at + 1]) << i32(8))


@inlined
def _pack_iq1_s(block, d, scales, j0, words, signs):
    _put_word16(block, _S.d, f16_bits(d))
    for j in range(8):
        high = (i32(scales[j0 + j]) << i32(12)) | (_is_downwards(signs, 4 * j) << i32(15))
        for g in range(4):
            block[_S.qs + 4 * j + g] = words[4 * j + g] & i32(255)
            high |= (words[4 * j + g] >> i32(8)) << i32(3 * g)
        _put_word16(block, _S.qh + 2 * j, high)


@inlined
def _put_levels(tree, word, downwards, how, levels, at):
    shift = -f32(how.shift) if downwards else f32(how.shift)
    for i in range(8):
        levels[at + i] = f32(how.levels[pick(tree.codes, word * i32(8) + i32(i))]) + shift


@inlined
def _unpack_iq1_s(block, at, how, scales, levels, tree):
    d = stored_f16(block, at + _S.d)
    for j in range(8):
        high = _get_word16(block, at + _S.qh + 2 * j)
        scales[j] = d * f32(i32(2) * ((high >> i32(12)) & i32(7)) + i32(1))
        for g in range(4):
            word = i32(block[at + _S.qs + 4 * j + g]) | (((high >> i32(3 * g)) & i32(7)) << i32(8))
            _put_levels(tree, word, (high >> i32(15)) & i32(1), how, levels, 32 * j + 8 * g)


@inlined
def _pack_iq1_m(block, d, scales, j0, words, signs):
    for k in range(32):
        high = (words[k] >> i32(8)) | (_is_downwards(signs, k) << i32(3))
        block[_M.qs + k] = words[k] & i32(255)
        block[_M.qh + k // 2] |= high << i32(4 * (k % 2))
    bits = f16_bits(d)
    for p in range(4):
        packed = ((bits >> i32(4 * p)) & i32(15)) << i32(12)
        for j in range(4):
            packed |= i32(scales[j0 + 4 * p + j]) << i32(3 * j)
        _put_word16(block, _M.scales + 2 * p, packed)


@inlined
def _unpack_iq1_m(block, at, how, scales, levels, tree):
    bits = i32(0)
    for p in range(4):
        bits |= (_get_word16(block, at + _M.scales + 2 * p) >> i32(12)) << i32(4 * p)
    d = f16_value(bits)
    for j in range(16):
        scale = (_get_word16(block, at + _M.scales + j // 4 * 2) >> i32(3 * (j % 4))) & i32(7)
        scales[j] = d * f32(i32(2) * scale + i32(1))
    for k in range(32):
        high = (i32(block[at + _M.qh + k // 2]) >> i32(4 * (k % 2))) & i32(15)
        word = i32(block[at + _M.qs + k]) | ((high & i32(7)) << i32(8))
        _put_levels(tree, word, high >> i32(3), how, levels, 8 * k)


@kernel
def _iq1_s(x, importance, out, first, last, tree):
    improve(
        x, importance, out, first, last, IQ1_S, 8, 2, _S.size, _choose, _put_codes, _pack_iq1_s, _unpack_iq1_s, tree
    )


@kernel
def _iq1_m(x, importance, out, first, last, tree):
    improve(
        x, importance, out, first, last, IQ1_M, 8, 2, _M.size, _choose, _put_codes, _pack_iq1_m, _unpack_iq1_m, tree
    )


iq1_s, iq1_m = WithHalves(_iq1_s, "IQ1_S"), WithHalves(_iq1_m, "IQ1_S")
