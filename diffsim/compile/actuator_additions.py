"""Damping and armature that actuators add to the dofs of their joints, and to their tendons."""

import mujoco
import numpy as np

JOINTS = int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)
TENDON = (int(mujoco.mjtTrn.mjTRN_TENDON),)


def actuator_additions(m: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over the actuators of each joint, disabled ones too, times the square of the gear's first number.

    Returns: damping [nv], its polynomial [nv, 2] and armature [nv].
    Source: MuJoCo documentation, XML reference, actuator/general.
    """
    per_dof = _sums(m, JOINTS, m.njnt)[m.dof_jntid]
    return per_dof[:, 0], per_dof[:, 1:3], per_dof[:, 3]


def tendon_dampers(m: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Damping [ntendon], its polynomial [ntendon, 2] and armature [ntendon] of tendons and of their actuators."""
    damping, polynomial, armature = tendon_additions(m)
    return m.tendon_damping + damping, m.tendon_dampingpoly + polynomial, m.tendon_armature + armature


def tendon_additions(m: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `actuator_additions`, of the actuators of each tendon: [ntendon], [ntendon, 2], [ntendon]."""
    per_tendon = _sums(m, TENDON, m.ntendon)
    return per_tendon[:, 0], per_tendon[:, 1:3], per_tendon[:, 3]


def _sums(m: mujoco.MjModel, transmissions: tuple[int, ...], count: int) -> np.ndarray:
    """Damping, its polynomial and armature of the actuators on each joint or tendon: [count, 4]."""
    total = np.zeros((count, 4))
    for i in range(m.nactuator):
        if m.actuator_trntype[i] in transmissions:
            values = [m.actuator_damping[i], *m.actuator_dampingpoly[i], m.actuator_armature[i]]
            gear = m.actuator_gear[m.actuator_outadr[i], 0]
            total[m.actuator_trnid[i, 0]] += gear**2 * np.array(values)
    return total
