"""Frames that MuJoCo takes for those of geoms, sites and inertias.

MuJoCo's compiler marks a frame that equals the body's, or that of its inertia, within 1e-6 (`geom_sameframe` and
others). Its kinematics then take the other frame, whatever `geom_pos` says. Source: `mj_local2Global` of MuJoCo.
"""

import copy

import mujoco
import numpy as np

BODY = (mujoco.mjtSameFrame.mjSAMEFRAME_BODY, mujoco.mjtSameFrame.mjSAMEFRAME_BODYROT)
INERTIA = (mujoco.mjtSameFrame.mjSAMEFRAME_INERTIA, mujoco.mjtSameFrame.mjSAMEFRAME_INERTIAROT)
IDENTITY = np.array([1.0, 0.0, 0.0, 0.0])
ROUNDING = 1e-12


def with_used_frames(m: mujoco.MjModel) -> mujoco.MjModel:
    """The model, or if its frames differ from those that MuJoCo takes by more than rounding, a copy that has these."""
    used, bodies = copy.copy(m), np.arange(m.nbody)
    kinds = (
        (used.body_ipos, used.body_iquat, m.body_sameframe, bodies),
        (used.geom_pos, used.geom_quat, m.geom_sameframe, m.geom_bodyid),
        (used.site_pos, used.site_quat, m.site_sameframe, m.site_bodyid),
    )
    changed = [_take(used, *kind) for kind in kinds]  # all of them, inertias first
    return used if any(changed) else m


def _take(used: mujoco.MjModel, pos: np.ndarray, quat: np.ndarray, same: np.ndarray, body: np.ndarray) -> bool:
    """Writes the frames that MuJoCo takes to positions [n, 3] and quaternions [n, 4]; whether there are new ones."""
    of_inertia = np.isin(same, INERTIA)
    axes = np.where(of_inertia[:, None], used.body_iquat[body], IDENTITY)
    place = np.where(of_inertia[:, None], used.body_ipos[body], 0.0)
    apart = np.minimum(np.abs(axes - quat).max(1, initial=0), np.abs(axes + quat).max(1, initial=0))
    turned = np.isin(same, BODY + INERTIA) & (apart > ROUNDING)
    moved = np.isin(same, (BODY[0], INERTIA[0])) & (np.abs(place - pos).max(1, initial=0) > ROUNDING)
    quat[turned], pos[moved] = axes[turned], place[moved]
    return bool(turned.any() or moved.any())
