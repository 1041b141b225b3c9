"""Fields of `ModelArrays` that describe constraints: solver parameters, friction loss, limits, pairs of geoms.

Those of equality constraints and tendons are in `equalities`.
"""

from typing import Any

import mujoco
import numpy as np

from diffsim.collision.geometry import CANDIDATES
from diffsim.compile.equalities import equality_fields, tendon_fields
from diffsim.compile.unsupported import DISABLE, touching_pairs
from diffsim.types import BALL

# Largest contact buffer by default. More contacts are an error; none is dropped.
DEFAULT_MAX_CONTACTS = 200


def constraint_fields(m: mujoco.MjModel, max_contacts: int | None) -> dict[str, Any]:
    """All fields; also the sizes of the row and contact buffers, `max_rows` and `max_contacts`.

    One table holds the solver parameters of joints' limits, dofs' friction, pairs of geoms, connect and weld
    constraints, joint constraints, tendons' limits and tendons' friction, in this order.
    """
    off = m.opt.disableflags
    enabled = not off & DISABLE.mjDSBL_CONSTRAINT
    limits = bool(enabled and not off & DISABLE.mjDSBL_LIMIT)
    frictionloss = m.dof_frictionloss * bool(enabled and not off & DISABLE.mjDSBL_FRICTIONLOSS)
    pairs = pair_fields(m)
    equalities, tendons = equality_fields(m), tendon_fields(m)
    sections = [joint_solver_parameters(m), *(part.pop("solver") for part in (pairs, equalities, tendons))]
    solref, solimp = (np.concatenate([section[i] for section in sections]) for i in range(2))
    params_pair, params_eq, params_tendon = np.cumsum([len(section[0]) for section in sections[:-1]])
    equality_rows, tendon_rows = equalities.pop("rows"), tendons.pop("rows")
    condim, cap = pairs["pair_condim"], pairs["pair_cap"]
    possible = int(cap.sum())
    contacts = min(possible, max_contacts or DEFAULT_MAX_CONTACTS)
    rows_per_contact = np.maximum(1, 2 * (condim - 1))
    contact_rows = (
        int(np.sum(cap * rows_per_contact)) if contacts == possible else contacts * int(rows_per_contact.max())
    )
    limited = m.jnt_limited * limits
    limit_rows = int(np.sum(limited * np.where(m.jnt_type == BALL, 1, 2)))
    friction_rows = int(np.count_nonzero(frictionloss))
    return dict(
        **pairs,
        **equalities,
        **tendons,
        max_contacts=contacts,
        max_rows=equality_rows + friction_rows + limit_rows + tendon_rows + contact_rows,
        has_limits=int(limited.any()),
        has_frictionloss=int((frictionloss > 0).any()),
        impratio=m.opt.impratio,
        params_dof=m.njnt,
        params_pair=int(params_pair),
        params_eq=int(params_eq),
        params_joint_eq=int(params_eq) + equalities["neq"],
        params_tendon_limit=int(params_tendon),
        params_tendon_friction=int(params_tendon) + m.ntendon,
        solver_reference=reference_coefficients(m, solref, solimp),
        solver_impedance=clamp_solimp(solimp),
        jnt_limited=limited,
        jnt_range=m.jnt_range,
        jnt_margin=m.jnt_margin,
        dof_frictionloss=frictionloss,
        dof_invweight=m.dof_invweight0,
    )


def joint_solver_parameters(m: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Solref [n, 2] and solimp [n, 5] of joints' limits and dofs' friction."""
    return np.concatenate([m.jnt_solref, m.dof_solref]), np.concatenate([m.jnt_solimp, m.dof_solimp])


def clamp_solimp(solimp: np.ndarray) -> np.ndarray:
    """Impedance parameters clipped to MuJoCo's bounds: [n, 5] dmin, dmax, width, midpoint, power."""
    clamped = solimp.copy()
    clamped[:, 0:2] = np.clip(clamped[:, 0:2], mujoco.mjMINIMP, mujoco.mjMAXIMP)
    clamped[:, 2] = np.maximum(clamped[:, 2], 0)
    clamped[:, 3] = np.clip(clamped[:, 3], mujoco.mjMINIMP, mujoco.mjMAXIMP)
    clamped[:, 4] = np.maximum(clamped[:, 4], 1)
    return clamped


def reference_coefficients(m: mujoco.MjModel, solref: np.ndarray, solimp: np.ndarray) -> np.ndarray:
    """Stiffness k (times the impedance) and damping b of aref = -b J v - k d r, from solref: [n, 2] 1/s^2, 1/s.

    Source: MuJoCo documentation, Modeling, solver parameters; both forms of solref.
    """
    dmax = clamp_solimp(solimp)[:, 1]
    first, ratio = solref[:, 0].copy(), solref[:, 1]
    standard = first > 0
    if not m.opt.disableflags & DISABLE.mjDSBL_REFSAFE:
        first = np.where(standard, np.maximum(first, 2 * m.opt.timestep), first)
    tiny = mujoco.mjMINVAL
    stiffness = np.where(
        standard, 1 / np.maximum(tiny, dmax**2 * first**2 * ratio**2), -first / np.maximum(tiny, dmax**2)
    )
    damping = np.where(standard, 2 / np.maximum(tiny, dmax * first), -ratio / np.maximum(tiny, dmax))
    return np.stack([stiffness, damping], axis=1)


def pair_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """Pairs of geoms that can touch, each in MuJoCo's order of kinds, and the geoms in them."""
    explicit = {frozenset((int(a), int(b))): p for p, (a, b) in enumerate(zip(m.pair_geom1, m.pair_geom2, strict=True))}
    disabled = m.opt.disableflags & (DISABLE.mjDSBL_CONTACT | DISABLE.mjDSBL_CONSTRAINT)
    rows = []
    for pair in [] if disabled else touching_pairs(m):
        first, second = sorted(pair, key=lambda geom: m.geom_type[geom])
        index = explicit.get(frozenset(pair))
        rows.append(
            (first, second, *(explicit_parameters(m, index) if index is not None else mixed_parameters(m, *pair)))
        )
    kinds = [(int(m.geom_type[first]), int(m.geom_type[second])) for first, second, *_ in rows]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    geom1, geom2, condim, solref, solimp, margin, gap = columns
    colliders = sorted({*geom1, *geom2})
    weights = m.body_invweight0[:, 0]
    body = m.geom_bodyid
    return dict(
        npair=len(rows),
        pair_geom1=np.array(geom1, int),
        pair_geom2=np.array(geom2, int),
        pair_candidates=np.array([CANDIDATES[kind][0] for kind in kinds], int),
        pair_cap=np.array([CANDIDATES[kind][1] for kind in kinds], int),
        pair_condim=np.array(condim, int),
        pair_margin=np.array(margin, float),
        pair_detection=np.array(margin, float) + np.array(gap, float),
        pair_invweight=np.array(
            [weights[body[a]] + weights[body[b]] for a, b in zip(geom1, geom2, strict=True)], float
        ),
        solver=(np.array(solref, float).reshape(-1, 2), np.array(solimp, float).reshape(-1, 5)),
        ncollider=len(colliders),
        collider_geom=np.array(colliders, int),
        geom_body=m.geom_bodyid,
        geom_kind=m.geom_type,
        geom_pos=m.geom_pos,
        geom_quat=m.geom_quat,
        geom_size=m.geom_size,
        geom_rbound=m.geom_rbound,
    )


def explicit_parameters(m: mujoco.MjModel, pair: int) -> tuple[Any, ...]:
    """condim, solref, solimp, margin and gap of a <pair>."""
    return (
        int(m.pair_dim[pair]),
        m.pair_solref[pair],
        m.pair_solimp[pair],
        m.pair_margin[pair],
        m.pair_gap[pair],
    )


def mixed_parameters(m: mujoco.MjModel, first: int, second: int) -> tuple[Any, ...]:
    """condim, solref, solimp, margin and gap, mixed from those of two geoms (friction: see `Parameters`).

    Source: MuJoCo documentation, Modeling, contact parameters.
    """
    margin, gap = (field[first] + field[second] for field in (m.geom_margin, m.geom_gap))
    if m.geom_priority[first] != m.geom_priority[second]:
        geom = first if m.geom_priority[first] > m.geom_priority[second] else second
        return int(m.geom_condim[geom]), m.geom_solref[geom], m.geom_solimp[geom], margin, gap
    condim = int(max(m.geom_condim[first], m.geom_condim[second]))
    mix = solver_mix(m.geom_solmix[first], m.geom_solmix[second])
    solref1, solref2 = m.geom_solref[first], m.geom_solref[second]
    standard = solref1[0] > 0 and solref2[0] > 0
    solref = mix * solref1 + (1 - mix) * solref2 if standard else np.minimum(solref1, solref2)
    solimp = mix * m.geom_solimp[first] + (1 - mix) * m.geom_solimp[second]
    return condim, solref, solimp, margin, gap


def solver_mix(first: float, second: float) -> float:
    """Weight of the first geom's solver parameters; a geom with a solmix of almost zero has weight 0."""
    tiny = mujoco.mjMINVAL
    if first >= tiny and second >= tiny:
        return first / (first + second)
    if first < tiny and second < tiny:
        return 0.5
    return 0.0 if first < tiny else 1.0
