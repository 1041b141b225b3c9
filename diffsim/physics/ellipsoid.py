"""Forces of a medium on a geom as on an ellipsoid, at its centre, in its axes, at the velocity x = (w, v) there.

    torque = (m v) x v + (i w) x w - (l + rho |d w|) w
    force = (m v) x w + magnus w x v + lift - (k + rho |v| (blunt A + slender (A_max - A))) v
    A = A_max |n| / sqrt(n . v),    lift = kutta sqrt(n . v) / (|n| |v|) (n x v) x v,    n = normal v

with added masses m and i, and the projected area A across v.
Source: MuJoCo documentation, Computation, fluid forces, ellipsoid model.
"""

import warp as wp

from diffsim.collision.gradient_call import differentiable
from diffsim.types import TWO, real, vec3, vec6

SLOWEST = wp.constant(real(1.0e-15))
SMALLEST = wp.constant(real(1.0e-30))  # of squares of velocities, where all forces vanish


@wp.struct
class Ellipsoid:
    """Constants of a geom; the density is in the added masses and inertias, `kutta` and `magnus`."""

    normal: vec3  # squares of products of two semiaxes, relative to the largest
    mass: vec3  # added masses m, kg
    inertia: vec3  # added inertias i, kg m^2
    moment: vec3  # d, m^5
    density: real  # rho, kg/m^3
    blunt: real
    slender: real
    kutta: real  # times A_max
    magnus: real
    drag: real  # k, N s/m
    spin_drag: real  # l, N m s
    area: real  # A_max, m^2


@differentiable
def spin_of(x: vec6) -> vec3:
    """As `spatial.angular`, which has no adjoint."""
    return vec3(x[0], x[1], x[2])


@differentiable
def velocity_of(x: vec6) -> vec3:
    """As `spatial.linear`."""
    return vec3(x[3], x[4], x[5])


@differentiable
def joined(a: vec3, b: vec3) -> vec6:
    """As `spatial.twist`."""
    return vec6(a[0], a[1], a[2], b[0], b[1], b[2])


@differentiable
def root(x: real) -> real:
    """Square root with a finite derivative."""
    return wp.sqrt(wp.max(SMALLEST, x))


@differentiable
def projected_area(e: Ellipsoid, v: vec3) -> real:
    """A."""
    n = wp.cw_mul(e.normal, v)
    return e.area * root(wp.dot(n, n) / wp.max(SMALLEST, wp.dot(n, v)))


@differentiable
def ellipsoid_force(e: Ellipsoid, x: vec6) -> vec6:
    """Torque and force."""
    w = spin_of(x)
    v = velocity_of(x)
    speed = wp.length(v)
    n = wp.cw_mul(e.normal, v)
    momentum = wp.cw_mul(e.mass, v)
    area = projected_area(e, v)
    lift = e.kutta / root(wp.dot(n, n) * wp.dot(v, v) / wp.max(SMALLEST, wp.dot(n, v)))
    spin = e.spin_drag + e.density * wp.length(wp.cw_mul(e.moment, w))
    drag = e.drag + e.density * speed * (area * e.blunt + e.slender * (e.area - area))
    torque = wp.cross(momentum, v) + wp.cross(wp.cw_mul(e.inertia, w), w) - spin * w
    force = wp.cross(momentum, w) + e.magnus * wp.cross(w, v) - drag * v
    force += lift * wp.cross(wp.cross(n, v), v)
    return joined(torque, force)


@differentiable
def lift_derivative(e: Ellipsoid, u: vec3, z: vec3) -> vec3:
    """Change of the lift along a change z of the velocity, per speed in the direction u."""
    q = e.normal
    n = wp.cw_mul(q, u)
    den = wp.dot(n, n)
    num = wp.dot(n, u)
    square = wp.dot(u, u)
    by = square * q - vec3(num, num, num)  # sum_j u_j^2 (q_i - q_j)
    proj = num / wp.max(SMALLEST, den)
    inner = proj * wp.cw_mul(q, q) - q + vec3(num, num, num)
    change = TWO * num * (wp.dot(n, z) * u - wp.dot(u, z) * n)
    change += wp.dot(wp.cw_mul(inner, u), z) * wp.cw_mul(by, u) - num * wp.cw_mul(by, z)
    return e.kutta / root(den * num) * change


@differentiable
def drag_derivative_along(e: Ellipsoid, u: vec3, z: vec3) -> vec3:
    """Change of the quadratic drag along a change z of the velocity, per speed in the direction u."""
    n = wp.cw_mul(e.normal, u)
    den = wp.dot(n, n)
    num = wp.dot(n, u)
    area = projected_area(e, u)
    bend = num * e.normal - vec3(den, den, den)  # sum_j q_j u_j^2 (q_i - q_j)
    area_slope = (e.blunt - e.slender) * e.area / root(num * num * num * den) * wp.cw_mul(n, bend)
    drag = area * e.blunt + e.slender * (e.area - area)
    return -e.density * (drag * (wp.dot(u, z) * u + z) + wp.dot(area_slope, z) * u)


@differentiable
def ellipsoid_derivative(e: Ellipsoid, x: vec6, z: vec6) -> vec6:
    """B z: change of torque and force along a change z of the velocity, as MuJoCo has it."""
    w = spin_of(x)
    v = velocity_of(x)
    zw = spin_of(z)
    zv = velocity_of(z)
    spin = wp.cw_mul(e.moment, w)
    pull = -e.density / wp.max(SMALLEST, wp.length(spin)) * wp.cw_mul(spin, e.moment)
    momentum = wp.cw_mul(e.mass, v)
    torque = wp.cross(wp.cw_mul(e.inertia, w), zw) + wp.cross(wp.cw_mul(e.inertia, zw), w)
    torque += (wp.dot(w, pull) - e.spin_drag) * zw + wp.dot(pull, zw) * w
    torque += wp.cross(momentum, zv) + wp.cross(wp.cw_mul(e.mass, zv), v)
    force = wp.cross(momentum, zw) + e.magnus * wp.cross(zw, v)
    force += wp.cross(wp.cw_mul(e.mass, zv), w) + e.magnus * wp.cross(w, zv)
    speed = wp.length(v)
    u = v / wp.max(SLOWEST, speed)
    force += speed * (lift_derivative(e, u, zv) + drag_derivative_along(e, u, zv)) - e.drag * zv
    return joined(torque, force)


@differentiable
def ellipsoid_power(e: Ellipsoid, x: vec6, y: vec6) -> real:
    """Power of the forces along the velocity y."""
    return wp.dot(y, ellipsoid_force(e, x))


@differentiable
def ellipsoid_form(e: Ellipsoid, x: vec6, y: vec6, z: vec6) -> real:
    """Y . B z; where the velocity is zero, with a finite gradient."""
    return wp.dot(y, ellipsoid_derivative(e, x, z))
