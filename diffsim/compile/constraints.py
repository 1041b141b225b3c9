"""Fields of `ModelArrays` that describe constraints: solver parameters, friction loss and limits.

Those of pairs of geoms are in `pairs`, those of equality constraints and tendons in `equalities`.
"""

from typing import Any

import mujoco
import numpy as np

from diffsim.compile.equalities import equality_fields, tendon_fields
from diffsim.compile.pairs import DISABLE, pair_fields
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
    solimp = clamp_solimp(solimp)
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
        solver_impedance=solimp,
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

    `solimp` is clipped to MuJoCo's bounds.
    Source: MuJoCo documentation, Modeling, solver parameters; both forms of solref.
    """
    dmax = solimp[:, 1]
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
