"""Gravity compensation: a force -gravity * mass * gravcomp at each body's centre of mass, and its gradient.

With A_0 = -gravity, the acceleration of the world, it is the wrench F_b = gravcomp_b I_b A_0. A dof's share, S . sum of
F over the subtree, is a passive force, or part of the actuators' force on the joint (`actuatorgravcomp`) and clamped
with it.
Source: MuJoCo documentation, XML reference, body/gravcomp and joint/actuatorgravcomp.
"""

import warp as wp

from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import apply_inertia, cross_force
from diffsim.physics.tree import spread, sum_subtrees
from diffsim.types import ZERO, real, vec6

PASSIVE = wp.constant(0)  # where a dof's gravity compensation goes
ACTUATOR = wp.constant(1)
NOWHERE = wp.constant(2)


@wp.func(inline=True)
def compensated(m: ModelArrays, s: Scratch, world: int, body: int, x: vec6) -> vec6:
    """gravcomp_b I_b x."""
    mass = m.body_mass[world * m.body_stride + body]
    return m.rare[0].body_gravcomp[body] * apply_inertia(
        mass, s.body_moment[world, body], s.body_rotary[world, body], x
    )


@wp.func(inline=True)
def gravcomp_forces(m: ModelArrays, s: Scratch, world: int):
    """Fills qfrc_gravcomp. Needs the bodies' inertias and the motion of the dofs."""
    for body in range(1 + lane(), m.nbody, lanes()):
        s.wrench[world, body] = compensated(m, s, world, body, s.acceleration[world, 0])
    sync()
    sum_subtrees(m, s.wrench[world])
    for dof in range(lane(), m.nv, lanes()):
        s.qfrc_gravcomp[world, dof] = wp.dot(s.motion[world, dof], s.wrench[world, m.dof_body[dof]])
    sync()


@wp.func(inline=True)
def gravcomp_force(m: ModelArrays, s: Scratch, world: int, dof: int, place: int) -> real:
    """The force of a dof that goes to a place."""
    if m.ngravcomp > 0:
        if m.rare[0].dof_gravcomp[dof] == place:
            return s.qfrc_gravcomp[world, dof]
    return ZERO


@wp.func(inline=True)
def gravcomp_cotangents(m: ModelArrays, s: Scratch, world: int):
    """Fills the twists of the virtual velocity that the forces act on, with their cotangents; adds to pose_bar.

    Needs `virtual_power.joint_clamp_gradient`.
    """
    for dof in range(lane(), m.nv, lanes()):
        velocity = s.virtual_velocity[world, dof]
        if m.rare[0].dof_gravcomp[dof] == ACTUATOR:
            velocity = s.work[world, dof]
        elif m.rare[0].dof_gravcomp[dof] == NOWHERE:
            velocity = ZERO
        s.gravcomp_velocity[world, dof] = velocity
    sync()
    spread(m, s, world, s.gravcomp_velocity[world], s.gravcomp_twist[world])
    for body in range(1 + lane(), m.nbody, lanes()):
        up = s.acceleration[world, 0]
        pull = compensated(m, s, world, body, s.gravcomp_twist[world, body])
        s.gravcomp_twist_bar[world, body] = compensated(m, s, world, body, up)
        s.pose_bar[world, body] = s.pose_bar[world, body] - cross_force(up, pull)
    sync()
