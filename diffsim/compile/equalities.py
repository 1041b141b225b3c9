"""Fields of `ModelArrays` that describe equality constraints and tendons."""

from typing import Any

import mujoco
import numpy as np

from diffsim.compile.actuator_additions import tendon_dampers
from diffsim.compile.lines import (
    addresses,
    descending,
    is_ancestor,
    is_branched,
    runs_of,
    simple_dofs,
    spatial_tendons,
    tendon_dofs,
)
from diffsim.compile.unsupported import equality
from diffsim.types import IMPLICIT, IMPLICITFAST

DISABLE = mujoco.mjtDisableBit
EQ = mujoco.mjtEq
CONNECT, WELD, JOINT, TENDON = (int(kind) for kind in (EQ.mjEQ_CONNECT, EQ.mjEQ_WELD, EQ.mjEQ_JOINT, EQ.mjEQ_TENDON))


def enabled_equalities(m: mujoco.MjModel, *kinds: int) -> list[int]:
    """Ids of the equality constraints of some kinds that are active or can be activated."""
    if m.opt.disableflags & (DISABLE.mjDSBL_EQUALITY | DISABLE.mjDSBL_CONSTRAINT):
        return []
    return [i for i in range(m.neq) if m.eq_type[i] in kinds and not any(equality(m, i))]


def equality_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """Connect, weld and joint constraints; also the number of their `rows`, and their `solver` parameters."""
    frames = {i: joined_frames(m, i) for i in enabled_equalities(m, CONNECT, WELD)}
    # Omits pairs of bodies that cannot move relative to each other: their Jacobian is zero.
    spatial = [i for i, frame in frames.items() if len({int(m.body_weldid[body]) for body, _, _ in frame}) == 2]
    joints = enabled_equalities(m, JOINT)
    size = np.where(m.eq_type[spatial] == WELD, 6, 3)
    bodies = np.array([[body for body, _, _ in frames[i]] for i in spatial], int).reshape(-1, 2)
    pairs = np.stack([m.eq_obj1id[joints], m.eq_obj2id[joints]], axis=1)
    weights = np.where(pairs >= 0, m.dof_invweight0[m.jnt_dofadr[pairs]], 0) if joints else np.zeros((0, 2))
    return dict(
        rows=int(size.sum()) + len(joints),
        ids=spatial + joints,
        solver=(m.eq_solref[spatial + joints], m.eq_solimp[spatial + joints]),
        neq=len(spatial),
        eq_id=np.array(spatial, int),
        eq_rows=size,
        eq_body=bodies,
        eq_anchor=np.array([[anchor for _, anchor, _ in frames[i]] for i in spatial]).reshape(-1, 2, 3),
        eq_quat=np.array([[quat for _, _, quat in frames[i]] for i in spatial]).reshape(-1, 2, 4),
        eq_torquescale=m.eq_data[spatial, 10] * (size == 6),
        eq_invweight=m.body_invweight0[bodies].sum(axis=1),
        njoint_eq=len(joints),
        joint_eq_id=np.array(joints, int),
        joint_eq=pairs,
        joint_eq_polynomial=m.eq_data[joints, :5],
        joint_eq_invweight=weights.sum(axis=1),
    )


def joined_frames(m: mujoco.MjModel, equality: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """The two bodies of a connect or weld constraint, each with the joined point and orientation."""
    ids = int(m.eq_obj1id[equality]), int(m.eq_obj2id[equality])
    data = m.eq_data[equality]
    if m.eq_objtype[equality] == int(mujoco.mjtObj.mjOBJ_SITE):
        return [(int(m.site_bodyid[site]), m.site_pos[site], m.site_quat[site]) for site in ids]
    identity = np.array([1.0, 0, 0, 0])
    if m.eq_type[equality] == CONNECT:
        return [(ids[0], data[0:3], identity), (ids[1], data[3:6], identity)]
    return [(ids[0], data[3:6], data[6:10]), (ids[1], data[0:3], identity)]


def tendon_equality_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """Tendon constraints; also the number of their `rows`, and their `solver` parameters."""
    ids = enabled_equalities(m, TENDON)
    pairs = np.stack([m.eq_obj1id[ids], m.eq_obj2id[ids]], axis=1)
    lengths = np.where(pairs >= 0, m.tendon_length0[pairs], 0) if ids else np.zeros((0, 2))
    weights = np.where(pairs >= 0, m.tendon_invweight0[pairs], 0) if ids else np.zeros((0, 2))
    dofs = [descending(set().union(*(tendon_dofs(m, int(i)) for i in pair if i >= 0))) for pair in pairs]
    runs = [runs_of(d) for d in dofs]
    return dict(
        rows=len(ids),
        ids=ids,
        solver=(m.eq_solref[ids], m.eq_solimp[ids]),
        ntendon_eq=len(ids),
        tendon_eq_id=np.array(ids, int),
        tendon_eq=pairs,
        tendon_eq_polynomial=m.eq_data[ids, :5],
        tendon_eq_length=lengths,
        tendon_eq_invweight=weights.sum(axis=1),
        tendon_eq_runadr=addresses(runs),
        tendon_eq_runs=np.array([len(r) for r in runs], int),
        tendon_eq_run=np.array([run for r in runs for run in r], int).reshape(-1, 2),
        tendon_eq_branched=np.array([is_branched(m, d) for d in dofs], int),
    )


def tendon_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """Tendons; also the maximum number of their `rows`, and the `solver` parameters of limits and friction.

    Only fixed tendons have entries here: those of spatial ones are in `lines`.
    """
    off = m.opt.disableflags
    enabled = not off & DISABLE.mjDSBL_CONSTRAINT
    limited = m.tendon_limited * bool(enabled and not off & DISABLE.mjDSBL_LIMIT)
    frictionloss = m.tendon_frictionloss * bool(enabled and not off & DISABLE.mjDSBL_FRICTIONLOSS)
    _, polynomial, armature = tendon_dampers(m)
    pairs = tendon_pairs(m, armature)
    num = m.tendon_num.copy()
    num[spatial_tendons(m)] = 0
    still = [i for i in spatial_tendons(m) if not tendon_dofs(m, i)]  # no dof moves them: MuJoCo omits their rows
    limited[still], frictionloss[still] = 0, 0
    tendon = np.repeat(np.arange(m.ntendon), m.tendon_num)
    entries = np.flatnonzero(num[tendon] > 0)
    # entries of a tendon in descending order of dofs
    order = entries[np.lexsort((-m.jnt_dofadr[m.wrap_objid[entries]], tendon[entries]))]
    joints = m.wrap_objid[order]
    return dict(
        rows=int(2 * limited.sum() + np.count_nonzero(frictionloss)),
        solver=(
            np.concatenate([m.tendon_solref_lim, m.tendon_solref_fri]),
            np.concatenate([m.tendon_solimp_lim, m.tendon_solimp_fri]),
        ),
        ntendon=m.ntendon,
        tendon_adr=np.cumsum(num) - num,
        tendon_num=num,
        tendon_dof=m.jnt_dofadr[joints],
        tendon_qpos=m.jnt_qposadr[joints],
        tendon_coef=m.wrap_prm[order],
        tendon_stiffnesspoly=m.tendon_stiffnesspoly * (not off & DISABLE.mjDSBL_SPRING),
        tendon_dampingpoly=polynomial * (not off & DISABLE.mjDSBL_DAMPER),
        tendon_limited=limited,
        tendon_margin=m.tendon_margin,
        tendon_frictionloss=frictionloss,
        tendon_invweight=m.tendon_invweight0,
        ntendon_pair=len(pairs),
        tendon_pair_dof=np.array(list(pairs), int).reshape(-1, 2),
        tendon_pair_armature=np.array([products @ armature for products in pairs.values()], float),
    )


def tendon_pairs(m: mujoco.MjModel, armature: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Products of the moments of each fixed tendon [ntendon], by row and column of the lower triangle.

    Only at entries that the mass matrix has without tendons: MuJoCo omits pairs of dofs in different branches. Only of
    tendons that can have armature, or damping that is integrated implicitly.
    """
    simple, spatial = simple_dofs(m), spatial_tendons(m)
    damped = m.opt.integrator in (IMPLICIT, IMPLICITFAST)
    entries: dict[tuple[int, int], np.ndarray] = {}
    for tendon in range(m.ntendon):
        if tendon in spatial or not (damped or armature[tendon]):
            continue
        wraps = range(m.tendon_adr[tendon], m.tendon_adr[tendon] + m.tendon_num[tendon])
        coefs = {int(m.jnt_dofadr[m.wrap_objid[wrap]]): m.wrap_prm[wrap] for wrap in wraps}
        for row, left in coefs.items():
            for col, right in coefs.items():
                if row == col or (is_ancestor(m, col, row) and not simple[row]):
                    entries.setdefault((row, col), np.zeros(m.ntendon))[tendon] += left * right
    return entries
