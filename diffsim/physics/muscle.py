"""Force-length-velocity curves of muscles, and the rate of their activation. Functions of numbers alone.

    gain(l, l') = -F FL(L) FV(V),    bias(l) = -F FP(L),    L = r0 + (l - l0) / L0,    V = l' / (L0 vmax)

with the peak force F and the optimal length L0. The curves are quadratic splines with continuous derivatives.
Source: MuJoCo documentation, Modeling, muscle actuators; Millard et al. (2013), Flexing computational muscle.
"""

import mujoco
import warp as wp

from diffsim.physics.clamp import inside
from diffsim.types import HALF, ONE, TWO, ZERO, real, vec2, vec3

MINVAL = wp.constant(real(mujoco.mjMINVAL))
vec5 = wp.types.vector(5, real)


@wp.func
def spline_piece(distance: real, width: real) -> vec2:
    """x^2 / 2 and its derivative by distance, x = distance / width."""
    safe = wp.max(MINVAL, width)
    x = distance / safe
    return vec2(HALF * x * x, x / safe)


@wp.func
def length_curve(x: real, low: real, high: real) -> vec2:
    """FL and its derivative: rises from `low` to 1 at length 1, falls to `high`."""
    if x < low or x > high:
        return vec2(ZERO, ZERO)
    rise = HALF * (low + ONE)
    fall = HALF * (ONE + high)
    if x <= rise:
        return spline_piece(x - low, rise - low)
    if x <= ONE:
        piece = spline_piece(ONE - x, ONE - rise)
        return vec2(ONE - piece[0], piece[1])
    if x <= fall:
        piece = spline_piece(x - ONE, fall - ONE)
        return vec2(ONE - piece[0], -piece[1])
    piece = spline_piece(high - x, high - fall)
    return vec2(piece[0], -piece[1])


@wp.func
def velocity_curve(x: real, top: real) -> vec3:
    """FV and its first two derivatives: 0 up to -1, 1 at velocity 0, `top` from velocity top - 1 on."""
    end = top - ONE
    if x <= -ONE:
        return vec3(ZERO, ZERO, ZERO)
    if x <= ZERO:
        return vec3((x + ONE) * (x + ONE), TWO * (x + ONE), TWO)
    if x <= end:
        safe = wp.max(MINVAL, end)
        return vec3(top - (end - x) * (end - x) / safe, TWO * (end - x) / safe, -TWO / safe)
    return vec3(top, ZERO, ZERO)


@wp.func
def passive_curve(x: real, high: real, top: real) -> vec2:
    """FP and its derivative: quadratic from length 1 to (1 + high) / 2, linear beyond."""
    if x <= ONE:
        return vec2(ZERO, ZERO)
    width = wp.max(MINVAL, HALF * (ONE + high) - ONE)
    if x <= HALF * (ONE + high):
        return top * spline_piece(x - ONE, width)
    return top * vec2(HALF + (x - HALF * (ONE + high)) / width, ONE / width)


@wp.func
def muscle_gain(row: wp.array(dtype=real), length: real, velocity: real) -> vec5:
    """Gain, and its derivatives: by length, by velocity, by both, and by velocity twice.

    `row` is F, r0, l0, 1 / L0, the ends of FL, 1 / (L0 vmax), and the top of FV.
    """
    by_length = row[3]
    by_velocity = row[6]
    f = length_curve(row[1] + (length - row[2]) * by_length, row[4], row[5])
    g = velocity_curve(velocity * by_velocity, row[7])
    slope = f[1] * by_length
    return -row[0] * vec5(
        f[0] * g[0],
        slope * g[0],
        f[0] * g[1] * by_velocity,
        slope * g[1] * by_velocity,
        f[0] * g[2] * by_velocity * by_velocity,
    )


@wp.func
def muscle_bias(row: wp.array(dtype=real), length: real) -> vec2:
    """Bias, and its derivative by length. `row` is F, r0, l0, 1 / L0, the end of FL, and the scale of FP."""
    passive = passive_curve(row[1] + (length - row[2]) * row[3], row[4], row[5])
    return -row[0] * vec2(passive[0], passive[1] * row[3])


@wp.func
def switch(x: real) -> vec2:
    """A smooth step from 0 to 1 over 0 <= x <= 1, a polynomial of degree 5, and its derivative."""
    if x <= ZERO:
        return vec2(ZERO, ZERO)
    if x >= ONE:
        return vec2(ONE, ZERO)
    value = x * x * x * (real(3.0) * x * (TWO * x - real(5.0)) + real(10.0))
    return vec2(value, real(30.0) * x * x * (x - ONE) * (x - ONE))


@wp.func
def muscle_rate(u: real, act: real, prm: vec3) -> vec3:
    """Rate (u - act) / tau of a muscle's activation, and its derivatives by u and act.

    tau is between those of activation, prm[0], and of deactivation, prm[1]; prm[2] is the width of the change.
    """
    scale = HALF + real(1.5) * wp.clamp(act, ZERO, ONE)
    scale_slope = real(1.5) * inside(act, ZERO, ONE)
    tau_on = prm[0] * scale
    tau_off = prm[1] / scale
    excess = wp.clamp(u, ZERO, ONE) - act
    on = vec2(ZERO, ZERO)
    if prm[2] >= MINVAL:
        on = switch(excess / prm[2] + HALF)
        on[1] = on[1] / prm[2]
    elif excess > ZERO:
        on[0] = ONE
    tau = tau_off + (tau_on - tau_off) * on[0]
    by_excess = (tau_on - tau_off) * on[1]
    by_scale = (prm[0] * on[0] - tau_off / scale * (ONE - on[0])) * scale_slope
    if tau < MINVAL:
        tau = MINVAL
        by_excess = ZERO
        by_scale = ZERO
    rate = excess / tau
    slope = (ONE - rate * by_excess) / tau
    return vec3(rate, slope * inside(u, ZERO, ONE), -slope - rate * by_scale / tau)
