"""Gradients of the gain and the bias of muscles by their parameters, which `muscle` calls rows."""

import warp as wp

from diffsim.physics.muscle import MINVAL, length_curve, passive_curve, velocity_curve
from diffsim.types import HALF, ONE, TWO, ZERO, real, vec2, vec6

vec8 = wp.types.vector(8, real)


@wp.func
def length_curve_ends(x: real, low: real, high: real) -> vec2:
    """Derivatives of FL by its ends, in the notation of `muscle.length_curve`."""
    if x < low or x > high:
        return vec2(ZERO, ZERO)
    left = wp.max(MINVAL, HALF * (ONE - low))
    right = wp.max(MINVAL, HALF * (high - ONE))
    if x <= HALF * (low + ONE):
        z = (x - low) / left
        return vec2(z * (HALF * z - ONE) / left, ZERO)
    if x <= ONE:
        z = (ONE - x) / left
        return vec2(-HALF * z * z / left, ZERO)
    if x <= HALF * (ONE + high):
        z = (x - ONE) / right
        return vec2(ZERO, HALF * z * z / right)
    z = (high - x) / right
    return vec2(ZERO, z * (ONE - HALF * z) / right)


@wp.func
def velocity_curve_top(x: real, top: real) -> vec2:
    """Derivatives of FV and of its slope by `top`."""
    end = wp.max(MINVAL, top - ONE)
    if x <= ZERO:
        return vec2(ZERO, ZERO)
    if x <= top - ONE:
        return vec2((x / end) * (x / end), TWO * x / (end * end))
    return vec2(ONE, ZERO)


@wp.func
def passive_curve_end(x: real, high: real, top: real) -> real:
    """Derivative of FP by `high`."""
    width = wp.max(MINVAL, HALF * (high - ONE))
    if x <= ONE:
        return ZERO
    if x <= HALF * (ONE + high):
        z = (x - ONE) / width
        return -HALF * top * z * z / width
    return -HALF * top * (ONE + (x - HALF * (ONE + high)) / width) / width


@wp.func
def muscle_gain_gradient(row: wp.array(dtype=real), length: real, velocity: real, bar: real, slope_bar: real) -> vec8:
    """Gradient by `row`, given the cotangents of the gain and of its derivative by velocity."""
    x = row[1] + (length - row[2]) * row[3]
    y = velocity * row[6]
    f = length_curve(x, row[4], row[5])
    g = velocity_curve(y, row[7])
    ends = length_curve_ends(x, row[4], row[5])
    by_top = velocity_curve_top(y, row[7])
    of_f = bar * g[0] + slope_bar * g[1] * row[6]
    of_x = of_f * f[1]
    of_rate = f[0] * (bar * g[1] * velocity + slope_bar * (g[2] * y + g[1]))
    of_top = f[0] * (bar * by_top[0] + slope_bar * by_top[1] * row[6])
    force = -row[0]
    return vec8(
        -of_f * f[0],
        force * of_x,
        -force * of_x * row[3],
        force * of_x * (length - row[2]),
        force * of_f * ends[0],
        force * of_f * ends[1],
        force * of_rate,
        force * of_top,
    )


@wp.func
def muscle_bias_gradient(row: wp.array(dtype=real), length: real, bar: real) -> vec6:
    """Gradient by `row`, given the cotangent of the bias."""
    x = row[1] + (length - row[2]) * row[3]
    passive = passive_curve(x, row[4], row[5])
    unit = passive_curve(x, row[4], ONE)
    force_bar = -row[0] * bar
    of_x = force_bar * passive[1]
    return vec6(
        -bar * passive[0],
        of_x,
        -of_x * row[3],
        of_x * (length - row[2]),
        force_bar * passive_curve_end(x, row[4], row[5]),
        force_bar * unit[0],
    )
