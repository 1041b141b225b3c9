"""Fields of `ModelArrays` that describe the pairs of geoms that can touch. All functions work on arrays of pairs."""

from typing import Any

import mujoco
import numpy as np
import torch

from diffsim.collision.geometry import CANDIDATES, CONVEX
from diffsim.compile.height_fields import HFIELD, most_contacts
from diffsim.compile.noslip import visited_order
from diffsim.compile.solver_parameters import mix_solver

DISABLE = mujoco.mjtDisableBit

# By the kinds of the two geoms, in MuJoCo's order: number of candidates, maximum number of contacts; 0 for no collider.
COUNTS = np.zeros((int(mujoco.mjtGeom.mjNGEOMTYPES), int(mujoco.mjtGeom.mjNGEOMTYPES), 2), int)
for _kinds, _counts in CANDIDATES.items():
    COUNTS[_kinds] = _counts
CONVEX_PAIRS = np.zeros_like(COUNTS[:, :, 0])
for _kinds, _candidates in CONVEX.items():
    COUNTS[_kinds] = _candidates, _candidates
    CONVEX_PAIRS[_kinds] = 1


def touching_pairs(m: mujoco.MjModel) -> np.ndarray:
    """Pairs of geoms that can collide in MuJoCo: by contype and conaffinity, bodies, exclude, and explicit pairs.

    Returns: [npair, 2], sorted, or with the noslip solver in MuJoCo's order; in each pair the lower id is first.
    """
    collidable = np.flatnonzero(m.geom_contype | m.geom_conaffinity)
    first, second = (collidable[index] for index in np.triu_indices(len(collidable), 1))
    contype, conaffinity = m.geom_contype, m.geom_conaffinity
    affine = (contype[first] & conaffinity[second]) | (contype[second] & conaffinity[first]) != 0
    affine &= (m.geom_type[first] > HFIELD) | (m.geom_type[second] > HFIELD)  # planes and height fields do not collide
    first, second = first[affine], second[affine]
    apart = bodies_collide(m, m.geom_bodyid[first], m.geom_bodyid[second])
    explicit = np.unique(pair_keys(m, np.stack([m.pair_geom1, m.pair_geom2], axis=1)))
    keys = first[apart] * m.ngeom + second[apart]
    keys = np.sort(np.concatenate([explicit, keys[~np.isin(keys, explicit)]]), kind="stable")  # fast for sorted runs
    pairs = np.stack(np.divmod(keys, max(1, m.ngeom)), axis=1)
    if m.opt.noslip_iterations > 0:  # its sweeps depend on the order
        pairs = pairs[visited_order(m, pairs, explicit_index(m, pairs))]
    return pairs


def bodies_collide(m: mujoco.MjModel, body1: np.ndarray, body2: np.ndarray) -> np.ndarray:
    """Whether MuJoCo lets the geoms of two bodies collide: not if they are fixed to each other, parent and child, or
    excluded, or if no dof moves them: [n].
    """
    weld = m.body_weldid
    parent = weld[m.body_parentid[weld]]
    weld1, weld2 = weld[body1], weld[body2]
    signature = (np.minimum(body1, body2).astype(np.int64) << 16) + np.maximum(body1, body2)
    moves = m.body_dofnum[weld] > 0
    collide = (weld1 != weld2) & (moves[body1] | moves[body2]) & ~np.isin(signature, m.exclude_signature)
    if not m.opt.disableflags & DISABLE.mjDSBL_FILTERPARENT:
        collide &= (weld1 == 0) | (weld2 == 0) | ((weld1 != parent[weld2]) & (weld2 != parent[weld1]))
    return collide


def ordered_pairs(m: mujoco.MjModel, pairs: np.ndarray) -> np.ndarray:
    """Each pair in MuJoCo's order of kinds; two geoms of one kind keep their order: [npair, 2]."""
    kinds = m.geom_type[pairs]
    return np.where(kinds[:, :1] > kinds[:, 1:], pairs[:, ::-1], pairs)


def pair_keys(m: mujoco.MjModel, pairs: np.ndarray) -> np.ndarray:
    """One number per pair [n, 2], the same in both orders and sorted as the pairs: [n]."""
    return pairs.min(axis=1).astype(np.int64) * m.ngeom + pairs.max(axis=1)


def explicit_index(m: mujoco.MjModel, pairs: np.ndarray) -> np.ndarray:
    """Index of the <pair> that gives each pair its parameters, the last if there are several, -1 for none: [n]."""
    if not m.npair:
        return np.full(len(pairs), -1)
    explicit, keys = pair_keys(m, np.stack([m.pair_geom1, m.pair_geom2], axis=1)), pair_keys(m, pairs)
    order = np.argsort(explicit, kind="stable")
    found = order[np.searchsorted(explicit[order], keys, side="right") - 1]
    return np.where(explicit[found] == keys, found, -1)


def pair_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """Pairs of geoms that can touch, each in MuJoCo's order of kinds, and the geoms in them."""
    disabled = m.opt.disableflags & (DISABLE.mjDSBL_CONTACT | DISABLE.mjDSBL_CONSTRAINT)
    pairs = np.zeros((0, 2), int) if disabled else touching_pairs(m)
    parameters = pair_parameters(m, pairs)
    geom1, geom2 = ordered_pairs(m, pairs).T
    counts = COUNTS[m.geom_type[geom1], m.geom_type[geom2]]
    fields = m.geom_type[geom1] == HFIELD
    detection = parameters["margin"] + parameters["gap"]
    counts[fields] = most_contacts(m, geom1[fields], geom2[fields], detection[fields])[:, None]
    colliders = np.flatnonzero(np.bincount(pairs.ravel()))
    weights = m.body_invweight0[m.geom_bodyid, 0]
    return dict(
        npair=len(pairs),
        pair_geom1=geom1,
        pair_geom2=geom2,
        pair_candidates=counts[:, 0],
        pair_candidateadr=np.cumsum(counts[:, 0]) - counts[:, 0],
        pair_cap=counts[:, 1],
        pair_convex=CONVEX_PAIRS[m.geom_type[geom1], m.geom_type[geom2]],
        pair_condim=parameters["dim"],
        pair_margin=parameters["margin"],
        pair_detection=detection,
        pair_adhesion=parameters["adhesion"],
        pair_friction_damping=friction_damping(m, pairs),
        pair_invweight=weights[geom1] + weights[geom2],
        solver=(parameters["solref"], parameters["solimp"]),
        ncollider=len(colliders),
        collider_geom=colliders,
        geom_body=m.geom_bodyid,
        geom_kind=m.geom_type,
        geom_quat=m.geom_quat,
        surfacevel=int(m.geom_surfacevel[colliders].any()),
        geom_surfacevel=m.geom_surfacevel[:, [3, 4, 5, 0, 1, 2]],
    )


def pair_parameters(m: mujoco.MjModel, pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Contact parameters of pairs: those of a <pair>, else mixed ones, but those of <option> with the flag override.

    Returns: as `mixed_parameters`.
    """
    parameters = mixed_parameters(m, pairs)
    explicit = explicit_index(m, pairs)
    own = explicit >= 0
    for name, values in parameters.items():
        values[own] = getattr(m, f"pair_{name}")[explicit[own]]
    if overrides(m):
        for name in ("margin", "solref", "solimp"):
            parameters[name][:] = getattr(m.opt, f"o_{name}")
    return parameters


def overrides(m: mujoco.MjModel) -> bool:
    """Whether <option> gives the parameters of all contacts."""
    return bool(m.opt.enableflags & mujoco.mjtEnableBit.mjENBL_OVERRIDE)


def friction_damping(m: mujoco.MjModel, pairs: np.ndarray) -> np.ndarray:
    """Damping b of the rows of friction of elliptic cones, where a <pair> has its own solreffriction; else -1: [npair].

    Source: `mj_makeImpedance` of MuJoCo.
    """
    damping = np.full(len(pairs), -1.0)
    if m.opt.cone != mujoco.mjtCone.mjCONE_ELLIPTIC or overrides(m):
        return damping
    for pair, index in enumerate(explicit_index(m, pairs)):
        first, second = m.pair_solreffriction[index] if index >= 0 else (0.0, 0.0)
        if (first > 0) == (second > 0) and (first or second):
            if not m.opt.disableflags & DISABLE.mjDSBL_REFSAFE and first > 0:
                first = max(first, 2 * m.opt.timestep)
            dmax = np.clip(m.pair_solimp[index, 1], mujoco.mjMINIMP, mujoco.mjMAXIMP)
            damping[pair] = 2 / (dmax * first) if second > 0 else -second / dmax
    return damping


def adhesive_pairs(m: mujoco.MjModel) -> np.ndarray:
    """Pairs of geoms that can touch and adhere: [n, 2]."""
    if m.opt.disableflags & (DISABLE.mjDSBL_CONTACT | DISABLE.mjDSBL_CONSTRAINT):
        return np.zeros((0, 2), int)
    if not (m.geom_adhesion.any() or m.pair_adhesion.any()):
        return np.zeros((0, 2), int)
    pairs = touching_pairs(m)
    return pairs[pair_parameters(m, pairs)["adhesion"] != 0]


def mixed_parameters(m: mujoco.MjModel, pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Contact parameters of pairs, mixed from those of their two geoms (friction: see `Parameters`).

    A geom of higher priority gives its own; margin and gap are sums, as is adhesion of equal priorities.

    Returns: dim [n], solref [n, 2], solimp [n, 5], margin [n], gap [n] and adhesion [n], as in the fields `pair_...`.
    """
    first, second = pairs.T
    priority = m.geom_priority[first] - m.geom_priority[second]
    solver = mix_solver(m, pairs, torch.from_numpy(m.geom_solref), torch.from_numpy(m.geom_solimp))
    condims = m.geom_condim[first], m.geom_condim[second]
    return dict(
        dim=np.where(priority == 0, np.maximum(*condims), np.where(priority > 0, *condims)),
        solref=solver[0].numpy(),
        solimp=solver[1].numpy(),
        margin=m.geom_margin[first] + m.geom_margin[second],
        gap=m.geom_gap[first] + m.geom_gap[second],
        adhesion=m.geom_adhesion[first] * (priority >= 0) + m.geom_adhesion[second] * (priority <= 0),
    )
