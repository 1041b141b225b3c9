"""Tendons: springs and dampers, limits and dry friction, armature, and their gradients.

The length of a fixed tendon is a linear combination of the coordinates of slide and hinge joints, L = J qpos, so its
forces are J' f with a constant J. That of a spatial tendon is a line's (see `line`). The spring is slack between its
two rest lengths. Armature adds J' J times its value to the mass matrix, and damping adds J' J times its value to what
implicitfast factors; both only at entries that the mass matrix has without tendons.
Source: MuJoCo documentation, XML reference, tendon/fixed; Computation, passive forces.
"""

import warp as wp

from diffsim.physics.constraint import (
    FRICTION,
    TENDON_FRICTION,
    TENDON_LIMIT,
    UNILATERAL,
    add_row,
    add_row_scaled,
    clear_row,
    position_slope,
    row_dot,
)
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.limit import constant_row_gradient
from diffsim.physics.line import add_along_line, add_line_bias, line_dot, line_runs
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.polynomial import (
    coefficient,
    coefficient_slope,
    tendon_damper_polynomial,
    tendon_spring_polynomial,
)
from diffsim.physics.scratch import Scratch
from diffsim.physics.structure import extend_runs, is_ancestor
from diffsim.physics.world_parameters import (
    tendon_damping,
    tendon_lengthspring,
    tendon_range,
    tendon_stiffness,
    timestep,
)
from diffsim.types import HALF, ONE, ZERO, real


@wp.func
def tendon_length(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """L."""
    line = m.rare[0].tendon_line[tendon]
    if line >= 0:
        return s.line_length[world, line]
    length = real(0.0)
    for entry in range(m.rare[0].tendon_adr[tendon], m.rare[0].tendon_adr[tendon] + m.rare[0].tendon_num[tendon]):
        length += m.rare[0].tendon_coef[entry] * s.qpos[world, m.rare[0].tendon_qpos[entry]]
    return length


@wp.func
def tendon_dot(m: ModelArrays, s: Scratch, world: int, tendon: int, x: wp.array(dtype=real)) -> real:
    """J x."""
    line = m.rare[0].tendon_line[tendon]
    if line >= 0:
        return line_dot(m, s, world, line, x)
    total = real(0.0)
    for entry in range(m.rare[0].tendon_adr[tendon], m.rare[0].tendon_adr[tendon] + m.rare[0].tendon_num[tendon]):
        total += m.rare[0].tendon_coef[entry] * x[m.rare[0].tendon_dof[entry]]
    return total


@wp.func
def add_along_tendon(m: ModelArrays, s: Scratch, world: int, tendon: int, force: real, x: wp.array(dtype=real)):
    """X += J' force."""
    line = m.rare[0].tendon_line[tendon]
    if line >= 0:
        add_along_line(m, s, world, line, force, x)
    for entry in range(m.rare[0].tendon_adr[tendon], m.rare[0].tendon_adr[tendon] + m.rare[0].tendon_num[tendon]):
        dof = m.rare[0].tendon_dof[entry]
        x[dof] = x[dof] + m.rare[0].tendon_coef[entry] * force


@wp.func
def stretch(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """Distance of the length from the range where the spring is slack, with a sign."""
    length = tendon_length(m, s, world, tendon)
    return length - wp.clamp(length, tendon_lengthspring(m, world, tendon, 0), tendon_lengthspring(m, world, tendon, 1))


@wp.func
def stretch_slope(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """Derivative of `stretch` by the length: 0 in the slack range, 1 outside, their mean at an end of the range."""
    low = tendon_lengthspring(m, world, tendon, 0)
    high = tendon_lengthspring(m, world, tendon, 1)
    length = tendon_length(m, s, world, tendon)
    if low == high or length < low or length > high:
        return real(1.0)
    if length == low or length == high:
        return HALF
    return ZERO


@wp.func
def spring_force(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """Force of a spring."""
    x = stretch(m, s, world, tendon)
    return -coefficient(tendon_stiffness(m, world, tendon), tendon_spring_polynomial(m, tendon), x) * x


@wp.func
def spring_slope(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """Derivative of `spring_force` by the length, negated."""
    c = tendon_spring_polynomial(m, tendon)
    slope = coefficient_slope(tendon_stiffness(m, world, tendon), c, stretch(m, s, world, tendon))
    return slope * stretch_slope(m, s, world, tendon)


@wp.func
def damper_force(m: ModelArrays, world: int, tendon: int, velocity: real) -> real:
    """Force of a damper."""
    c = tendon_damper_polynomial(m, tendon)
    return -coefficient(tendon_damping(m, world, tendon), c, wp.abs(velocity)) * velocity


@wp.func
def damper_slope(m: ModelArrays, world: int, tendon: int, velocity: real) -> real:
    """Derivative of `damper_force` by the velocity, negated."""
    c = tendon_damper_polynomial(m, tendon)
    return coefficient_slope(tendon_damping(m, world, tendon), c, wp.abs(velocity))


@wp.func
def tendon_passive(m: ModelArrays, s: Scratch, world: int):
    """Adds the forces of tendons' springs and dampers to qfrc_smooth, and the bias force of spatial tendons' armature.

    One lane does it; needs a `sync` around.
    """
    if lane() > 0:
        return
    for tendon in range(m.ntendon):
        force = damper_force(m, world, tendon, tendon_dot(m, s, world, tendon, s.qvel[world]))
        force += spring_force(m, s, world, tendon)
        add_along_tendon(m, s, world, tendon, force, s.qfrc_smooth[world])
    add_line_bias(m, s, world)


@wp.func
def tendon_passive_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of the virtual power of fixed tendons' springs and dampers to qpos_bar and qvel_bar.

    One lane does it; needs a `sync` around. `line_power` does it for spatial tendons.
    """
    if lane() > 0:
        return
    for tendon in range(m.ntendon):
        if m.rare[0].tendon_line[tendon] < 0:
            power = tendon_dot(m, s, world, tendon, s.virtual_velocity[world])
            damping = damper_slope(m, world, tendon, tendon_dot(m, s, world, tendon, s.qvel[world]))
            add_along_tendon(m, s, world, tendon, -damping * power, s.qvel_bar[world])
            slope = spring_slope(m, s, world, tendon)
            if slope != ZERO:
                add_along_tendon(m, s, world, tendon, -slope * power, s.qpos_bar[world])


@wp.func
def add_tendon_armature(m: ModelArrays, s: Scratch, world: int):
    """Adds the tendons' armature to the mass matrix."""
    for pair in range(lane(), m.ntendon_pair, lanes()):
        row = m.rare[0].tendon_pair_dof[pair, 0]
        col = m.rare[0].tendon_pair_dof[pair, 1]
        s.mass_matrix[world, row, col] = s.mass_matrix[world, row, col] + m.rare[0].tendon_pair_armature[pair]


@wp.func
def add_tendon_damping(m: ModelArrays, s: Scratch, world: int):
    """Adds the damping of fixed tendons without polynomials, times the time step, to `hessian`."""
    for pair in range(lane(), m.ntendon_pair, lanes()):
        row = m.rare[0].tendon_pair_dof[pair, 0]
        col = m.rare[0].tendon_pair_dof[pair, 1]
        damping = m.rare[0].tendon_pair_damping[world * m.rare[0].tendon_pair_stride + pair]
        s.hessian[world, row, col] = s.hessian[world, row, col] + timestep(m, world) * damping


@wp.func
def tendon_runs(m: ModelArrays, s: Scratch, world: int, tendon: int) -> int:
    """Appends the runs of a tendon's dofs; returns the index of the first one."""
    first = s.run_count[world]
    last = first
    line = m.rare[0].tendon_line[tendon]
    if line >= 0:
        line_runs(m, s, world, line)
        return first
    adr = m.rare[0].tendon_adr[tendon]
    for entry in range(adr, adr + m.rare[0].tendon_num[tendon]):
        dof = m.rare[0].tendon_dof[entry]
        last = extend_runs(s.run[world], first, last, dof)
        if entry > adr and is_ancestor(m.dof_parent, dof, m.rare[0].tendon_dof[entry - 1]) == 0:
            s.coupled[world] = 1
    s.run_count[world] = last
    return first


@wp.func
def tendon_friction_rows(m: ModelArrays, s: Scratch, world: int):
    """Appends a row for each tendon with friction loss."""
    for tendon in range(m.ntendon):
        if m.rare[0].tendon_frictionloss[tendon] > ZERO:
            params = m.params_tendon_friction + tendon
            weight = m.rare[0].tendon_invweight[tendon]
            run = tendon_runs(m, s, world, tendon)
            row = add_row(s, world, run, FRICTION, TENDON_FRICTION, tendon, params, ZERO, ZERO, weight)
            s.row_limit[world, row] = m.rare[0].tendon_frictionloss[tendon]
            clear_row(s, world, row)
            add_along_tendon(m, s, world, tendon, ONE, s.row_jacobian[world, row])


@wp.func
def tendon_limit_rows(m: ModelArrays, s: Scratch, world: int):
    """Appends a row for each tendon limit that is closer than its margin."""
    for tendon in range(m.ntendon):
        if m.rare[0].tendon_limited[tendon] == 1:
            length = tendon_length(m, s, world, tendon)
            params = m.params_tendon_limit + tendon
            weight = m.rare[0].tendon_invweight[tendon]
            for side in range(2):
                sign = ONE - real(2 * side)
                r = sign * (length - tendon_range(m, world, tendon, side)) - m.rare[0].tendon_margin[tendon]
                if r < ZERO:
                    run = tendon_runs(m, s, world, tendon)
                    row = add_row(s, world, run, UNILATERAL, TENDON_LIMIT, tendon, params, r, wp.abs(r), weight)
                    clear_row(s, world, row)
                    add_along_tendon(m, s, world, tendon, sign, s.row_jacobian[world, row])


@wp.func
def tendon_row_gradient(m: ModelArrays, s: Scratch, world: int, row: int, x: wp.array(dtype=real)):
    """Adds the gradient of (J_i x) f_i at fixed a and x, of a limit or dry friction, to qpos_bar and qvel_bar.

    `line_power` does it for spatial tendons.
    """
    if m.rare[0].tendon_line[s.row_index[world, row]] >= 0:
        return
    power = row_dot(s, world, row, x) + s.row_force_bar[world, row]
    constant_row_gradient(m, s, world, row, power)
    if s.row_source[world, row] == TENDON_LIMIT:
        r_bar = power * position_slope(m, s, world, row)
        add_row_scaled(s, world, row, r_bar, s.qpos_bar[world])
