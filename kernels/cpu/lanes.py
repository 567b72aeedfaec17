# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
"""Explicit SIMD for numba: a vector of n lanes is a value, and an operation is one LLVM instruction on it.

A kernel written in this vocabulary runs at the width of the CPU it is compiled on: LLVM turns 16 float lanes into one
AVX-512 register, two of AVX2 or four of NEON. No fast-math flag is ever set, so nothing is reassociated or fused, and
every lane computes what scalar IEEE code computes.

Lane counts are literals: `splat(x, 16)`, `load(array, at, 32)`. Arrays are flat; `at` counts elements.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from kernels.cpu import cache


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles an entry point: releases the GIL, is kept on disk, divides by zero as IEEE says."""
    return njit(nogil=True, cache=cache.is_usable(), error_model="numpy")(function)


# A part needs no entry points for Python, which would take a third more of the time that kernels need to compile.
_PART: dict[str, Any] = {
    "forceinline": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
_UNCOUNTED = _PART | {"_nrt": False}


def inlined(function: Callable[..., Any]) -> Any:
    """Compiles a part of kernels into each of them. It may not make arrays, and so need not count references to them.

    Counting costs an atomic instruction, and a call that spills all vectors, wherever an array is handed on.
    """
    return njit(**_UNCOUNTED)(function)


def allocating(function: Callable[..., Any]) -> Any:
    """As `inlined`, for a part that makes arrays."""
    return njit(**_PART)(function)


def operation(definition: Any) -> Any:
    """A function that exists only inside kernels, as the LLVM instructions `definition` emits."""
    return intrinsic(definition)


def literal_operation(definition: Any) -> Any:
    """An operation that sees integer literals, such as lane counts, as types."""
    return intrinsic(prefer_literal=True)(definition)


# Searches hold several sums at once, each a chain of dependent additions. Where registers are plenty (AVX-512 has 32 of
# 64 bytes), twice the lanes give the CPU two independent chains; elsewhere they would only spill.
_config: Any = config
FEATURES: str = get_host_cpu_features() if _config.CPU_FEATURES is None else _config.CPU_FEATURES
WIDE = 32 if "+avx512f" in FEATURES else 16

_SCALARS = {
    "f32": ir.FloatType(),
    "i32": ir.IntType(32),
    "u16": ir.IntType(16),
    "u8": ir.IntType(8),
    "mask": ir.IntType(1),
}
_I32 = ir.IntType(32)


class Lanes(types.Type):
    """The numba type of a vector: `kind` is a key of _SCALARS."""

    def __init__(self, kind: str, n: int) -> None:
        self.kind, self.n = kind, n
        super().__init__(name=f"lanes_{kind}x{n}")

    @property
    def llvm(self):
        return ir.VectorType(_SCALARS[self.kind], self.n)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, data_model_manager, lanes):
        super().__init__(data_model_manager, lanes, lanes.llvm)


def _arithmetic(op, for_floats, for_integers):
    @infer_global(op)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(op, Lanes, Lanes)
    def _lower(context, builder, sig, args):
        name = for_floats if sig.args[0].kind == "f32" else for_integers
        return getattr(builder, name)(*args)


def _comparison(op, symbol):
    @infer_global(op)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(Lanes("mask", args[0].n), *args)
            return None

    @lower_builtin(op, Lanes, Lanes)
    def _lower(context, builder, sig, args):
        return _compare(builder, sig.args[0], symbol, args)


def _compare(builder, lanes, symbol, args):
    if lanes.kind != "f32":
        return builder.icmp_signed(symbol, *args)
    compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
    return compare(symbol, *args)


for _op, _float, _integer in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", None),
    (operator.and_, None, "and_"),
    (operator.or_, None, "or_"),
    (operator.xor, None, "xor"),
    (operator.lshift, None, "shl"),
    (operator.rshift, None, "ashr"),
):
    _arithmetic(_op, _float, _integer)

for _op, _symbol in (
    (operator.lt, "<"),
    (operator.gt, ">"),
    (operator.le, "<="),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _comparison(_op, _symbol)


def _constant(lanes, value):
    return ir.Constant(lanes.llvm, [value] * lanes.n)


def _fill(builder, scalar, n):
    vector = ir.VectorType(scalar.type, n)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, n), [0] * n))


@literal_operation
def splat(typing_context, value, n):
    """The float or integer `value` in all of n lanes."""
    kind, scalar = ("f32", types.float32) if isinstance(value, types.Float) else ("i32", types.int32)
    source = types.unliteral(value)

    def emit(context, builder, sig, args):
        return _fill(builder, context.cast(builder, args[0], source, scalar), n.literal_value)

    return Lanes(kind, n.literal_value)(source, n), emit


def _address(context, builder, sig, args, vector):
    array = context.make_array(sig.args[0])(context, builder, args[0])
    at = context.cast(builder, args[1], sig.args[1], types.intp)
    return builder.bitcast(builder.gep(array.data, [at]), vector.as_pointer())


def _load(builder, pointer):
    value = builder.load(pointer)
    value.align = 1
    return value


@literal_operation
def load(typing_context, array, at, n):
    """n floats of a float32 array."""
    lanes, at = Lanes("f32", n.literal_value), types.unliteral(at)

    def emit(context, builder, sig, args):
        return _load(builder, _address(context, builder, sig, args, lanes.llvm))

    return lanes(array, at, n), emit


@literal_operation
def load_source(typing_context, array, at, n):
    """n weights as floats: of float32, of uint16 holding bf16 bits, or of int16 holding f16 bits."""
    floats, at = Lanes("f32", n.literal_value), types.unliteral(at)
    integers, halves = Lanes("i32", floats.n), Lanes("u16", floats.n)
    emit_bits = {types.uint16: _bf16_to_float, types.int16: _f16_to_float}.get(array.dtype)

    def emit(context, builder, sig, args):
        if emit_bits is None:
            return _load(builder, _address(context, builder, sig, args, floats.llvm))
        bits = _load(builder, _address(context, builder, sig, args, halves.llvm))
        return emit_bits(builder, builder.zext(bits, integers.llvm), integers, floats)

    return floats(array, at, n), emit


def _bf16_to_float(builder, bits, integers, floats):
    return builder.bitcast(builder.shl(bits, _constant(integers, 16)), floats.llvm)


def _f16_to_float(builder, bits, integers, floats):
    """By integers and one exact multiplication, because not every CPU has the instruction."""
    sign = builder.shl(builder.and_(bits, _constant(integers, 0x8000)), _constant(integers, 16))
    magnitude = builder.shl(builder.and_(bits, _constant(integers, 0x7FFF)), _constant(integers, 13))
    scaled = builder.fmul(builder.bitcast(magnitude, floats.llvm), _constant(floats, 2.0**112))
    special = builder.icmp_unsigned(">=", magnitude, _constant(integers, 0x7C00 << 13))
    infinite = builder.or_(magnitude, _constant(integers, 0x7F800000))
    value = builder.select(special, infinite, builder.bitcast(scaled, integers.llvm))
    return builder.bitcast(builder.or_(value, sign), floats.llvm)


@operation
def store(typing_context, array, at, lanes):
    """Writes all lanes from element `at` on; into a byte array, lanes of any kind."""

    def emit(context, builder, sig, args):
        written = builder.store(args[2], _address(context, builder, sig, args, sig.args[2].llvm))
        written.align = 1
        return context.get_dummy_value()

    return types.void(array, at, lanes), emit


@operation
def select(typing_context, mask, yes, no):
    """`yes` in lanes where the mask is set, else `no`."""

    def emit(context, builder, sig, args):
        return builder.select(*args)

    return yes(mask, yes, no), emit


@operation
def larger(typing_context, a, b):
    """a > b ? a : b."""

    def emit(context, builder, sig, args):
        return builder.select(_compare(builder, sig.args[0], ">", args), *args)

    return a(a, b), emit


@operation
def smaller(typing_context, a, b):
    """a < b ? a : b."""

    def emit(context, builder, sig, args):
        return builder.select(_compare(builder, sig.args[0], "<", args), *args)

    return a(a, b), emit


def _float_function(name):
    @operation
    def function(typing_context, lanes):
        def emit(context, builder, sig, args):
            vector = lanes.llvm
            called = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector]), f"llvm.{name}.v{lanes.n}f32"
            )
            return builder.call(called, args)

        return lanes(lanes), emit

    return function


absolute, root, nearest = (_float_function(name) for name in ("fabs", "sqrt", "rint"))


def _conversion(kind, method):
    @operation
    def function(typing_context, lanes):
        result = Lanes(kind, lanes.n)

        def emit(context, builder, sig, args):
            return getattr(builder, method)(args[0], result.llvm)

        return result(lanes), emit

    return function


to_int, to_float = _conversion("i32", "fptosi"), _conversion("f32", "sitofp")
to_bytes, to_words = _conversion("u8", "trunc"), _conversion("u16", "trunc")
bits_of, float_of = _conversion("i32", "bitcast"), _conversion("f32", "bitcast")


def _reduction(name):
    @operation
    def function(typing_context, lanes):
        def emit(context, builder, sig, args):
            called = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_I32, [lanes.llvm]), f"llvm.vector.reduce.{name}.v{lanes.n}i32"
            )
            return builder.call(called, args)

        return types.int32(lanes), emit

    return function


largest, smallest = _reduction("smax"), _reduction("smin")


@operation
def set_bits(typing_context, mask):
    """A mask of at most 32 lanes as the bits of an int32, lane 0 lowest."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.n))
        return bits if mask.n == 32 else builder.zext(bits, _I32)

    return types.int32(mask), emit


@operation
def any_of(typing_context, mask):
    """Whether the mask is set in any lane."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.n))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), emit


def _half(second):
    @operation
    def function(typing_context, lanes):
        n = lanes.n // 2
        result = Lanes(lanes.kind, n)

        def emit(context, builder, sig, args):
            picked = ir.Constant(ir.VectorType(_I32, n), [n * second + i for i in range(n)])
            return builder.shuffle_vector(args[0], ir.Constant(lanes.llvm, ir.Undefined), picked)

        return result(lanes), emit

    return function


first_half, second_half = _half(0), _half(1)


@operation
def scalar_bits(typing_context, value):
    """The bits of one float32 as an int32."""

    def emit(context, builder, sig, args):
        return builder.bitcast(context.cast(builder, args[0], sig.args[0], types.float32), _I32)

    return types.int32(value), emit


@operation
def scalar_float(typing_context, bits):
    """The float32 with the given low 32 bits."""

    def emit(context, builder, sig, args):
        return builder.bitcast(context.cast(builder, args[0], sig.args[0], types.int32), ir.FloatType())

    return types.float32(bits), emit


@operation
def transpose(typing_context, source, source_at, stride, target, target_at, target_stride):
    """target[target_at + i * target_stride + lane] = source[source_at + lane * stride + i] for 16 x 16 floats."""

    def emit(context, builder, sig, args):
        vector = Lanes("f32", 16).llvm
        arrays = [context.make_array(sig.args[k])(context, builder, args[k]) for k in (0, 3)]
        at = {k: context.cast(builder, args[k], sig.args[k], types.intp) for k in (1, 2, 4, 5)}

        def pointer(array, start, step, index):
            element = builder.add(start, builder.mul(step, ir.Constant(start.type, index)))
            return builder.bitcast(builder.gep(array.data, [element]), vector.as_pointer())

        rows = [_load(builder, pointer(arrays[0], at[1], at[2], lane)) for lane in range(16)]
        for i, row in enumerate(_transposed(builder, rows)):
            builder.store(row, pointer(arrays[1], at[4], at[5], i)).align = 1
        return context.get_dummy_value()

    return types.void(source, source_at, stride, target, target_at, target_stride), emit


def _transposed(builder, rows):
    """Four rounds that swap ever larger squares between pairs of rows: 64 two-source shuffles."""
    step = 1
    while step < 16:
        keep = [i if not i & step else 16 + i - step for i in range(16)]
        swap = [i + step if not i & step else 16 + i for i in range(16)]
        for i in range(16):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i], rows[i + step] = (
                    builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, 16), picked))
                    for picked in (keep, swap)
                )
        step *= 2
    return rows
