"""Springs and dampers whose coefficient is a polynomial, f = -k(x) x with k(x) = k + c_0 x + c_1 x^2.

A spring that acts on a vector depends on its length, a damper on the size of the velocity.
Source: MuJoCo documentation, XML reference, joint/stiffness and joint/damping.
"""

import warp as wp

from diffsim.physics.constraint import TINY
from diffsim.physics.model_arrays import ModelArrays
from diffsim.types import TWO, ZERO, real, vec2, vec3

THREE = wp.constant(real(3.0))
SIX = wp.constant(real(6.0))


@wp.func(inline=True)
def spring_polynomial(m: ModelArrays, joint: int) -> vec2:
    """The coefficients c of a joint's spring."""
    c = vec2(ZERO, ZERO)
    if m.has_polynomials == 1:
        c = m.rare[0].jnt_stiffnesspoly[joint]
    return c


@wp.func(inline=True)
def damper_polynomial(m: ModelArrays, dof: int) -> vec2:
    """The coefficients c of a dof's damper."""
    c = vec2(ZERO, ZERO)
    if m.has_polynomials == 1:
        c = m.rare[0].dof_dampingpoly[dof]
    return c


@wp.func(inline=True)
def tendon_spring_polynomial(m: ModelArrays, tendon: int) -> vec2:
    """The coefficients c of a tendon's spring."""
    c = vec2(ZERO, ZERO)
    if m.has_polynomials == 1:
        c = m.rare[0].tendon_stiffnesspoly[tendon]
    return c


@wp.func(inline=True)
def tendon_damper_polynomial(m: ModelArrays, tendon: int) -> vec2:
    """The coefficients c of a tendon's damper."""
    c = vec2(ZERO, ZERO)
    if m.has_polynomials == 1:
        c = m.rare[0].tendon_dampingpoly[tendon]
    return c


@wp.func
def coefficient(k: real, c: vec2, x: real) -> real:
    """k(x)."""
    return k + x * (c[0] + c[1] * x)


@wp.func
def coefficient_slope(k: real, c: vec2, x: real) -> real:
    """Derivative of k(x) x."""
    return k + x * (TWO * c[0] + THREE * c[1] * x)


@wp.func
def damper_bend(c: vec2, v: real) -> real:
    """Second derivative of k(|v|) v; where v is zero, the mean of the two sides."""
    return v / wp.max(TINY, wp.abs(v)) * (TWO * c[0] + SIX * c[1] * wp.abs(v))


@wp.func
def stretch_gradient(c: vec2, x: vec3, y: vec3) -> vec3:
    """Gradient by x of y . (k(|x|) - k) x."""
    r = wp.length(x)
    return coefficient(ZERO, c, r) * y + ((c[0] / wp.max(TINY, r) + TWO * c[1]) * wp.dot(x, y)) * x
