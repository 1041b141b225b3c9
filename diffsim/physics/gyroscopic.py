"""Gyroscopic forces of standalone free bodies, which implicitfast integrates implicitly, and their gradient.

The bias forces of a free body without jointed descendants depend on its angular velocity omega only. About its origin,
in world axes, with the first moment m and rotational inertia I of the body and all bodies welded to it,

    f = omega x (omega x m),    n = omega x I omega

With g the 6 x 3 derivative of (f, n) by omega and E the selection of the rotations, implicitfast solves
(A + h g E') w = M a with A = M - h D. Given the factor of A, Woodbury's identity solves this.
Source: MuJoCo documentation, Computation, gyroscopic derivatives for free bodies.
"""

import warp as wp

from diffsim.physics.integrate import load3, store3
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_conj, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.sparse import factor_solve
from diffsim.physics.world_parameters import timestep
from diffsim.types import ONE, ZERO, mat33, real, vec3


@wp.func
def force_derivative(moment: vec3, omega: vec3, x: vec3) -> vec3:
    """Derivative of f along a change x of omega."""
    return wp.cross(x, wp.cross(omega, moment)) + wp.cross(omega, wp.cross(x, moment))


@wp.func
def torque_derivative(rotary: mat33, omega: vec3, x: vec3) -> vec3:
    """Derivative of n along a change x of omega."""
    return wp.cross(x, rotary * omega) + wp.cross(omega, rotary * x)


@wp.func
def add_gyroscopic(m: ModelArrays, s: Scratch, world: int, a: wp.array2d(dtype=real)):
    """A += h g E', for each standalone free body. For one lane."""
    for g in range(m.ngyro):
        body = m.gyro_body[g]
        dof = m.gyro_dof[g] + 3
        axes = s.xquat[world, body]
        omega = rotate(axes, load3(s.qvel[world], dof))
        for j in range(3):
            unit = vec3(ZERO, ZERO, ZERO)
            unit[j] = ONE
            x = rotate(axes, unit)
            force = timestep(m, world) * force_derivative(s.subtree_moment[world, body], omega, x)
            torque = torque_derivative(s.subtree_rotary[world, body], omega, x)
            torque = timestep(m, world) * rotate(quat_conj(axes), torque)
            for i in range(3):
                a[dof - 3 + i, dof + j] = a[dof - 3 + i, dof + j] + force[i]
                a[dof + i, dof + j] = a[dof + i, dof + j] + torque[i]


@wp.func
def solve_columns(m: ModelArrays, s: Scratch, world: int, body: int, dof: int) -> mat33:
    """Fills gyro_columns with the rows of Z' = (A^-1 h g)', and returns (1 + E' Z)^-1. `dof` is the first rotation."""
    axes = s.xquat[world, body]
    moment = s.subtree_moment[world, body]
    rotary = s.subtree_rotary[world, body]
    omega = rotate(axes, load3(s.qvel[world], dof))
    coupling = mat33()
    for j in range(3):
        unit = vec3(ZERO, ZERO, ZERO)
        unit[j] = ONE
        x = rotate(axes, unit)
        for i in range(lane(), m.nv, lanes()):
            s.gyro_columns[world, j, i] = real(0.0)
        column = s.gyro_columns[world, j]
        sync()
        if lane() == 0:
            store3(column, dof - 3, timestep(m, world) * force_derivative(moment, omega, x))
            store3(column, dof, timestep(m, world) * rotate(quat_conj(axes), torque_derivative(rotary, omega, x)))
        sync()
        factor_solve(m.nv, m.dof_address, m.dof_run, s.hessian[world], column)
        for i in range(3):
            coupling[i, j] = column[dof + i]
        coupling[j, j] = coupling[j, j] + ONE
    return wp.inverse(coupling)


@wp.func
def gyroscopic_solve(m: ModelArrays, s: Scratch, world: int, w: wp.array(dtype=real)):
    """Converts w = A^-1 b to (A + h g E')^-1 b in place, for each standalone free body."""
    for g in range(m.ngyro):
        dof = m.gyro_dof[g] + 3
        inverse = solve_columns(m, s, world, m.gyro_body[g], dof)
        correction = inverse * load3(w, dof)
        sync()
        if lane() == 0:
            for i in range(dof - 3, dof + 3):
                for j in range(3):
                    w[i] = w[i] - s.gyro_columns[world, j, i] * correction[j]
        sync()


@wp.func
def gyroscopic_solve_transposed(m: ModelArrays, s: Scratch, world: int, b: wp.array(dtype=real)):
    """Replaces b by c with A^-1 c = (A + h g E')^-T b: c = b - E (1 + E' Z)^-T Z' b, for each standalone free body."""
    for g in range(m.ngyro):
        dof = m.gyro_dof[g] + 3
        inverse = solve_columns(m, s, world, m.gyro_body[g], dof)
        along = vec3(ZERO, ZERO, ZERO)
        for j in range(3):
            for i in range(dof - 3, dof + 3):
                along[j] = along[j] + s.gyro_columns[world, j, i] * b[i]
        sync()
        if lane() == 0:
            store3(b, dof, load3(b, dof) - wp.transpose(inverse) * along)
        sync()


@wp.func
def gyroscopic_gradient(m: ModelArrays, s: Scratch, world: int, mu: wp.array(dtype=real), w: wp.array(dtype=real)):
    """Adds the gradient of -h mu' g(q, v) E' w to qpos_bar and qvel_bar.

    Everything except the linear part of mu rotates with the body, so only that part contributes to qpos_bar.
    """
    for g in range(m.ngyro):
        body = m.gyro_body[g]
        dof = m.gyro_dof[g] + 3
        axes = s.xquat[world, body]
        inverse_axes = quat_conj(axes)
        moment = s.subtree_moment[world, body]
        rotary = s.subtree_rotary[world, body]
        omega = rotate(axes, load3(s.qvel[world], dof))
        x = rotate(axes, load3(w, dof))
        push = load3(mu, dof - 3)
        turn = rotate(axes, load3(mu, dof))
        omega_bar = wp.cross(moment, wp.cross(push, x)) + wp.cross(wp.cross(x, moment), push)
        omega_bar = omega_bar + rotary * wp.cross(turn, x) + wp.cross(rotary * x, turn)
        turn_bar = wp.cross(force_derivative(moment, omega, x), push)
        store3(
            s.qvel_bar[world], dof, load3(s.qvel_bar[world], dof) - timestep(m, world) * rotate(inverse_axes, omega_bar)
        )
        store3(
            s.qpos_bar[world], dof, load3(s.qpos_bar[world], dof) - timestep(m, world) * rotate(inverse_axes, turn_bar)
        )
