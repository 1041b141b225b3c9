"""Joint springs and dampers, and their gradient. Source: MuJoCo documentation, Computation, passive forces."""

import warp as wp

from diffsim.physics.gravcomp import PASSIVE, gravcomp_force
from diffsim.physics.integrate import load3
from diffsim.physics.kinematics import joint_quat
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.polynomial import coefficient, damper_polynomial, spring_polynomial
from diffsim.physics.rotation import quat_conj, quat_log, quat_mul, quat_normalize
from diffsim.physics.scratch import Scratch
from diffsim.types import BALL, FREE, ZERO, quat, vec3


@wp.func
def spring_rotation(m: ModelArrays, s: Scratch, world: int, adr: int) -> vec3:
    """Rotation vector from a ball or free joint's spring reference to its orientation, at a qpos address."""
    rest = quat(m.qpos_spring[adr], m.qpos_spring[adr + 1], m.qpos_spring[adr + 2], m.qpos_spring[adr + 3])
    return quat_log(quat_mul(quat_conj(quat_normalize(rest)), joint_quat(s, world, adr)))


@wp.func
def passive(m: ModelArrays, s: Scratch, world: int):
    """Adds spring and damper forces, and gravity compensation, to qfrc_smooth."""
    for dof in range(lane(), m.nv, lanes()):
        velocity = s.qvel[world, dof]
        damping = m.dof_damping[world * m.dof_stride + dof]
        damping = coefficient(damping, damper_polynomial(m, dof), wp.abs(velocity))
        s.qfrc_smooth[world, dof] = s.qfrc_smooth[world, dof] - damping * velocity
        if m.ngravcomp > 0:
            s.qfrc_smooth[world, dof] = s.qfrc_smooth[world, dof] + gravcomp_force(m, s, world, dof, PASSIVE)
    sync()
    for joint in range(lane(), m.njnt, lanes()):
        stiffness = m.jnt_stiffness[world * m.joint_stride + joint]
        c = spring_polynomial(m, joint)
        if stiffness != ZERO or c[0] != ZERO or c[1] != ZERO:
            adr = m.jnt_qposadr[joint]
            dof = m.jnt_dofadr[joint]
            kind = m.jnt_type[joint]
            if kind == FREE or kind == BALL:
                if kind == FREE:
                    stretch = load3(s.qpos[world], adr) - load3(m.qpos_spring, adr)
                    k = coefficient(stiffness, c, wp.length(stretch))
                    for i in range(3):
                        s.qfrc_smooth[world, dof + i] = s.qfrc_smooth[world, dof + i] - k * stretch[i]
                    adr = adr + 3
                    dof = dof + 3
                theta = spring_rotation(m, s, world, adr)
                k = coefficient(stiffness, c, wp.length(theta))
                for i in range(3):
                    s.qfrc_smooth[world, dof + i] = s.qfrc_smooth[world, dof + i] - k * theta[i]
            else:
                length = s.qpos[world, adr] - m.qpos_spring[adr]
                s.qfrc_smooth[world, dof] = s.qfrc_smooth[world, dof] - coefficient(stiffness, c, length) * length
    sync()
