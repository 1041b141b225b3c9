"""Cartesian forces on bodies, `xfrc_applied`: a torque, and a force at the centre of mass, in world axes.

Their virtual power is Y . X with the wrench X = (torque + r x force, force) and the twist Y = (w, u), where r leads
from the reference point to the centre of mass. A motion of the body changes it by (force x w) . dr at fixed Y.
"""

import warp as wp

from diffsim.physics.fluid import com_arm
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, cross_force, linear, twist
from diffsim.types import real, vec3, vec6


@wp.func
def load_applied(m: ModelArrays, s: Scratch, world: int, inputs: wp.array(dtype=real), first: int):
    """Sets the forces (force, torque per body) that rows of inputs have from `first` on, if they have them."""
    if lane() == 0:
        s.has_xfrc[world] = wp.where(inputs.shape[0] > first, 1, 0)
    if inputs.shape[0] > first:
        for body in range(lane(), m.nbody, lanes()):
            at = first + 6 * body
            force = vec3(inputs[at], inputs[at + 1], inputs[at + 2])
            s.xfrc[world, body] = twist(vec3(inputs[at + 3], inputs[at + 4], inputs[at + 5]), force)
            s.xfrc_bar[world, body] = vec6()


@wp.func
def store_applied_cotangents(m: ModelArrays, s: Scratch, world: int, inputs_bar: wp.array(dtype=real), first: int):
    """Writes the cotangents of the forces, in the same order; those on the world are zero."""
    if inputs_bar.shape[0] > first:
        for body in range(lane(), m.nbody, lanes()):
            bar = s.xfrc_bar[world, body]
            for i in range(3):
                inputs_bar[first + 6 * body + i] = bar[3 + i]
                inputs_bar[first + 6 * body + 3 + i] = bar[i]


@wp.func
def applied_wrench(m: ModelArrays, s: Scratch, world: int, body: int) -> vec6:
    """X of a body."""
    x = s.xfrc[world, body]
    return twist(angular(x) + wp.cross(com_arm(m, s, world, body), linear(x)), linear(x))


@wp.func
def arm_cotangent(s: Scratch, world: int, body: int, y: vec6) -> vec3:
    """Derivative of Y . X by the position of the centre of mass."""
    return wp.cross(linear(s.xfrc[world, body]), angular(y))


@wp.func
def applied_pose_cotangent(m: ModelArrays, s: Scratch, world: int, body: int, y: vec6) -> vec6:
    """Cotangent of a body's pose by a motion that rotates Y too; adds the cotangents of the forces to xfrc_bar."""
    arm = com_arm(m, s, world, body)
    s.xfrc_bar[world, body] = s.xfrc_bar[world, body] + twist(angular(y), linear(y) + wp.cross(angular(y), arm))
    push = arm_cotangent(s, world, body, y)
    return twist(wp.cross(arm, push), push) + cross_force(y, applied_wrench(m, s, world, body))
