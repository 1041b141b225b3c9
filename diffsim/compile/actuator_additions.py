"""Damping and armature that actuators add to the dofs of their joints."""

import mujoco
import numpy as np

JOINTS = int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)


def actuator_additions(m: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over the actuators of each joint, disabled ones too, times the square of the gear's first number.

    Returns: damping [nv], its polynomial [nv, 2] and armature [nv].
    Source: MuJoCo documentation, XML reference, actuator/general.
    """
    per_joint = np.zeros((m.njnt, 4))
    for i in range(m.nactuator):
        if m.actuator_trntype[i] in JOINTS:
            values = [m.actuator_damping[i], *m.actuator_dampingpoly[i], m.actuator_armature[i]]
            per_joint[m.actuator_trnid[i, 0]] += m.actuator_gear[i, 0] ** 2 * np.array(values)
    per_dof = per_joint[m.dof_jntid]
    return per_dof[:, 0], per_dof[:, 1:3], per_dof[:, 3]
