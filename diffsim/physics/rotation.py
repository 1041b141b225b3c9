"""Unit quaternions (w, x, y, z), rotation vectors and their derivatives.

A perturbation of an orientation is a rotation vector in the body's own axes, q exp(delta), as in MuJoCo's
`mj_integratePos`. With q(t) = q0 exp(theta(t)) the body's angular velocity is J_r(theta) dtheta/dt.
Source: Sola, Deray & Atchuthan (2018), A micro Lie theory, SO(3).
"""

import warp as wp

from diffsim.types import HALF, ONE, PI, TWO, ZERO, mat33, quat, real, vec2, vec3

# Taylor series replace closed forms below two angles, in radians. SMALL is for sin(x) / x, inexact only near 0.
# ONE is for differences of nearly equal terms, which lose half of float32's digits at 0.1; truncation is below 1e-12.
SMALL = wp.constant(real(1.0e-3))
SHORTEST = wp.constant(real(1.0e-15))  # length below which MuJoCo takes a quaternion for the identity


@wp.func
def quat_mul(a: quat, b: quat) -> quat:
    """Product a b."""
    return quat(
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


@wp.func
def quat_conj(q: quat) -> quat:
    """Inverse of a unit quaternion."""
    return quat(q[0], -q[1], -q[2], -q[3])


@wp.func
def quat_normalize(q: quat) -> quat:
    """Q / |q|; the identity where |q| is below SHORTEST."""
    norm = wp.length(q)
    if norm < SHORTEST:
        return quat(ONE, ZERO, ZERO, ZERO)
    return q / norm


@wp.func
def rotate(q: quat, x: vec3) -> vec3:
    """Rotates x by q: from the frame that q describes to the frame in which q is given."""
    u = vec3(q[1], q[2], q[3])
    t = TWO * wp.cross(u, x)
    return x + q[0] * t + wp.cross(u, t)


@wp.func
def quat_to_mat(q: quat) -> mat33:
    """Rotation matrix of a unit quaternion."""
    w = q[0]
    x = q[1]
    y = q[2]
    z = q[3]
    return mat33(
        ONE - TWO * (y * y + z * z),
        TWO * (x * y - w * z),
        TWO * (x * z + w * y),
        TWO * (x * y + w * z),
        ONE - TWO * (x * x + z * z),
        TWO * (y * z - w * x),
        TWO * (x * z - w * y),
        TWO * (y * z + w * x),
        ONE - TWO * (x * x + y * y),
    )


@wp.func
def quat_from_axis_angle(axis: vec3, angle: real) -> quat:
    """Rotation by an angle, in radians, about a unit axis."""
    s = wp.sin(HALF * angle)
    return quat(wp.cos(HALF * angle), s * axis[0], s * axis[1], s * axis[2])


@wp.func
def quat_exp(theta: vec3) -> quat:
    """Rotation by the rotation vector theta, in radians."""
    angle = wp.length(theta)
    scale = HALF - angle * angle / real(48.0)
    if angle > SMALL:
        scale = wp.sin(HALF * angle) / angle
    return quat(wp.cos(HALF * angle), scale * theta[0], scale * theta[1], scale * theta[2])


@wp.func
def quat_log(q: quat) -> vec3:
    """Rotation vector of q, of length at most pi, in radians (MuJoCo's `mju_quat2Vel` over one second)."""
    u = vec3(q[1], q[2], q[3])
    sine = wp.length(u)
    if sine < real(1.0e-15):
        return vec3(ZERO, ZERO, ZERO)
    angle = TWO * wp.atan2(sine, q[0])
    if angle > PI:
        angle = angle - TWO * PI
    return angle * ((ONE / sine) * u)


@wp.func
def right_jacobian(theta: vec3, x: vec3) -> vec3:
    """J_r(theta) x = x - a theta x x + b theta x (theta x x); J_r(theta)' x is J_r(-theta) x."""
    n2 = wp.dot(theta, theta)
    n = wp.sqrt(n2)
    a = HALF - n2 / real(24.0)
    if n > SMALL:
        s = wp.sin(HALF * n)
        a = TWO * s * s / n2
    b = wp.static(real(-1.0 / 6227020800.0))  # sum of (-n^2)^k / (2k + 3)!
    b = wp.static(real(1.0 / 39916800.0)) + n2 * b
    b = wp.static(real(-1.0 / 362880.0)) + n2 * b
    b = wp.static(real(1.0 / 5040.0)) + n2 * b
    b = wp.static(real(-1.0 / 120.0)) + n2 * b
    b = wp.static(real(1.0 / 6.0)) + n2 * b
    if n > ONE:
        b = (n - wp.sin(n)) / (n2 * n)
    tx = wp.cross(theta, x)
    return x - a * tx + b * wp.cross(theta, tx)


@wp.func
def inverse_coefficient(n2: real) -> vec2:
    """c(n) and c'(n) / n of J_r(theta)^-1 = 1 + [theta] / 2 + c(|theta|) [theta]^2, from n^2."""
    c = wp.static(real(1.0 / 74724249600.0))  # sum of |B_2k| / (2k)! n^(2k - 2)
    c = wp.static(real(691.0 / 1307674368000.0)) + n2 * c
    c = wp.static(real(1.0 / 47900160.0)) + n2 * c
    c = wp.static(real(1.0 / 1209600.0)) + n2 * c
    c = wp.static(real(1.0 / 30240.0)) + n2 * c
    c = wp.static(real(1.0 / 720.0)) + n2 * c
    c = wp.static(real(1.0 / 12.0)) + n2 * c
    dc = wp.static(real(12.0 / 74724249600.0))
    dc = wp.static(real(6910.0 / 1307674368000.0)) + n2 * dc
    dc = wp.static(real(8.0 / 47900160.0)) + n2 * dc
    dc = wp.static(real(6.0 / 1209600.0)) + n2 * dc
    dc = wp.static(real(4.0 / 30240.0)) + n2 * dc
    dc = wp.static(real(2.0 / 720.0)) + n2 * dc
    if n2 > ONE:
        n = wp.sqrt(n2)
        s = wp.sin(HALF * n)
        cot = wp.cos(HALF * n) / s
        c = ONE / n2 - cot / (TWO * n)
        dc = -TWO / (n2 * n2) + cot / (TWO * n2 * n) + ONE / (real(4.0) * n2 * s * s)
    return vec2(c, dc)


@wp.func
def inverse_right_jacobian(theta: vec3, x: vec3) -> vec3:
    """J_r(theta)^-1 x: rate of theta for the angular velocity x; its transpose is J_r(-theta)^-1 x."""
    c = inverse_coefficient(wp.dot(theta, theta))[0]
    tx = wp.cross(theta, x)
    return x + HALF * tx + c * wp.cross(theta, tx)


@wp.func
def inverse_right_jacobian_gradient(theta: vec3, x: vec3, y: vec3) -> vec3:
    """Gradient of y . J_r(theta)^-1 x by theta."""
    n2 = wp.dot(theta, theta)
    c = inverse_coefficient(n2)
    tx = wp.dot(theta, x)
    ty = wp.dot(theta, y)
    xy = wp.dot(x, y)
    return HALF * wp.cross(x, y) + c[0] * (tx * y + ty * x - (TWO * xy) * theta) + (c[1] * (ty * tx - n2 * xy)) * theta
