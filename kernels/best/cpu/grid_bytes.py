# mypy: allow-untyped-defs, allow-untyped-calls
"""How a superblock of IQ3 and IQ2 lies in its bytes: d first, then words, signs and scales, each format in its own way.

pack(block, d, scales, j0, words, signs) fills a block of zeros; unpack(block, at, how, scales, levels, tree) reads one.
"""

import numpy as np

from kernels.best.cpu.frame import stored_f16
from kernels.cpu.grid_search import pick
from kernels.cpu.halves import layout, put_f16
from kernels.cpu.lanes import inlined

f32 = np.float32
i32 = np.int32

_XXS3, _S3, _XXS2, _XS2, _S2 = (layout(name) for name in ("IQ3_XXS", "IQ3_S", "IQ2_XXS", "IQ2_XS", "IQ2_S"))


@inlined
def _with_eighth_bit(seven):
    """Eight sign bits, of which an even number is set."""
    folded = seven ^ (seven >> i32(4))
    folded = folded ^ (folded >> i32(2))
    return seven | (((folded ^ (folded >> i32(1))) & i32(1)) << i32(7))


@inlined
def _put_levels(tree, word, signs, dims, how, levels, at):
    """The levels of a word with their signs, of which the lowest bits are its own."""
    for i in range(dims):
        level = f32(how.levels[pick(tree.codes, word * dims + i)])
        levels[at + i] = -level if (signs >> i32(i)) & i32(1) else level


@inlined
def _put_nibbles(block, at, scales, j0, count):
    for j in range(count):
        block[at + j // 2] |= i32(scales[j0 + j]) << i32(4 * (j % 2))


@inlined
def _get_nibbles(block, at, d, share, scales, count):
    for j in range(count):
        scale = (i32(block[at + j // 2]) >> i32(4 * (j % 2))) & i32(15)
        scales[j] = d * (f32(scale) + f32(0.5)) * f32(share)


@inlined
def _put_word32(block, at, value):
    for i in range(4):
        block[at + i] = (value >> i32(8 * i)) & i32(255)


@inlined
def _get_word32(block, at):
    value = i32(0)
    for i in range(4):
        value |= i32(block[at + i]) << i32(8 * i)
    return value


@inlined
def _signs_and_scale(signs, j, scale):
    """28 sign bits and a 4-bit scale of sub-block j."""
    rest = i32(scale) << i32(28)
    for g in range(4):
        rest |= ((i32(signs[j]) >> i32(8 * g)) & i32(127)) << i32(7 * g)
    return rest


@inlined
def _four_bits(rest):
    return (rest >> i32(28)) & i32(15)


@inlined
def pack_iq3_xxs(block, d, scales, j0, words, signs):
    put_f16(block, 0, d)
    for k in range(64):
        block[_XXS3.qs + k] = words[k]
    for j in range(8):
        _put_word32(block, _XXS3.qs + 64 + 4 * j, _signs_and_scale(signs, j, scales[j0 + j]))


@inlined
def unpack_iq3_xxs(block, at, how, scales, levels, tree):
    d = stored_f16(block, at)
    for j in range(8):
        rest = _get_word32(block, at + _XXS3.qs + 64 + 4 * j)
        scales[j] = d * (f32(0.5) + f32(_four_bits(rest))) * f32(0.5)
        for g in range(8):
            of_eight = _with_eighth_bit((rest >> i32(7 * (g // 2))) & i32(127))
            word = i32(block[at + _XXS3.qs + 8 * j + g])
            _put_levels(tree, word, of_eight >> i32(4 * (g % 2)), 4, how, levels, 32 * j + 4 * g)


@inlined
def pack_iq3_s(block, d, scales, j0, words, signs):
    put_f16(block, 0, d)
    for k in range(64):
        block[_S3.qs + k] = words[k] & i32(255)
        block[_S3.qh + k // 8] |= (words[k] >> i32(8)) << i32(k % 8)
    for j in range(8):
        _put_word32(block, _S3.signs + 4 * j, signs[j])
    _put_nibbles(block, _S3.scales, scales, j0, 8)


@inlined
def unpack_iq3_s(block, at, how, scales, levels, tree):
    d = stored_f16(block, at)
    for j in range(8):
        scale = (i32(block[at + _S3.scales + j // 2]) >> i32(4 * (j % 2))) & i32(15)
        scales[j] = d * f32(i32(1) + i32(2) * scale)
    for k in range(64):
        high = (i32(block[at + _S3.qh + k // 8]) >> i32(k % 8)) & i32(1)
        word = i32(block[at + _S3.qs + k]) | (high << i32(8))
        of_four = i32(block[at + _S3.signs + k // 2]) >> i32(4 * (k % 2))
        _put_levels(tree, word, of_four, 4, how, levels, 4 * k)


@inlined
def pack_iq2_xxs(block, d, scales, j0, words, signs):
    put_f16(block, 0, d)
    for j in range(8):
        for g in range(4):
            block[_XXS2.qs + 8 * j + g] = words[4 * j + g]
        _put_word32(block, _XXS2.qs + 8 * j + 4, _signs_and_scale(signs, j, scales[j0 + j]))


@inlined
def unpack_iq2_xxs(block, at, how, scales, levels, tree):
    d = stored_f16(block, at)
    for j in range(8):
        rest = _get_word32(block, at + _XXS2.qs + 8 * j + 4)
        scales[j] = d * (f32(0.5) + f32(_four_bits(rest))) * f32(0.25)
        for g in range(4):
            of_eight = _with_eighth_bit((rest >> i32(7 * g)) & i32(127))
            _put_levels(tree, i32(block[at + _XXS2.qs + 8 * j + g]), of_eight, 8, how, levels, 32 * j + 8 * g)


@inlined
def pack_iq2_xs(block, d, scales, j0, words, signs):
    put_f16(block, 0, d)
    for k in range(32):
        packed = words[k] | (((i32(signs[k // 4]) >> i32(8 * (k % 4))) & i32(127)) << i32(9))
        block[_XS2.qs + 2 * k] = packed & i32(255)
        block[_XS2.qs + 2 * k + 1] = packed >> i32(8)
    _put_nibbles(block, _XS2.scales, scales, j0, 16)


@inlined
def unpack_iq2_xs(block, at, how, scales, levels, tree):
    _get_nibbles(block, at + _XS2.scales, stored_f16(block, at), 0.25, scales, 16)
    for k in range(32):
        packed = i32(block[at + _XS2.qs + 2 * k]) | (i32(block[at + _XS2.qs + 2 * k + 1]) << i32(8))
        _put_levels(tree, packed & i32(511), _with_eighth_bit(packed >> i32(9)), 8, how, levels, 8 * k)


@inlined
def pack_iq2_s(block, d, scales, j0, words, signs):
    put_f16(block, 0, d)
    for k in range(32):
        block[_S2.qs + k] = words[k] & i32(255)
        block[_S2.qh + k // 4] |= (words[k] >> i32(8)) << i32(2 * (k % 4))
    for j in range(8):
        _put_word32(block, _S2.qs + 32 + 4 * j, signs[j])
    _put_nibbles(block, _S2.scales, scales, j0, 16)


@inlined
def unpack_iq2_s(block, at, how, scales, levels, tree):
    _get_nibbles(block, at + _S2.scales, stored_f16(block, at), 0.25, scales, 16)
    for k in range(32):
        high = (i32(block[at + _S2.qh + k // 4]) >> i32(2 * (k % 4))) & i32(3)
        word = i32(block[at + _S2.qs + k]) | (high << i32(8))
        _put_levels(tree, word, i32(block[at + _S2.qs + 32 + k]), 8, how, levels, 8 * k)
