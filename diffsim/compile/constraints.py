"""Fields of `ModelArrays` that describe constraints: solver parameters, friction loss and limits.

Those of pairs of geoms are in `pairs`, those of equality constraints and tendons in `equalities`.
"""

from typing import Any

import mujoco
import numpy as np

from diffsim.compile.equalities import equality_fields, tendon_equality_fields, tendon_fields
from diffsim.compile.noslip import noslip_fields
from diffsim.compile.pairs import DISABLE, explicit_index, overrides, pair_fields
from diffsim.compile.solver_parameters import SolverTable
from diffsim.types import BALL

# Largest contact buffer by default. More contacts are an error; none is dropped.
DEFAULT_MAX_CONTACTS = 200


def constraint_fields(m: mujoco.MjModel, max_contacts: int | None) -> dict[str, Any]:
    """All fields; also the sizes of the row and contact buffers, `max_rows` and `max_contacts`.

    `solver_table` is that of all solver parameters.
    """
    off = m.opt.disableflags
    enabled = not off & DISABLE.mjDSBL_CONSTRAINT
    limits = bool(enabled and not off & DISABLE.mjDSBL_LIMIT)
    frictionloss = m.dof_frictionloss * bool(enabled and not off & DISABLE.mjDSBL_FRICTIONLOSS)
    pairs = pair_fields(m)
    equalities, tendons, tied = equality_fields(m), tendon_fields(m), tendon_equality_fields(m)
    sections = [joint_solver_parameters(m), *(part.pop("solver") for part in (pairs, equalities, tied, tendons))]
    solref, solimp = (np.concatenate([section[i] for section in sections]) for i in range(2))
    geoms = np.sort(np.stack([pairs["pair_geom1"], pairs["pair_geom2"]], axis=1), axis=1)
    own = (explicit_index(m, geoms) >= 0) | overrides(m)
    table = SolverTable(solref, solimp, geoms, own, equalities.pop("ids") + tied.pop("ids"))
    params_pair, params_eq, params_tied, params_tendon = np.cumsum([len(section[0]) for section in sections[:-1]])
    equality_rows = equalities.pop("rows") + tied.pop("rows")
    tendon_rows = tendons.pop("rows")
    condim, cap = pairs["pair_condim"], pairs["pair_cap"]
    possible = int(cap.sum())
    contacts = min(possible, max_contacts or DEFAULT_MAX_CONTACTS)
    elliptic = m.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    rows_per_contact = condim if elliptic else np.maximum(1, 2 * (condim - 1))
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
        **tied,
        **noslip_fields(m, pairs["npair"]),
        max_contacts=contacts,
        max_rows=equality_rows + friction_rows + limit_rows + tendon_rows + contact_rows,
        has_limits=int(limited.any()),
        has_frictionloss=int((frictionloss > 0).any()),
        elliptic=int(elliptic),
        impratio=max(mujoco.mjMINVAL, m.opt.impratio),
        params_dof=m.njnt,
        params_pair=int(params_pair),
        params_eq=int(params_eq),
        params_joint_eq=int(params_eq) + equalities["neq"],
        params_tendon_limit=int(params_tendon),
        params_tendon_friction=int(params_tendon) + m.ntendon,
        params_tendon_eq=int(params_tied),
        solver_table=table,
        jnt_limited=limited,
        jnt_margin=m.jnt_margin,
        dof_invweight=m.dof_invweight0,
    )


def joint_solver_parameters(m: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Solref [n, 2] and solimp [n, 5] of joints' limits and dofs' friction."""
    return np.concatenate([m.jnt_solref, m.dof_solref]), np.concatenate([m.jnt_solimp, m.dof_solimp])
