"""Gradient by the stiffness, the damping and the rest lengths of tendons."""

import warp as wp

from diffsim.physics.constraint_parameters import add_to
from diffsim.physics.lanes import lane
from diffsim.physics.line_gradient import coupled_power
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.polynomial import coefficient_slope, tendon_damper_polynomial, tendon_spring_polynomial
from diffsim.physics.scratch import Scratch
from diffsim.physics.tendon import stretch, tendon_dot, tendon_length
from diffsim.physics.tendon_damping import fixed_power
from diffsim.physics.world_parameters import tendon_lengthspring, tendon_stiffness, timestep
from diffsim.types import HALF, ONE, ZERO, real


@wp.func
def tendon_parameter_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the parts of springs and dampers to the gradient of P. For one lane."""
    for tendon in range(m.ntendon):
        power = tendon_dot(m, s, world, tendon, s.virtual_velocity[world])
        rate = tendon_dot(m, s, world, tendon, s.qvel[world])
        add_to(s, world, m.rare[0].at_tendon_damping + tendon, -power * rate)
        add_to(s, world, m.rare[0].at_tendon_stiffness + tendon, -power * stretch(m, s, world, tendon))
        c = tendon_spring_polynomial(m, tendon)
        pull = power * coefficient_slope(tendon_stiffness(m, world, tendon), c, stretch(m, s, world, tendon))
        adr = m.rare[0].at_tendon_lengthspring + 2 * tendon
        length = tendon_length(m, s, world, tendon)
        add_to(s, world, adr, pull * passed(tendon_lengthspring(m, world, tendon, 0) - length))
        add_to(s, world, adr + 1, pull * passed(length - tendon_lengthspring(m, world, tendon, 1)))


@wp.func
def passed(distance: real) -> real:
    """1 for a positive distance, 0 for a negative one, their mean for none."""
    if distance == ZERO:
        return HALF
    if distance > ZERO:
        return ONE
    return ZERO


@wp.func
def implicit_tendon_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds the part of dampers to the gradient of h mu' D w, for the integrators that have them in D."""
    if lane() > 0:
        return
    for pair in range(m.ntendon_pair):
        row = m.rare[0].tendon_pair_dof[pair, 0]
        col = m.rare[0].tendon_pair_dof[pair, 1]
        product = s.multiplier[world, row] * s.implicit_qacc[world, col]
        if row != col:
            product += s.multiplier[world, col] * s.implicit_qacc[world, row]
        add_to(s, world, m.rare[0].at_tendon_pair_damping + pair, -timestep(m, world) * product)
    for tendon in range(m.ntendon):
        line = m.rare[0].tendon_line[tendon]
        c = tendon_damper_polynomial(m, tendon)
        power = real(0.0)
        if line >= 0:
            power = coupled_power(m, s, world, line, s.multiplier[world], s.implicit_qacc[world])
        elif c[0] != ZERO or c[1] != ZERO:  # the others are among the pairs
            power = fixed_power(m, s, world, tendon)
        add_to(s, world, m.rare[0].at_tendon_damping + tendon, -timestep(m, world) * power)
