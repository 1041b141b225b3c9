"""The noslip solver, which runs after the constraint solver: its options, and the order in which it visits contacts."""

from typing import Any

import mujoco
import numpy as np

DISABLE = mujoco.mjtDisableBit


def noslip_sweeps(m: mujoco.MjModel, npair: int) -> int:
    """Largest number of sweeps over the friction of joints, tendons and `npair` pairs of geoms; 0 if there is none."""
    off = m.opt.disableflags
    if m.opt.noslip_iterations <= 0 or off & DISABLE.mjDSBL_CONSTRAINT:
        return 0
    dry = not off & DISABLE.mjDSBL_FRICTIONLOSS and (m.dof_frictionloss.any() or m.tendon_frictionloss.any())
    return int(m.opt.noslip_iterations) if dry or npair else 0


def noslip_fields(m: mujoco.MjModel, npair: int) -> dict[str, Any]:
    """Fields of `ModelArrays`."""
    return dict(
        noslip=noslip_sweeps(m, npair),
        noslip_tolerance=m.opt.noslip_tolerance,
        noslip_islands=int(not m.opt.disableflags & DISABLE.mjDSBL_ISLAND),
        ntree=m.ntree,
        dof_tree=m.dof_treeid,
        dof_carries=carrying_dofs(m),
    )


def carrying_dofs(m: mujoco.MjModel) -> np.ndarray:
    """1 for each dof that moves the axes of others, those of later blocks (see `ModelArrays`): [nv]."""
    carries = np.zeros(m.nv, int)
    first = m.jnt_dofadr[m.dof_jntid]
    free = m.jnt_type[m.dof_jntid] == mujoco.mjtJoint.mjJNT_FREE
    block = np.where(free, first + (np.arange(m.nv) - first) // 3 * 3, first)
    for dof in range(m.nv):
        above = m.dof_parentid[dof]
        while above >= 0:
            carries[above] |= int(block[above] != block[dof])
            above = m.dof_parentid[above]
    return carries


def noslip_sizes(m: mujoco.MjModel, sweeps: int, max_rows: int) -> dict[str, int]:
    """Sizes of the working memory (see `diffsim.physics.scratch.RARE_FIELDS`)."""
    acts = int(sweeps > 0)
    return {
        "noslip_sweep": sweeps,
        "noslip_force": acts * (sweeps + 1),
        "noslip_row": acts * max_rows,
        "noslip_tree": acts * m.ntree,
        "noslip_vector": acts * 6,
    }


def visited_order(m: mujoco.MjModel, pairs: np.ndarray, explicit: np.ndarray) -> np.ndarray:
    """The order of pairs of geoms in `data.contact`, which is that of the sweeps: indices of `pairs`.

    MuJoCo takes pairs of bodies in order; for each, first the explicit <pair>s, then the others by the ids of geoms.
    Where it searches trees of bounding boxes, the geom of the lower type counts as the first one.

    Args:
        m: the compiled model.
        pairs: [npair, 2], the lower id first.
        explicit: [npair] index of the <pair>, -1 for none.
    """
    bodies, types = m.geom_bodyid[pairs], m.geom_type[pairs]
    several = (m.body_geomnum[bodies] > 1).any(axis=1) & (m.body_bvhadr[bodies] >= 0).all(axis=1)
    searched = several & (not m.opt.disableflags & DISABLE.mjDSBL_MIDPHASE)
    turned = searched & (types[:, 0] > types[:, 1])
    first, second = np.where(turned[:, None], pairs[:, ::-1], pairs).T
    place = np.where(explicit < 0, m.npair, explicit)
    return np.lexsort((second, first, place, bodies[:, 1], bodies[:, 0]))
