# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
"""What the searches for lower error have in common: loads, sums over neighbouring lanes, weights, and the guard."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from kernels.best.searches import MAGNITUDE, RMS, SQUARE
from kernels.cpu.lanes import (
    WIDE,
    Lanes,
    absolute,
    bits_of,
    float_of,
    inlined,
    larger,
    literal_operation,
    load,
    operation,
    root,
    select,
    splat,
    store,
    transpose,
)

f32 = np.float32
f64 = np.float64

_LANE = ir.IntType(32)
_DOUBLE = ir.DoubleType()
_SIGN = -0x80000000
_MAGNITUDE = 0x7FFFFFFF


def _at(context, builder, array_type, array, at, vector):
    """A pointer to the vector that begins at element `at` of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


@literal_operation
def load_bytes(typing_context, array, at, n):
    """n unsigned bytes as n lanes of integers."""
    lanes, at = Lanes("i32", n.literal_value), types.unliteral(at)

    def emit(context, builder, sig, args):
        index = context.cast(builder, args[1], at, types.intp)
        loaded = builder.load(_at(context, builder, array, args[0], index, Lanes("u8", lanes.n).llvm))
        loaded.align = 1
        return builder.zext(loaded, lanes.llvm)

    return lanes(array, at, n), emit


@literal_operation
def partner(typing_context, lanes, distance):
    """Each lane gets the value of lane `index ^ distance`."""
    step = distance.literal_value

    def emit(context, builder, sig, args):
        picked = ir.Constant(ir.VectorType(_LANE, lanes.n), [i ^ step for i in range(lanes.n)])
        return builder.shuffle_vector(args[0], ir.Constant(lanes.llvm, ir.Undefined), picked)

    return lanes(lanes, distance), emit


@inlined
def total(lanes, count):
    """In every lane, the sum over its `count` neighbours (1, 2, 4, 8 or 16): pairs, pairs of pairs and so on."""
    if count > 1:
        lanes = lanes + partner(lanes, 1)
    if count > 2:
        lanes = lanes + partner(lanes, 2)
    if count > 4:
        lanes = lanes + partner(lanes, 4)
    if count > 8:
        lanes = lanes + partner(lanes, 8)
    return lanes


@inlined
def top(lanes, count):
    """In every lane, the largest value of its `count` neighbours, none of which is NaN."""
    if count > 1:
        lanes = larger(lanes, partner(lanes, 1))
    if count > 2:
        lanes = larger(lanes, partner(lanes, 2))
    if count > 4:
        lanes = larger(lanes, partner(lanes, 4))
    if count > 8:
        lanes = larger(lanes, partner(lanes, 8))
    return lanes


@inlined
def half(lanes):
    """The nearest f16, as floats, by integers: halves to even; overflow and what is not a number to infinity."""
    bits = bits_of(lanes)
    magnitude = bits & splat(_MAGNITUDE, WIDE)
    odd = (magnitude >> splat(13, WIDE)) & splat(1, WIDE)
    normal = (magnitude + splat(0x0FFF, WIDE) + odd) & splat(-0x2000, WIDE)
    normal = select(normal < splat(0x47800000, WIDE), normal, splat(0x7F800000, WIDE))
    # Adding a half lines the last bit of an f16 subnormal up with the last bit of the sum.
    small = bits_of((float_of(magnitude) + splat(f32(0.5), WIDE)) - splat(f32(0.5), WIDE))
    rounded = select(magnitude < splat(0x38800000, WIDE), small, normal)
    sign = select(magnitude > splat(0x7F800000, WIDE), splat(0, WIDE), bits & splat(_SIGN, WIDE))
    return float_of(rounded | sign)


@inlined
def copy(source, at, count, target):
    """`count` floats, a multiple of 16, to the beginning of target."""
    for i in range(0, count, 16):
        store(target, i, load(source, at + i, 16))


@inlined
def lanes_of(buffer, target, size):
    """target[i * WIDE + lane] = element i of sub-block `lane`."""
    for lane in range(0, WIDE, 16):
        for i in range(0, size, 16):
            transpose(buffer, lane * size + i, size, target, i * WIDE + lane, WIDE)


@inlined
def rows_of(lanes, target, size):
    """The inverse of lanes_of."""
    for lane in range(0, WIDE, 16):
        for i in range(0, size, 16):
            transpose(lanes, i * WIDE + lane, WIDE, target, lane * size + i, size)


@inlined
def squares(xt, size):
    """The sum of squares of each sub-block."""
    total_of = splat(f32(0), WIDE)
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        total_of = total_of + v * v
    return total_of


@inlined
def plain_weights(xt, wt, size, kind):
    """What an error at each weight costs when nothing is known of its importance."""
    mean = root(squares(xt, size) / splat(f32(size), WIDE))
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        w = splat(f32(1), WIDE)
        if kind == RMS:
            w = mean + absolute(v)
        elif kind == SQUARE:
            w = v * v
        elif kind == MAGNITUDE:
            w = absolute(v)
        store(wt, i * WIDE, w)


@inlined
def importance_weights(xt, wt, size, mean):
    """Importance, which wt holds, times the root of `mean` plus the square of the weight."""
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        store(wt, i * WIDE, load(wt, i * WIDE, WIDE) * root(mean + v * v))


@operation
def add_error(typing_context, sums, x, value, weight, mean_absolute):
    """sums[lane] += weight * (value - x) ** 2, or * |value - x|, of 16 lanes in double precision."""

    def emit(context, builder, sig, args):
        vector = ir.VectorType(_DOUBLE, 16)
        place = _at(context, builder, sums, args[0], context.get_constant(types.intp, 0), vector)
        wide = [builder.fpext(arg, vector) for arg in args[1:4]]
        difference = builder.fsub(wide[1], wide[0])
        magnitude = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector]), "llvm.fabs.v16f64"
        )
        size = builder.select(args[4], builder.call(magnitude, [difference]), builder.fmul(difference, difference))
        before = builder.load(place)
        before.align = 8
        builder.store(builder.fadd(before, builder.fmul(wide[2], size)), place).align = 8
        return context.get_dummy_value()

    return types.void(sums, x, value, weight, mean_absolute), emit


@inlined
def in_order(sums):
    """The sum of 16 doubles, left to right."""
    result = f64(0)
    for i in range(16):
        result = result + sums[i]
    return result
