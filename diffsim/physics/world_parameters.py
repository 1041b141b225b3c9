"""Parameters that can differ between worlds, of elements that most models do not have."""

import warp as wp

from diffsim.physics.model_arrays import ModelArrays
from diffsim.types import real


@wp.func
def timestep(m: ModelArrays, world: int) -> real:
    """h, s."""
    return m.timestep[world * m.timestep_stride]


@wp.func
def moment_value(m: ModelArrays, world: int, entry: int) -> real:
    """An entry of a constant moment."""
    return m.moment_value[world * m.moment_stride + entry]


@wp.func
def gear_of(m: ModelArrays, world: int, actuator: int) -> real:
    """What multiplies the moment of an actuator's line."""
    return m.actuator_gear[world * m.actuator_stride + actuator]


@wp.func
def line_gear(m: ModelArrays, world: int, line: int, i: int) -> real:
    """One of the six gears of a moving transmission."""
    return m.rare[0].line_gear[world * m.rare[0].line_stride + line, i]


@wp.func
def tendon_stiffness(m: ModelArrays, world: int, tendon: int) -> real:
    """N/m."""
    return m.rare[0].tendon_stiffness[world * m.rare[0].tendon_stride + tendon]


@wp.func
def tendon_damping(m: ModelArrays, world: int, tendon: int) -> real:
    """N s/m."""
    return m.rare[0].tendon_damping[world * m.rare[0].tendon_stride + tendon]


@wp.func
def tendon_lengthspring(m: ModelArrays, world: int, tendon: int, side: int) -> real:
    """An end of the range of lengths where the spring is slack, m."""
    return m.rare[0].tendon_lengthspring[world * m.rare[0].tendon_stride + tendon, side]


@wp.func
def tendon_range(m: ModelArrays, world: int, tendon: int, side: int) -> real:
    """A limit of the length, m."""
    return m.rare[0].tendon_range[world * m.rare[0].tendon_stride + tendon, side]
