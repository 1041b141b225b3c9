"""Tendons' dampers with polynomial coefficients in the matrix M - h D of an implicit velocity step, and their gradient.

The force -b(L') of a damper adds J' b'(L') J to -D, at the entries that M has. Where b is linear, the matrix of fixed
tendons is constant, and `tendon` adds it; `implicit` adds the matrix of lines.
"""

import warp as wp

from diffsim.physics.line import VELOCITY, add_line_bar, couples
from diffsim.physics.line_gradient import coupled_power
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.polynomial import damper_bend, tendon_damper_polynomial
from diffsim.physics.scratch import Scratch
from diffsim.physics.tendon import add_along_tendon, damper_slope, tendon_dot
from diffsim.physics.world_parameters import timestep
from diffsim.types import ZERO, real


@wp.func
def add_polynomial_damping(m: ModelArrays, s: Scratch, world: int):
    """Adds h J' b' J of fixed tendons to `hessian`, for one lane."""
    for tendon in range(m.ntendon):
        c = tendon_damper_polynomial(m, tendon)
        first = m.rare[0].tendon_adr[tendon]
        last = first + m.rare[0].tendon_num[tendon]
        if last > first and (c[0] != ZERO or c[1] != ZERO):
            slope = timestep(m, world) * damper_slope(m, world, tendon, tendon_dot(m, s, world, tendon, s.qvel[world]))
            for i in range(first, last):
                row = m.rare[0].tendon_dof[i]
                for j in range(i, last):  # dofs are in descending order
                    col = m.rare[0].tendon_dof[j]
                    if couples(m, row, col):
                        s.hessian[world, row, col] = (
                            s.hessian[world, row, col] + slope * m.rare[0].tendon_coef[i] * m.rare[0].tendon_coef[j]
                        )


@wp.func
def polynomial_damping_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the gradient of h mu' D(L') w by the tendons' velocities, for one lane."""
    for tendon in range(m.ntendon):
        c = tendon_damper_polynomial(m, tendon)
        if c[0] != ZERO or c[1] != ZERO:
            bend = damper_bend(c, tendon_dot(m, s, world, tendon, s.qvel[world]))
            line = m.rare[0].tendon_line[tendon]
            if line >= 0:
                power = coupled_power(m, s, world, line, s.multiplier[world], s.implicit_qacc[world])
                add_line_bar(s, world, line, VELOCITY, -timestep(m, world) * bend * power)
            else:
                power = fixed_power(m, s, world, tendon)
                add_along_tendon(m, s, world, tendon, -timestep(m, world) * bend * power, s.qvel_bar[world])


@wp.func
def fixed_power(m: ModelArrays, s: Scratch, world: int, tendon: int) -> real:
    """Mu' (J'J) w of a fixed tendon, at the entries that M has."""
    total = real(0.0)
    first = m.rare[0].tendon_adr[tendon]
    last = first + m.rare[0].tendon_num[tendon]
    for i in range(first, last):
        left = m.rare[0].tendon_dof[i]
        for j in range(first, last):
            right = m.rare[0].tendon_dof[j]
            if couples(m, wp.max(left, right), wp.min(left, right)):
                pull = m.rare[0].tendon_coef[j] * s.implicit_qacc[world, right]
                total += m.rare[0].tendon_coef[i] * s.multiplier[world, left] * pull
    return total
