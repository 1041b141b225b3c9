"""Gradient of the virtual power of connect and weld constraints, P = sum_i (J_i x) f_i, at fixed a and x.

    f_i = -D_i (r_i'' + b r_i' + k d(|r|) r_i),    r' = J v,    r'' = J a + dJ/dt v
    dP = alpha . d(J x) + beta . (dr'' + b dr') + r_bar . dr,    alpha = f,    beta_i = -D_i (J_i x)
    r_bar_i = beta_i k d + d'(|r|) r_i / |r| sum_j (J_j x) f_j / (d (1 - d)) + beta_j k r_j

As functions of a body's motion, J x, r' and r'' are linear in its twist of x and its acceleration, and quadratic in its
velocity. Their cotangents are wrenches at the joined point, and torques for a weld. `equality` defines the symbols.
"""

import warp as wp

from diffsim.physics.constraint import impedance, row_damping, row_dot
from diffsim.physics.contact import twist_at
from diffsim.physics.contact_gradient import wrench_at
from diffsim.physics.equality import Joined, joined, turning_torque
from diffsim.physics.integrate import load3
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, linear
from diffsim.types import HALF, ONE, TWO, ZERO, real, vec3, vec6


@wp.struct
class Cotangents:
    """Cotangents of three rows: of J x, of r'' (and, times b, of r'), and of r; and b itself."""

    alpha: vec3
    beta: vec3
    r_bar: vec3
    damping: real


@wp.func
def equality_gradient(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real)):
    """Adds each active constraint's cotangents of its bodies' twists and poses. Needs the bodies' twists of x."""
    for eq in range(m.neq):
        first = s.eq_row[world, eq]
        if first >= 0:
            j = joined(m, s, world, eq)
            bend = size_cotangent(m, s, world, eq, x)
            c = row_cotangents(m, s, world, eq, first, bend, x)
            add_point_cotangents(m, s, world, j.body1, j.point1, c)
            add_point_cotangents(m, s, world, j.body2, j.point2, opposite(c))
            if m.rare[0].eq_rows[eq] == 6:
                c = row_cotangents(m, s, world, eq, first + 3, bend, x)
                add_turn_cotangents(m, s, world, j, c)


@wp.func
def size_cotangent(m: ModelArrays, s: Scratch, world: int, eq: int, x: wp.array(dtype=real)) -> real:
    """The cotangent of |r| through the impedance, divided by |r|."""
    params = world * m.solver_stride + m.params_eq + eq
    first = s.eq_row[world, eq]
    size = s.row_size[world, first]
    if size == ZERO:
        return ZERO
    d = impedance(m, params, size)
    by_d = real(0.0)
    for row in range(first, first + m.rare[0].eq_rows[eq]):
        stretch = m.solver_reference[params, 0] * s.row_position[world, row]
        slope = s.row_force[world, row] / (d[0] * (ONE - d[0])) - s.row_stiffness[world, row] * stretch
        by_d += (row_dot(s, world, row, x) + s.row_force_bar[world, row]) * slope
    return by_d * d[1] / size


@wp.func
def row_cotangents(
    m: ModelArrays, s: Scratch, world: int, eq: int, first: int, bend: real, x: wp.array(dtype=real)
) -> Cotangents:
    """Cotangents of three rows."""
    params = world * m.solver_stride + m.params_eq + eq
    stiffness = m.solver_reference[params, 0] * impedance(m, params, s.row_size[world, first])[0]
    beta = vec3()
    for i in range(3):
        power = row_dot(s, world, first + i, x) + s.row_force_bar[world, first + i]
        beta[i] = -s.row_stiffness[world, first + i] * power
    c = Cotangents()
    c.beta = beta
    c.alpha = load3(s.row_force[world], first)
    c.r_bar = stiffness * c.beta + bend * load3(s.row_position[world], first)
    c.damping = row_damping(m, s, world, first)
    return c


@wp.func
def opposite(c: Cotangents) -> Cotangents:
    """The cotangents for the second body's point."""
    return Cotangents(-c.alpha, -c.beta, -c.r_bar, c.damping)


@wp.func
def add_point_cotangents(m: ModelArrays, s: Scratch, world: int, body: int, point: vec3, c: Cotangents):
    """Adds the cotangents of a point's position, velocity of x, and acceleration lin(A) + ang(A) x arm + w x v."""
    velocity = twist_at(s.velocity[world, body], point - s.xpos[world, m.body_root[body]])
    w = angular(velocity)
    drag = wp.cross(c.beta, w) + c.damping * c.beta
    moved = c.r_bar + wp.cross(c.alpha, angular(s.constraint_twist[world, body]))
    moved += wp.cross(c.beta, angular(s.acceleration[world, body])) + wp.cross(drag, w)
    zero = vec3(ZERO, ZERO, ZERO)
    add_moving_cotangents(
        m,
        s,
        world,
        body,
        wrench_at(m, s, world, body, point, zero, c.alpha),
        wrench_at(m, s, world, body, point, zero, c.beta),
        wrench_at(m, s, world, body, point, wp.cross(linear(velocity), c.beta), drag),
        wrench_at(m, s, world, body, point, zero, moved),
    )


@wp.func
def add_turn_cotangents(m: ModelArrays, s: Scratch, world: int, j: Joined, c: Cotangents):
    """Adds the cotangents of the two bodies' orientations, angular velocities of x and angular accelerations."""
    axes = wp.transpose(j.frame)
    alpha = axes * c.alpha
    beta = axes * c.beta
    e = j.turn
    w1 = angular(s.velocity[world, j.body1])
    w2 = angular(s.velocity[world, j.body2])
    w = w1 - w2
    a = angular(s.acceleration[world, j.body1]) - angular(s.acceleration[world, j.body2])
    y = a - wp.cross(w2, w1) + c.damping * w
    x = angular(s.constraint_twist[world, j.body1]) - angular(s.constraint_twist[world, j.body2])
    push = turning_torque(j, c.alpha)
    pull = turning_torque(j, c.beta)
    drag = c.damping * pull - (j.scale * wp.dot(beta, e)) * w
    # the cotangents of e_0 and e, and of the rotation of the first body relative to the second
    scalar_bar = j.scale * (wp.dot(alpha, x) + wp.dot(beta, y))
    turn_bar = TWO * (axes * c.r_bar) - wp.cross(x, alpha) - wp.cross(y, beta) - (HALF * wp.dot(w, w)) * beta
    turn_bar = j.scale * turn_bar
    turned = HALF * (j.scalar * turn_bar - scalar_bar * e + wp.cross(e, turn_bar))
    # R' rotates with the second body
    turned2 = -turned - wp.cross(x, push) - wp.cross(y, pull)
    add_moving_cotangents(
        m, s, world, j.body1, torque(push), torque(pull), torque(drag - wp.cross(pull, w2)), torque(turned)
    )
    add_moving_cotangents(
        m, s, world, j.body2, torque(-push), torque(-pull), torque(-drag - wp.cross(w1, pull)), torque(turned2)
    )


@wp.func
def torque(x: vec3) -> vec6:
    """A torque as a wrench."""
    return vec6(x[0], x[1], x[2], ZERO, ZERO, ZERO)


@wp.func
def add_moving_cotangents(
    m: ModelArrays, s: Scratch, world: int, body: int, push: vec6, pull: vec6, drag: vec6, pose: vec6
):
    """Adds a body's cotangents: `push` of the twist of x, `pull` of A, `drag` of V, `pose` of its pose.

    The cotangent of a pose is that of a motion of the body that rotates its twists too, hence the terms X x* F.
    """
    if body == 0:
        return
    carried = cross_force(s.constraint_twist[world, body], push) + cross_force(s.acceleration[world, body], pull)
    carried += cross_force(s.velocity[world, body], drag)
    s.constraint_twist_bar[world, body] = s.constraint_twist_bar[world, body] + push
    s.acceleration_bar[world, body] = s.acceleration_bar[world, body] + pull
    s.velocity_bar[world, body] = s.velocity_bar[world, body] + drag
    s.pose_bar[world, body] = s.pose_bar[world, body] + pose + carried
